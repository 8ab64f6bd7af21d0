//! One blob on disk: arriving or complete.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::task::{Poll, Waker};

use crate::bitfield::Bitfield;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::metainfo::MetaInfo;
use crate::piece::{Geometry, PieceIndex};
use crate::provisional::TorrentMeta;
use crate::range_set::RangeSet;
use crate::store::index::{Cached, Exclusive, Inner, lock, unix_now};
use crate::store::sidecar::{self, Sidecar};
use crate::store::verify::{Frontier, matches_piece, metainfo_of};
use crate::store::waiters::{Readable, Target, Waiters};
use crate::store::{VERIFIES_BLOBS, limits};

/// A blob in the store, complete or arriving.
///
/// There is one per digest and state: all who open the same get the same. While it is held, the
/// blob is not evicted; its bytes can be read through it even after it was deleted.
///
/// Two sets say what is here. [`Blob::pieces`] are those that may be *seeded*; the bytes that may
/// be *read* are fewer while the blob arrives, since a piece for which only a CRC32 vouches counts
/// only when the whole is verified. See [`Blob::mark`].
pub struct Blob {
    store: Arc<Inner>,
    digest: Digest,
    len: u64,
    file: Arc<File>,
    /// `_status`, where it was opened as a download.
    status: Option<File>,
    /// `_proofs`, where it was opened before there were sums.
    pub(super) proofs: Option<File>,
    progress: Mutex<Progress>,
    /// Apart from `progress`, so that readers never wait for a hash.
    frontier: Mutex<Frontier>,
}

/// What of a blob is here. Locked for moments only: no disk is touched meanwhile.
#[derive(Debug)]
struct Progress {
    phase: Phase,
    meta: Option<TorrentMeta>,
    /// May be seeded.
    pieces: Bitfield,
    /// May be read.
    readable: RangeSet,
    waiters: Waiters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Arriving,
    Complete,
    Discarded,
}

/// What an arriving blob begins with.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) meta: TorrentMeta,
    pub(super) file: File,
    pub(super) status: File,
    pub(super) proofs: Option<File>,
    pub(super) pieces: Bitfield,
}

impl Blob {
    /// A blob whose bytes have been checked against its digest.
    pub(super) fn complete(
        store: &Arc<Inner>,
        digest: Digest,
        len: u64,
        file: File,
        meta: Option<MetaInfo>,
    ) -> Arc<Self> {
        let mut readable = RangeSet::new();
        readable.insert(0..len);
        let pieces = Bitfield::full(meta.as_ref().map_or(0, |meta| meta.geometry().pieces()));
        let meta = meta.map(TorrentMeta::Final);
        let progress = Progress::new(Phase::Complete, meta, pieces, readable);
        Arc::new(Self {
            store: Arc::clone(store),
            digest,
            len,
            file: Arc::new(file),
            status: None,
            proofs: None,
            progress: Mutex::new(progress),
            frontier: Mutex::new(Frontier::new(digest.algorithm())),
        })
    }

    /// A blob whose marks are `parts.pieces`; nobody has it until [`Blob::check_marks`] has seen
    /// to them.
    pub(super) fn arriving(store: &Arc<Inner>, parts: Arriving) -> Arc<Self> {
        let (digest, len) = (parts.meta.digest(), parts.meta.geometry().blob_len());
        let meta = Some(parts.meta);
        let progress = Progress::new(Phase::Arriving, meta, parts.pieces, RangeSet::new());
        Arc::new(Self {
            store: Arc::clone(store),
            digest,
            len,
            file: Arc::new(parts.file),
            status: Some(parts.status),
            proofs: parts.proofs,
            progress: Mutex::new(progress),
            frontier: Mutex::new(Frontier::new(digest.algorithm())),
        })
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length in bytes, also while it arrives.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the whole is verified and in the cache.
    pub fn is_complete(&self) -> bool {
        lock(&self.progress).phase == Phase::Complete
    }

    /// Its metainfo. An arriving blob whose metainfo is provisional has none yet.
    pub fn metainfo(&self) -> Option<MetaInfo> {
        lock(&self.progress).meta.as_ref()?.as_final().cloned()
    }

    /// Its metainfo, final or provisional; an arriving blob always has one.
    pub fn torrent_meta(&self) -> Option<TorrentMeta> {
        lock(&self.progress).meta.clone()
    }

    /// The pieces that may be seeded; no bits at all where there is no metainfo.
    pub fn pieces(&self) -> Bitfield {
        lock(&self.progress).pieces.clone()
    }

    /// The file with its bytes, to send from. What may be read of it is for the caller to heed;
    /// an arriving blob's file has its full length from the start.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Where the bytes that may be read from `start` on end; `start` itself when there are none.
    pub fn readable_to(&self, start: u64) -> u64 {
        lock(&self.progress).readable.end_of_run(start)
    }

    /// Waits until every byte of `range` may be read.
    pub fn readable(self: &Arc<Self>, range: Range<u64>) -> Readable {
        Readable::new(Arc::clone(self), Target::Range(range))
    }

    /// Waits until the whole is verified and committed.
    pub fn completed(self: &Arc<Self>) -> Readable {
        Readable::new(Arc::clone(self), Target::Complete)
    }

    /// Fills `buf` from bytes that may be read; `ErrorKind::Pending` while they may not. Blocks.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = self.range_of(offset, buf.len())?;
        {
            let progress = lock(&self.progress);
            self.alive(&progress)?;
            if !progress.readable.contains(&range) {
                return Err(Error::new(ErrorKind::Pending, self.about("read", &range)));
            }
        }
        self.read_exact(&range, buf)
    }

    /// Fills `buf` from bytes of marked pieces, to seed them; `ErrorKind::Pending` while they are
    /// not marked. Blocks.
    pub fn read_marked_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = self.range_of(offset, buf.len())?;
        let marked = {
            let progress = lock(&self.progress);
            self.alive(&progress)?;
            progress.phase == Phase::Complete
                || progress.geometry().is_some_and(|geometry| {
                    geometry
                        .covering(range.clone())
                        .all(|index| progress.pieces.contains(PieceIndex(index)))
                })
        };
        if !marked {
            return Err(Error::new(ErrorKind::Pending, self.about("read marked", &range)));
        }
        self.read_exact(&range, buf)
    }

    /// Writes bytes of pieces that are not marked; `ErrorKind::Conflict` where one is, or the blob
    /// is complete. One piece has one writer at a time; the caller sees to it. Blocks.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = self.range_of(offset, bytes.len())?;
        {
            let progress = lock(&self.progress);
            self.alive(&progress)?;
            let marked = progress.phase == Phase::Complete
                || progress.geometry().is_none_or(|geometry| {
                    geometry
                        .covering(range.clone())
                        .any(|index| progress.pieces.contains(PieceIndex(index)))
                });
            if marked {
                let text = self.about("write marked", &range);
                return Err(Error::new(ErrorKind::Conflict, text));
            }
        }
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| Error::io(self.about("write", &range), error))
    }

    /// Marks a piece whose bytes are written and checked: it may be seeded, and read if
    /// `readable`. Idempotent; a piece that may be read stays so.
    ///
    /// Then takes at most two pieces further into the hash of the whole, if nobody else is at it,
    /// so that the commit has little left to do. Blocks.
    pub fn mark(&self, index: PieceIndex, readable: bool) -> Result<()> {
        let Some(status) = &self.status else { return Ok(()) };
        let range = {
            let progress = lock(&self.progress);
            self.alive(&progress)?;
            match progress.geometry() {
                Some(geometry) if geometry.contains(index) => geometry.range(index),
                _ => return Err(Error::invalid(format!("mark {}: no piece {index}", self.digest))),
            }
        };
        status
            .write_all_at(&[1], u64::from(index.0))
            .map_err(|error| Error::io(format!("mark piece {index} of {}", self.digest), error))?;
        let wakers = {
            let mut guard = lock(&self.progress);
            let progress = &mut *guard;
            self.alive(progress)?;
            progress.pieces.set(index);
            if readable {
                progress.readable.insert(range);
            }
            progress.waiters.take_readable(&progress.readable)
        };
        wakers.into_iter().for_each(Waker::wake);
        self.advance_hash()
    }

    /// Checks every marked piece against `meta`, which is the blob's or about to be: one that does
    /// not match, or cannot be read, is no longer marked; one that matches its BLAKE3 may be read.
    /// Blocks, for up to the time it takes to read what is there.
    pub(super) fn check_marks(&self, meta: &TorrentMeta) -> Result<()> {
        let Some(status) = &self.status else { return Ok(()) };
        let marked = self.pieces();
        let has_digests = meta.as_final().is_none_or(|meta| meta.sums().blake3.is_some());
        for index in marked.iter() {
            let matches = match meta {
                TorrentMeta::Final(meta) => matches_piece(&self.file, meta, index),
                TorrentMeta::Provisional(meta) => self.matches_proof(meta, index),
            };
            let matches = matches.unwrap_or(false);
            if !matches {
                status.write_all_at(&[0], u64::from(index.0)).map_err(|error| {
                    Error::io(format!("unmark piece {index} of {}", self.digest), error)
                })?;
            }
            let wakers = {
                let mut guard = lock(&self.progress);
                let progress = &mut *guard;
                if !matches {
                    progress.pieces.clear(index);
                } else if has_digests {
                    progress.readable.insert(meta.geometry().range(index));
                }
                progress.waiters.take_readable(&progress.readable)
            };
            wakers.into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    /// Checks the whole against its digest and moves it to the cache: `ErrorKind::Mismatch` when
    /// it does not match, `ErrorKind::Invalid` when pieces are missing; nothing changes then.
    /// Idempotent. Handles stay valid, and all who wait are woken. Blocks, for up to the time it
    /// takes to hash the whole.
    pub fn commit(&self) -> Result<()> {
        self.commit_with(&[])
    }

    /// As [`Blob::commit`]; the sidecars are there when the blob is.
    pub fn commit_with(&self, sidecars: &[Sidecar]) -> Result<()> {
        let exclusive = self.store.exclusive(&self.digest);
        {
            let progress = lock(&self.progress);
            self.alive(&progress)?;
            if progress.phase == Phase::Complete {
                drop(progress);
                return exclusive.add_sidecars(sidecars);
            }
            if !progress.pieces.is_full() {
                let text = format!("commit {}: {:?} pieces", self.digest, progress.pieces);
                return Err(Error::invalid(text));
            }
        }
        self.verify()?;
        let download = self.store.layout.download(&self.digest)?;
        self.settle_metainfo(&download)?;
        if self.store.layout.durable() {
            self.file
                .sync_data()
                .map_err(|error| Error::io(format!("flush {}", self.digest), error))?;
        }
        // An upload of the same blob may have come first.
        if let Some(cached) = exclusive.load_cached()? {
            exclusive.add_sidecars(sidecars)?;
            self.store.layout.remove_entry(&download)?;
            self.store.index().remove_partial(&self.digest);
            drop(cached);
        } else {
            exclusive.install(&download, &self.file, sidecars)?;
            self.enter_cache(sidecars);
        }
        self.become_complete();
        Ok(())
    }

    /// Throws away every byte and mark of a blob that is not complete (`ErrorKind::Conflict` if it
    /// is). Those who wait get an error. Idempotent. Blocks.
    pub fn discard(&self) -> Result<()> {
        let exclusive = self.store.exclusive(&self.digest);
        self.discard_locked(&exclusive)
    }

    pub(super) fn discard_locked(&self, exclusive: &Exclusive<'_>) -> Result<()> {
        debug_assert_eq!(*exclusive.digest(), self.digest, "the right to change this very blob");
        match lock(&self.progress).phase {
            Phase::Arriving => {}
            Phase::Discarded => return Ok(()),
            Phase::Complete => {
                let text = format!("discard {}: it is complete", self.digest);
                return Err(Error::new(ErrorKind::Conflict, text));
            }
        }
        self.store.layout.remove_entry(&self.store.layout.download(&self.digest)?)?;
        self.store.index().remove_partial(&self.digest);
        self.store.notify();
        let wakers = {
            let mut progress = lock(&self.progress);
            progress.phase = Phase::Discarded;
            progress.pieces = Bitfield::new(progress.pieces.len());
            progress.readable = RangeSet::new();
            progress.waiters.take_all()
        };
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Takes metainfo of the same geometry in place of what it has, keeping every mark: for the
    /// step from provisional to final metainfo, after the caller has checked what is marked
    /// against it. Blocks.
    pub fn replace_metainfo(&self, meta: &MetaInfo) -> Result<()> {
        let exclusive = self.store.exclusive(&self.digest);
        self.replace_metainfo_locked(&exclusive, meta)
    }

    pub(super) fn replace_metainfo_locked(
        &self,
        exclusive: &Exclusive<'_>,
        meta: &MetaInfo,
    ) -> Result<()> {
        let geometry = meta.geometry();
        let complete = {
            let progress = lock(&self.progress);
            self.alive(&progress)?;
            let complete = progress.phase == Phase::Complete;
            let fits = if complete {
                geometry.blob_len() == self.len
            } else {
                progress.geometry() == Some(geometry)
            };
            if meta.digest() != self.digest || !fits {
                let text = format!("metainfo of {}: another geometry", self.digest);
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            complete
        };
        let layout = &self.store.layout;
        let dir = if complete {
            // Where it was deleted meanwhile, there is no place for the file.
            exclusive.store().index().cached(&self.digest).map(|_| layout.cached(&self.digest))
        } else {
            Some(layout.download(&self.digest)?)
        };
        if let Some(dir) = dir {
            sidecar::write(&dir, Sidecar::TORRENT_META, &meta.to_json(), layout.durable())?;
            sidecar::remove(&dir, sidecar::PROVISIONAL)?;
        }
        let mut progress = lock(&self.progress);
        if complete {
            progress.pieces = Bitfield::full(geometry.pieces());
        }
        progress.meta = Some(TorrentMeta::Final(meta.clone()));
        Ok(())
    }

    /// The bytes are those of the digest: what vouched for its pieces is its metainfo now.
    fn settle_metainfo(&self, dir: &Path) -> Result<()> {
        if self.proofs.is_none() {
            return Ok(());
        }
        if let Some(TorrentMeta::Provisional(provisional)) = self.torrent_meta() {
            let meta = self.finish_metainfo(&provisional)?;
            let durable = self.store.layout.durable();
            sidecar::write(dir, Sidecar::TORRENT_META, &meta.to_json(), durable)?;
            sidecar::remove(dir, sidecar::PROVISIONAL)?;
            lock(&self.progress).meta = Some(TorrentMeta::Final(meta));
        }
        sidecar::remove(dir, sidecar::PROOFS).map(drop)
    }

    /// Computes metainfo of a complete blob with pieces of `piece_len` bytes, by reading it once.
    /// Blocks.
    pub fn compute_metainfo(&self, piece_len: u64) -> Result<MetaInfo> {
        if !self.is_complete() {
            let text = format!("compute metainfo of {}: it is arriving", self.digest);
            return Err(Error::new(ErrorKind::Pending, text));
        }
        metainfo_of(&self.file, self.digest, Geometry::new(self.len, piece_len)?)
    }

    /// Its metainfo was removed from disk.
    pub(super) fn forget_metainfo(&self) {
        let mut progress = lock(&self.progress);
        if progress.phase == Phase::Complete {
            progress.meta = None;
            progress.pieces = Bitfield::new(0);
        }
    }

    pub(super) fn poll_target(
        &self,
        target: &Target,
        place: &mut Option<u64>,
        waker: &Waker,
    ) -> Poll<Result<()>> {
        let mut guard = lock(&self.progress);
        let progress = &mut *guard;
        let ready = match (progress.phase, target) {
            (Phase::Discarded, _) => Some(self.alive(progress)),
            (_, Target::Range(range)) if range.start > range.end || range.end > self.len => {
                Some(Err(Error::invalid(self.about("read past the end", range))))
            }
            (Phase::Arriving, Target::Range(range)) => {
                progress.readable.contains(range).then_some(Ok(()))
            }
            (Phase::Arriving, Target::Complete) => None,
            (Phase::Complete, _) => Some(Ok(())),
        };
        let stale = match ready {
            Some(_) => Ok(place.take().and_then(|place| progress.waiters.forget(place))),
            None => progress.waiters.wait(place, target, waker),
        };
        drop(guard);
        match (ready, stale) {
            (Some(result), _) => Poll::Ready(result),
            (None, Ok(_)) => Poll::Pending,
            (None, Err(error)) => Poll::Ready(Err(error)),
        }
    }

    pub(super) fn forget_waiter(&self, place: u64) {
        let waker = lock(&self.progress).waiters.forget(place);
        drop(waker);
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.progress).waiters.len()
    }

    /// Hashes what has become contiguous, a little of it.
    fn advance_hash(&self) -> Result<()> {
        if !VERIFIES_BLOBS {
            return Ok(());
        }
        let mut frontier = match self.frontier.try_lock() {
            Ok(frontier) => frontier,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        for _ in 0..limits::HASHED_PER_MARK {
            let next = {
                let progress = lock(&self.progress);
                let Some(geometry) = progress.geometry() else { return Ok(()) };
                let index = PieceIndex((frontier.hashed() / geometry.piece_len()) as u32);
                progress.pieces.contains(index).then(|| geometry.range(index).end)
            };
            let Some(end) = next else { return Ok(()) };
            frontier.advance(&self.file, end)?;
        }
        Ok(())
    }

    fn verify(&self) -> Result<()> {
        if !VERIFIES_BLOBS {
            return Ok(());
        }
        let found = lock(&self.frontier).digest(&self.file, self.len, self.digest.algorithm())?;
        if found == self.digest {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Mismatch,
            format!("commit {}: it hashes to {found}", self.digest),
        ))
    }

    /// The index takes it from the downloads to the cache: the same bytes, the same handle.
    fn enter_cache(&self, sidecars: &[Sidecar]) {
        let now = unix_now();
        let mut index = self.store.index();
        let slot = index.slots.entry(self.digest).or_default();
        let open = slot.partial.take().map_or_else(Weak::new, |partial| partial.open);
        let cached = Cached {
            len: self.len,
            persist: sidecars.iter().any(Sidecar::is_persist),
            accessed: now,
            accessed_on_disk: now,
            modified: now,
            open,
        };
        index.put_cached(&self.digest, cached);
    }

    fn become_complete(&self) {
        let wakers = {
            let mut progress = lock(&self.progress);
            progress.phase = Phase::Complete;
            progress.readable.insert(0..self.len);
            progress.waiters.take_all()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn alive(&self, progress: &Progress) -> Result<()> {
        if progress.phase == Phase::Discarded {
            let text = format!("{} was thrown away", self.digest);
            return Err(Error::new(ErrorKind::Cancelled, text));
        }
        Ok(())
    }

    fn range_of(&self, offset: u64, len: usize) -> Result<Range<u64>> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(offset..end),
            _ => Err(Error::invalid(format!(
                "{len} bytes at {offset} of {}, which has {}",
                self.digest, self.len
            ))),
        }
    }

    fn read_exact(&self, range: &Range<u64>, buf: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buf, range.start)
            .map_err(|error| Error::io(self.about("read", range), error))
    }

    fn about(&self, what: &str, range: &Range<u64>) -> String {
        format!("{what} bytes {}..{} of {}", range.start, range.end, self.digest)
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let this: *const Self = self;
        let mut index = self.store.index();
        let Some(slot) = index.slots.get_mut(&self.digest) else { return };
        // The index must not keep the memory of a handle that is gone.
        if let Some(cached) = slot.cached.as_mut().filter(|one| one.open.as_ptr() == this) {
            cached.open = Weak::new();
            cached.accessed = cached.accessed.max(unix_now());
        }
        if let Some(partial) = slot.partial.as_mut().filter(|one| one.open.as_ptr() == this) {
            partial.open = Weak::new();
        }
        drop(index);
        self.store.notify();
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = lock(&self.progress);
        write!(f, "Blob({} {:?} {:?})", self.digest, progress.phase, progress.pieces)
    }
}

impl Progress {
    fn new(phase: Phase, meta: Option<TorrentMeta>, pieces: Bitfield, readable: RangeSet) -> Self {
        Self { phase, meta, pieces, readable, waiters: Waiters::default() }
    }

    fn geometry(&self) -> Option<Geometry> {
        self.meta.as_ref().map(TorrentMeta::geometry)
    }
}

impl Exclusive<'_> {
    /// Moves an entry whose bytes are checked into the cache, with its sidecars. The index is not
    /// told yet.
    pub(super) fn install(&self, from: &Path, file: &File, sidecars: &[Sidecar]) -> Result<()> {
        let layout = &self.store().layout;
        let durable = layout.durable();
        for sidecar in sidecars {
            sidecar::write(from, sidecar.name(), sidecar.bytes(), durable)?;
        }
        let accessed = sidecar::encode_access_time(unix_now());
        sidecar::write(from, sidecar::ACCESS_TIME, &accessed, durable)?;
        let stamp = sidecar::verified_stamp(file, durable)?;
        sidecar::write(from, sidecar::VERIFIED, stamp.as_bytes(), durable)?;
        layout.move_entry(from, &layout.cached(self.digest()))
    }
}
