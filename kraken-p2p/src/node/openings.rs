//! Opening torrents: each digest once at a time, and not while an older torrent of it is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kraken_core::Digest;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::torrent::Torrent;

/// Who may open which torrent, and the torrent that was opened last for each digest.
///
/// Whoever adds a torrent that can be written asks the swarm's task, opens the files and adds the
/// torrent in one turn. So the marks it found on disk are still all there are when it is added.
#[derive(Debug, Default)]
pub(super) struct Openings(Mutex<Slots>);

/// The right to open torrents of one digest.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held")] OwnedMutexGuard<()>);

#[derive(Debug, Default)]
struct Slots {
    slots: BTreeMap<Digest, Slot>,
    /// At how many slots those that are of no use any more are looked for.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Slot {
    turn: Arc<AsyncMutex<()>>,
    latest: Weak<Torrent>,
}

impl Openings {
    /// Waits until nobody else opens this digest. Cancel safe.
    pub(super) async fn enter(&self, digest: &Digest) -> Turn {
        let turn = self.with_slot(digest, |slot| Arc::clone(&slot.turn));
        Turn(turn.lock_owned().await)
    }

    /// Remembers the torrent that the swarm's task works with from now on.
    pub(super) fn note(&self, torrent: &Arc<Torrent>) {
        let digest = torrent.digest;
        self.with_slot(&digest, |slot| slot.latest = Arc::downgrade(torrent));
    }

    /// The torrent that was noted last, while any task still has it.
    pub(super) fn latest(&self, digest: &Digest) -> Option<Arc<Torrent>> {
        self.with_slot(digest, |slot| slot.latest.upgrade())
    }

    fn with_slot<R>(&self, digest: &Digest, change: impl FnOnce(&mut Slot) -> R) -> R {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.slots.len() >= slots.sweep_at {
            slots.slots.retain(|_, slot| slot.is_of_use());
            slots.sweep_at = (2 * slots.slots.len()).max(SLOTS_KEPT);
        }
        change(slots.slots.entry(*digest).or_default())
    }
}

impl Slot {
    fn is_of_use(&self) -> bool {
        Arc::strong_count(&self.turn) > 1 || self.latest.strong_count() > 0
    }
}

/// Slots that are not worth a sweep.
const SLOTS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_kept_of_those_that_left() {
        let openings = Arc::new(Openings::default());
        let digest = Digest::sha256(b"one");
        let turn = openings.enter(&digest).await;
        let other = tokio::spawn({
            let openings = Arc::clone(&openings);
            async move { openings.enter(&digest).await }
        });
        for seed in 0..10_000_u32 {
            drop(openings.enter(&Digest::sha256(&seed.to_le_bytes())).await);
        }
        tokio::task::yield_now().await;
        assert!(!other.is_finished());
        assert!(openings.0.lock().unwrap().slots.len() <= SLOTS_KEPT);
        drop(turn);
        other.await.unwrap();
    }
}
