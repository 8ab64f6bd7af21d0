//! What to send next: a few whole pieces at once over all torrents, in turn over connections, of
//! what one connection waits for the piece sent least.

use std::collections::{BTreeMap, VecDeque};

use kraken_core::{Digest, PieceIndex};

use super::config::SwarmConfig;
use super::conn::{Conn, Sending};
use super::io::{CloseReason, ConnId, Output};
use super::limits::{FIRST_PASSED_OVER_MAX, PASSED_OVER_BY_LEECHER_MAX, PASSED_OVER_MAX};
use super::slots::Slots;
use super::torrent::{Cx, Phase, Torrent};
use crate::limits::PIECE_REQUESTS_QUEUED_MAX;
use crate::wire::{ErrorCode, Message};

/// The upload slots of a node and the line for them.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    /// Slots held: pieces being sent, but for those whose receivers stall.
    pub(super) used: usize,
    pub(super) slots: Slots,
    /// Open connections with a request and no piece being sent, each once; so there are never more
    /// than connections. Some may have taken their requests back.
    line: VecDeque<(Digest, ConnId)>,
}

impl Uplink {
    /// Hands out free slots.
    pub(super) fn pump(
        &mut self,
        torrents: &mut BTreeMap<Digest, Torrent>,
        config: &SwarmConfig,
        out: &mut VecDeque<Output>,
    ) {
        // What still waits when seeding has been switched off is about to be refused.
        let slots = if config.seed { self.slots.count(config) } else { 0 };
        while self.used < slots {
            let Some((digest, id)) = self.next(torrents) else {
                self.slots.note_free();
                return;
            };
            let Some(torrent) = torrents.get_mut(&digest) else { continue };
            let Some(index) = torrent.next_to_send(id) else { continue };
            let proven = torrent.conns.get(&id).is_some_and(|conn| conn.lacks_sums);
            self.used += 1;
            out.push_back(Output::SendPiece { conn: id, torrent: digest, index, proven });
        }
    }

    /// Takes the connection to send to out of the line: the one that waits for the piece sent
    /// least, of equals the first. What went out once can come from others by the time it is asked
    /// for again; but nobody is passed over for long.
    fn next(&mut self, torrents: &mut BTreeMap<Digest, Torrent>) -> Option<(Digest, ConnId)> {
        let mut best: Option<(u32, usize)> = None;
        let mut at = 0;
        while let Some((digest, id)) = self.line.get(at) {
            let Some(least) = torrents.get(digest).and_then(|torrent| torrent.least_sent(*id))
            else {
                // It took its requests back.
                let (digest, id) = self.line.remove(at)?;
                let torrent = torrents.get_mut(&digest);
                if let Some(conn) = torrent.and_then(|torrent| torrent.conns.get_mut(&id)) {
                    conn.in_line = false;
                }
                continue;
            };
            if best.is_none_or(|(fewest, _)| least < fewest) {
                best = Some((least, at));
            }
            if best.is_some_and(|(fewest, _)| fewest == 0) {
                break;
            }
            at += 1;
        }
        let (_, at) = best?;
        for (digest, id) in self.line.iter().take(at) {
            let torrent = torrents.get_mut(digest);
            if let Some(conn) = torrent.and_then(|torrent| torrent.conns.get_mut(id)) {
                conn.passed_over += 1;
            }
        }
        self.line.remove(at)
    }

    /// A connection is gone, and with it its place in the line and the slot it may have held.
    pub(super) fn on_closed(&mut self, id: ConnId, conn: &Conn) {
        if conn.in_line {
            self.line.retain(|(_, waiting)| *waiting != id);
        }
        if conn.sending.is_some_and(|sending| sending.slot) {
            self.used -= 1;
        }
    }

    #[cfg(any(test, feature = "check"))]
    pub(super) fn line(&self) -> impl Iterator<Item = (Digest, ConnId)> + '_ {
        self.line.iter().copied()
    }

    fn join(&mut self, torrent: Digest, id: ConnId, conn: &mut Conn) {
        if !conn.in_line && conn.sending.is_none() && !conn.queue.is_empty() {
            conn.in_line = true;
            self.line.push_back((torrent, id));
        }
    }
}

impl Torrent {
    /// The other side asks for a piece.
    pub(super) fn on_piece_request(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        index: PieceIndex,
        (offset, length): (u32, u32),
    ) {
        if !self.geometry.contains(index) {
            self.expel(cx, id, CloseReason::Protocol(format!("asks for piece {index}")));
            return;
        }
        let refused = if !cx.config.seed {
            Some("not seeding")
        } else if offset != 0 || u64::from(length) != self.geometry.len_of(index) {
            Some("reading / writing chunk of piece not supported")
        } else if !self.have.contains(index) || self.phase == Phase::Discarding {
            Some("piece not complete")
        } else {
            None
        };
        if let Some(text) = refused {
            cx.send(id, refusal(index, text));
            return;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.queue.contains(&index) {
            return;
        }
        if conn.queue.len() >= PIECE_REQUESTS_QUEUED_MAX {
            self.expel(cx, id, CloseReason::Protocol("asks for too many pieces at once".into()));
            return;
        }
        conn.queue.push_back(index);
        cx.uplink.join(self.digest, id, conn);
    }

    /// The other side no longer waits for a piece. It is told if the piece will not be sent; one
    /// that is being sent arrives.
    pub(super) fn on_cancel(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let waited = conn.queue.len();
        conn.queue.retain(|queued| *queued != index);
        if conn.queue.len() < waited && conn.answers_cancels {
            cx.send(id, Message::Error { index, code: CANCELLED, text: "cancelled".into() });
        }
    }

    /// How often the piece of a connection's line that was sent least was sent; never, for one that
    /// has been passed over too often.
    fn least_sent(&self, id: ConnId) -> Option<u32> {
        let conn = self.conns.get(&id)?;
        let least = conn.queue.iter().map(|index| self.sent[index.as_usize()]).min()?;
        let most = match self.phase {
            Phase::Complete => PASSED_OVER_MAX,
            _ => PASSED_OVER_BY_LEECHER_MAX,
        };
        Some(if conn.passed_over >= most { 0 } else { least })
    }

    /// Takes the piece to send to a connection whose turn it is.
    fn next_to_send(&mut self, id: ConnId) -> Option<PieceIndex> {
        let conn = self.conns.get_mut(&id)?;
        conn.in_line = false;
        conn.passed_over = 0;
        let index = conn.take_next(&self.sent)?;
        conn.sending = Some(Sending { index, slot: true });
        self.sent[index.as_usize()] += 1;
        Some(index)
    }

    /// A piece was sent, or could not be read.
    pub(super) fn on_piece_sent(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        index: PieceIndex,
        sent: bool,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(sending) = conn.sending.take_if(|sending| sending.index == index) else {
            return;
        };
        if sending.slot {
            cx.uplink.used -= 1;
        }
        if sent {
            let bytes = self.geometry.len_of(index);
            conn.pieces_sent += 1;
            conn.active_at = cx.now;
            self.active_at = cx.now;
            self.totals.pieces_sent += 1;
            self.totals.bytes_sent += bytes;
            cx.counters.pieces_sent += 1;
            cx.counters.bytes_sent += bytes;
        } else {
            self.sent[index.as_usize()] -= 1;
            let message = if conn.lacks_sums {
                Message::Error { index, code: UNPROVABLE, text: "nothing vouches for it".into() }
            } else {
                refusal(index, "piece cannot be read")
            };
            cx.send(id, message);
        }
        cx.uplink.join(self.digest, id, conn);
        if sent {
            self.learn(id, index);
        }
    }

    /// The receiver of a piece takes nothing: others get its slot.
    pub(super) fn on_stalled(&mut self, cx: &mut Cx<'_>, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if let Some(sending) = conn.sending.as_mut().filter(|sending| sending.slot) {
            sending.slot = false;
            cx.uplink.used -= 1;
        }
    }
}

impl Conn {
    /// Takes the piece out of the queue that is sent next: the one sent least so far, of equals the
    /// one asked for first; but what was asked for first does not wait for long, since its receiver
    /// may wait for nothing else.
    fn take_next(&mut self, sent: &[u32]) -> Option<PieceIndex> {
        let first = *self.queue.front()?;
        let (passed_over, times) = self.first_passed_over;
        let times = if passed_over == first { times } else { 0 };
        let least = (0..self.queue.len()).min_by_key(|at| sent[self.queue[*at].as_usize()])?;
        let at = if times >= FIRST_PASSED_OVER_MAX { 0 } else { least };
        self.first_passed_over = (first, if at == 0 { 0 } else { times + 1 });
        self.queue.remove(at)
    }
}

/// The answer to a request that cannot be served.
pub(super) fn refusal(index: PieceIndex, text: &str) -> Message {
    Message::Error { index, code: ErrorCode::PieceRequestFailed, text: text.into() }
}

/// The code of the answer to a request of a peer that has no sums, for a piece that nothing vouches
/// for here.
pub(super) const UNPROVABLE: ErrorCode = ErrorCode::Unknown(101);

/// The code of the answer to a cancel that came in time. uber/kraken has none such, and is not sent
/// it.
pub(super) const CANCELLED: ErrorCode = ErrorCode::Unknown(100);
