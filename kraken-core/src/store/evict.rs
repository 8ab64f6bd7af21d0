//! Room: what is counted, and what goes when it runs out.

use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::store::index::{Index, Inner, Slot};
use crate::store::limits;
use crate::store::recall::Appeal;

/// Keeps a blob from being evicted until it is dropped. It does not keep it from being deleted.
#[derive(Debug)]
pub struct Pin {
    store: Arc<Inner>,
    digest: Digest,
}

impl Pin {
    pub(super) fn new(store: &Arc<Inner>, digest: &Digest) -> Self {
        let mut index = store.index();
        loop {
            let slot = index.slots.entry(*digest).or_default();
            if !slot.busy {
                slot.pins += 1;
                return Self { store: Arc::clone(store), digest: *digest };
            }
            // It may be leaving just now: then the pin comes after it has gone.
            index = store.wait(index);
        }
    }

    /// The blob's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut index = self.store.index();
        if let Some(slot) = index.slots.get_mut(&self.digest) {
            slot.pins = slot.pins.saturating_sub(1);
        }
        index.tidy(&self.digest);
    }
}

/// Bytes that are counted but belong to no entry yet; given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    store: Arc<Inner>,
    bytes: u64,
}

impl Charge {
    /// Counts `bytes`, evicting where needed.
    pub(super) fn admit(store: &Arc<Inner>, bytes: u64) -> Result<Self> {
        store.admit(bytes)?;
        Ok(Self { store: Arc::clone(store), bytes })
    }

    /// Leaves the bytes counted: an entry in the index stands for them now.
    pub(super) fn hand_over(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.store.release(self.bytes);
    }
}

impl Inner {
    /// Counts `bytes` more, evicting the least recently used until they fit, and asking for what is
    /// open where that is needed. Nothing is evicted where that would not be enough.
    pub(super) fn admit(&self, bytes: u64) -> Result<()> {
        let mut appeal = Appeal::default();
        let mut index = self.index();
        let Some(capacity) = self.config.capacity_bytes else {
            index.used = index.used.saturating_add(bytes);
            return Ok(());
        };
        loop {
            let wanted = index.used.saturating_add(bytes);
            if wanted <= capacity {
                index.used = wanted;
                return Ok(());
            }
            let (victims, freed) = index.pick_victims(wanted - capacity);
            if freed >= wanted - capacity && bytes <= capacity {
                drop(index);
                self.remove_victims(victims)?;
                index = self.index();
            } else {
                index.spare(&victims);
                if index.leaving > 0 {
                    index = self.wait(index);
                    continue;
                }
                let missing = wanted - capacity;
                drop(index);
                let came_back = bytes <= capacity && self.recall(&mut appeal, missing, missing);
                index = self.index();
                if !came_back {
                    return Err(Error::new(
                        ErrorKind::NoSpace,
                        format!("{bytes} more bytes: {} of {capacity} are in use", index.used),
                    ));
                }
            }
        }
    }

    /// Gives counted bytes back.
    pub(super) fn release(&self, bytes: u64) {
        let mut index = self.index();
        index.used = index.used.saturating_sub(bytes);
        drop(index);
        self.notify();
    }

    /// Does what needs room on the disk itself; where there is none, evicts and tries once more.
    pub(super) fn with_room<T>(
        &self,
        bytes: u64,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                if self.evict(bytes.max(limits::EVICT_LEN_MIN))?.1 == 0 {
                    return Err(error);
                }
                attempt()
            }
            result => result,
        }
    }

    /// Evicts the least recently used until `bytes` are free or nothing more may go; how many
    /// blobs went, complete or arriving, and their bytes.
    pub(super) fn evict(&self, bytes: u64) -> Result<(u64, u64)> {
        let (mut blobs, mut freed, mut appeal) = (0, 0, Appeal::default());
        loop {
            let (victims, more) = self.index().pick_victims(bytes - freed);
            blobs += victims.iter().map(Victim::blobs).sum::<u64>();
            self.remove_victims(victims)?;
            freed += more;
            if freed >= bytes || !self.recall(&mut appeal, bytes - freed, 1) {
                return Ok((blobs, freed));
            }
        }
    }

    /// Brings what was found at start below the ceiling, as far as it may.
    pub(super) fn evict_excess(&self) -> Result<()> {
        let excess = match self.config.capacity_bytes {
            Some(capacity) => self.index().used.saturating_sub(capacity),
            None => 0,
        };
        self.evict(excess).map(drop)
    }

    /// Removes what was picked; all of it is tried, the first failure told.
    fn remove_victims(&self, victims: Vec<Victim>) -> Result<()> {
        let mut result = Ok(());
        for victim in victims {
            let removed = self.remove_victim(&victim);
            let mut index = self.index();
            if removed.is_ok() {
                if victim.cached {
                    index.remove_cached(&victim.digest);
                }
                if victim.partial {
                    index.remove_partial(&victim.digest);
                }
                index.evicted.0 += victim.blobs();
                index.evicted.1 += victim.bytes;
            }
            index.spare(&[victim]);
            drop(index);
            self.notify();
            result = result.and(removed);
        }
        result
    }

    fn remove_victim(&self, victim: &Victim) -> Result<()> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        if victim.cached {
            dirs.push(self.layout.cached(&victim.digest));
        }
        if victim.partial {
            dirs.push(self.layout.download(&victim.digest)?);
        }
        dirs.iter().try_for_each(|dir| self.layout.remove_entry(dir))
    }
}

/// What goes of one digest; it is busy until it is gone or spared.
#[derive(Debug)]
struct Victim {
    digest: Digest,
    cached: bool,
    partial: bool,
    bytes: u64,
}

impl Victim {
    /// How many blobs it is, complete and arriving.
    fn blobs(&self) -> u64 {
        u64::from(self.cached) + u64::from(self.partial)
    }
}

impl Index {
    /// Takes out of the order of use what frees `bytes`, or all that may go; how much it frees.
    fn pick_victims(&mut self, bytes: u64) -> (Vec<Victim>, u64) {
        let (mut victims, mut freed) = (Vec::new(), 0);
        for digest in self.order.values() {
            if freed >= bytes {
                break;
            }
            let Some(slot) = self.slots.get_mut(digest) else { continue };
            if let Some(victim) = slot.victim(digest) {
                slot.busy = true;
                freed += victim.bytes;
                victims.push(victim);
            }
        }
        self.leaving += freed;
        (victims, freed)
    }

    /// Victims are free again, gone or not.
    fn spare(&mut self, victims: &[Victim]) {
        for victim in victims {
            self.leaving = self.leaving.saturating_sub(victim.bytes);
            if let Some(slot) = self.slots.get_mut(&victim.digest) {
                slot.busy = false;
            }
            self.tidy(&victim.digest);
        }
    }
}

impl Slot {
    /// What of it nobody needs: complete blobs that are written back, and downloads that were
    /// given up, which nothing would ever remove otherwise.
    fn victim(&self, digest: &Digest) -> Option<Victim> {
        if self.busy || self.pins > 0 {
            return None;
        }
        let cached = self
            .cached
            .as_ref()
            .filter(|cached| !cached.persist && cached.open.strong_count() == 0);
        let partial = self.partial.as_ref().filter(|partial| partial.open.strong_count() == 0);
        let bytes =
            cached.map_or(0, |cached| cached.len) + partial.map_or(0, |partial| partial.len);
        (cached.is_some() || partial.is_some()).then_some(Victim {
            digest: *digest,
            cached: cached.is_some(),
            partial: partial.is_some(),
            bytes,
        })
    }
}
