//! Who has announced what: the table behind a peer store in memory.

use std::collections::HashMap;
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{InfoHash, PeerId, PeerInfo, Time};
use slab::Slab;

use super::limits;

/// The peers of every torrent, each forgotten when it has not announced for a while.
///
/// Both calls take time in proportion to what they return, however large the swarm. Expired
/// entries are cleared away a few at a time, by whichever call comes next. When the table is full
/// the peer unseen for longest makes room. The same calls with the same seeds give the same
/// answers.
#[derive(Debug)]
pub struct PeerTable {
    ttl: Duration,
    peers_max: usize,
    entries: Slab<Entry>,
    keys: HashMap<(InfoHash, PeerId), usize>,
    /// The keys of each torrent's entries, so that a random one is a random place.
    torrents: HashMap<InfoHash, Vec<usize>>,
    /// Both ends of the list of all entries by the time they were last seen.
    oldest: Option<usize>,
    newest: Option<usize>,
}

/// One peer of one torrent: with its keys in both maps some 300 bytes.
#[derive(Debug)]
struct Entry {
    info_hash: InfoHash,
    peer_id: PeerId,
    host: Box<str>,
    port: u16,
    origin: bool,
    complete: bool,
    seen: Time,
    /// Where in its torrent's keys it stands.
    place: usize,
    older: Option<usize>,
    newer: Option<usize>,
}

const _: () = assert!(size_of::<Entry>() <= 128, "a peer must stay small");

impl PeerTable {
    /// An empty table of at most `peers_max` entries (at least one, at most
    /// [`limits::PEERS_MAX`]), each kept for `ttl` after it was last seen.
    pub fn new(ttl: Duration, peers_max: usize) -> Self {
        Self {
            ttl,
            peers_max: peers_max.clamp(1, limits::PEERS_MAX),
            entries: Slab::new(),
            keys: HashMap::new(),
            torrents: HashMap::new(),
            oldest: None,
            newest: None,
        }
    }

    /// Notes that `peer` has announced itself for the torrent.
    pub fn update(&mut self, info_hash: InfoHash, peer: &PeerInfo, now: Time) {
        self.sweep(now);
        if let Some(&key) = self.keys.get(&(info_hash, peer.peer_id)) {
            self.unlink(key);
            let entry = &mut self.entries[key];
            if *entry.host != *peer.ip {
                entry.host = peer.ip.as_str().into();
            }
            entry.port = peer.port;
            entry.origin = peer.origin;
            entry.complete = peer.complete;
            entry.seen = now;
            self.link_newest(key);
            return;
        }
        if self.entries.len() >= self.peers_max
            && let Some(oldest) = self.oldest
        {
            self.remove(oldest);
        }
        let torrent = self.torrents.entry(info_hash).or_default();
        let key = self.entries.insert(Entry {
            info_hash,
            peer_id: peer.peer_id,
            host: peer.ip.as_str().into(),
            port: peer.port,
            origin: peer.origin,
            complete: peer.complete,
            seen: now,
            place: torrent.len(),
            older: None,
            newer: None,
        });
        torrent.push(key);
        self.keys.insert((info_hash, peer.peer_id), key);
        self.link_newest(key);
    }

    /// At most `limit` of the torrent's peers, picked and ordered at random by `seed`.
    pub fn sample(
        &mut self,
        info_hash: &InfoHash,
        limit: usize,
        seed: u64,
        now: Time,
    ) -> Vec<PeerInfo> {
        self.sweep(now);
        let Some(torrent) = self.torrents.get(info_hash) else {
            return Vec::new();
        };
        Rng::new(seed)
            .distinct_below(torrent.len(), limit)
            .into_iter()
            .map(|place| &self.entries[torrent[place]])
            .filter(|entry| now.since(entry.seen) < self.ttl)
            .map(Entry::to_peer_info)
            .collect()
    }

    /// How many (blob, peer) pairs there are, some of them perhaps expired.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many torrents have peers.
    pub fn torrents(&self) -> usize {
        self.torrents.len()
    }

    /// Clears away a few expired entries.
    fn sweep(&mut self, now: Time) {
        for _ in 0..limits::SWEEP_MAX {
            let Some(oldest) = self.oldest else { return };
            if now.since(self.entries[oldest].seen) < self.ttl {
                return;
            }
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: usize) {
        self.unlink(key);
        let entry = self.entries.remove(key);
        self.keys.remove(&(entry.info_hash, entry.peer_id));
        let Some(torrent) = self.torrents.get_mut(&entry.info_hash) else { return };
        torrent.swap_remove(entry.place);
        if let Some(&moved) = torrent.get(entry.place) {
            self.entries[moved].place = entry.place;
        }
        if torrent.is_empty() {
            self.torrents.remove(&entry.info_hash);
        } else if torrent.len() < torrent.capacity() / 4 {
            // A swarm that was large once does not hold its memory for ever.
            torrent.shrink_to(torrent.len() * 2);
        }
    }

    fn link_newest(&mut self, key: usize) {
        let entry = &mut self.entries[key];
        entry.older = self.newest;
        entry.newer = None;
        match self.newest.replace(key) {
            Some(before) => self.entries[before].newer = Some(key),
            None => self.oldest = Some(key),
        }
    }

    fn unlink(&mut self, key: usize) {
        let (older, newer) = (self.entries[key].older, self.entries[key].newer);
        match older {
            Some(older) => self.entries[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.entries[newer].older = older,
            None => self.newest = older,
        }
    }
}

impl Entry {
    fn to_peer_info(&self) -> PeerInfo {
        PeerInfo {
            peer_id: self.peer_id,
            ip: self.host.to_string(),
            port: self.port,
            origin: self.origin,
            complete: self.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(100);

    fn torrent(n: u8) -> InfoHash {
        InfoHash::new([n; 20])
    }

    fn peer(n: u16) -> PeerInfo {
        let ip = format!("10.0.{}.{}", n >> 8, n & 255);
        let peer_id = PeerId::from_addr(&ip, 8080);
        PeerInfo { peer_id, ip, port: 8080, origin: false, complete: n % 2 == 1 }
    }

    fn at(secs: u64) -> Time {
        Time::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn samples_are_distinct_and_repeatable() {
        let mut table = PeerTable::new(TTL, 10_000);
        for n in 0..2000 {
            table.update(torrent(1), &peer(n), at(1));
        }
        table.update(torrent(2), &peer(7), at(1));
        let sample = table.sample(&torrent(1), 50, 42, at(2));
        let mut ids: Vec<PeerId> = sample.iter().map(|peer| peer.peer_id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 50);
        assert_eq!(table.sample(&torrent(1), 50, 42, at(2)), sample);
        assert_ne!(table.sample(&torrent(1), 50, 43, at(2)), sample);
        assert_eq!(table.sample(&torrent(2), 50, 42, at(2)), [peer(7)]);
        assert!(table.sample(&torrent(3), 50, 42, at(2)).is_empty());
    }

    #[test]
    fn peers_expire_unless_they_announce_again() {
        let mut table = PeerTable::new(TTL, 10_000);
        for n in 0..1000 {
            table.update(torrent(1), &peer(n), at(0));
        }
        let moved = PeerInfo { ip: "host".into(), complete: true, ..peer(3) };
        table.update(torrent(1), &moved, at(50));
        assert_eq!(table.sample(&torrent(1), 1000, 1, at(100)), [moved]);
        for call in 1..=1000 / limits::SWEEP_MAX as u64 {
            table.update(torrent(2), &peer(1), at(100 + call));
        }
        assert_eq!((table.len(), table.torrents()), (2, 2), "expired entries are cleared away");
        assert!(table.sample(&torrent(1), 50, 1, at(150)).is_empty());
        assert_eq!(table.torrents(), 1);
    }

    #[test]
    fn a_full_table_forgets_whom_it_has_not_seen_for_longest() {
        let mut table = PeerTable::new(TTL, 3);
        for (secs, n) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 4)] {
            table.update(torrent(1), &peer(n), at(secs));
        }
        let mut left = table.sample(&torrent(1), 9, 1, at(6));
        left.sort_unstable_by(|a, b| a.ip.cmp(&b.ip));
        assert_eq!(left, [peer(1), peer(3), peer(4)]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            calls in prop::collection::vec((0u8..3, 0u16..12, 0u64..40), 1..120),
            peers_max in 1usize..20,
        ) {
            let mut table = PeerTable::new(TTL, peers_max);
            let mut list: Vec<(u8, u16, Time)> = Vec::new();
            let mut now = at(0);
            for (step, (group, n, pause)) in calls.into_iter().enumerate() {
                now += Duration::from_secs(pause);
                table.update(torrent(group), &peer(n), now);
                list.retain(|(g, m, seen)| (*g, *m) != (group, n) && now.since(*seen) < TTL);
                if list.len() == peers_max {
                    list.remove(0);
                }
                list.push((group, n, now));
                prop_assert_eq!(table.len(), list.len());
                let mut sample = table.sample(&torrent(group), 100, step as u64, now);
                let mut expected: Vec<PeerInfo> =
                    list.iter().filter(|e| e.0 == group).map(|e| peer(e.1)).collect();
                sample.sort_unstable_by_key(|peer| peer.peer_id);
                expected.sort_unstable_by_key(|peer| peer.peer_id);
                prop_assert_eq!(sample, expected);
            }
        }
    }
}
