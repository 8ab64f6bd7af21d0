//! Which piece to ask of whom: of the peer that will answer soonest, the next one that it has,
//! unless it has one of those that follow soon that no other neighbour has; and now and then the
//! rarest of all.
//!
//! So a crowd has different pieces to pass on, those that joined late have some that the first
//! ones lack, and yet the whole is read and hashed as it comes, not after it.
//!
//! A message costs no walk over all pieces: the search looks at a bounded sample from a random
//! place on, 64 pieces at a step, and a connection that had nothing to offer is not searched again
//! until something changed.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{Bitfield, PieceIndex, Time};

use super::conn::Conn;
use super::dialer::REFRESH_INTERVAL;
use super::io::{CloseReason, ConnId, Output, PieceOutcome};
use super::limits::{CATCH_UP_MAX, CORRUPT_MAX, ERRORS_MAX, SAMPLE, STORAGE_FAILURES_MAX};
use super::torrent::{Cx, Demand, Phase, TICK, Torrent};
use crate::wire::Message;

/// Asking for pieces.
impl Torrent {
    /// Orders pieces until enough bytes are in flight or nobody has anything to offer.
    pub(super) fn fill(&mut self, cx: &mut Cx<'_>) {
        if !self.wants_pieces() || cx.now < self.pause_until {
            return;
        }
        self.tell_wants(cx);
        let mut room = self.room(cx);
        while room > 0 {
            let Some(id) = self.quickest(cx, |conn| !conn.dry) else {
                if self.conns.values().all(|conn| conn.dry) {
                    self.dialer.hungry_since = None;
                } else {
                    // There is something to ask for, and nobody with room to be asked.
                    self.dialer.hungry_since.get_or_insert(cx.now);
                }
                return;
            };
            if let Some(index) = self.pick(&self.conns[&id], cx.rng) {
                self.request(cx, id, index);
                room -= 1;
            } else if let Some(conn) = self.conns.get_mut(&id) {
                conn.dry = true;
            }
        }
        self.dialer.hungry_since = None;
    }

    pub(super) fn request(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        if self.owners.is_empty() {
            self.tick_at = cx.now + TICK;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.on_requested(cx.now, index);
        self.requested.set(index);
        self.owners.entry(index).or_default().push(id);
        let length = u32::try_from(self.geometry.len_of(index)).unwrap_or(u32::MAX);
        cx.send(id, Message::PieceRequest { index, offset: 0, length });
    }

    /// Takes a request back; whether it was open.
    pub(super) fn release(&mut self, id: ConnId, index: PieceIndex) -> bool {
        let was_open =
            self.conns.get_mut(&id).is_some_and(|conn| conn.requests.remove(&index).is_some());
        if !was_open {
            return false;
        }
        if self.recalled.get(&index).is_some_and(|recall| recall.from == id) {
            self.forget_recall(index);
        }
        if let Some(owners) = self.owners.get_mut(&index) {
            owners.retain(|owner| *owner != id);
            if owners.is_empty() {
                self.owners.remove(&index);
                self.requested.clear(index);
                for conn in self.conns.values_mut() {
                    conn.dry &= !conn.bits.contains(index);
                }
            }
        }
        true
    }

    /// The other side has answered a request, which may have been given up; whether that makes room
    /// for another one.
    fn note_answered(&mut self, id: ConnId, index: PieceIndex) -> bool {
        self.conns.get_mut(&id).is_some_and(|conn| conn.on_answered(index))
    }

    /// Takes a request back that another peer has answered. One that was silent meanwhile is asked
    /// for nothing as long as it may still be.
    fn release_unheard(&mut self, cx: &Cx<'_>, id: ConnId, index: PieceIndex) {
        let silent = |conn: &Conn| conn.silent_for(cx.now) >= cx.config.duplicate_after;
        if self.conns.get(&id).is_some_and(silent) {
            self.rest(cx, id, self.request_timeout(cx));
        }
        self.release(id, index);
    }

    /// Asks nothing of a peer for a while.
    pub(super) fn rest(&mut self, cx: &Cx<'_>, id: ConnId, pause: Duration) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.rest_until = cx.now + pause;
            self.plan_resume(cx.now);
        }
    }

    /// Plans to ask again when the next of those that rest has rested enough.
    pub(super) fn plan_resume(&mut self, now: Time) {
        let rests = self.conns.values().map(|conn| conn.rest_until).chain([self.pause_until]);
        let rests = rests.filter(|until| *until > now);
        // Pieces are asked for again only once this has been noted.
        self.resume_at = rests.chain(self.contended.values().copied()).min();
    }

    /// Another connection was writing a piece: nobody is asked for it for a while.
    fn on_duplicate(&mut self, cx: &mut Cx<'_>, index: PieceIndex) {
        self.count_vain(cx);
        if self.phase == Phase::Fetching && !self.have.contains(index) {
            self.contended.insert(index, cx.now + cx.config.duplicate_after);
            self.plan_resume(cx.now);
        }
    }

    fn count_vain(&mut self, cx: &mut Cx<'_>) {
        cx.counters.pieces_duplicate += 1;
        self.in_vain += 1;
    }

    /// Lets pieces be asked for again that have rested enough.
    pub(super) fn end_contention(&mut self, now: Time) {
        for (index, _) in self.contended.extract_if(.., |_, until| *until <= now) {
            for conn in self.conns.values_mut() {
                conn.dry &= !conn.bits.contains(index);
            }
        }
    }

    /// The disk refused a piece. What was on order when it refused the first one says no more about
    /// it; so it is one failure until the pause is over.
    fn on_storage_failed(&mut self, cx: &mut Cx<'_>) {
        if cx.now < self.pause_until {
            return;
        }
        self.storage_failures += 1;
        if self.storage_failures >= STORAGE_FAILURES_MAX {
            self.give_up(cx, "the disk refuses its pieces".into());
            return;
        }
        self.pause_until = cx.now + STORAGE_PAUSE;
        self.plan_resume(cx.now);
    }

    pub(super) fn advance_cursors(&mut self) {
        for demand in self.demands.values_mut() {
            while demand.cursor < demand.pieces.end && self.have.contains(PieceIndex(demand.cursor))
            {
                demand.cursor += 1;
            }
        }
    }

    /// How many more pieces may be put on order. What is open with silent peers does not count.
    pub(super) fn room(&self, cx: &Cx<'_>) -> u64 {
        let mut most = self.in_flight_max(cx);
        if self.have_count == 0 && !self.has_waited(cx.now) {
            most = most.min(FIRST_IN_FLIGHT);
        }
        let open: usize = self
            .conns
            .values()
            .filter(|conn| !conn.is_stale(cx.now))
            .map(|conn| conn.requests.len())
            .sum();
        most.saturating_sub(open as u64)
    }

    /// Whether what was asked for first should have come.
    fn has_waited(&self, now: Time) -> bool {
        let mut sent = self.conns.values().flat_map(|conn| conn.requests.values());
        sent.any(|sent| now.since(*sent) >= FIRST_WAIT)
    }

    /// How many pieces may be on order: its share of what all torrents may have.
    fn in_flight_max(&self, cx: &Cx<'_>) -> u64 {
        let piece_len = self.geometry.piece_len();
        let least = IN_FLIGHT_MIN.min(IN_FLIGHT_MIN_BYTES / piece_len);
        let of_all = (cx.config.in_flight_bytes / piece_len).max(least);
        (of_all / (cx.others_fetching as u64 + 1)).max(IN_FLIGHT_EACH_MIN)
    }

    pub(super) fn request_timeout(&self, cx: &Cx<'_>) -> Duration {
        let mib = self.geometry.piece_len() as f64 / f64::from(1 << 20);
        cx.config.request_timeout_per_mib.mul_f64(mib).max(cx.config.request_timeout_min)
    }

    /// Among the connections with room for a request that pass `filter`, the one with the smallest
    /// expected wait, those last of which nothing was heard; near ties are broken at random, so
    /// that neighbours do not all choose alike.
    pub(super) fn quickest(
        &self,
        cx: &mut Cx<'_>,
        filter: impl Fn(&Conn) -> bool,
    ) -> Option<ConnId> {
        let typical = self.typical_service;
        let mut best: Option<(f64, ConnId)> = None;
        for (&id, conn) in &self.conns {
            if !filter(conn) || !conn.has_room(cx.now, typical, cx.config) {
                continue;
            }
            let wait = conn.expected_wait(cx.now, typical);
            let wait = wait.max(conn.quiet_for(cx.now).as_secs_f64());
            let wait = wait * (1.0 + 0.1 * cx.rng.fraction());
            if best.is_none_or(|(least, _)| wait < least) {
                best = Some((wait, id));
            }
        }
        best.map(|(_, id)| id)
    }

    /// What to ask of this peer next: something near the beginning of what a reader waits for, or
    /// of what is missing of the whole; then the rarest of all that is waited for.
    fn pick(&self, conn: &Conn, rng: &mut Rng) -> Option<PieceIndex> {
        let whole = self.demands.values().find(|demand| demand.whole);
        let readers = self.demands.values().filter(|demand| !demand.whole);
        // One that waits for much must not be served before all others.
        let first = match readers.clone().count() {
            0 | 1 => 0,
            count => rng.below(count),
        };
        let mut in_turn = readers.clone().skip(first).chain(readers.take(first));
        let of_reader =
            in_turn.clone().find_map(|demand| self.pick_near(conn, demand, OF_READER, rng));
        if of_reader.is_some() {
            return of_reader;
        }
        let Some(whole) = whole else {
            return in_turn.find_map(|demand| self.pick_rarest(conn, demand.missing(), rng));
        };
        let window = self.window();
        let near = if self.bridge.is_some() || rng.below(FAR_EVERY) == 0 {
            None
        } else {
            self.pick_near(conn, whole, window, rng)
        };
        near.or_else(|| self.pick_rarest(conn, whole.missing(), rng))
    }

    /// Among how many of the next missing pieces of the whole lone ones are looked for.
    fn window(&self) -> u32 {
        let of_bytes = WINDOW_BYTES / self.geometry.piece_len();
        let most = u32::try_from(of_bytes).unwrap_or(WINDOW_MAX).clamp(OF_READER, WINDOW_MAX);
        (self.geometry.pieces() / WINDOW_SHARE).clamp(WINDOW_MIN, most)
    }

    /// Of the next `window` pieces of a demand that are wanted, one that only this peer has, rather
    /// one of the first; or else the first that it has.
    ///
    /// Rare pieces are what a crowd lives on, so who has some is asked for them; any more
    /// preference for rarity only delays the pieces that all have.
    fn pick_near(
        &self,
        conn: &Conn,
        demand: &Demand,
        window: u32,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let (mut seen, mut first) = (0, None);
        let (mut lone, mut lone_len) = ([PieceIndex(0); WINDOW_MAX as usize], 0);
        let _ = self.each_wanted(None, demand.missing(), |index| {
            seen += 1;
            if conn.bits.contains(index) {
                first.get_or_insert(index);
                if self.availability.of(index) <= 1 {
                    lone[lone_len] = index;
                    lone_len += 1;
                }
            }
            if seen < window { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let draw = rng.fraction();
        let place = (draw * draw * lone_len as f64) as usize;
        lone[..lone_len].get(place).copied().or(first)
    }

    fn pick_rarest(&self, conn: &Conn, run: Range<u32>, rng: &mut Rng) -> Option<PieceIndex> {
        if run.is_empty() {
            return None;
        }
        let middle = match self.bridge {
            Some(begin) => begin.clamp(run.start, run.end - 1),
            None => run.start + rng.below(run.len()) as u32,
        };
        let (mut seen, mut rarest) = (0, Rarest::default());
        for arc in [middle..run.end, run.start..middle] {
            let flow = self.each_wanted(Some(&conn.bits), arc, |index| {
                seen += 1;
                rarest.offer(index, self.availability.of(index), rng);
                if seen < SAMPLE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if flow.is_break() {
                break;
            }
        }
        rarest.index
    }

    /// Visits, in order, the pieces of a run that are neither here nor on order nor contended (and
    /// are in `among`).
    pub(super) fn each_wanted(
        &self,
        among: Option<&Bitfield>,
        run: Range<u32>,
        mut visit: impl FnMut(PieceIndex) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (have, requested) = (self.have.as_words(), self.requested.as_words());
        let mut at = run.start;
        while at < run.end {
            let word = (at / 64) as usize;
            let mut bits = among.map_or(u64::MAX, |among| among.as_words()[word]);
            bits &= !have[word] & !requested[word] & (u64::MAX << (at % 64));
            while bits != 0 {
                let index = (at & !63) + bits.trailing_zeros();
                if index >= run.end {
                    return ControlFlow::Continue(());
                }
                bits &= bits - 1;
                if !self.contended.contains_key(&PieceIndex(index)) {
                    visit(PieceIndex(index))?;
                }
            }
            at = (at & !63) + 64;
        }
        ControlFlow::Continue(())
    }

    /// Whether a reader waits for just this piece, or one of the next few.
    pub(super) fn is_urgent(&self, index: PieceIndex) -> bool {
        self.demands.values().any(|demand| {
            !demand.whole
                && (demand.cursor..demand.pieces.end.min(demand.cursor + URGENT)).contains(&index.0)
        })
    }
}

/// What comes of requests.
impl Torrent {
    /// The bytes of a piece came; `id` may be closed already.
    pub(super) fn on_piece(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        if !self.geometry.contains(index) {
            return;
        }
        self.note_answered(id, index);
        let in_time = self.release(id, index);
        match self.conns.get_mut(&id) {
            Some(conn) if in_time => {
                let seconds = conn.on_received(cx.now);
                self.typical_service += (seconds - self.typical_service) * TYPICAL_WEIGHT;
            }
            Some(conn) => conn.on_late(cx.now),
            None => {}
        }
        match outcome {
            PieceOutcome::Stored => self.on_stored(cx, id, index),
            PieceOutcome::Present => {
                self.count_vain(cx);
                self.on_present(cx, id, index);
            }
            PieceOutcome::Duplicate => self.on_duplicate(cx, index),
            PieceOutcome::Corrupt { lied } => {
                cx.counters.pieces_corrupt += 1;
                self.on_corrupt(cx, id, index, lied);
            }
            PieceOutcome::Unproven => self.on_unproven(cx, id, ERRORS_MAX),
            PieceOutcome::StorageFailed => self.on_storage_failed(cx),
        }
        if !self.gone {
            self.fill(cx);
        }
    }

    fn on_stored(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        if self.phase != Phase::Fetching || self.have.contains(index) {
            return;
        }
        let bytes = self.geometry.len_of(index);
        self.totals.pieces_received += 1;
        self.totals.bytes_received += bytes;
        let mut from_origin = false;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.pieces_received += 1;
            conn.active_at = cx.now;
            conn.unproven = 0;
            from_origin = conn.is_origin();
        }
        if from_origin {
            cx.counters.pieces_from_origins += 1;
            cx.counters.bytes_from_origins += bytes;
        } else {
            cx.counters.pieces_from_peers += 1;
            cx.counters.bytes_from_peers += bytes;
        }
        self.on_present(cx, id, index);
    }

    /// A piece is marked on disk; `id` has it too.
    fn on_present(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        self.learn(id, index);
        self.on_marked(cx, index);
    }

    /// A piece came another way than from a peer.
    pub(super) fn on_landed(&mut self, cx: &mut Cx<'_>, index: PieceIndex) {
        if self.geometry.contains(index) {
            self.on_marked(cx, index);
            self.tell_wants(cx);
        }
    }

    /// A piece is marked on disk.
    fn on_marked(&mut self, cx: &mut Cx<'_>, index: PieceIndex) {
        if self.phase != Phase::Fetching || !self.have.set(index) {
            return;
        }
        self.have_count += 1;
        self.contended.remove(&index);
        self.storage_failures = 0;
        self.stored_at = cx.now;
        self.active_at = cx.now;
        for other in self.owners.get(&index).cloned().unwrap_or_default() {
            self.release_unheard(cx, other, index);
            if self.conns.get(&other).is_some_and(|conn| conn.ours) {
                cx.send(other, Message::CancelPiece { index });
            }
        }
        if cx.config.seed {
            for (&other, conn) in &self.conns {
                if !conn.bits.contains(index) {
                    cx.send(other, Message::AnnouncePiece { index });
                }
            }
        }
        self.advance_cursors();
        if self.have_all() {
            self.commit(cx);
        }
    }

    /// The other side has a piece; whether that is news.
    pub(super) fn learn(&mut self, id: ConnId, index: PieceIndex) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        if !conn.bits.set(index) {
            return false;
        }
        conn.bits_count += 1;
        self.availability.add(index);
        true
    }

    /// The other side lacks a piece after all.
    fn unlearn(&mut self, id: ConnId, index: PieceIndex) {
        if let Some(conn) = self.conns.get_mut(&id)
            && conn.bits.clear(index)
        {
            conn.bits_count -= 1;
            self.availability.remove(index);
        }
    }

    fn on_corrupt(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex, lied: bool) {
        let Some(conn) = self.conns.get(&id) else { return };
        if self.is_final && conn.lacks_sums && !lied {
            // It may have got what it has in another attempt, and has nothing to tell it by.
            self.unlearn(id, index);
            self.on_unproven(cx, id, CORRUPT_MAX);
            return;
        }
        let peer_id = conn.peer_id;
        let times = self.dialer.count_corrupt(peer_id);
        if lied || times >= CORRUPT_MAX {
            cx.counters.bans += 1;
            self.dialer.ban(conn);
            let reason = if lied {
                CloseReason::Lied
            } else {
                CloseReason::Protocol(format!("{times} pieces failed their sums"))
            };
            self.expel(cx, id, reason);
        } else {
            // It is asked for other pieces, later: an accident on the way rarely comes alone.
            self.unlearn(id, index);
            self.rest(cx, id, CORRUPT_PAUSE);
        }
    }

    /// The other side refuses a request.
    pub(super) fn on_refused(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        let makes_room = self.note_answered(id, index);
        if !self.release(id, index) {
            if makes_room {
                self.fill(cx);
            }
            return;
        }
        self.unlearn(id, index);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.errors += 1;
        if conn.errors >= ERRORS_MAX {
            self.expel(cx, id, CloseReason::Protocol("refuses every request".into()));
        } else {
            self.fill(cx);
        }
    }

    /// The other side will not send a piece without sums since it has nothing that vouches for it.
    pub(super) fn on_unprovable(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        let makes_room = self.note_answered(id, index);
        let was_open = self.release(id, index);
        if was_open {
            self.on_unproven(cx, id, ERRORS_MAX);
        }
        if was_open || makes_room {
            self.fill(cx);
        }
    }

    /// Nothing that counts here vouches for what a peer has: it rests until there may be sums, and
    /// is let go, not banned, after so many times in a row.
    fn on_unproven(&mut self, cx: &mut Cx<'_>, id: ConnId, times_max: u32) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.rest_until = cx.now + REFRESH_INTERVAL;
        conn.unproven += 1;
        if conn.unproven >= times_max {
            self.expel(cx, id, CloseReason::Protocol("nothing vouches for its pieces".into()));
        } else {
            self.plan_resume(cx.now);
        }
        self.refresh(cx);
    }

    /// The other side announces a piece.
    pub(super) fn on_announced_piece(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        if !self.geometry.contains(index) {
            self.expel(cx, id, CloseReason::Protocol(format!("announces piece {index}")));
            return;
        }
        if !self.learn(id, index) || self.have.contains(index) {
            return;
        }
        if self.requested.contains(index) {
            self.reroute(cx, id, index);
            return;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.dry = false;
        }
        self.fill(cx);
    }

    /// The other side has the whole blob.
    pub(super) fn on_peer_complete(&mut self, cx: &mut Cx<'_>, id: ConnId) {
        if self.phase == Phase::Complete {
            self.close(cx, id, CloseReason::BothComplete);
            return;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            let all = Bitfield::full(self.geometry.pieces());
            let told = std::mem::replace(&mut conn.bits, all);
            self.availability.add_others(&told);
            conn.bits_count = conn.bits.len();
            conn.dry = false;
        }
        self.fill(cx);
    }

    /// A connection stands: its pieces count, and it may be asked.
    pub(super) fn attach(&mut self, cx: &mut Cx<'_>, id: ConnId, conn: Conn) {
        self.availability.add_all(&conn.bits);
        let lacks_sums = conn.lacks_sums;
        self.conns.insert(id, conn);
        self.active_at = cx.now;
        match (self.is_final, lacks_sums) {
            (true, true) => cx.send(id, Message::Final { info_hash: self.info_hash }),
            (false, false) => self.refresh(cx),
            _ => {}
        }
        self.fill(cx);
    }

    /// Tells a peer of the pieces that came while it was being dialled; `told` is what the
    /// handshake said.
    pub(super) fn catch_up(&self, cx: &mut Cx<'_>, id: ConnId, told: &Bitfield) {
        let Some(conn) = self.conns.get(&id) else { return };
        if !cx.config.seed {
            return;
        }
        for index in self.have.iter_minus(told, &conn.bits).take(CATCH_UP_MAX) {
            cx.out.push_back(Output::Send { conn: id, message: Message::AnnouncePiece { index } });
        }
    }
}

/// The rarest of the pieces offered; of equally rare ones each with the same chance.
#[derive(Default)]
struct Rarest {
    index: Option<PieceIndex>,
    count: u32,
    ties: u32,
}

impl Rarest {
    fn offer(&mut self, index: PieceIndex, count: u32, rng: &mut Rng) {
        if self.index.is_none() || count < self.count {
            *self = Self { index: Some(index), count, ties: 1 };
        } else if count == self.count {
            self.ties += 1;
            if rng.below(self.ties as usize) == 0 {
                self.index = Some(index);
            }
        }
    }
}

/// Keep at least so many pieces on order, over all torrents: with fewer some peers that could send
/// are not asked. On order with seven, eight leechers of pieces of 4 MiB took 5 % longer, sixteen
/// too. With 14 for each of two torrents pieces wait with busy peers that idle ones could send: the
/// slowest of 1,000 hosts took 6 % longer.
const IN_FLIGHT_MIN: u64 = 14;

/// But so many bytes are enough: with 14 pieces of 16 MiB the slowest of 300 hosts took 10 % longer
/// than with four.
const IN_FLIGHT_MIN_BYTES: u64 = 64 << 20;

/// And so many pieces of each torrent, however many there are.
const IN_FLIGHT_EACH_MIN: u64 = 4;

/// So many are on order before the first one has come: more stand in the lines of the few that have
/// any, of which neighbours soon have some.
const FIRST_IN_FLIGHT: u64 = 3;

/// But not for longer than this: on slow links all that have pieces are to send some.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// One request of so many is for the rarest piece of all: without those, hosts that joined late
/// have nothing for the ones before them, and of 500 that join within 10 s the slowest took 18 %
/// longer, with half as many 3 %.
const FAR_EVERY: usize = 10;

/// Lone ones are looked for among so many bytes of the next pieces: of 4 MiB, with 24 pieces the
/// slowest of 500 hosts took 5 % longer than with 64, with 32 3 %, with 128 as long; of 1 MiB, with
/// 64 the slowest of 300 whose one origin is as slow as they are took 3 % longer than with 256.
const WINDOW_BYTES: u64 = 256 << 20;

/// However small they are, among so many pieces at most.
const WINDOW_MAX: u32 = 256;

/// Of what a reader waits for, and however large pieces are, among so many.
const OF_READER: u32 = 64;

/// And among so many at least, however few there are: with less than 16 crowds of 8 to 32 leechers
/// took 3 to 7 % longer.
const WINDOW_MIN: u32 = 24;

/// A short blob is read and hashed as it comes too: no more of it is looked at.
const WINDOW_SHARE: u32 = 5;

/// So many pieces a reader waits for next are worth asking twice for.
const URGENT: u32 = 4;

/// How long a peer that sent a corrupt piece is not asked.
const CORRUPT_PAUSE: Duration = Duration::from_secs(1);

/// How long nothing is asked for after the disk refused a piece.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// Weight of the newest piece in the torrent's average.
const TYPICAL_WEIGHT: f64 = 0.1;
