//! Connections: how they come to be, what is said over them, how they end.

use kraken_core::rng::Rng;
use kraken_core::{PeerInfo, Time};

use super::engine::Simulation;
use super::queue::{Arrival, DialFailed, Event};
use super::storms::Cause;
use super::world::{End, NEVER, Nanos, Queued, host_of, ip};
use crate::node::limits::{SEND_SILENCE_MAX, STALL_AFTER};
use crate::swarm::{CloseReason, ConnId, Refused};
use crate::wire::{Handshake, Message};

/// Making them.
impl Simulation {
    /// Connects (a round trip) and sends the handshake.
    pub(super) fn dial(
        &mut self,
        host: u32,
        conn: ConnId,
        peer: &PeerInfo,
        handshake: Box<Handshake>,
    ) {
        let to = host_of(&peer.ip).filter(|to| (*to as usize) < self.hosts.len());
        let copy = self.copy_of(host, &handshake.digest);
        if !self.note_conn_id(host, conn) {
            return;
        }
        let it = &mut self.hosts[host as usize];
        it.tally.dials += 1;
        it.dials.insert(conn, copy);
        let life = it.life;
        self.count_dial(host);
        let (Some(to), Some(copy)) = (to, copy) else {
            self.fail_dial(self.zones.usual_latency(), host, conn, "no such host or blob");
            return;
        };
        self.check_contact(copy, to, true);
        self.note_dial(host, copy);
        let it = &self.hosts[host as usize];
        let latency = self.zones.latency(it.zone, self.hosts[to as usize].zone);
        let arrival = Arrival { from: host, life, conn, copy, to, handshake };
        self.queue.push(self.now + 3 * latency, Event::Arrive(Box::new(arrival)));
    }

    fn fail_dial(&mut self, after: Nanos, host: u32, conn: ConnId, text: &str) {
        let life = self.hosts[host as usize].life;
        let reason = CloseReason::HandshakeFailed(text.to_owned());
        let failed = DialFailed { host, life, conn, reason };
        self.queue.push(self.now + after, Event::DialFailed(Box::new(failed)));
    }

    pub(super) fn on_arrival(&mut self, arrival: &Arrival) {
        let &Arrival { from, life, conn, copy, to, ref handshake } = arrival;
        if self.hosts[from as usize].life != life {
            return;
        }
        let it = &self.hosts[to as usize];
        let latency = self.zones.latency(it.zone, self.hosts[from as usize].zone);
        if it.hung {
            self.fail_dial(HANDSHAKE_TIMEOUT, from, conn, "no handshake in time");
            return;
        }
        if it.peer.is_none() {
            self.fail_dial(latency, from, conn, "connection refused");
            return;
        }
        let theirs = self.copy_of(to, &handshake.digest);
        let mut opened = None;
        match (self.answer_to(from, to, theirs, handshake), theirs) {
            (Ok((accepted, _)), _) if !self.note_conn_id(to, accepted) => {
                self.fail_dial(latency, from, conn, "its id was used before");
            }
            (Ok((accepted, reply)), Some(theirs)) => {
                self.check_contact(theirs, from, false);
                let end = self.ends.len() as u32;
                self.ends.push(End::new(from, copy, conn, life));
                self.ends.push(End::new(to, theirs, accepted, self.hosts[to as usize].life));
                self.hosts[to as usize].tally.accepted += 1;
                self.open(end + 1, handshake);
                opened = Some(end + 1);
                let reply = Box::new(reply);
                self.queue.push(self.now + latency, Event::Dialed { end, reply });
            }
            (Ok(_), None) => self.fail_dial(latency, from, conn, "not found"),
            (Err(refused), _) => {
                self.hosts[to as usize].tally.refused += 1;
                self.tally.count_refused(&refused);
                self.fail_dial(latency, from, conn, "closed by the peer");
            }
        }
        self.count_call(to, Cause::Contact);
        self.drain(to);
        if let Some(end) = opened {
            self.check_conns(end);
        }
    }

    /// What a host answers to a handshake. As in the node, a torrent that its peer has forgotten is
    /// looked up on disk.
    fn answer_to(
        &mut self,
        from: u32,
        to: u32,
        theirs: Option<u32>,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        let (now, ip) = (Time::from_nanos(self.now), ip(from));
        let it = &mut self.hosts[to as usize];
        let Some(peer) = it.peer.as_deref_mut() else { return Err(Refused::UnknownTorrent) };
        let answer = peer.handle_incoming(now, ip, handshake);
        let Some(copy) = theirs.map(|theirs| &self.copies[theirs as usize]) else { return answer };
        if answer != Err(Refused::UnknownTorrent) || !copy.complete {
            return answer;
        }
        it.tally.refused += 1;
        let spec = self.blobs[copy.blob as usize].spec(copy);
        match peer.add_torrent(now, spec) {
            Ok(()) => peer.handle_incoming(now, ip, handshake),
            Err(_) => answer,
        }
    }

    pub(super) fn on_dialed(&mut self, end: u32, reply: Handshake) {
        let it = &self.ends[end as usize];
        let (host, conn) = (it.host, it.conn);
        let dialer = &mut self.hosts[host as usize];
        let wanted = dialer.life == it.life && dialer.dials.remove(&conn).is_some();
        if !wanted || dialer.hung {
            // Nobody's any more; or nobody takes it up, and the other side finds out in time.
            if !dialer.hung {
                self.send_end(end);
            }
            return;
        }
        self.open(end, &reply);
        if let Some(life) = self.scenario.network.conn_life {
            let until = exponential(&mut self.rng) * life.as_secs_f64() * 1e9;
            self.queue.push(self.now + until as Nanos, Event::Break { end });
        }
        self.call_for(host, Cause::Contact, |peer, now| peer.handle_dialed(now, conn, Ok(reply)));
        self.check_conns(end);
    }

    pub(super) fn on_dial_failed(&mut self, failed: DialFailed) {
        let DialFailed { host, life, conn, reason } = failed;
        let it = &mut self.hosts[host as usize];
        if it.life != life || it.dials.remove(&conn).is_none() {
            return;
        }
        self.call_for(host, Cause::Contact, |peer, now| peer.handle_dialed(now, conn, Err(reason)));
    }

    /// The other side's handshake is here.
    fn open(&mut self, end: u32, theirs: &Handshake) {
        let it = &mut self.ends[end as usize];
        it.open = true;
        it.with_ours = theirs.capabilities.is_some();
        it.last_taken = it.last_taken.max(self.now);
        self.hosts[it.host as usize].conns.insert(it.conn, end);
        self.note_open(end);
    }
}

/// Saying something.
impl Simulation {
    /// Sends a message; it waits for the piece that is going out over the connection.
    pub(super) fn say(&mut self, end: u32, message: Message) {
        self.note_said(end, &message);
        let it = &mut self.ends[end as usize];
        if it.sending.is_none() {
            self.deliver(end, message);
            return;
        }
        let place = if self.hosts[it.host as usize].writes_in_order {
            it.queue.len()
        } else {
            it.queue.iter().take_while(|queued| matches!(queued, Queued::Message(_))).count()
        };
        it.queue.insert(place, Queued::Message(message));
    }

    fn deliver(&mut self, end: u32, message: Message) {
        let other = end ^ 1;
        let (from, to) = self.zones_of(end);
        let latency = self.zones.latency(from, to);
        // Behind the bytes of pieces that were sent before it.
        let at = (self.now + latency).max(self.ends[end as usize].last_taken);
        let usual = self.now + self.zones.usual_latency();
        self.queue.push_message(at, usual, other, message);
    }

    /// The writer of a connection has nothing to send at the moment: it takes what waits.
    pub(super) fn write_on(&mut self, end: u32) {
        while let Some(queued) = self.ends[end as usize].queue.pop_front() {
            match queued {
                Queued::Message(message) => self.deliver(end, message),
                Queued::Piece(index) => {
                    self.begin_piece(end, index);
                    return;
                }
            }
        }
    }

    pub(super) fn on_message(&mut self, end: u32, message: Message) {
        let it = &self.ends[end as usize];
        if !it.open {
            return;
        }
        let (host, conn) = (it.host, it.conn);
        self.note_heard(end, &message);
        let cause = match message {
            Message::AnnouncePiece { .. } => Cause::Told,
            Message::PieceRequest { .. } | Message::CancelPiece { .. } => Cause::Bounded,
            _ => Cause::News,
        };
        self.call_for(host, cause, |peer, now| peer.handle_message(now, conn, message));
    }
}

/// Ending them.
impl Simulation {
    /// A host closes a connection, or a dial.
    pub(super) fn close(&mut self, host: u32, conn: ConnId, reason: &CloseReason) {
        self.tally.count_close(reason);
        let it = &mut self.hosts[host as usize];
        if it.dials.remove(&conn).is_some() {
            // The other side finds out when the answer comes to nobody.
            return;
        }
        if let Some(end) = it.conns.get(&conn).copied() {
            self.shut(end);
            self.send_end(end);
        }
    }

    /// Takes an end out of all tables; the other one does not know yet.
    pub(super) fn shut(&mut self, end: u32) {
        self.note_shut(end);
        let it = &mut self.ends[end as usize];
        it.open = false;
        it.queue = Default::default();
        it.owed = Vec::new();
        it.asked = Vec::new();
        let host = &mut self.hosts[it.host as usize];
        host.conns.remove(&it.conn);
        let copy = &mut self.copies[it.copy as usize];
        copy.leases.retain(|(_, writer)| *writer != end);
        if it.sending.take().is_some() {
            host.up.drop_flow(end, it.stalled);
        }
    }

    /// The end of the stream goes to the other side, behind all that was sent before.
    pub(super) fn send_end(&mut self, end: u32) {
        let (from, to) = self.zones_of(end);
        let at = self.now + self.zones.latency(from, to);
        let at = at.max(self.ends[end as usize].last_taken);
        if at < NEVER {
            self.queue.push(at, Event::Closed { end: end ^ 1 });
        }
    }

    /// The other side has ended the connection.
    pub(super) fn on_closed(&mut self, end: u32, text: &str) {
        let it = &self.ends[end as usize];
        if !it.open {
            return;
        }
        let (host, conn) = (it.host, it.conn);
        self.shut(end);
        let reason = CloseReason::Remote(text.to_owned());
        self.tally.count_close(&reason);
        self.call_for(host, Cause::Contact, |peer, now| peer.handle_closed(now, conn, reason));
    }

    /// A connection is lost; both sides notice at once.
    pub(super) fn on_break(&mut self, end: u32) {
        self.on_closed(end, "connection reset");
        self.on_closed(end ^ 1, "connection reset");
    }

    /// The receiver of a piece has taken nothing for a while: the peer is told, and later the
    /// connection is given up.
    pub(super) fn on_stalled(&mut self, end: u32) {
        let it = &mut self.ends[end as usize];
        let Some(since) = it.blocked_at else { return };
        if !it.open || it.sending.is_none() || it.stall_at > self.now {
            return;
        }
        let (host, conn) = (it.host, it.conn);
        if it.stalled && self.hosts[host as usize].keeps_stalled {
            return;
        }
        if it.stalled {
            self.shut(end);
            self.send_end(end);
            self.tally.count_close(&CloseReason::Stalled);
            let reason = CloseReason::Stalled;
            self.call_for(host, Cause::Contact, |peer, now| peer.handle_closed(now, conn, reason));
            return;
        }
        it.stalled = true;
        let more = SEND_SILENCE_MAX.as_secs_f64() / STALL_AFTER.as_secs_f64();
        it.stall_at = since + ((it.stall_at - since) as f64 * more) as Nanos;
        self.queue.push(it.stall_at.max(self.now), Event::Stalled { end });
        self.hosts[host as usize].up.pieces -= 1;
        self.call(host, |peer, now| peer.handle_stalled(now, conn));
    }
}

/// A draw from the exponential distribution of mean 1, by comparisons alone (J. von Neumann, 1951):
/// a logarithm has not the same last digit on every machine.
fn exponential(rng: &mut Rng) -> f64 {
    let mut whole = 0.0;
    loop {
        let first = rng.fraction();
        let (mut last, mut falling) = (first, 1);
        loop {
            let next = rng.fraction();
            if next >= last {
                break;
            }
            (last, falling) = (next, falling + 1);
        }
        if falling % 2 == 1 {
            return whole + first;
        }
        whole += 1.0;
    }
}

/// How long a dialer waits for the other side's handshake, in nanoseconds, as the node does.
const HANDSHAKE_TIMEOUT: Nanos = 5_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_of_connections_are_exponential() {
        let mut rng = Rng::new(1);
        let draws: Vec<f64> = (0..100_000).map(|_| exponential(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let longer = draws.iter().filter(|draw| **draw > 2.0).count() as f64 / draws.len() as f64;
        assert!((longer - (-2.0_f64).exp()).abs() < 0.01, "{longer}");
    }
}
