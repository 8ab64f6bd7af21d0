//! Who sent whom wrong pieces, and whether that was banned.

use super::engine::Simulation;
use super::scenario::Fate;

/// Wrong pieces of one copy that came from one host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lies {
    pieces: u32,
    /// It was banned: it may not come, and may not be dialled.
    barred: bool,
    not_dialed: bool,
}

impl Simulation {
    /// A host was told of a wrong piece. After so many it is to ban the sender: the connection ends
    /// at once, and there is none again. What it counts as bans is compared at the end.
    pub(super) fn note_wrong_piece(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        let (host, copy, ended) = (it.host, it.copy, !it.open);
        let liar = self.ends[(end ^ 1) as usize].host;
        let forged = self.hosts[liar as usize].fate == Fate::Lies { forged: true };
        let most = if forged { FORGED_MAX } else { FLIPPED_MAX };
        let lies = self.lies.entry((copy, liar)).or_default();
        lies.pieces += 1;
        let made = lies.pieces >= most && ended;
        if lies.pieces == most {
            self.tally.bans_due += 1;
            self.tally.bans_made += u64::from(made);
        }
        if made {
            lies.barred = true;
            // The first of the two ends dialled. Who came by itself may be met at its own address.
            lies.not_dialed |= end & 1 == 0;
            self.hosts[host as usize].tally.bans += 1;
        }
    }

    /// A host dials another one for a blob, or accepts it: none that it has banned.
    pub(super) fn check_contact(&mut self, copy: u32, other: u32, dials: bool) {
        let Some(lies) = self.lies.get(&(copy, other)) else { return };
        if if dials { lies.not_dialed } else { lies.barred } {
            let host = &self.hosts[self.copies[copy as usize].host as usize];
            self.audit.violate(host, "dials or accepts one that it has banned");
        }
    }

    /// A ban lasts as long as the torrent at the host.
    pub(super) fn forget_lies_of(&mut self, copy: u32) {
        self.lies.retain(|(of, _), _| *of != copy);
    }

    /// A process that ends remembers nobody.
    pub(super) fn forget_lies(&mut self, host: u32) {
        let copies = &self.copies;
        self.lies.retain(|(copy, _), _| copies[*copy as usize].host != host);
    }
}

/// A flipped bit may be an accident on the way; three are not.
const FLIPPED_MAX: u32 = 3;

/// What matches its CRC32 and not its BLAKE3 was made so.
const FORGED_MAX: u32 = 1;
