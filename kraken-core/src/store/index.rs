//! What the store knows of every blob in memory, and who may change one on disk.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::digest::Digest;
use crate::store::blob::Blob;
use crate::store::config::StoreConfig;
use crate::store::layout::Layout;
use crate::store::recall::Holders;
use crate::store::upload::Uploads;

/// What all handles of one store share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: StoreConfig,
    pub(super) layout: Layout,
    pub(super) uploads: Mutex<Uploads>,
    pub(super) holders: Holders,
    index: Mutex<Index>,
    /// Told whenever an entry is no longer busy or room may have appeared.
    changed: Condvar,
    /// Locked (`flock`) while the store is open, so that no second process wipes its uploads.
    _lock: File,
}

/// Every blob on disk. A leaf lock: nothing is read, written or awaited while it is held.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Bytes taken by cache, downloads and uploads together.
    pub(super) used: u64,
    /// Bytes that some thread is removing just now.
    pub(super) leaving: u64,
    /// Blobs removed to make room so far, complete and arriving, and their bytes.
    pub(super) evicted: (u64, u64),
    pub(super) slots: HashMap<Digest, Slot>,
    /// Blobs in the order of their last use: what eviction goes by. Those that must stay because
    /// they are not written back are not in it.
    pub(super) order: BTreeMap<u64, Digest>,
    uses: u64,
}

/// One digest.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) cached: Option<Cached>,
    pub(super) partial: Option<Partial>,
    pub(super) pins: u32,
    /// Some thread changes its directories; see [`Exclusive`].
    pub(super) busy: bool,
    /// Its key in the order of use; zero where it is in none.
    last_use: u64,
}

/// A complete blob in the cache.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) len: u64,
    /// Not yet written back.
    pub(super) persist: bool,
    /// When it was last opened or closed, in unix seconds.
    pub(super) accessed: u64,
    /// What `_last_access_time` says.
    pub(super) accessed_on_disk: u64,
    /// When its bytes were last written, in unix seconds.
    pub(super) modified: u64,
    /// The one handle, while somebody has it.
    pub(super) open: Weak<Blob>,
}

/// A blob in the download directory.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) len: u64,
    /// The one handle, while somebody has it.
    pub(super) open: Weak<Blob>,
}

impl Inner {
    pub(super) fn new(config: StoreConfig, layout: Layout, index: Index, lock: File) -> Self {
        Self {
            config,
            layout,
            uploads: Mutex::default(),
            holders: Holders::default(),
            index: Mutex::new(index),
            changed: Condvar::new(),
            _lock: lock,
        }
    }

    /// The index, locked.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Waits for any change of the index.
    pub(super) fn wait<'a>(&self, index: MutexGuard<'a, Index>) -> MutexGuard<'a, Index> {
        self.changed.wait(index).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Inner::wait`], but no longer than this.
    pub(super) fn wait_at_most<'a>(
        &self,
        index: MutexGuard<'a, Index>,
        limit: Duration,
    ) -> MutexGuard<'a, Index> {
        let waited = self.changed.wait_timeout(index, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes those who wait for a change.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until nobody else changes this digest's directories, and takes the right to.
    ///
    /// A thread holds at most one; eviction takes only what is free at once. So none waits in a
    /// circle.
    pub(super) fn exclusive<'a>(self: &'a Arc<Self>, digest: &Digest) -> Exclusive<'a> {
        let mut index = self.index();
        loop {
            let slot = index.slots.entry(*digest).or_default();
            if !slot.busy {
                slot.busy = true;
                return Exclusive { store: self, digest: *digest };
            }
            index = self.wait(index);
        }
    }

    /// The same right, if it is free at once and there is anything under the digest.
    pub(super) fn try_exclusive<'a>(self: &'a Arc<Self>, digest: &Digest) -> Option<Exclusive<'a>> {
        let mut index = self.index();
        let slot = index.slots.get_mut(digest).filter(|slot| !slot.busy)?;
        slot.busy = true;
        Some(Exclusive { store: self, digest: *digest })
    }
}

impl Index {
    /// The next point in the order of use.
    fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Makes this digest the most recently used.
    pub(super) fn touch(&mut self, digest: &Digest) {
        let now = self.tick();
        if let Some(slot) = self.slots.get_mut(digest) {
            self.order.remove(&slot.last_use);
            slot.last_use = 0;
            if slot.is_in_order() {
                slot.last_use = now;
                self.order.insert(now, *digest);
            }
        }
    }

    /// Puts a complete blob in, whose bytes are counted already.
    pub(super) fn put_cached(&mut self, digest: &Digest, cached: Cached) {
        self.slots.entry(*digest).or_default().cached = Some(cached);
        self.touch(digest);
    }

    /// Puts an arriving blob in, whose bytes are counted already.
    pub(super) fn put_partial(&mut self, digest: &Digest, partial: Partial) {
        self.slots.entry(*digest).or_default().partial = Some(partial);
        self.touch(digest);
    }

    /// Takes a complete blob out and gives its bytes back.
    pub(super) fn remove_cached(&mut self, digest: &Digest) -> Option<Cached> {
        let cached = self.slots.get_mut(digest)?.cached.take()?;
        self.used = self.used.saturating_sub(cached.len);
        self.tidy(digest);
        Some(cached)
    }

    /// Takes an arriving blob out and gives its bytes back.
    pub(super) fn remove_partial(&mut self, digest: &Digest) -> Option<Partial> {
        let partial = self.slots.get_mut(digest)?.partial.take()?;
        self.used = self.used.saturating_sub(partial.len);
        self.tidy(digest);
        Some(partial)
    }

    /// Says whether a complete blob must stay.
    pub(super) fn set_persist(&mut self, digest: &Digest, persist: bool) {
        if let Some(cached) = self.slots.get_mut(digest).and_then(|slot| slot.cached.as_mut()) {
            cached.persist = persist;
            self.touch(digest);
        }
    }

    /// A complete blob.
    pub(super) fn cached(&self, digest: &Digest) -> Option<&Cached> {
        self.slots.get(digest)?.cached.as_ref()
    }

    /// Whether there is an arriving blob.
    pub(super) fn has_partial(&self, digest: &Digest) -> bool {
        self.slots.get(digest).is_some_and(|slot| slot.partial.is_some())
    }

    /// Forgets a digest of which there is nothing left.
    pub(super) fn tidy(&mut self, digest: &Digest) {
        let Some(slot) = self.slots.get_mut(digest) else { return };
        if !slot.is_in_order() {
            self.order.remove(&slot.last_use);
            slot.last_use = 0;
        }
        let empty = slot.cached.is_none() && slot.partial.is_none();
        if empty && slot.pins == 0 && !slot.busy {
            self.slots.remove(digest);
        }
    }
}

impl Slot {
    /// Whether eviction has to look at it at all.
    fn is_in_order(&self) -> bool {
        self.cached.as_ref().is_some_and(|cached| !cached.persist) || self.partial.is_some()
    }
}

/// The right to change one digest's directories, until it is dropped.
#[derive(Debug)]
pub(super) struct Exclusive<'a> {
    store: &'a Arc<Inner>,
    digest: Digest,
}

impl<'a> Exclusive<'a> {
    pub(super) fn store(&self) -> &'a Arc<Inner> {
        self.store
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let mut index = self.store.index();
        if let Some(slot) = index.slots.get_mut(&self.digest) {
            slot.busy = false;
        }
        index.tidy(&self.digest);
        drop(index);
        self.store.notify();
    }
}

/// Locks; a thread that panicked left nothing half-changed, since no lock here spans a call that
/// can fail.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, in unix seconds.
pub(super) fn unix_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
