//! Bytes on links: the pieces a host sends at once take turns on its uplink, slice by slice, each
//! as far ahead of its receiver as a connection's window lets it; a downlink takes slices as they
//! come.

use super::engine::{Simulation, nanos};
use super::queue::Event;
use super::rate::Span;
use super::storms::Cause;
use super::world::{Host, NEVER, Nanos, Queued, Uplink};
use crate::node::limits::{PROGRESS_EVERY, SEND_SILENCE_MAX, STALL_AFTER};

/// Sending.
impl Simulation {
    /// A host sends a piece over a connection, after what is going out there.
    pub(super) fn send_piece(&mut self, end: u32, index: u32) {
        self.note_piece_to_send(end, index);
        let it = &mut self.ends[end as usize];
        if it.sending.is_some() {
            it.queue.push_back(Queued::Piece(index));
        } else {
            self.begin_piece(end, index);
        }
    }

    pub(super) fn begin_piece(&mut self, end: u32, index: u32) {
        let it = &mut self.ends[end as usize];
        let blob = self.copies[it.copy as usize].blob;
        it.piece_len = self.blobs[blob as usize].len_of(index);
        it.sending = Some((index, it.piece_len));
        it.stalled = false;
        let host = it.host;
        let up = &mut self.hosts[host as usize].up;
        up.ready.push_back(end);
        up.pieces += 1;
        self.note_pieces_at_once(host);
        self.next_slice(host);
    }

    /// Lets the next flow send a slice, unless one is going out.
    pub(super) fn next_slice(&mut self, host: u32) {
        let now = self.now;
        let it = &mut self.hosts[host as usize];
        if it.up.current.is_some() || it.hung {
            return;
        }
        it.up.unblock(now);
        while let Some(end) = self.hosts[host as usize].up.ready.pop_front() {
            let window = self.window_of(end);
            let Some(len) = self.next_len(end) else { continue };
            let flow = &mut self.ends[end as usize];
            flow.note_taken(now);
            let at = if fits(flow.in_flight, len, window) {
                let (from, to) = self.zones_of(end);
                if self.zones.enter(from, to, end, len) {
                    let flow = &mut self.ends[end as usize];
                    (flow.blocked_at, flow.stall_at) = (None, NEVER);
                    let stretch = self.stretch();
                    let Host { up, tally, .. } = &mut self.hosts[host as usize];
                    tally.up.begin(now);
                    let span = up.pipe.put(now, len, stretch);
                    up.current = Some((end, len, span));
                    self.queue.push(span.end, Event::SliceLeft { host });
                    return;
                }
                NEVER
            } else {
                flow.free_at(len, window)
            };
            self.hosts[host as usize].up.blocked.push((at, end));
            self.plan_stall(end, len, at);
        }
        let up = &mut self.hosts[host as usize].up;
        let wake = up.blocked.iter().map(|(at, _)| *at).min().unwrap_or(NEVER);
        if wake < up.wake_at {
            up.wake_at = wake;
            self.queue.push(wake, Event::UplinkWake { host });
        }
    }

    /// Bytes of the next slice of a flow, if there is more of its piece.
    fn next_len(&self, end: u32) -> Option<u64> {
        let flow = &self.ends[end as usize];
        let (_, left) = flow.sending?;
        let slice_out = self.hosts[flow.host as usize].up.slice_len;
        if slice_out == u64::MAX {
            return Some(left);
        }
        let receiver = &self.hosts[self.ends[(end ^ 1) as usize].host as usize];
        let (from, to) = self.zones_of(end);
        let across = self.zones.slice_len(from, to).unwrap_or(u64::MAX);
        Some(left.min(slice_out).min(receiver.slice_in).min(across))
    }

    /// A flow cannot send a slice before `at`. The node's writer sees that its socket takes nothing
    /// for a while; one that takes the slice in smaller portions has seen progress in between. That
    /// is planned once, however often the flow finds that it must wait on.
    fn plan_stall(&mut self, end: u32, len: u64, at: Nanos) {
        let now = self.now;
        let flow = &mut self.ends[end as usize];
        let since = *flow.blocked_at.get_or_insert(now);
        if flow.stall_at < NEVER {
            return;
        }
        let silence = if flow.stalled { SEND_SILENCE_MAX } else { STALL_AFTER };
        let receiver = &self.hosts[self.ends[(end ^ 1) as usize].host as usize];
        let portions = if receiver.hung { 1 } else { len.div_ceil(PORTION) };
        let from = since + nanos(silence) * portions;
        if at > from {
            self.ends[end as usize].stall_at = from;
            self.queue.push(from.max(now), Event::Stalled { end });
        }
    }

    pub(super) fn on_uplink_wake(&mut self, host: u32) {
        let up = &mut self.hosts[host as usize].up;
        if up.wake_at == self.now {
            up.wake_at = NEVER;
            self.next_slice(host);
        }
    }

    pub(super) fn on_slice_left(&mut self, host: u32) {
        let up = &mut self.hosts[host as usize].up;
        let Some((end, len, span)) = up.current else { return };
        if span.end != self.now {
            return;
        }
        up.current = None;
        let flow = &mut self.ends[end as usize];
        // Without a piece the connection was closed meanwhile.
        let Some((index, left)) = flow.sending else {
            self.leave_zones(end, len);
            self.next_slice(host);
            return;
        };
        let left = left - len;
        flow.sending = (left > 0).then_some((index, left));
        up.sent += len;
        self.note_sent(end, len);
        self.pass_on(end, index, len, left, span);
        let up = &mut self.hosts[host as usize].up;
        if left > 0 {
            up.ready.push_back(end);
            self.next_slice(host);
            return;
        }
        up.pieces -= usize::from(!self.ends[end as usize].stalled);
        let tally = &mut self.hosts[host as usize].tally;
        tally.pieces_sent += 1;
        tally.bytes_sent_whole += self.ends[end as usize].piece_len;
        self.write_on(end);
        self.next_slice(host);
        let conn = self.ends[end as usize].conn;
        let index = kraken_core::PieceIndex(index);
        self.call_for(host, Cause::Piece, |peer, now| {
            peer.handle_piece_sent(now, conn, index, Ok(()));
        });
    }

    /// A slice is on its way: across a link between zones, if there is one.
    fn pass_on(&mut self, end: u32, index: u32, len: u64, left: u64, span: Span) {
        let (from, to) = self.zones_of(end);
        let stretch = self.stretch();
        if let Some(across) = self.zones.cross(self.now, from, to, len, stretch) {
            self.check_zone_link(end, across.end, len);
            let flow = &mut self.ends[end as usize];
            flow.on_way(NEVER, len);
            flow.last_taken = flow.last_taken.max(across.end);
            let took = u32::try_from(across.end - across.begin).unwrap_or(u32::MAX);
            let (len, left) = (len as u32, left as u32);
            self.queue.push(across.end, Event::Crossed { end, index, len, left, took });
        } else {
            let known_at = self.receive(end, index, len, left, span);
            self.ends[end as usize].on_way(known_at, len);
        }
    }

    pub(super) fn on_crossed(&mut self, end: u32, index: u32, len: u32, left: u32, took: u32) {
        self.leave_zones(end, u64::from(len));
        let span = Span::until(self.now, u64::from(took));
        let known_at = self.receive(end, index, u64::from(len), u64::from(left), span);
        let flow = &mut self.ends[end as usize];
        if let Some(slice) = flow.taken.iter_mut().find(|(at, _)| *at == NEVER) {
            slice.0 = known_at;
        }
        let host = flow.host;
        let Some(len) = self.next_len(end) else { return };
        let window = self.window_of(end);
        let flow = &self.ends[end as usize];
        let up = &mut self.hosts[host as usize].up;
        if let Some(blocked) = up.blocked.iter_mut().find(|(_, blocked)| *blocked == end) {
            blocked.0 = flow.free_at(len, window);
            self.next_slice(host);
        }
    }

    /// A slice has left the link between two zones, or will never come there: who waits for room
    /// on it may go on.
    fn leave_zones(&mut self, end: u32, len: u64) {
        let (from, to) = self.zones_of(end);
        self.zones.leave(from, to, len);
        // One that finds no room after all stands at the end of the line again.
        for _ in 0..self.zones.waiting(from, to) {
            let Some(next) = self.zones.next_waiting(from, to, len) else { return };
            let host = self.ends[next as usize].host;
            let up = &mut self.hosts[host as usize].up;
            if let Some(blocked) = up.blocked.iter_mut().find(|(_, flow)| *flow == next) {
                blocked.0 = self.now;
                self.next_slice(host);
            }
        }
    }

    /// The slice that is going out of a host never will.
    pub(super) fn drop_current(&mut self, host: u32) {
        if let Some((end, len, _)) = self.hosts[host as usize].up.current.take() {
            self.leave_zones(end, len);
        }
    }

    fn window_of(&self, end: u32) -> u64 {
        self.hosts[self.ends[(end ^ 1) as usize].host as usize].window
    }

    pub(super) fn zones_of(&self, end: u32) -> (usize, usize) {
        if self.zones.is_one() {
            return (0, 0);
        }
        let (it, other) = (&self.ends[end as usize], &self.ends[(end ^ 1) as usize]);
        (self.hosts[it.host as usize].zone, self.hosts[other.host as usize].zone)
    }
}

/// Receiving.
impl Simulation {
    /// The other side's downlink takes a slice, which left in that time; when this one knows of it.
    fn receive(&mut self, end: u32, index: u32, len: u64, left: u64, span: Span) -> Nanos {
        let other = end ^ 1;
        let (from, to) = self.zones_of(end);
        let latency = self.zones.latency(from, to);
        let arrives = self.now + latency;
        let stretch = self.stretch();
        let it = &mut self.ends[other as usize];
        if !it.open {
            self.tally.bytes_wasted += len;
            return arrives + latency;
        }
        let host = &mut self.hosts[it.host as usize];
        if host.hung {
            self.ends[end as usize].last_taken = NEVER;
            return NEVER;
        }
        host.tally.fetched.count_slice();
        let coming = span.later(latency);
        let taken = host.down.pass(coming, len, stretch).end;
        it.unreported += len;
        it.got_at = taken;
        if left == 0 {
            let works = self.scenario.network.piece_time.as_nanos() as f64 * stretch;
            self.queue.push(taken + works as Nanos, Event::Piece { end: other, index });
        } else if taken >= it.reported_at + nanos(PROGRESS_EVERY) {
            it.reported_at = taken;
            let bytes = std::mem::take(&mut it.unreported) as u32;
            self.queue.push(taken, Event::Progress { end: other, index, bytes });
        }
        let (host, copy) = (it.host, it.copy);
        self.note_taken_in(host, coming.begin, taken, len);
        let flow = &mut self.ends[end as usize];
        flow.last_taken = flow.last_taken.max(taken);
        // One that crosses a link between zones may be followed by a shorter one by now.
        if left + len >= flow.piece_len {
            self.lease(copy, other, index);
        }
        taken + latency
    }

    /// The first bytes of a piece have come: its connection writes it, unless another one does that
    /// has not been silent for long.
    fn lease(&mut self, copy: u32, end: u32, index: u32) {
        let now = self.now;
        let copy = &mut self.copies[copy as usize];
        match copy.leases.iter_mut().find(|(leased, _)| *leased == index) {
            None => copy.leases.push((index, end)),
            Some((_, writer)) => {
                if now > self.ends[*writer as usize].got_at + nanos(STALL_AFTER) {
                    *writer = end;
                }
            }
        }
    }

    pub(super) fn on_progress(&mut self, end: u32, index: u32, bytes: u32) {
        let it = &mut self.ends[end as usize];
        if it.open {
            let (host, conn) = (it.host, it.conn);
            self.note_alive(end);
            self.note_progress(end, index);
            self.call_for(host, Cause::Bounded, |peer, now| {
                peer.handle_piece_progress(now, conn, u64::from(bytes));
            });
        }
    }
}

impl super::world::End {
    fn on_way(&mut self, known_at: Nanos, len: u64) {
        self.taken.push_back((known_at, len));
        self.in_flight += len;
    }

    /// Forgets slices that were taken.
    fn note_taken(&mut self, now: Nanos) {
        while let Some(&(at, len)) = self.taken.front()
            && at <= now
        {
            self.taken.pop_front();
            self.in_flight -= len;
        }
    }

    /// When so many more bytes may be on the way. What was sent to one that has gone is known of
    /// sooner, perhaps, than what was sent before it, but not forgotten sooner.
    fn free_at(&self, len: u64, window: u64) -> Nanos {
        let (mut in_flight, mut known_at) = (self.in_flight, 0);
        for &(at, taken) in &self.taken {
            in_flight -= taken;
            known_at = at.max(known_at);
            if fits(in_flight, len, window) {
                return known_at;
            }
        }
        NEVER
    }
}

impl Uplink {
    /// Puts flows that may go on behind those that can.
    fn unblock(&mut self, now: Nanos) {
        let ready = &mut self.ready;
        self.blocked.retain(|(at, end)| {
            if *at <= now {
                ready.push_back(*end);
            }
            *at > now
        });
    }

    /// A flow has ended before its piece.
    pub(super) fn drop_flow(&mut self, end: u32, stalled: bool) {
        self.ready.retain(|flow| *flow != end);
        self.blocked.retain(|(_, flow)| *flow != end);
        self.pieces -= usize::from(!stalled);
    }

    /// Nothing goes out any more.
    pub(super) fn stop(&mut self) {
        self.current = None;
        self.ready.clear();
        self.blocked.clear();
        self.wake_at = NEVER;
        self.pieces = 0;
        self.sent = 0;
    }
}

/// Whether so many more bytes may be on the way. A piece that goes out whole may follow another one
/// that is longer than a window: of a stream of bytes no part waits for the end of what is before.
fn fits(in_flight: u64, len: u64, window: u64) -> bool {
    in_flight == 0 || in_flight + len <= window.max(2 * len)
}

/// Bytes that a connection which is slow, but not stalled, takes at once: as many may wait unsent
/// in the node's sockets.
const PORTION: u64 = 64 << 10;
