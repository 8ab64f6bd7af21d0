//! The store as its users see it, and what it does with complete blobs.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::metainfo::MetaInfo;
use crate::store::blob::Blob;
use crate::store::config::StoreConfig;
use crate::store::evict::Pin;
use crate::store::index::{Cached, Exclusive, Inner, Slot, unix_now};
use crate::store::layout::DATA;
use crate::store::recall::Recall;
use crate::store::sidecar::{self, Sidecar};
use crate::store::verify::matches_digest;
use crate::store::{limits, recovery};

/// The content-addressable store. Cheap to clone; all clones are the same store.
///
/// Methods block on disk unless they say that they do not.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

/// A complete blob as [`Store::entries`] tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last opened or closed, to the second.
    pub accessed: SystemTime,
    /// When its bytes were written, to the second.
    pub modified: SystemTime,
    /// Whether it has not been written back.
    pub persist: bool,
}

/// What a store holds and has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Bytes taken by cache, downloads and uploads together.
    pub used_bytes: u64,
    /// The most they may be; `None` where there is no ceiling.
    pub capacity_bytes: Option<u64>,
    /// Complete blobs.
    pub complete: usize,
    /// Blobs that are arriving.
    pub arriving: usize,
    /// Blobs removed to make room, complete and arriving.
    pub evicted_blobs: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
}

impl Store {
    /// Opens a store: makes its directories, **removes all uploads**, cleans up what a crash left,
    /// and reads what is in the cache. `ErrorKind::Conflict` while another process, or another
    /// `Store` of this one, has it open. Blocks, for about a second per 100,000 blobs.
    pub fn open(config: StoreConfig) -> Result<Self> {
        config.check()?;
        let store = Self { inner: Arc::new(recovery::open(config)?) };
        store.inner.evict_excess()?;
        Ok(store)
    }

    /// A complete blob; `None` where there is none. The one whose data file has changed since it
    /// was last verified, or that uber/kraken put there, is hashed first; if it does not match it
    /// is thrown away, and the answer is `None`.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Arc<Blob>>> {
        let open = self.inner.index().cached(digest).map(|cached| cached.open.upgrade());
        match open {
            None => Ok(None),
            Some(Some(blob)) => {
                self.inner.note_access(digest);
                Ok(Some(blob))
            }
            Some(None) => self.inner.exclusive(digest).load_cached(),
        }
    }

    /// What there is under this digest: the complete blob, else the arriving one.
    pub fn find(&self, digest: &Digest) -> Result<Option<Arc<Blob>>> {
        match self.blob(digest)? {
            Some(blob) => Ok(Some(blob)),
            None => self.arriving(digest),
        }
    }

    /// Whether the blob is complete in the cache. Does not block on disk.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.inner.index().cached(digest).is_some()
    }

    /// The length of a complete blob; `None` where there is none. Does not block on disk.
    pub fn stat(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.inner.index().cached(digest).map(|cached| cached.len))
    }

    /// The digests of all complete blobs, in their order. Does not block on disk.
    pub fn list(&self) -> Vec<Digest> {
        self.sorted(|_| true)
    }

    /// The digests of all complete blobs that are not written back, in their order: what the
    /// queue of write-backs is rebuilt from. Does not block on disk.
    pub fn persist_pending(&self) -> Vec<Digest> {
        self.sorted(|entry| entry.persist)
    }

    /// All complete blobs, in the order of their digests. Does not block on disk.
    pub fn entries(&self) -> Vec<Entry> {
        let time = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let index = self.inner.index();
        let mut entries: Vec<Entry> = index
            .slots
            .iter()
            .filter_map(|(digest, slot)| {
                let cached = slot.cached.as_ref()?;
                Some(Entry {
                    digest: *digest,
                    len: cached.len,
                    accessed: time(cached.accessed),
                    modified: time(cached.modified),
                    persist: cached.persist,
                })
            })
            .collect();
        drop(index);
        entries.sort_unstable_by_key(|entry| entry.digest);
        entries
    }

    /// Bytes taken by cache, downloads and uploads together. Does not block on disk.
    pub fn used_bytes(&self) -> u64 {
        self.inner.index().used
    }

    /// What it holds and has done. Does not block on disk.
    pub fn stats(&self) -> StoreStats {
        let index = self.inner.index();
        let count =
            |here: fn(&Slot) -> bool| index.slots.values().filter(|slot| here(slot)).count();
        StoreStats {
            used_bytes: index.used,
            capacity_bytes: self.inner.config.capacity_bytes,
            complete: count(|slot| slot.cached.is_some()),
            arriving: count(|slot| slot.partial.is_some()),
            evicted_blobs: index.evicted.0,
            evicted_bytes: index.evicted.1,
        }
    }

    /// Removes the least recently used blobs that may go until `bytes` are free; how many bytes
    /// went, which may be fewer. For a job that watches the disk. Blocks, for some seconds where
    /// others have blobs open that they are asked for; see [`Store::on_recall`].
    pub fn evict(&self, bytes: u64) -> Result<u64> {
        self.inner.evict(bytes).map(|(_, bytes)| bytes)
    }

    /// Removes a blob, complete or arriving; whether there was one. `ErrorKind::Conflict` while it
    /// is not written back, unless `force`. Who has it open can go on reading a complete one.
    pub fn delete(&self, digest: &Digest, force: bool) -> Result<bool> {
        let exclusive = self.inner.exclusive(digest);
        let cached = self.inner.index().cached(digest).map(|cached| cached.persist);
        if cached == Some(true) && !force {
            let text = format!("delete {digest}: it is not written back yet");
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if cached.is_some() {
            exclusive.throw_away_cached()?;
        }
        let arriving = exclusive.throw_away_partial()?;
        Ok(cached.is_some() || arriving)
    }

    /// Keeps the blob from being evicted while the pin lives, whether it is there yet or not.
    /// Blocks while the blob is just being opened, changed or evicted.
    pub fn pin(&self, digest: &Digest) -> Pin {
        Pin::new(&self.inner, digest)
    }

    /// Has `recall` asked for open blobs when there is no room for others without them, for as long
    /// as it lives: for who keeps blobs open that it can do without. Does not block.
    pub fn on_recall(&self, recall: &Arc<Recall>) {
        self.inner.holders.add(recall);
    }

    /// A sidecar of a complete blob; `None` where there is no such blob or sidecar.
    pub fn metadata(&self, digest: &Digest, name: &str) -> Result<Option<Vec<u8>>> {
        sidecar::check_name(name)?;
        if !self.contains(digest) {
            return Ok(None);
        }
        sidecar::read(&self.inner.layout.cached(digest), name)
    }

    /// Writes a sidecar of a complete blob, `ErrorKind::NotFound` where there is none. Atomic: a
    /// reader sees the old content or the new.
    pub fn set_metadata(&self, digest: &Digest, sidecar: &Sidecar) -> Result<()> {
        self.inner.exclusive(digest).set_metadata(sidecar)
    }

    /// Removes a sidecar of a complete blob; whether it was there.
    pub fn remove_metadata(&self, digest: &Digest, name: &str) -> Result<bool> {
        sidecar::check_name(name)?;
        self.inner.exclusive(digest).remove_metadata(name)
    }

    /// Writes the metainfo of a complete blob, `ErrorKind::NotFound` where there is none. That
    /// the sums are right is for the caller to know; only the length is checked.
    pub fn put_metainfo(&self, meta: &MetaInfo) -> Result<()> {
        self.inner.exclusive(&meta.digest()).put_metainfo(meta)
    }

    /// The metainfo of a complete blob; `None` where there is no such blob, or none was written.
    pub fn metainfo(&self, digest: &Digest) -> Result<Option<MetaInfo>> {
        match self.metadata(digest, Sidecar::TORRENT_META)? {
            Some(json) => MetaInfo::from_json(&json).map(Some),
            None => Ok(None),
        }
    }

    fn sorted(&self, keep: impl Fn(&Cached) -> bool) -> Vec<Digest> {
        let index = self.inner.index();
        let mut digests: Vec<Digest> = index
            .slots
            .iter()
            .filter(|(_, slot)| slot.cached.as_ref().is_some_and(&keep))
            .map(|(digest, _)| *digest)
            .collect();
        drop(index);
        digests.sort_unstable();
        digests
    }
}

impl Inner {
    /// Remembers that a complete blob was opened, now and then on disk too.
    fn note_access(self: &Arc<Self>, digest: &Digest) {
        if self.is_access_due(digest)
            && let Some(exclusive) = self.try_exclusive(digest)
        {
            exclusive.write_access_time(unix_now());
        }
    }

    /// Moves the blob to the end of the order of use; whether `_last_access_time` is to be
    /// written.
    fn is_access_due(&self, digest: &Digest) -> bool {
        let now = unix_now();
        let mut index = self.index();
        index.touch(digest);
        let Some(cached) = index.slots.get_mut(digest).and_then(|slot| slot.cached.as_mut()) else {
            return false;
        };
        cached.accessed = now;
        let due = now.abs_diff(cached.accessed_on_disk) >= limits::ACCESS_WRITE_SECS;
        if due {
            cached.accessed_on_disk = now;
        }
        due
    }
}

impl Exclusive<'_> {
    /// The handle of a complete blob, if somebody has it.
    fn open_cached(&self) -> Option<Arc<Blob>> {
        self.store().index().cached(self.digest())?.open.upgrade()
    }

    /// Opens the complete blob, hashing it where it is not known to be sound; `None` where there
    /// is none, or it was thrown away.
    pub(super) fn load_cached(&self) -> Result<Option<Arc<Blob>>> {
        let (store, digest) = (self.store(), self.digest());
        if store.index().cached(digest).is_none() {
            return Ok(None);
        }
        if let Some(blob) = self.open_cached() {
            if store.is_access_due(digest) {
                self.write_access_time(unix_now());
            }
            return Ok(Some(blob));
        }
        let dir = store.layout.cached(digest);
        let file = match File::open(dir.join(DATA)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.throw_away_cached()?;
                return Ok(None);
            }
            opened => opened.map_err(|error| Error::io(format!("open {digest}"), error))?,
        };
        let len =
            file.metadata().map_err(|error| Error::io(format!("stat {digest}"), error))?.len();
        let stored = sidecar::read(&dir, sidecar::VERIFIED)?;
        if !sidecar::is_verified(&stored.unwrap_or_default(), &file)? {
            if !matches_digest(&file, len, digest)? {
                self.throw_away_cached()?;
                return Ok(None);
            }
            let durable = store.layout.durable();
            if durable {
                // What was just hashed may be in memory only.
                file.sync_data().map_err(|error| Error::io(format!("flush {digest}"), error))?;
            }
            let stamp = sidecar::verified_stamp(&file, durable)?;
            sidecar::write(&dir, sidecar::VERIFIED, stamp.as_bytes(), durable)?;
        }
        // Metainfo that cannot be read is as good as none: it can be computed again.
        let meta = sidecar::read(&dir, Sidecar::TORRENT_META)?
            .and_then(|json| MetaInfo::from_json(&json).ok())
            .filter(|meta| meta.digest() == *digest && meta.geometry().blob_len() == len);
        let blob = Blob::complete(store, *digest, len, file, meta);
        self.opened(&blob);
        if store.is_access_due(digest) {
            self.write_access_time(unix_now());
        }
        Ok(Some(blob))
    }

    /// The index learns of the handle, and of the length that was found.
    fn opened(&self, blob: &Arc<Blob>) {
        let mut index = self.store().index();
        let slot = index.slots.get_mut(self.digest());
        let Some(cached) = slot.and_then(|slot| slot.cached.as_mut()) else { return };
        cached.open = Arc::downgrade(blob);
        let was = std::mem::replace(&mut cached.len, blob.len());
        index.used = index.used.saturating_sub(was).saturating_add(blob.len());
    }

    /// Removes a complete blob.
    pub(super) fn throw_away_cached(&self) -> Result<()> {
        let store = self.store();
        store.layout.remove_entry(&store.layout.cached(self.digest()))?;
        store.index().remove_cached(self.digest());
        store.notify();
        Ok(())
    }

    /// See [`Store::set_metadata`].
    pub(super) fn set_metadata(&self, sidecar: &Sidecar) -> Result<()> {
        if sidecar.name() == Sidecar::TORRENT_META {
            let meta = MetaInfo::from_json(sidecar.bytes())?;
            if meta.digest() != *self.digest() {
                let text = format!("metainfo of {} for {}", meta.digest(), self.digest());
                return Err(Error::invalid(text));
            }
            return self.put_metainfo(&meta);
        }
        self.length_in_cache()?;
        let layout = &self.store().layout;
        let dir = layout.cached(self.digest());
        sidecar::write(&dir, sidecar.name(), sidecar.bytes(), layout.durable())?;
        layout.sync_dir(&dir)?;
        if sidecar.name() == Sidecar::PERSIST {
            self.store().index().set_persist(self.digest(), sidecar.is_persist());
        }
        Ok(())
    }

    /// See [`Store::remove_metadata`].
    pub(super) fn remove_metadata(&self, name: &str) -> Result<bool> {
        let store = self.store();
        if store.index().cached(self.digest()).is_none() {
            return Ok(false);
        }
        let dir = store.layout.cached(self.digest());
        let removed = sidecar::remove(&dir, name)?;
        store.layout.sync_dir(&dir)?;
        match name {
            Sidecar::PERSIST => store.index().set_persist(self.digest(), false),
            Sidecar::TORRENT_META => {
                let open = self.open_cached();
                open.into_iter().for_each(|blob| blob.forget_metainfo());
            }
            _ => {}
        }
        Ok(removed)
    }

    fn put_metainfo(&self, meta: &MetaInfo) -> Result<()> {
        let len = self.length_in_cache()?;
        if meta.geometry().blob_len() != len {
            return Err(Error::invalid(format!(
                "metainfo of {} says {} bytes, the blob has {len}",
                self.digest(),
                meta.geometry().blob_len()
            )));
        }
        if let Some(blob) = self.open_cached() {
            return blob.replace_metainfo_locked(self, meta);
        }
        let layout = &self.store().layout;
        let dir = layout.cached(self.digest());
        sidecar::write(&dir, Sidecar::TORRENT_META, &meta.to_json(), layout.durable())
    }

    fn length_in_cache(&self) -> Result<u64> {
        let len = self.store().index().cached(self.digest()).map(|cached| cached.len);
        len.ok_or_else(|| Error::not_found(format!("{} is not in the cache", self.digest())))
    }

    /// Notes on disk that the blob was in use at `now`, in unix seconds.
    pub(super) fn write_access_time(&self, now: u64) {
        let dir = self.store().layout.cached(self.digest());
        let bytes = sidecar::encode_access_time(now);
        // A blob can be read although its time of access cannot be written.
        let _ = sidecar::write(&dir, sidecar::ACCESS_TIME, &bytes, false);
    }
}
