//! What must hold of a swarm after every call, and no getter shows.

use std::collections::BTreeSet;

use kraken_core::{PieceIndex, Time};

use crate::limits::{BANS_MAX, CANDIDATES_MAX, PIECE_REQUESTS_QUEUED_MAX, REQUESTS_PER_CONN_MAX};
use crate::swarm::Swarm;
use crate::swarm::conn::Conn;
use crate::swarm::limits::{FAILED_ANNOUNCE_RETRY_MAX, OWNERS_MAX};
use crate::swarm::torrent::{Phase, Torrent};

impl Swarm {
    /// Compares every counter with what it counts, and every limit with what it limits.
    pub(in crate::swarm) fn check(&self, now: Time) {
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
        assert!(self.timers.len() <= self.torrents.len());
        assert!(self.aliases.values().all(|digest| self.torrents.contains_key(digest)));
        assert!(self.aliases.len() <= 2 * self.torrents.len(), "one provisional, one final");
        let in_line = self.torrents.iter().flat_map(|(digest, torrent)| {
            let waiting = torrent.conns.iter().filter(|(_, conn)| conn.in_line);
            waiting.map(|(id, _)| (*digest, *id))
        });
        let mut line: Vec<_> = self.uplink.line().collect();
        line.sort_unstable();
        assert_eq!(line, in_line.collect::<Vec<_>>(), "in the line is who is marked so, once");
    }

    /// Holds besides unless the configuration was changed: connections beyond new limits stay, and
    /// so do what they were asked for and what is being sent to them.
    pub(in crate::swarm) fn check_limits(&self) {
        let config = &self.config;
        assert!(self.uplink.used <= config.upload_pieces_max.max(config.upload_pieces_at_once));
        for torrent in self.torrents.values() {
            for conn in torrent.conns.values() {
                assert!(conn.open() <= conn.pipeline(config).min(REQUESTS_PER_CONN_MAX));
            }
            // Who is dialled while there is room may come when others have taken it.
            assert!(torrent.conns.len() <= config.accept_max + config.dial_max);
            assert!(torrent.dialer.dialing.len() <= config.dial_max);
        }
    }
}

impl Torrent {
    fn check(&self, swarm: &Swarm, now: Time) {
        assert_eq!(self.have.count(), self.have_count);
        assert!(self.phase != Phase::Complete || self.have_all());
        let mut peers = BTreeSet::new();
        for (id, conn) in &self.conns {
            assert!(peers.insert(conn.peer_id), "two connections with {}", conn.peer_id);
            assert_ne!(conn.peer_id, swarm.local.peer_id, "a connection with itself");
            assert_eq!(conn.bits.count(), conn.bits_count);
            assert!(conn.requests.len() <= REQUESTS_PER_CONN_MAX);
            assert!(conn.queue.len() <= PIECE_REQUESTS_QUEUED_MAX);
            assert!(conn.queue.iter().all(|index| self.have.contains(*index)));
            assert!(
                conn.queue.is_empty() || conn.in_line || conn.sending.is_some(),
                "{id:?} has requests and no place in the line"
            );
            assert!(!conn.dry || !self.waits_for(conn), "{id:?} is not dry");
        }
        self.check_orders();
        self.check_demands();
        self.check_plans(swarm, now);
        assert!(self.dialer.candidates_len() <= CANDIDATES_MAX);
        assert!(self.dialer.barred_len() <= 2 * BANS_MAX);
    }

    /// Who was asked for what, both ways round.
    fn check_orders(&self) {
        let mut availability = vec![0; self.geometry.pieces() as usize];
        let mut open = 0;
        for (id, conn) in &self.conns {
            for index in conn.bits.iter() {
                availability[index.as_usize()] += 1;
            }
            assert!(!conn.ours || conn.unanswered.is_empty());
            for index in conn.requests.keys() {
                assert!(self.owners[index].contains(id));
                assert!(conn.ours || conn.unanswered.contains(index));
                open += 1;
            }
            let promised = self.recalled.values().filter(|recall| recall.to == Some(*id)).count();
            assert_eq!(conn.promised, promised);
        }
        let counted: Vec<u32> =
            self.geometry.indexes().map(|index| self.availability.of(index)).collect();
        assert_eq!(availability, counted);
        assert_eq!(open, self.owners.values().map(Vec::len).sum::<usize>());
        let requested: Vec<PieceIndex> = self.requested.iter().collect();
        assert_eq!(requested, self.owners.keys().copied().collect::<Vec<_>>());
        assert!(self.owners.values().all(|owners| (1..=OWNERS_MAX).contains(&owners.len())));
        assert!(self.owners.keys().all(|index| !self.have.contains(*index)));
        for (index, recall) in &self.recalled {
            let owners = &self.owners[index];
            assert!(owners.contains(&recall.from));
            let to = recall.to;
            assert!(to.is_none() || owners.len() == 1, "what is on order twice is not moved");
            assert!(to.is_none_or(|to| !owners.contains(&to)));
        }
        assert!(self.contended.keys().all(|index| !self.have.contains(*index)));
    }

    /// What is waited for begins with what is missing.
    fn check_demands(&self) {
        for demand in self.demands.values() {
            let missing = |index: &u32| !self.have.contains(PieceIndex(*index));
            let first = demand.pieces.clone().find(missing).unwrap_or(demand.pieces.end);
            assert_eq!(demand.cursor, first, "{demand:?}");
        }
    }

    /// Whatever is to be done has something that will have it done.
    fn check_plans(&self, swarm: &Swarm, now: Time) {
        let config = &swarm.config;
        assert!(self.commit_at.is_none() || self.phase == Phase::Committing, "commits twice");
        assert!(!self.refresh_due || !self.is_final, "it has sums");
        let announces = self.wants_pieces() || self.phase == Phase::Complete && config.seed;
        assert!(!announces || self.announcer.is_planned(), "nothing announces it again");
        if !self.wants_pieces() {
            return;
        }
        // Pauses vary by a quarter.
        let soon = now + FAILED_ANNOUNCE_RETRY_MAX * 5 / 4;
        let is_planned = self.is_known() || self.announcer.is_planned_by(soon);
        assert!(is_planned, "its tracker does not know its hash for long");
        let rests = self.conns.values().map(|conn| conn.rest_until).chain([self.pause_until]);
        let rests = rests.filter(|until| *until > now);
        for until in rests.chain(self.contended.values().copied()) {
            assert!(self.wake.is_some_and(|wake| wake <= until), "nothing ends this pause");
        }
        if self.owners.is_empty() && self.wake.is_some_and(|wake| wake > now) {
            let idle = self.conns.iter().find(|(_, conn)| {
                now >= self.pause_until
                    && conn.has_room(now, self.typical_service, config)
                    && self.waits_for(conn)
            });
            assert!(idle.is_none(), "{:?} could be asked, and never is", idle.map(|(id, _)| id));
        }
    }

    /// Whether a connection has something to ask for.
    fn waits_for(&self, conn: &Conn) -> bool {
        self.demands.values().any(|demand| {
            let mut rest = conn.bits.iter_minus(&self.have, &self.requested);
            rest.any(|index| {
                demand.pieces.contains(&index.0) && !self.contended.contains_key(&index)
            })
        })
    }
}
