//! The tracker as one value: started, asked for its address, closed.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use kraken_common::{Companion, Role, Server, Serving};
use kraken_core::{Error, Result};
use kraken_p2p::tracker::{
    Announcer, HandoutConfig, MemoryPeerStore, PeerStore, limits as p2p_limits,
};

use crate::config::TrackerConfig;
use crate::metrics;
use crate::origins::Origins;
use crate::server::Service;

/// A running tracker.
#[derive(Debug)]
pub struct Tracker {
    serving: Serving,
    /// Follows the origins' names and their health.
    following: Companion,
}

impl Tracker {
    /// Starts a tracker that remembers peers in memory.
    pub async fn start(config: TrackerConfig) -> Result<Self> {
        let peers = MemoryPeerStore::new(config.peer_ttl, p2p_limits::PEERS_MAX);
        Self::start_with(config, Arc::new(peers)).await
    }

    /// Starts a tracker that remembers peers in `peers`; `peer_ttl` is then that store's affair.
    pub async fn start_with(config: TrackerConfig, peers: Arc<dyn PeerStore>) -> Result<Self> {
        let TrackerConfig { listen, origins, announce_limit, announce_interval, .. } = config;
        if origins.hosts.is_empty() {
            return Err(Error::invalid("origin.hosts: a tracker needs at least one origin"));
        }
        if announce_interval.is_zero() {
            return Err(Error::invalid("announce_interval: peers would announce without a pause"));
        }
        let handout = HandoutConfig {
            policy: config.policy.into(),
            peers_max: announce_limit,
            interval: announce_interval,
            zone_bridges: config.zone_bridges,
        };
        // A number nobody can guess, so that no peer can choose its place in handouts.
        let seed = RandomState::new().hash_one(0);
        let server = Server::bind(listen, "the tracker", "--port")?;
        let known = origins.at_start().await.map_err(|e| e.context("origin.hosts"))?;
        let http = Origins::client();
        let asked = Origins::new(http.clone(), known.clone(), config.cache);
        let service = Service::new(Announcer::new(peers, handout, seed), asked);
        let following = Companion::spawn({
            let service = Arc::clone(&service);
            async move {
                let change = |hosts| service.set_origins(hosts);
                origins.follow_closely(known, &http, change, |host| service.heard_from(host)).await;
            }
        });
        let metrics = metrics::of(Arc::clone(&service));
        let server = server.with_metrics(&metrics, metrics::ROUTES).exposing(metrics);
        let serving = server.spawn(move |request| Arc::clone(&service).answer(request));
        tracing::info!(addr = %serving.addr(), "tracker serves");
        Ok(Self { serving, following })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// Lets requests under way end, then ends; joins every task.
    pub async fn close(self) -> Result<()> {
        self.serving.close().await;
        self.following.close().await;
        Ok(())
    }
}

impl Role for Tracker {
    type Config = TrackerConfig;
    const NAME: &'static str = "kraken-tracker";

    async fn start(config: TrackerConfig) -> Result<Self> {
        Self::start(config).await
    }

    async fn close(self) -> Result<()> {
        self.close().await
    }
}
