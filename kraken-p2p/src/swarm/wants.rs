//! Pieces before their turn: an origin brings a blob from its first byte on, and somebody waits for
//! bytes far out.

use std::ops::Range;

use kraken_core::PieceIndex;

use super::conn::Conn;
use super::io::{ConnId, DemandId, Output};
use super::limits::WANTS_TOLD_MAX;
use super::torrent::{Cx, Demand, Phase, Torrent};
use crate::wire::Message;

impl Torrent {
    /// Tells origins that bring the blob, and the application, which may, from which piece on
    /// somebody waits for pieces that nobody has, each once between two sweeps. Who waits for the
    /// whole gets it as it comes.
    pub(super) fn tell_wants(&mut self, cx: &mut Cx<'_>) {
        if self.is_final {
            return;
        }
        let nobody_has = |demand: &Demand| {
            let next = PieceIndex(demand.cursor);
            let waits = !demand.whole && !demand.missing().is_empty();
            waits && !self.requested.contains(next) && self.availability.of(next) == 0
        };
        let wanted: Vec<(DemandId, Range<u32>)> = (self.demands.iter())
            .filter(|(_, demand)| nobody_has(demand))
            .map(|(id, demand)| (*id, demand.missing()))
            .collect();
        for (id, pieces) in wanted {
            let index = PieceIndex(pieces.start);
            // The application may be the one that brings them.
            if let Some(demand) = self.demands.get_mut(&id)
                && demand.told.replace(pieces.start) != Some(pieces.start)
            {
                cx.out.push_back(Output::Wanted { torrent: self.digest, pieces: pieces.clone() });
            }
            for (&id, conn) in &mut self.conns {
                if conn.is_origin() && conn.lacks_sums && conn.note_told(index) {
                    let count = pieces.end - pieces.start;
                    cx.send(id, Message::WantPieces { index, count });
                }
            }
        }
    }

    /// Tells what is still waited for once more: a backend that broke off made who was told forget
    /// it, or another origin goes on now.
    pub(super) fn tell_wants_again(&mut self, cx: &mut Cx<'_>) {
        for demand in self.demands.values_mut() {
            demand.told = None;
        }
        for conn in self.conns.values_mut() {
            conn.told_wants.clear();
        }
        self.tell_wants(cx);
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
