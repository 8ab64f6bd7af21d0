//! Which pieces are on order with whom, and which are asked for next.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{Bitfield, PieceIndex, Time};

use super::config::PieceRequestPolicy;
use super::heap::Heap;
use crate::swarm::ConnId;

/// All requests of a torrent. One that was answered is forgotten, whoever answered it; one that
/// failed is kept until its piece comes or its peer goes.
#[derive(Debug)]
pub(super) struct Requests {
    timeout: Duration,
    policy: PieceRequestPolicy,
    /// How many were sent.
    sent: u64,
    /// Those that may be answered in time, the oldest first.
    open: VecDeque<Request>,
    /// Those that came to nothing. There may be many times as many as pieces: whoever sends a wrong
    /// one is asked again.
    failed: BTreeMap<PieceIndex, Vec<Request>>,
    /// Kept for their memory.
    heap: Heap,
    taken: Bitfield,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) piece: PieceIndex,
    pub(super) conn: ConnId,
    /// How many were sent before it.
    number: u64,
    sent_at: Time,
}

/// What one peer may be asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) conn: ConnId,
    /// Requests open with it at most.
    pub(super) pipeline: usize,
    /// Pieces it has…
    pub(super) theirs: &'a Bitfield,
    /// …and those that are here.
    pub(super) have: &'a Bitfield,
    /// Only this one.
    pub(super) only: Option<PieceIndex>,
    /// How many connected peers have each piece.
    pub(super) counts: &'a [i32],
    /// Also what others were asked for.
    pub(super) duplicates: bool,
}

impl Requests {
    pub(super) fn new(timeout: Duration, policy: PieceRequestPolicy, pieces: u32) -> Self {
        Self {
            timeout,
            policy,
            sent: 0,
            open: VecDeque::new(),
            failed: BTreeMap::new(),
            heap: Heap::default(),
            taken: Bitfield::new(pieces),
        }
    }

    /// How long a request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Picks pieces and puts them down as asked for.
    pub(super) fn reserve(&mut self, now: Time, ask: Ask<'_>, rng: &mut Rng) -> Vec<PieceIndex> {
        self.expire(now);
        let conn = ask.conn;
        let with_it = self.open.iter().filter(|request| request.conn == conn).count();
        let quota = ask.pipeline.saturating_sub(with_it);
        if quota == 0 {
            return Vec::new();
        }
        let blocks = |request: &&Request| !ask.duplicates || request.conn == conn;
        for request in self.open.iter().filter(blocks) {
            self.taken.set(request.piece);
        }
        let picked = match ask.only {
            Some(only) => {
                let may = ask.theirs.contains(only)
                    && !ask.have.contains(only)
                    && !self.taken.contains(only);
                may.then_some(only).into_iter().collect()
            }
            None => self.pick(quota, ask, rng),
        };
        for request in &self.open {
            self.taken.clear(request.piece);
        }
        for (&piece, number) in picked.iter().zip(self.sent..) {
            self.open.push_back(Request { piece, conn, number, sent_at: now });
        }
        self.sent += picked.len() as u64;
        picked
    }

    fn pick(&mut self, quota: usize, ask: Ask<'_>, rng: &mut Rng) -> Vec<PieceIndex> {
        let mut valid = ask.theirs.iter_minus(ask.have, &self.taken);
        match self.policy {
            PieceRequestPolicy::Default => at_random(quota, valid, rng),
            PieceRequestPolicy::RarestFirst => {
                if valid.next().is_none() {
                    return Vec::new();
                }
                drop(valid);
                self.rarest_first(quota, ask)
            }
        }
    }

    /// Those on order with others stand in the heap too: they have their part in who comes first
    /// of equals.
    fn rarest_first(&mut self, quota: usize, ask: Ask<'_>) -> Vec<PieceIndex> {
        self.heap.clear();
        for piece in ask.theirs.iter_minus(ask.have, ask.have) {
            self.heap.push(piece.0, ask.counts[piece.as_usize()]);
        }
        let mut picked = Vec::with_capacity(quota);
        while picked.len() < quota
            && let Some(piece) = self.heap.pop()
        {
            if !self.taken.contains(PieceIndex(piece)) {
                picked.push(PieceIndex(piece));
            }
        }
        picked
    }

    /// A piece is here: nobody's request for it matters any more.
    pub(super) fn clear(&mut self, piece: PieceIndex) {
        self.open.retain(|request| request.piece != piece);
        self.failed.remove(&piece);
    }

    /// A peer is gone. Of a piece that was asked of it twice the later request stays behind.
    pub(super) fn clear_peer(&mut self, conn: ConnId) {
        // One that came to nothing is older than any that is open.
        let mut cleared: Vec<PieceIndex> = Vec::new();
        self.failed.retain(|piece, requests| {
            let theirs = requests.iter().enumerate().filter(|(_, request)| request.conn == conn);
            if let Some((first, _)) = theirs.min_by_key(|(_, request)| request.number) {
                requests.swap_remove(first);
                cleared.push(*piece);
            }
            !requests.is_empty()
        });
        cleared.sort_unstable();
        self.open.retain(|request| {
            if request.conn != conn {
                return true;
            }
            match cleared.binary_search(&request.piece) {
                Ok(_) => true,
                Err(at) => {
                    cleared.insert(at, request.piece);
                    false
                }
            }
        });
    }

    /// A peer could not serve a request, or did it wrongly.
    pub(super) fn mark_invalid(&mut self, conn: ConnId, piece: PieceIndex) {
        let failed = &mut self.failed;
        self.open.retain(|request| {
            let is_it = request.conn == conn && request.piece == piece;
            if is_it {
                failed.entry(piece).or_default().push(*request);
            }
            !is_it
        });
    }

    /// Requests that came to nothing, the oldest first.
    pub(super) fn failed(&mut self, now: Time) -> Vec<Request> {
        self.expire(now);
        let mut failed: Vec<Request> = self.failed.values().flatten().copied().collect();
        failed.sort_unstable_by_key(|request| request.number);
        failed
    }

    /// Puts those aside whose time is up.
    fn expire(&mut self, now: Time) {
        while let Some(request) = self.open.pop_front_if(|it| it.sent_at + self.timeout < now) {
            self.failed.entry(request.piece).or_default().push(request);
        }
    }

    #[cfg(test)]
    pub(super) fn open_with(&mut self, now: Time, conn: ConnId) -> usize {
        self.expire(now);
        self.open.iter().filter(|request| request.conn == conn).count()
    }
}

/// A sample from a reservoir. As in uber/kraken the place to be replaced is drawn from as many as
/// came *before*, so that the first one that finds the reservoir full always gets a place.
fn at_random(
    quota: usize,
    valid: impl Iterator<Item = PieceIndex>,
    rng: &mut Rng,
) -> Vec<PieceIndex> {
    let mut picked = Vec::with_capacity(quota);
    for (before, piece) in valid.enumerate() {
        if picked.len() < quota {
            picked.push(piece);
        } else if let Some(place) = picked.get_mut(rng.below(before)) {
            *place = piece;
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(16);

    struct Table {
        requests: Requests,
        theirs: Bitfield,
        have: Bitfield,
        counts: Vec<i32>,
        rng: Rng,
    }

    impl Table {
        fn new(policy: PieceRequestPolicy, pieces: u32) -> Self {
            Self {
                requests: Requests::new(TIMEOUT, policy, pieces),
                theirs: Bitfield::full(pieces),
                have: Bitfield::new(pieces),
                counts: vec![1; pieces as usize],
                rng: Rng::new(1),
            }
        }

        fn ask(&mut self, secs: u64, conn: u64, pipeline: usize, duplicates: bool) -> Vec<u32> {
            let ask = Ask {
                conn: ConnId(conn),
                pipeline,
                theirs: &self.theirs,
                have: &self.have,
                only: None,
                counts: &self.counts,
                duplicates,
            };
            let now = Time::from_millis(secs * 1000);
            let picked = self.requests.reserve(now, ask, &mut self.rng);
            picked.iter().map(|piece| piece.0).collect()
        }
    }

    #[test]
    fn every_agent_asks_for_the_same_pieces_first() {
        let mut table = Table::new(PieceRequestPolicy::RarestFirst, 384);
        assert_eq!(table.ask(0, 1, 5, false), [0, 383, 382, 381, 380]);
        assert_eq!(table.ask(0, 1, 5, false), [] as [u32; 0]);
        assert_eq!(table.ask(0, 2, 3, false), [379, 378, 377]);
        table.counts[7] = 0;
        assert_eq!(table.ask(0, 3, 1, false), [7]);
    }

    #[test]
    fn a_request_counts_until_its_time_is_up() {
        let mut table = Table::new(PieceRequestPolicy::RarestFirst, 3);
        assert_eq!(table.ask(0, 1, 3, false), [0, 2, 1]);
        assert_eq!(table.ask(16, 2, 3, false), [] as [u32; 0]);
        assert_eq!(table.requests.failed(Time::from_millis(16_000)), []);
        assert_eq!(table.requests.failed(Time::from_millis(16_001)).len(), 3);
        assert_eq!(table.ask(17, 1, 3, false), [0, 2, 1]);
        assert_eq!(table.ask(18, 2, 1, true), [0]);
        assert_eq!(table.ask(18, 2, 3, true), [2, 1]);
        table.requests.clear(PieceIndex(2));
        assert_eq!(table.requests.failed(Time::from_millis(18_000)).len(), 2);
    }

    #[test]
    fn of_a_peer_that_goes_the_first_request_for_each_piece_is_forgotten() {
        let mut table = Table::new(PieceRequestPolicy::RarestFirst, 2);
        assert_eq!(table.ask(0, 1, 2, false), [0, 1]);
        assert_eq!(table.ask(17, 1, 1, false), [0]);
        table.requests.clear_peer(ConnId(1));
        assert_eq!(table.requests.open_with(Time::from_millis(17_000), ConnId(1)), 1);
        assert_eq!(table.ask(17, 2, 2, false), [1]);
    }

    #[test]
    fn what_a_peer_refused_is_asked_for_again() {
        let mut table = Table::new(PieceRequestPolicy::RarestFirst, 1);
        assert_eq!(table.ask(0, 1, 1, false), [0]);
        table.requests.mark_invalid(ConnId(1), PieceIndex(0));
        assert_eq!(table.requests.failed(Time::ZERO).len(), 1);
        assert_eq!(table.ask(0, 1, 1, false), [0]);
    }

    #[test]
    fn random_picks_are_spread_and_the_piece_after_the_first_is_always_taken() {
        let mut hits = [0u32; 8];
        let mut first_two = [0u32; 8];
        for seed in 0..4000 {
            let mut table = Table::new(PieceRequestPolicy::Default, 8);
            table.rng = Rng::new(seed);
            for piece in table.ask(0, 1, 1, false) {
                hits[piece as usize] += 1;
            }
            table.theirs = Bitfield::new(8);
            table.theirs.set(PieceIndex(0));
            table.theirs.set(PieceIndex(1));
            table.requests.clear_peer(ConnId(1));
            first_two[table.ask(0, 1, 1, false)[0] as usize] += 1;
        }
        assert_eq!(first_two[..2], [0, 4000]);
        assert_eq!(hits[0], 0);
        assert!(hits[1..].iter().all(|hits| (450..700).contains(hits)), "{hits:?}");
    }
}
