//! Requests that others would answer much sooner: those that still wait in the other side's line
//! are taken back and asked elsewhere; a piece whose peer has fallen silent is asked of another
//! too.
//!
//! A piece that is moved comes once: the other peer is asked only when the first one has said that
//! it will not send it. Asking twice costs a piece of traffic whenever both answer, so it is done
//! only where nothing else is left to ask for or a reader waits, and not for more than a small
//! share of the torrent.

use std::ops::ControlFlow;
use std::time::Duration;

use kraken_core::{PieceIndex, Time};

use super::conn::{Conn, PATIENCE};
use super::io::{CloseReason, ConnId};
use super::limits::{HASTENED_PER_TICK, OWNERS_MAX, TIMEOUTS_MAX, VAIN_MIN, VAIN_SHARE};
use super::torrent::{Cx, Torrent};
use crate::wire::Message;

/// A request that was taken back and whose answer has not come yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recall {
    /// Who was asked.
    pub(super) from: ConnId,
    /// Who is to be asked instead; nobody in particular once the answer took too long, or another
    /// peer was asked besides.
    pub(super) to: Option<ConnId>,
    at: Time,
}

impl Torrent {
    /// Takes up requests that are overdue: gives up those of silent peers, hastens what would come
    /// sooner from others.
    pub(super) fn chase(&mut self, cx: &mut Cx<'_>) {
        self.expire(cx);
        self.fill(cx);
        if !self.wants_pieces() || cx.now < self.pause_until {
            return;
        }
        // Peers that do not answer keep nobody from being asked for something else.
        let late = |at| cx.now.since(at) >= cx.config.duplicate_after;
        let late = self.recalled.iter().filter(|(_, recall)| late(recall.at));
        for index in late.map(|(index, _)| *index).collect::<Vec<_>>() {
            self.promise_to_nobody(index);
        }
        self.dial_one_more(cx);
        let (spare, ending) = (self.room(cx) > 0, self.is_ending());
        let slow: Vec<PieceIndex> = self
            .owners
            .iter()
            .filter(|(index, owners)| {
                (owners.len() == 1 || owners.len() < OWNERS_MAX && self.are_silent(cx, owners))
                    && !self.contended.contains_key(index)
            })
            .map(|(index, _)| *index)
            .collect();
        let mut hastened = 0;
        for index in slow {
            let urgent = self.is_urgent(index);
            if hastened < HASTENED_PER_TICK
                && (spare || urgent || self.is_with_stale(cx.now, index))
                && self.hasten(cx, index, ending || urgent)
            {
                hastened += 1;
            }
        }
    }

    /// Has a piece come from another peer if that promises to be much sooner; with `twice`, or if
    /// the first one does not even let go of it, from both. Whether anything was done.
    fn hasten(&mut self, cx: &mut Cx<'_>, index: PieceIndex, twice: bool) -> bool {
        let Some([before @ .., owner]) = self.owners.get(&index).map(Vec::as_slice) else {
            return false;
        };
        let (owner, is_first) = (*owner, before.is_empty());
        let Some(conn) = self.conns.get(&owner) else { return false };
        let Some(left) = conn.expected_left(cx.now, self.typical_service, index) else {
            return false;
        };
        let after = self.hasten_after(cx, conn, twice);
        let recalled = self.recalled.get(&index).filter(|recall| recall.from == owner);
        let recalled = recalled.map(|recall| recall.at);
        let since = recalled.or_else(|| conn.requests.get(&index).copied());
        if since.is_none_or(|since| cx.now.since(since) < after) {
            return false;
        }
        let (silent, queued) = (conn.silent_for(cx.now) >= after, conn.can_recall());
        let other = self
            .quickest(cx, |conn| conn.bits.contains(index) && !conn.requests.contains_key(&index));
        let Some(other) = other else { return false };
        let wait = self.conns[&other].expected_wait(cx.now, self.typical_service);
        if left < wait * 2.0 {
            return false;
        }
        if is_first && queued && recalled.is_none() && !(silent && twice) {
            self.recall(cx, owner, index, other);
            return true;
        }
        let hangs = silent && (recalled.is_some() || !is_first);
        if !(twice || hangs) || left < wait + after.as_secs_f64() || !self.may_double() {
            return false;
        }
        // The first may still let go of it.
        self.promise_to_nobody(index);
        self.request(cx, other, index);
        true
    }

    /// How long a piece may be on order, and how much time is to be won. At the end, and for
    /// readers, one that is on order with a peer no quicker than usual has the time that such a one
    /// may take: of 2,600 hosts of which some are ten times slower, those whose last piece was with
    /// one of these came 2 to 4 % sooner for it.
    fn hasten_after(&self, cx: &Cx<'_>, conn: &Conn, twice: bool) -> Duration {
        let (most, typical) = (cx.config.duplicate_after, self.typical_service);
        if !twice || !conn.may_be_slower(typical) {
            return most;
        }
        let few = Duration::try_from_secs_f64(typical * PATIENCE).unwrap_or(most);
        few.max(HASTEN_AFTER_MIN).min(most)
    }

    /// Whether nothing has come from any of these for a while.
    fn are_silent(&self, cx: &Cx<'_>, owners: &[ConnId]) -> bool {
        let silent = |conn: &Conn| conn.silent_for(cx.now) >= cx.config.duplicate_after;
        owners.iter().all(|owner| self.conns.get(owner).is_some_and(silent))
    }

    /// Whether a piece is on order with a peer that has been silent for long.
    fn is_with_stale(&self, now: Time, index: PieceIndex) -> bool {
        let owner = self.owners.get(&index).and_then(|owners| owners.first());
        owner.and_then(|owner| self.conns.get(owner)).is_some_and(|conn| conn.is_stale(now))
    }

    /// Whether nothing that anyone has is left to ask for.
    fn is_ending(&self) -> bool {
        self.demands.values().all(|demand| {
            let flow = self.each_wanted(None, demand.missing(), |index| {
                if self.availability.of(index) > 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            flow.is_continue()
        })
    }

    /// Whether one more piece may be asked of two peers: what came in vain so far, and what may
    /// still, is a small share of the torrent. Peers that hang send nothing in vain.
    fn may_double(&self) -> bool {
        let doubled = self.owners.values().filter(|owners| owners.len() > 1).count() as u64;
        let most = (u64::from(self.geometry.pieces()) / VAIN_SHARE).max(VAIN_MIN);
        self.in_vain + doubled < most
    }

    /// Asks the peer that just got a piece for it, instead of one with a long queue: an origin then
    /// sends it once, not to everyone who asked before anyone had it.
    pub(super) fn reroute(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        let [owner] = self.owners.get(&index).map_or(&[][..], Vec::as_slice) else { return };
        let (owner, typical) = (*owner, self.typical_service);
        let (Some(old), Some(new)) = (self.conns.get(&owner), self.conns.get(&id)) else { return };
        let wait = old.expected_wait(cx.now, typical);
        if old.can_recall()
            && !self.recalled.contains_key(&index)
            && new.has_room(cx.now, typical, cx.config)
            && new.expected_wait(cx.now, typical) * 2.0 <= wait
        {
            self.recall(cx, owner, index, id);
        }
    }

    /// Takes a request back, to ask `to` once the other side has said that it will not send it.
    fn recall(&mut self, cx: &mut Cx<'_>, owner: ConnId, index: PieceIndex, to: ConnId) {
        if let Some(conn) = self.conns.get_mut(&to) {
            conn.promised += 1;
        }
        self.recalled.insert(index, Recall { from: owner, to: Some(to), at: cx.now });
        cx.send(owner, Message::CancelPiece { index });
    }

    /// The other side will not send a piece that was taken back.
    pub(super) fn on_recalled(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        let to = match self.recalled.get(&index) {
            Some(recall) if recall.from == id => recall.to,
            // It was given up, or came from elsewhere.
            _ => return,
        };
        self.release(id, index);
        let able = |conn: &Conn| {
            conn.bits.contains(index) && conn.has_room(cx.now, self.typical_service, cx.config)
        };
        let to = to.filter(|to| self.conns.get(to).is_some_and(able));
        if let Some(to) = to
            && self.wants_pieces()
            && cx.now >= self.pause_until
        {
            self.request(cx, to, index);
        }
        self.fill(cx);
    }

    /// A request is no longer being taken back.
    pub(super) fn forget_recall(&mut self, index: PieceIndex) {
        self.promise_to_nobody(index);
        self.recalled.remove(&index);
    }

    /// Whoever was to be asked for a piece instead of the one it was taken back from no longer is.
    fn promise_to_nobody(&mut self, index: PieceIndex) {
        let to = self.recalled.get_mut(&index).and_then(|recall| recall.to.take());
        if let Some(conn) = to.and_then(|to| self.conns.get_mut(&to)) {
            conn.promised -= 1;
        }
    }

    /// Gives up requests of peers from which nothing came for too long.
    fn expire(&mut self, cx: &mut Cx<'_>) {
        let timeout = self.request_timeout(cx);
        let mut late = Vec::new();
        for (&id, conn) in &self.conns {
            for (&index, &sent) in &conn.requests {
                if conn.is_overdue(cx.now, sent, timeout) {
                    late.push((id, index));
                }
            }
        }
        let mut before = None;
        for (id, index) in late {
            self.release(id, index);
            cx.counters.requests_timed_out += 1;
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            if conn.ours {
                cx.send(id, Message::CancelPiece { index });
            }
            if before.replace(id) != Some(id) {
                conn.on_timed_out();
                self.rest(cx, id, timeout);
            }
        }
        self.close_hopeless(cx);
    }

    /// Has those peers time out that could not be asked for anything any more, since they know no
    /// cancel and do not answer what was given up. A request that is lost would block them for
    /// ever, and only the end of a connection is sure to empty its line; so they get the time that
    /// they would have if they were asked again, and are let go like others that do not answer.
    pub(super) fn expire_stuck(&mut self, cx: &mut Cx<'_>) {
        let (timeout, typical) = (self.request_timeout(cx), self.typical_service);
        let is_stuck = |conn: &Conn| conn.is_stuck(cx.now, typical, timeout, cx.config);
        let stuck = self.conns.iter().filter(|(_, conn)| is_stuck(conn));
        for id in stuck.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.on_timed_out();
            }
            self.rest(cx, id, timeout);
        }
        self.close_hopeless(cx);
    }

    fn close_hopeless(&mut self, cx: &mut Cx<'_>) {
        let hopeless: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.timeouts >= TIMEOUTS_MAX)
            .map(|(id, _)| *id)
            .collect();
        for id in hopeless {
            self.close(cx, id, CloseReason::Stalled);
            self.dial(cx);
        }
    }
}

/// The least a piece may be on order before another peer is asked for it too: a recall takes a way
/// there and back.
const HASTEN_AFTER_MIN: Duration = Duration::from_millis(100);
