//! Who sent whom wrong pieces, and whether that was banned.

use super::engine::Simulation;
use super::scenario::Fate;
use crate::swarm::PieceOutcome;

/// Wrong pieces of one copy that came from one host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lies {
    pieces: u32,
    due: bool,
    banned: bool,
}

impl Simulation {
    /// If a piece is wrong, how many bans a host has counted before it is told.
    pub(super) fn bans_if_wrong(&self, host: u32, outcome: &PieceOutcome) -> Option<u64> {
        matches!(outcome, PieceOutcome::Corrupt { .. }).then(|| self.bans_of(host))
    }

    /// A host was told of a wrong piece: a ban that came of it is its sender's, and is due after so
    /// many.
    pub(super) fn note_wrong_piece(&mut self, end: u32, bans_before: u64) {
        let host = self.ends[end as usize].host;
        let bans = self.bans_of(host).saturating_sub(bans_before);
        self.hosts[host as usize].tally.bans += bans.min(1);
        let liar = self.ends[(end ^ 1) as usize].host;
        let forged = self.hosts[liar as usize].fate == Fate::Lies { forged: true };
        let lies = self.lies.entry((self.ends[end as usize].copy, liar)).or_default();
        lies.pieces += 1;
        if lies.pieces >= if forged { FORGED_MAX } else { FLIPPED_MAX } && !lies.due {
            lies.due = true;
            self.tally.bans_due += 1;
            self.tally.bans_made += u64::from(lies.banned);
        }
        if bans > 0 && !lies.banned {
            lies.banned = true;
            self.tally.bans_made += u64::from(lies.due);
        }
    }

    /// A process that ends remembers nobody.
    pub(super) fn forget_lies(&mut self, host: u32) {
        let copies = &self.copies;
        self.lies.retain(|(copy, _), _| copies[*copy as usize].host != host);
    }

    fn bans_of(&self, host: u32) -> u64 {
        let peer = self.hosts[host as usize].peer.as_ref();
        peer.and_then(|peer| peer.counters()).map_or(0, |counters| counters.bans)
    }
}

/// A flipped bit may be an accident on the way; three are not.
const FLIPPED_MAX: u32 = 3;

/// What matches its CRC32 and not its BLAKE3 was made so.
const FORGED_MAX: u32 = 1;
