//! What must hold of a swarm after every call.

use std::collections::BTreeSet;

use kraken_core::{Bitfield, PieceIndex, Time};

use crate::limits::{CANDIDATES_MAX, PIECE_REQUESTS_QUEUED_MAX, REQUESTS_PER_CONN_MAX};
use crate::swarm::Swarm;
use crate::swarm::torrent::Torrent;

impl Swarm {
    /// Compares every counter with what it counts, and every limit with what it limits.
    pub(super) fn check(&self, now: Time) {
        assert!(self.outputs.is_empty(), "outputs are taken before the next call");
        let mut conns = BTreeSet::new();
        let mut slots = 0;
        for (digest, torrent) in &self.torrents {
            assert_eq!(*digest, torrent.digest);
            assert_eq!(self.aliases.get(&torrent.info_hash), Some(digest));
            assert_eq!(torrent.wake, torrent.next_wake(&self.config), "timer is not the plan");
            if let Some(wake) = torrent.wake {
                assert!(self.timers.contains(&(wake, *digest)));
            }
            conns.extend(torrent.conns.keys().copied());
            conns.extend(torrent.dialer.dialing.keys().copied());
            slots += torrent
                .conns
                .values()
                .filter(|conn| conn.sending.is_some_and(|sending| sending.slot))
                .count();
            torrent.check(self, now);
        }
        let known: BTreeSet<_> = self.conns.keys().copied().collect();
        assert_eq!(conns, known, "every connection is in the swarm's table, no other is");
        assert_eq!(slots, self.uplink.used, "slots held are slots counted");
        assert!(slots <= self.config.upload_pieces_max.max(self.config.upload_pieces_at_once));
        assert!(self.timers.len() <= self.torrents.len());
        let in_line = self.torrents.iter().flat_map(|(digest, torrent)| {
            let waiting = torrent.conns.iter().filter(|(_, conn)| conn.in_line);
            waiting.map(|(id, _)| (*digest, *id))
        });
        let mut line: Vec<_> = self.uplink.line().collect();
        line.sort_unstable();
        assert_eq!(line, in_line.collect::<Vec<_>>(), "in the line is who is marked so, once");
    }
}

impl Torrent {
    fn check(&self, swarm: &Swarm, now: Time) {
        let pieces = self.geometry.pieces();
        assert_eq!(self.have.count(), self.have_count);
        let mut availability = vec![0; pieces as usize];
        let mut open = 0;
        let mut peers = BTreeSet::new();
        for (id, conn) in &self.conns {
            assert!(peers.insert(conn.peer_id), "two connections with {}", conn.peer_id);
            assert_ne!(conn.peer_id, swarm.local.peer_id, "a connection with itself");
            assert_eq!(conn.bits.count(), conn.bits_count);
            for index in conn.bits.iter() {
                availability[index.as_usize()] += 1;
            }
            let pipeline = match (conn.ours, conn.is_origin()) {
                (true, _) => swarm.config.pipeline_ours,
                (false, true) => swarm.config.pipeline_origin,
                (false, false) => swarm.config.pipeline_agent,
            };
            assert!(conn.requests.len() <= pipeline.min(REQUESTS_PER_CONN_MAX));
            assert!(conn.queue.len() <= PIECE_REQUESTS_QUEUED_MAX);
            assert!(
                conn.queue.is_empty() || conn.in_line || conn.sending.is_some(),
                "{id:?} has requests and no place in the line"
            );
            for index in conn.requests.keys() {
                assert!(self.owners[index].contains(id));
                open += 1;
            }
            if conn.dry {
                let nothing = Bitfield::new(pieces);
                let waited = self.demands.values().any(|demand| {
                    let mut rest = conn.bits.iter_minus(&self.have, &self.requested);
                    rest.any(|index| {
                        (demand.cursor..demand.pieces.end).contains(&index.0)
                            && !self.contended.contains_key(&index)
                    })
                });
                assert!(
                    !waited,
                    "{id:?} is not dry: {:?}",
                    conn.bits.iter_minus(&nothing, &nothing).count()
                );
            }
        }
        let counted: Vec<u32> =
            self.geometry.indexes().map(|index| self.availability.of(index)).collect();
        assert_eq!(availability, counted);
        assert_eq!(open, self.owners.values().map(Vec::len).sum::<usize>());
        let requested: Vec<PieceIndex> = self.requested.iter().collect();
        assert_eq!(requested, self.owners.keys().copied().collect::<Vec<_>>());
        assert!(self.owners.values().all(|owners| (1..=2).contains(&owners.len())));
        assert!(self.owners.keys().all(|index| !self.have.contains(*index)));
        for (index, recall) in &self.recalled {
            assert_eq!(self.owners[index].len(), 1, "what is asked for twice is not taken back");
            assert!(recall.to.is_none_or(|to| !self.owners[index].contains(&to)));
        }
        for (id, conn) in &self.conns {
            let promised = self.recalled.values().filter(|recall| recall.to == Some(*id)).count();
            assert_eq!(conn.promised, promised);
        }
        assert!(self.contended.keys().all(|index| !self.have.contains(*index)));
        if self.wants_pieces() {
            let rests = self.conns.values().map(|conn| conn.rest_until);
            let rests = rests.chain(self.contended.values().copied()).chain([self.pause_until]);
            for until in rests.filter(|until| *until > now) {
                assert!(self.wake.is_some_and(|wake| wake <= until), "nothing ends this pause");
            }
        }
        let most = swarm.config.accept_max.max(swarm.config.dial_max);
        assert!(self.conns.len() <= most + self.dialer.dialing.len());
        assert!(self.dialer.dialing.len() <= swarm.config.dial_max);
        assert!(self.dialer.candidates_len() <= CANDIDATES_MAX);
    }
}
