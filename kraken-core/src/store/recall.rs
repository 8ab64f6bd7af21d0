//! Asking those who keep blobs open without need to let go of them.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::store::index::{Index, Inner, Slot, lock};

/// Told of blobs that somebody has open and that stand in the way of others, or are too old to
/// stay, by someone who waits a moment for them: who can do without drops its handles soon. Called
/// on the thread that waits, perhaps several times for one blob; it must neither block nor call the
/// store.
pub type Recall = dyn Fn(&[Digest]) + Send + Sync;

/// Who is asked.
#[derive(Default)]
pub(super) struct Holders(Mutex<Vec<Weak<Recall>>>);

/// How long one caller in need of room has waited for others to let go.
#[derive(Debug, Default)]
pub(super) struct Appeal {
    rounds_in_vain: u32,
    until: Option<Instant>,
}

impl Holders {
    pub(super) fn add(&self, recall: &Arc<Recall>) {
        lock(&self.0).push(Arc::downgrade(recall));
    }

    fn alive(&self) -> Vec<Arc<Recall>> {
        let mut holders = lock(&self.0);
        holders.retain(|holder| holder.strong_count() > 0);
        holders.iter().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holders({})", lock(&self.0).len())
    }
}

impl Inner {
    /// Asks for open blobs that, with what may go anyway, would make room for `bytes`; whether any
    /// came back. Nobody is asked where that would not make room for `least`.
    ///
    /// First for complete ones, the least recently used, as many as it takes; then for all.
    pub(super) fn recall(&self, appeal: &mut Appeal, bytes: u64, least: u64) -> bool {
        let holders = self.holders.alive();
        let until = *appeal.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        while !holders.is_empty() && appeal.rounds_in_vain < 2 && Instant::now() < until {
            let all = appeal.rounds_in_vain > 0;
            let (open, room) = self.index().open_blobs(bytes, all);
            if !open.is_empty() && room >= least {
                holders.iter().for_each(|recall| recall(&open));
                if self.wait_for_any(&open) {
                    return true;
                }
            }
            appeal.rounds_in_vain += 1;
        }
        false
    }

    /// Asks for blobs that are too old to stay, and waits a moment for all of them.
    pub(super) fn ask_for(&self, digests: &[Digest]) {
        let holders = self.holders.alive();
        if digests.is_empty() || holders.is_empty() {
            return;
        }
        holders.iter().for_each(|recall| recall(digests));
        let until = Instant::now() + ROUND;
        let mut index = self.index();
        while digests.iter().any(|digest| index.slots.get(digest).is_some_and(Slot::is_open)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            index = self.wait_at_most(index, left);
        }
    }

    /// Waits a moment until one of these is not open any more; whether one is not.
    fn wait_for_any(&self, open: &[Digest]) -> bool {
        let until = Instant::now() + ROUND;
        let mut index = self.index();
        loop {
            if open.iter().any(|digest| index.slots.get(digest).is_none_or(|slot| !slot.is_open()))
            {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            index = self.wait_at_most(index, left);
        }
    }
}

impl Index {
    /// Blobs that might go if nobody had them open, in the order of use; and how much room there
    /// would be then. Without `all`, complete ones only, until there is room for `bytes`.
    fn open_blobs(&self, bytes: u64, all: bool) -> (Vec<Digest>, u64) {
        let (mut open, mut room) = (Vec::new(), 0_u64);
        for digest in self.order.values() {
            if room >= bytes && !all {
                break;
            }
            let Some(slot) = self.slots.get(digest).filter(|slot| !slot.busy && slot.pins == 0)
            else {
                continue;
            };
            let cached = slot.cached.as_ref().filter(|cached| !cached.persist);
            let partial = slot.partial.as_ref();
            let len =
                cached.map_or(0, |cached| cached.len) + partial.map_or(0, |partial| partial.len);
            let is_open = slot.is_open();
            if is_open && !all && cached.is_none() {
                continue;
            }
            room = room.saturating_add(len);
            if is_open {
                open.push(*digest);
            }
        }
        (open, room)
    }
}

impl Slot {
    /// Whether somebody has a handle of what might go otherwise.
    fn is_open(&self) -> bool {
        let cached = self.cached.as_ref().filter(|cached| !cached.persist);
        cached.is_some_and(|cached| cached.open.strong_count() > 0)
            || self.partial.as_ref().is_some_and(|partial| partial.open.strong_count() > 0)
    }
}

/// How long nothing may come back until more is asked for, or the room is given up: a swarm needs
/// milliseconds to close its connections, but the machine may be busy.
const ROUND: Duration = Duration::from_millis(500);

/// How long one caller waits in all: who pushes a blob gives up later than this.
const PATIENCE: Duration = Duration::from_secs(5);
