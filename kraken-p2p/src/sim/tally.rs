//! What happened in a run, counted.

use std::collections::BTreeMap;

use super::engine::EPOCH;
use super::world::Nanos;
use crate::swarm::{CloseReason, Refused};

/// Totals over all hosts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
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
    /// Bytes of pieces that left origins, a tenth of a second each.
    pub(super) origin_bytes: Vec<u64>,
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
        };
        *self.refused.entry(reason).or_default() += 1;
    }

    pub(super) fn count_origin_bytes(&mut self, now: Nanos, bytes: u64) {
        let slot = ((now - EPOCH) / CURVE_STEP) as usize;
        if self.origin_bytes.len() <= slot {
            self.origin_bytes.resize(slot + 1, 0);
        }
        self.origin_bytes[slot] += bytes;
    }
}

/// The step of curves over time.
pub(super) const CURVE_STEP: Nanos = 100_000_000;
