//! Which peers of a zone fetch for it from outside.
//!
//! Between zones links are thin, or dear. If everyone in a zone is told of peers outside of it,
//! each piece crosses the link as many times as it takes until it is known that somebody inside has
//! it: in a crowd that begins at once, dozens of times. So few are told, the zone's bridges, and
//! ask for pieces that nobody near has; the others get from them and from each other.

use std::collections::HashMap;
use std::time::Duration;

use kraken_core::{Digest, InfoHash, PeerInfo, Time};

use super::limits;

/// What an announcing peer is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// Peers of all zones, and origins: zones make no difference.
    Everywhere,
    /// Peers of its zone, and the origins, which are there too.
    Home,
    /// Peers of its zone.
    Inside,
    /// The zone's other bridges, a few of its zone, a few of all, and origins: not more, since it
    /// dials but some and those are to be of each kind.
    Bridge(Vec<PeerInfo>),
}

/// The bridges of every torrent's zones.
#[derive(Debug)]
pub(super) struct Bridges {
    per_zone: usize,
    /// The pause between two that are taken on because somebody gets nothing.
    pause: Duration,
    zones: HashMap<InfoHash, Zone>,
    swept_at: Time,
}

#[derive(Debug, Default)]
struct Zone {
    bridges: Vec<Bridge>,
    taken_at: Time,
}

#[derive(Debug)]
struct Bridge {
    peer: PeerInfo,
    until: Time,
}

impl Bridges {
    pub(super) fn new(per_zone: usize, pause: Duration) -> Self {
        Self { per_zone, pause, zones: HashMap::new(), swept_at: Time::ZERO }
    }

    /// If a peer is a bridge of its zone or becomes one, the zone's other bridges. The first ones
    /// of a zone become bridges, and of those that get nothing one after the other.
    pub(super) fn admit(
        &mut self,
        zone: InfoHash,
        peer: &PeerInfo,
        starved: bool,
        now: Time,
    ) -> Option<Vec<PeerInfo>> {
        if peer.complete && !self.zones.contains_key(&zone) {
            return None;
        }
        if self.zones.len() >= limits::ZONES_MAX && !self.zones.contains_key(&zone) {
            self.sweep(now);
            if self.zones.len() >= limits::ZONES_MAX {
                return Some(Vec::new());
            }
        }
        let zone = self.zones.entry(zone).or_default();
        zone.bridges.retain(|bridge| bridge.until > now);
        let until = now + if peer.complete { COMPLETE_FOR } else { FETCHING_FOR };
        let is_it = |bridge: &Bridge| bridge.peer.peer_id == peer.peer_id;
        let bridge = Bridge { peer: peer.clone(), until };
        if let Some(at) = zone.bridges.iter().position(is_it) {
            zone.bridges[at] = bridge;
            return Some(zone.others(peer));
        }
        let is_due =
            zone.bridges.len() < self.per_zone || starved && now.since(zone.taken_at) >= self.pause;
        if peer.complete || !is_due || zone.bridges.len() >= limits::BRIDGES_MAX {
            return None;
        }
        zone.taken_at = now;
        zone.bridges.push(bridge);
        Some(zone.others(peer))
    }

    /// Forgets zones that have no bridge any more, not more often than they can come to that.
    fn sweep(&mut self, now: Time) {
        if now.since(self.swept_at) >= self.pause {
            self.swept_at = now;
            self.zones.retain(|_, zone| zone.bridges.iter().any(|bridge| bridge.until > now));
        }
    }
}

impl Zone {
    fn others(&self, peer: &PeerInfo) -> Vec<PeerInfo> {
        let others = self.bridges.iter().filter(|bridge| bridge.peer.peer_id != peer.peer_id);
        others.map(|bridge| bridge.peer.clone()).collect()
    }
}

/// The key that a store keeps the peers of a torrent's zone under.
pub(super) fn key_of(torrent: InfoHash, zone: &str) -> InfoHash {
    let digest = Digest::sha256(&[torrent.as_bytes().as_slice(), zone.as_bytes()].concat());
    let mut key = [0; 20];
    key.copy_from_slice(&digest.as_bytes()[..20]);
    InfoHash::new(key)
}

/// How long one that fetches stays a bridge without announcing itself: who has enough connections
/// does not.
const FETCHING_FOR: Duration = Duration::from_secs(5 * 60);

/// And one that has everything, for the zone to get it from.
const COMPLETE_FOR: Duration = Duration::from_secs(60 * 60);
