//! A swarm's getters, and what is on order, against the model.

use std::collections::BTreeSet;

use kraken_core::{Digest, PieceIndex};

use super::event::Event;
use super::model::{Line, Model};
use super::outputs::Now;
use crate::limits::{PIECE_REQUESTS_QUEUED_MAX, REQUESTS_PER_CONN_MAX};
use crate::swarm::limits::{CATCH_UP_MAX, HASTENED_PER_TICK};
use crate::swarm::torrent::Phase;
use crate::swarm::upload::CANCELLED;
use crate::swarm::{ConnId, Swarm};
use crate::wire::Message;

impl Model {
    /// Compares the two after a call whose outputs have all been taken.
    pub(super) fn compare(&mut self, now: Now<'_>, swarm: &Swarm) {
        let step = &self.step;
        assert!(step.owed.is_empty(), "not answered: {:?}", step.owed);
        assert!(step.completes.is_empty() && step.discards.is_empty());
        assert!(step.finals.is_empty(), "not told of sums: {:?}", step.finals);
        assert!(step.announces.is_empty(), "unknown to its tracker: {:?}", step.announces);
        let open = step.must_close.iter().find(|conn| self.conns.contains_key(conn));
        assert_eq!(open, None, "is to be closed");
        assert!(swarm.torrents().eq(self.torrents.keys().copied()));
        let of_none = self.conns.values().find(|line| !self.torrents.contains_key(&line.torrent));
        assert!(of_none.is_none(), "{of_none:?}");
        self.lost_requests(now, swarm);
        for digest in swarm.torrents() {
            self.compare_torrent(now, swarm, &digest);
        }
        for (conn, line) in &self.conns {
            assert_eq!(swarm.torrent_of_conn(*conn), Some(line.torrent));
        }
        assert_eq!(swarm.counters(), self.counters);
        if let Some((digest, before)) = self.step.accepted {
            assert!(self.open_ids(&digest).count() <= before.max(now.config.accept_max));
        }
        let used = self.slots_used();
        assert_eq!(swarm.is_sending(), used > 0);
        let mut open = self.conns.values().filter_map(|line| line.open.as_ref());
        let waits = open.any(|open| open.sending.is_none() && !open.queue.is_empty());
        assert!(!waits || used >= now.config.upload_pieces_at_once, "a slot is free");
        let bans = swarm.blacklist(now.at).iter().filter(|ban| ban.remaining.is_none()).count();
        assert_eq!(bans, self.torrents.values().map(|known| known.bans.len()).sum::<usize>());
        if matches!(self.step.event, Some(Event::Timeout)) && self.step.hung_up.is_empty() {
            assert!(swarm.poll_timeout().is_none_or(|at| at > now.at), "the same again at once");
        }
        assert!(self.step.outputs <= self.outputs_max(), "{} outputs", self.step.outputs);
    }

    /// Forgets requests that were given up: those taken back, as the peer said, and so many as the
    /// swarm says have timed out, none of them too soon. In the eyes of a peer that knows no cancel
    /// they stay open.
    fn lost_requests(&mut self, now: Now<'_>, swarm: &Swarm) {
        let taken_back = match &self.step.event {
            Some(Event::Message(conn, Message::Error { index, code: CANCELLED, .. })) => {
                Some((*conn, *index))
            }
            _ => None,
        };
        let mut lost = 0;
        for (conn, line) in &mut self.conns {
            let Some(open) = &mut line.open else { continue };
            let there: BTreeSet<PieceIndex> =
                swarm.torrents[&line.torrent].conns[conn].requests.keys().copied().collect();
            assert!(there.is_subset(&open.requests), "{conn:?}: {there:?} of {:?}", open.requests);
            let released =
                taken_back.filter(|(of, index)| of == conn && open.taken_back.contains(index));
            let still = released.is_some_and(|(_, index)| there.contains(&index));
            assert!(!still, "{released:?} is on order although its peer has let go of it");
            open.taken_back.retain(|index| there.contains(index));
            let timeout = self.torrents[&line.torrent].timeout_min(now.config);
            let given_up = open.requests.difference(&there);
            for index in given_up.filter(|index| taken_back != Some((*conn, **index))) {
                let waited = now.at.since(open.asked_at[index].max(open.progress_at));
                assert!(waited > timeout, "{index} is given up after {waited:?} of {timeout:?}");
                lost += 1;
            }
            open.requests = there;
        }
        // Of connections that were closed because of it nothing is known any more.
        let timed_out = swarm.counters().requests_timed_out;
        let more = timed_out - self.counters.requests_timed_out;
        assert!(more >= lost, "{lost} requests are forgotten, {more} have timed out");
        assert!(more == 0 || matches!(self.step.event, Some(Event::Timeout)));
        self.counters.requests_timed_out = timed_out;
    }

    fn compare_torrent(&self, now: Now<'_>, swarm: &Swarm, digest: &Digest) {
        let (known, config) = (&self.torrents[digest], now.config);
        let snapshot = swarm.snapshot(digest).expect("a torrent that is here");
        assert_eq!(swarm.torrent_of(&known.info_hash), Some(*digest));
        assert_eq!(snapshot.info_hash, known.info_hash);
        assert_eq!(snapshot.pieces_have, known.have.count());
        assert_eq!(snapshot.complete, known.phase == Phase::Complete);
        assert!(known.phase != Phase::Fetching || !known.have.is_full(), "it is to be committed");
        assert_eq!((snapshot.pieces_received, snapshot.bytes_received), known.received);
        assert_eq!((snapshot.pieces_sent, snapshot.bytes_sent), known.sent);
        let of_it = self.conns.values().filter(|line| line.torrent == *digest);
        assert_eq!(snapshot.dialing, of_it.filter(|line| line.open.is_none()).count());
        assert!(snapshot.conns.iter().map(|conn| conn.conn).eq(self.open_ids(digest)));
        for conn in &snapshot.conns {
            let line = &self.conns[&conn.conn];
            let open = line.open.as_ref().expect("an open connection");
            assert_eq!(conn.peer_id, line.peer_id);
            assert_eq!((conn.origin, conn.dialed), (line.is_origin(), line.remote.is_ok()));
            assert_eq!(conn.pieces_have, open.bits.count());
            assert_eq!(conn.requests, open.requests.len());
            assert_eq!(swarm.torrents[digest].conns[&conn.conn].unanswered, open.unanswered);
            assert_eq!(conn.queued, open.queue.len());
            assert_eq!((conn.pieces_received, conn.pieces_sent), (open.received, open.sent));
            assert!(conn.queued <= PIECE_REQUESTS_QUEUED_MAX);
            let pipeline = match (open.ours, conn.origin) {
                (true, _) => config.pipeline_ours,
                (false, true) => config.pipeline_origin,
                (false, false) => config.pipeline_agent,
            };
            // One of ours was told of those that were given up.
            let at_peer = if open.ours { conn.requests } else { open.unanswered.len() };
            assert!(
                at_peer <= pipeline.min(REQUESTS_PER_CONN_MAX)
                    || !self.step.asked.contains(&conn.conn),
                "asks for too much at once"
            );
            if let Some(told) = &open.told {
                let untold = known.have.iter_minus(told, &open.bits).count();
                assert!(untold == 0 || known.have.count() as usize > CATCH_UP_MAX, "not told");
            }
        }
        self.compare_in_flight(now, swarm, digest);
    }

    /// No more is asked for than may be on order with peers that are not silent. What has been
    /// moved from one peer to another only changes hands, and what is hastened is so because the
    /// first one does not bring it. A torrent that begins in this step may do so after this one has
    /// asked.
    fn compare_in_flight(&self, now: Now<'_>, swarm: &Swarm, digest: &Digest) {
        let moved = matches!(
            self.step.event,
            Some(Event::Message(_, Message::Error { code: CANCELLED, .. }) | Event::Timeout)
        );
        if moved || !self.open_ids(digest).any(|conn| self.step.asked.contains(&conn)) {
            return;
        }
        let known = &self.torrents[digest];
        let torrent = &swarm.torrents[digest];
        let lively = torrent.conns.values().filter(|conn| !conn.is_stale(now.at));
        let in_flight: usize = lively.map(|conn| conn.requests.len()).sum();
        let fetching = self.fetching();
        let others = |of: &&Digest| *of != digest && self.step.fetching_before.contains(of);
        let sharing = 1 + fetching.iter().filter(others).count() as u64;
        let piece_len = known.geometry.piece_len();
        let of_all = (now.config.in_flight_bytes / piece_len).max(14.min((64 << 20) / piece_len));
        let most = (of_all / sharing).max(4);
        assert!(in_flight as u64 <= most, "{in_flight} pieces on order");
    }

    /// The torrents with pieces on order.
    pub(super) fn fetching(&self) -> BTreeSet<Digest> {
        let has_open = |line: &Line| line.open.as_ref().is_some_and(|it| !it.requests.is_empty());
        let fetch = |of: &&Digest| self.open_with(of).any(|(_, line)| has_open(line));
        self.torrents.keys().filter(fetch).copied().collect()
    }

    fn open_ids(&self, digest: &Digest) -> impl Iterator<Item = ConnId> {
        self.open_with(digest).map(|(conn, _)| conn)
    }

    /// More than this nothing makes a swarm do at once.
    fn outputs_max(&self) -> usize {
        let per_conn = 2 + PIECE_REQUESTS_QUEUED_MAX + 2 * REQUESTS_PER_CONN_MAX;
        let conns = self.conns.len() + self.step.conns_before;
        CATCH_UP_MAX + HASTENED_PER_TICK + self.torrents.len() * 4 + conns * per_conn
    }
}
