//! What a tracker can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kraken_common::{Hosts, WatchedHosts};
use kraken_core::Result;
use kraken_p2p::tracker::HandoutPolicy;

/// The configuration of a [`Tracker`](crate::Tracker).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The origins.
    pub origins: WatchedHosts,
    /// Peers in one handout at most, origins not counted.
    pub announce_limit: usize,
    /// How long a peer waits between announces.
    pub announce_interval: Duration,
    /// In which order peers are handed out.
    pub policy: Policy,
    /// How many agents of a zone without origins fetch for it from outside; zero: zones make no
    /// difference.
    pub zone_bridges: usize,
    /// How long a peer that announces no more is remembered.
    pub peer_ttl: Duration,
    /// How long what origins say is believed.
    pub cache: CacheConfig,
}

/// In which order peers are handed out; a peer dials the first ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Complete peers, then origins, then incomplete peers: origins are spared.
    #[default]
    Completeness,
    /// All in one random order.
    Default,
}

/// How long what origins say is believed; the defaults are those of uber/kraken and its nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Which origins own a blob.
    pub locations_ttl: Duration,
    /// That no origin would say so.
    pub locations_error_ttl: Duration,
    /// Where an origin accepts peers.
    pub origin_context_ttl: Duration,
    /// That an origin did not say so, unless it gives a sign of life before.
    pub origin_unavailable_ttl: Duration,
    /// A blob's metainfo.
    pub metainfo_ttl: Duration,
    /// Bytes of metainfo kept at most.
    pub metainfo_bytes_max: usize,
}

impl From<Policy> for HandoutPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Completeness => Self::Completeness,
            Policy::Default => Self::Mixed,
        }
    }
}

impl TrackerConfig {
    /// The defaults, in front of `origins`, each `host:port`.
    pub fn new(origins: Vec<String>) -> Result<Self> {
        let origins = Hosts::fixed(origins)?.into();
        Ok(Self { origins, ..Self::default() })
    }
}

impl Default for TrackerConfig {
    /// Without origins, which there must be.
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 0).into(),
            origins: WatchedHosts::default(),
            announce_limit: 50,
            announce_interval: Duration::from_secs(3),
            policy: Policy::default(),
            zone_bridges: 0,
            peer_ttl: Duration::from_secs(5 * 60 * 60),
            cache: CacheConfig::default(),
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            locations_ttl: Duration::from_secs(10),
            locations_error_ttl: Duration::from_secs(1),
            origin_context_ttl: Duration::from_secs(10),
            origin_unavailable_ttl: Duration::from_secs(60),
            metainfo_ttl: Duration::from_secs(5 * 60),
            metainfo_bytes_max: 256 << 20,
        }
    }
}
