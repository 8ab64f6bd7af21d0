//! Lists of hosts named in the configuration.

use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt as _;
use kraken_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::limits;

/// Hosts as `host:port`, fixed for the life of the process; without duplicates, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostList(Vec<String>);

/// Hosts as a configuration names them; by default none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Which hosts they are.
    pub source: HostSource,
    /// How long what a name resolved to is believed.
    pub ttl: Duration,
}

/// Which hosts there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSource {
    /// All that a name resolves to, given as `name:port`.
    Dns(String),
    /// These.
    Static(HostList),
}

impl Hosts {
    /// These hosts, each `host:port`.
    pub fn fixed(hosts: Vec<String>) -> Result<Self> {
        HostList::new(hosts).map(Self::from)
    }

    /// Whether there can be none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.source, HostSource::Static(list) if list.is_empty())
    }

    /// As [`resolve`](Self::resolve), for a start: a name in a fixed list that does not resolve is
    /// warned of, and is an error if no other does.
    pub async fn at_start(&self) -> Result<Vec<String>> {
        let hosts = self.resolve().await?;
        if let HostSource::Dns(_) = self.source {
            return Ok(hosts);
        }
        let lookups = futures_util::stream::iter(hosts.clone())
            .map(|host| async move {
                let lookup = tokio::net::lookup_host(host.as_str());
                let found = match timeout(limits::LOOKUP_MAX, lookup).await {
                    Ok(found) => found.map(drop).map_err(|error| error.to_string()),
                    Err(_) => Err(format!("no answer in {:?}", limits::LOOKUP_MAX)),
                };
                found.err().map(|error| (host, error))
            })
            .buffered(limits::LOOKUPS_AT_ONCE_MAX);
        let unknown: Vec<_> = lookups.filter_map(std::future::ready).collect().await;
        if let Some((host, error)) = unknown.first().filter(|_| unknown.len() == hosts.len()) {
            let what = format!("resolve {host}: {error}; check the name, or write an address");
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        for (host, error) in unknown {
            tracing::warn!(host, error, "a host name does not resolve");
        }
        Ok(hosts)
    }

    /// The hosts at this moment, each `host:port`, sorted if a name resolved to them.
    /// `ErrorKind::Unavailable` when the name does not resolve. Cancel safe.
    pub async fn resolve(&self) -> Result<Vec<String>> {
        let name = match &self.source {
            HostSource::Static(list) => return Ok(list.as_slice().to_vec()),
            HostSource::Dns(name) => name,
        };
        let found = tokio::net::lookup_host(name).await.map_err(|e| {
            let what = format!("resolve {name}: check the name, or list the hosts under static");
            Error::new(ErrorKind::Unavailable, what).with_source(e)
        })?;
        let mut hosts: Vec<String> = found.map(|addr| addr.to_string()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.truncate(limits::HOSTS_MAX);
        Ok(hosts)
    }

    /// Tells `change` of other hosts than `known` whenever a name resolves to others; a failure is
    /// logged, and what was known stays. Never ends: the caller stops it.
    pub async fn follow(&self, mut known: Vec<String>, mut change: impl FnMut(Vec<String>)) {
        if let HostSource::Static(_) = self.source {
            return pending().await;
        }
        loop {
            tokio::time::sleep(self.ttl.max(limits::HOSTS_TTL_MIN)).await;
            match self.resolve().await {
                Ok(hosts) if hosts.is_empty() || hosts == known => {}
                Ok(hosts) => {
                    tracing::info!(from = ?known, to = ?hosts, "hosts changed");
                    known.clone_from(&hosts);
                    change(hosts);
                }
                Err(error) => tracing::warn!(%error, "hosts stay as they were"),
            }
        }
    }
}

impl HostList {
    /// The list of `hosts`, each of which must be `host:port`.
    pub fn new(hosts: Vec<String>) -> Result<Self> {
        if hosts.len() > limits::HOSTS_MAX {
            return Err(Error::invalid(format!(
                "host list: {} hosts, more than {}",
                hosts.len(),
                limits::HOSTS_MAX
            )));
        }
        let mut list: Vec<String> = Vec::with_capacity(hosts.len());
        for host in hosts {
            check(&host)?;
            if !list.contains(&host) {
                list.push(host);
            }
        }
        Ok(Self(list))
    }

    /// The hosts.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hosts.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self::from(HostList::default())
    }
}

impl From<HostList> for Hosts {
    fn from(list: HostList) -> Self {
        Self { source: HostSource::Static(list), ttl: limits::HOSTS_TTL }
    }
}

/// Whether `host` is `name:port`, `v4:port` or `[v6]:port`.
fn check(host: &str) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid(format!("host {host:?}: {why}")));
    if host.contains("://") {
        return bad("a URL; only its host:port is wanted");
    }
    let Some((name, port)) = host.rsplit_once(':') else { return bad("not of the form host:port") };
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return bad("the port is not a number from 1 to 65535");
    }
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match literal {
        Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => Ok(()),
        Some(_) => bad("not an IPv6 address between the brackets"),
        None if name.is_empty() => bad("no name before the port"),
        None if name.contains(':') => bad("an IPv6 address needs brackets"),
        None if name.contains(|c: char| !c.is_ascii_graphic() || "/?#@".contains(c)) => {
            bad("not a host name")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["a:1", "10.0.0.1:80", "[::1]:80", "origin-1.example.com:15002"] {
            assert!(HostList::new(vec![good.into()]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "::1:80",
            "[x]:80",
            "a/b:1",
            "a b:1",
            "http://a:1",
        ] {
            assert!(HostList::new(vec![bad.into()]).is_err(), "{bad}");
        }
        let list = ["b:1", "a:1", "b:1"].map(String::from).to_vec();
        assert_eq!(HostList::new(list).unwrap().as_slice(), ["b:1", "a:1"]);
        let hosts = Hosts::fixed(vec!["b:1".into()]).unwrap();
        assert_eq!(hosts, Hosts::fixed(vec!["b:1".into()]).unwrap());
        assert!(Hosts::default().is_empty() && !hosts.is_empty());
    }

    #[tokio::test]
    async fn names_resolve() {
        let fixed = Hosts::fixed(vec!["b:1".into(), "a:1".into()]).unwrap();
        assert_eq!(fixed.resolve().await.unwrap(), ["b:1", "a:1"]);
        let dns = |name: &str| Hosts { source: HostSource::Dns(name.into()), ttl: Duration::ZERO };
        let found = dns("localhost:7").resolve().await.unwrap();
        assert!(found.iter().any(|host| host == "127.0.0.1:7" || host == "[::1]:7"), "{found:?}");
        let error = dns("no-such-host.invalid:7").resolve().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("no-such-host.invalid:7"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_change_is_told() {
        let localhost =
            Hosts { source: HostSource::Dns("localhost:7".into()), ttl: Duration::ZERO };
        let mut told = Vec::new();
        let follow = localhost.follow(vec!["10.0.0.1:7".into()], |hosts| told.push(hosts));
        let _ = tokio::time::timeout(Duration::from_secs(600), follow).await;
        assert_eq!(told.len(), 1, "{told:?}");
    }
}
