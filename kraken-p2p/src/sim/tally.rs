//! What happened in a run, counted.

use std::collections::BTreeMap;

use super::engine::EPOCH;
use super::limits::CURVE_STEPS_MAX;
use super::world::Nanos;
use crate::swarm::{CloseReason, Refused};

/// Totals over all hosts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    /// Of them those since virtual time has moved.
    pub(super) still: u64,
    pub(super) messages: u64,
    pub(super) announces: u64,
    pub(super) announces_early: u64,
    pub(super) pieces_stored: u64,
    pub(super) pieces_in_vain: u64,
    pub(super) pieces_corrupt: u64,
    /// Copies and liars that sent them enough wrong pieces to be banned, and those that were.
    pub(super) bans_due: u64,
    pub(super) bans_made: u64,
    /// Bytes of pieces that came to closed connections.
    pub(super) bytes_wasted: u64,
    pub(super) closes: BTreeMap<&'static str, u64>,
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Bytes of pieces that left origins.
    pub(super) origin_bytes: Curve,
}

/// Counts by time: of each tenth of a second, or of longer and longer steps as the run goes on.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) step: Nanos,
    pub(super) counts: Vec<u64>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { step: CURVE_STEP, counts: Vec::new() }
    }
}

impl Curve {
    /// Counts something at a time after the start.
    pub(super) fn add(&mut self, at: Nanos, count: u64) {
        while at / self.step >= CURVE_STEPS_MAX {
            self.coarsen();
        }
        let slot = (at / self.step) as usize;
        if self.counts.len() <= slot {
            self.counts.resize(slot + 1, 0);
        }
        self.counts[slot] += count;
    }

    /// Makes steps as long as another curve's, if they are shorter.
    pub(super) fn match_step(&mut self, other: &Self) {
        while self.step < other.step {
            self.coarsen();
        }
    }

    /// Makes one step of two.
    fn coarsen(&mut self) {
        self.counts = self.counts.chunks(2).map(|two| two.iter().sum()).collect();
        self.step *= 2;
    }
}

impl Tally {
    pub(super) fn count_close(&mut self, reason: &CloseReason) {
        let reason = match reason {
            CloseReason::Remote(_) => "remote",
            CloseReason::HandshakeFailed(_) => "handshake_failed",
            CloseReason::Protocol(_) => "protocol",
            CloseReason::Lied => "lied",
            CloseReason::Idle => "idle",
            CloseReason::Stalled => "stalled",
            CloseReason::BothComplete => "both_complete",
            CloseReason::TorrentGone => "torrent_gone",
            CloseReason::Shutdown => "shutdown",
            CloseReason::Replaced => "replaced",
        };
        *self.closes.entry(reason).or_default() += 1;
    }

    pub(super) fn count_refused(&mut self, refused: &Refused) {
        let reason = match refused {
            Refused::UnknownTorrent => "unknown_torrent",
            Refused::Invalid(_) => "invalid",
            Refused::Banned => "banned",
            Refused::Full => "full",
            Refused::AlreadyConnected => "already_connected",
            Refused::Myself => "myself",
            Refused::NotSeeding => "not_seeding",
            Refused::Provisional => "provisional",
        };
        *self.refused.entry(reason).or_default() += 1;
    }

    pub(super) fn count_origin_bytes(&mut self, now: Nanos, bytes: u64) {
        self.origin_bytes.add(now - EPOCH, bytes);
    }
}

/// The step of curves over time, while the run is not long.
const CURVE_STEP: Nanos = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_a_curve_of_longer_steps() {
        let mut curve = Curve::default();
        for at in 0..CURVE_STEPS_MAX {
            curve.add(at * CURVE_STEP, 1);
        }
        assert_eq!((curve.counts.len() as u64, curve.step), (CURVE_STEPS_MAX, CURVE_STEP));
        curve.add(5 * CURVE_STEPS_MAX * CURVE_STEP, 7);
        assert_eq!(curve.step, 8 * CURVE_STEP);
        assert_eq!(curve.counts.iter().sum::<u64>(), CURVE_STEPS_MAX + 7);
        assert_eq!((curve.counts[0], curve.counts.last()), (8, Some(&7)));
        let mut other = Curve::default();
        other.add(9 * CURVE_STEP, 1);
        other.match_step(&curve);
        assert_eq!((other.step, other.counts), (curve.step, vec![0, 1]));
    }
}
