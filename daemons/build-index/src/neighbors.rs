//! The other build-indexes of the cluster, which are told of every put.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use kraken_backends::BuildIndex as NeighborClient;
use kraken_common::WatchedHosts;
use kraken_core::http::Client;
use kraken_core::{Digest, Result, Tag};

use crate::limits;

/// The neighbours, and how they are told.
#[derive(Debug)]
pub(crate) struct Neighbors {
    cluster: WatchedHosts,
    /// What the cluster calls this build-index.
    own: BTreeSet<String>,
    port: u16,
    client: Client,
    stagger: Duration,
    told: RwLock<Vec<String>>,
}

impl Neighbors {
    /// All of `cluster` at this moment but for the build-index that listens on `port` here, or is
    /// called one of `names`.
    pub(crate) async fn find(
        cluster: WatchedHosts,
        names: Vec<String>,
        port: u16,
        client: Client,
        stagger: Duration,
    ) -> Result<Self> {
        let all = cluster.resolve().await?;
        let mut own = BTreeSet::from_iter(names);
        for host in all.iter().filter(|host| port_of(host) == Some(port)) {
            // A name that does not resolve now is a neighbour that is away.
            if let Ok(found) = tokio::net::lookup_host(host).await
                && found.map(|addr| addr.ip()).any(is_here)
            {
                own.insert(host.clone());
            }
        }
        let this = Self { cluster, own, port, client, stagger, told: RwLock::default() };
        this.set(all);
        Ok(this)
    }

    /// Follows the cluster: names that resolve to others, neighbours that fall ill. Never ends:
    /// the caller stops it, at any await.
    pub(crate) async fn follow(&self) {
        // Whoever has come since the start is told too.
        let known = self.cluster.resolve().await.inspect(|hosts| self.set(hosts.clone()));
        let known = known.unwrap_or_default();
        self.cluster.follow(known, &self.client, |hosts| self.set(hosts)).await;
    }

    /// Gives the put to the neighbours; those that do not take it find it in the backend.
    pub(crate) async fn tell(&self, tag: &Tag, digest: &Digest) {
        let hosts = self.told.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Ok(client) = NeighborClient::new(hosts.clone(), self.client.clone()) else {
            // There are none.
            return;
        };
        let told = hosts.iter().zip(1..).map(|(host, turn)| {
            let client = &client;
            async move {
                let delay = self.stagger.saturating_mul(turn);
                if let Err(e) = client.duplicate_put(host, tag, digest, delay).await {
                    tracing::warn!(%tag, neighbor = host, error = %e, "neighbour not told of a tag");
                }
            }
        });
        if tokio::time::timeout(limits::NEIGHBORS_WAIT_MAX, join_all(told)).await.is_err() {
            tracing::warn!(%tag, "not every neighbour was told of a tag in time");
        }
    }

    fn set(&self, mut hosts: Vec<String>) {
        hosts.retain(|host| !self.is_this(host));
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    fn is_this(&self, host: &str) -> bool {
        let by_address = || {
            let addr = host.parse::<SocketAddr>();
            addr.is_ok_and(|addr| addr.port() == self.port && is_here(addr.ip()))
        };
        self.own.contains(host) || by_address()
    }
}

fn port_of(host: &str) -> Option<u16> {
    host.rsplit_once(':')?.1.parse().ok()
}

/// Whether `ip` is an address of this host: only then can a socket be bound to it.
fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use kraken_common::Hosts;
    use kraken_core::http::ClientConfig;

    use super::*;

    #[tokio::test]
    async fn everybody_but_this_one() {
        let all = ["a:7", "127.0.0.1:7", "127.0.0.1:8", "[::1]:8", "192.0.2.1:7", "localhost:7"];
        let hosts = Hosts::fixed(all.map(String::from).to_vec()).unwrap();
        let client = Client::new(ClientConfig::default());
        let names = vec!["a:7".to_owned()];
        let stagger = Duration::ZERO;
        let neighbors = Neighbors::find(hosts.into(), names, 7, client, stagger).await.unwrap();
        let told = neighbors.told.read().unwrap().clone();
        assert_eq!(told, ["127.0.0.1:8", "[::1]:8", "192.0.2.1:7"]);
    }
}
