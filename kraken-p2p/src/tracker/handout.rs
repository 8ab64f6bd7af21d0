//! Which peers an announcing peer is told of, and in which order.

use std::str::FromStr;
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{Error, PeerInfo, Result};

use super::client::{AnnounceRequest, AnnounceResponse};
use crate::limits;

/// In which order peers are handed out; they are dialled in that order (uber/kraken's
/// `peerhandoutpolicy.priority`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandoutPolicy {
    /// `default`: all in one random order. Whoever joins late is then not sent to the same few
    /// that have finished, which makes the slowest of a swarm faster.
    #[default]
    Mixed,
    /// `completeness`: peers with the whole blob first, then origins, then the rest; in random
    /// order within each.
    Completeness,
}

/// How announces are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoutConfig {
    /// The order of peers.
    pub policy: HandoutPolicy,
    /// Most peers handed out besides the origins; at most [`limits::HANDOUT_MAX`] with them.
    pub peers_max: usize,
    /// How long the peer is to wait until its next announce.
    pub interval: Duration,
    /// How many peers of a zone that has no origins are told of peers outside of it and of origins:
    /// the others get everything from inside, and a thin link between zones is crossed by little
    /// more than one copy. At zero zones make no difference.
    pub zone_bridges: usize,
}

/// The answer to `request`, given peers of the torrent in random order and the blob's origins.
///
/// The peer that asks is not told of itself, neither by id nor by address. One that has the whole
/// blob needs nobody and is told of nobody.
pub fn handout(
    request: &AnnounceRequest,
    mut sampled: Vec<PeerInfo>,
    origins: Vec<PeerInfo>,
    config: &HandoutConfig,
    seed: u64,
) -> AnnounceResponse {
    let interval = i64::try_from(config.interval.as_nanos()).unwrap_or(i64::MAX);
    if request.peer.complete {
        return AnnounceResponse { interval, ..AnnounceResponse::default() };
    }
    let asker = &request.peer;
    let is_asker = |peer: &PeerInfo| {
        peer.peer_id == asker.peer_id || (peer.port == asker.port && peer.ip == asker.ip)
    };
    let mut peers = origins;
    peers.retain(|peer| !is_asker(peer));
    peers.truncate(limits::HANDOUT_MAX);
    sampled.retain(|peer| !is_asker(peer) && peers.iter().all(|o| o.peer_id != peer.peer_id));
    sampled.truncate(config.peers_max.min(limits::HANDOUT_MAX - peers.len()));
    peers.append(&mut sampled);
    Rng::new(seed).shuffle(&mut peers);
    config.policy.sort(&mut peers);
    AnnounceResponse { peers: (!peers.is_empty()).then_some(peers), interval, bridge: false }
}

impl HandoutPolicy {
    /// Brings `peers` into the policy's order; those it takes for equal keep theirs.
    pub fn sort(self, peers: &mut [PeerInfo]) {
        match self {
            Self::Mixed => {}
            Self::Completeness => peers.sort_by_key(|peer| match (peer.origin, peer.complete) {
                (false, true) => 0u8,
                (true, _) => 1,
                (false, false) => 2,
            }),
        }
    }
}

impl FromStr for HandoutPolicy {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "default" => Ok(Self::Mixed),
            "completeness" => Ok(Self::Completeness),
            _ => Err(Error::invalid(format!(
                "handout policy {s:?}: neither default nor completeness"
            ))),
        }
    }
}

impl Default for HandoutConfig {
    /// uber/kraken's numbers: 50 peers, every three seconds, of whatever zone.
    fn default() -> Self {
        Self {
            policy: HandoutPolicy::Mixed,
            peers_max: 50,
            interval: Duration::from_secs(3),
            zone_bridges: 0,
        }
    }
}
