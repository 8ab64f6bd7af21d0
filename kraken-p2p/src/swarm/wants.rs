//! Pieces before their turn: an origin brings a blob from its first byte on, and somebody waits for
//! bytes far out.

use std::ops::Range;

use kraken_core::PieceIndex;

use super::conn::Conn;
use super::io::{ConnId, Output};
use super::limits::WANTS_TOLD_MAX;
use super::torrent::{Cx, Demand, Phase, Torrent};
use crate::wire::Message;

impl Torrent {
    /// Tells origins that bring the blob which pieces somebody waits for that nobody has, each
    /// once. Who waits for the whole gets it as it comes.
    pub(super) fn tell_wants(&mut self, cx: &mut Cx<'_>) {
        if self.is_final {
            return;
        }
        let nobody_has = |demand: &&Demand| {
            let next = PieceIndex(demand.cursor);
            let waits = !demand.whole && !demand.missing().is_empty();
            waits && !self.requested.contains(next) && self.availability.of(next) == 0
        };
        let wanted: Vec<Range<u32>> =
            self.demands.values().filter(nobody_has).map(Demand::missing).collect();
        for pieces in wanted {
            let index = PieceIndex(pieces.start);
            for (&id, conn) in &mut self.conns {
                if conn.is_origin() && conn.lacks_sums && conn.note_told(index) {
                    let count = pieces.end - pieces.start;
                    cx.send(id, Message::WantPieces { index, count });
                }
            }
        }
    }

    /// The other side waits for pieces that may not be here yet.
    pub(super) fn on_wants(&mut self, cx: &mut Cx<'_>, id: ConnId, index: PieceIndex, count: u32) {
        let end = index.0.saturating_add(count).min(self.geometry.pieces());
        let lacks_sums = self.conns.get(&id).is_some_and(|conn| conn.lacks_sums);
        if lacks_sums && self.phase == Phase::Fetching && index.0 < end {
            cx.out.push_back(Output::Wanted { torrent: self.digest, pieces: index.0..end });
        }
    }
}

impl Conn {
    /// Notes that it is told of pieces that somebody waits for; whether it was not before.
    fn note_told(&mut self, index: PieceIndex) -> bool {
        if self.told_wants.len() >= WANTS_TOLD_MAX {
            // Of those that came it need not be told again.
            self.told_wants.retain(|told| !self.bits.contains(*told));
        }
        self.told_wants.len() < WANTS_TOLD_MAX && self.told_wants.insert(index)
    }
}
