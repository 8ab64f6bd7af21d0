//! Blobs that a client writes, in any order, before their digest is known to be right.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Duration;

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BLOB_LEN_MAX;
use crate::metainfo::MetaInfo;
use crate::piece::Geometry;
use crate::range_set::RangeSet;
use crate::store::blob::Blob;
use crate::store::cache::Store;
use crate::store::cleanup::Outcome;
use crate::store::index::{Cached, Exclusive, Inner, lock, unix_now};
use crate::store::layout::DATA;
use crate::store::limits::UPLOAD_PARTS_MAX;
use crate::store::sidecar::Sidecar;
use crate::store::upload_id::UploadId;
use crate::store::verify::{Frontier, metainfo_of};

/// An upload under way. Cheap to clone; all clones are the same upload.
///
/// It stays, also when every handle is dropped, until it is committed, cancelled, given up by
/// [`Store::cancel_idle_uploads`], or the store is opened anew. Writers take turns.
#[derive(Debug, Clone)]
pub struct Upload {
    store: Arc<Inner>,
    session: Arc<Session>,
}

/// All uploads under way.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: HashMap<UploadId, Arc<Session>>,
    /// How many were ever begun.
    begun: u64,
}

#[derive(Debug)]
struct Session {
    id: UploadId,
    /// How many were begun before it.
    number: u64,
    writing: Mutex<Writing>,
    /// When it was last written to, in unix seconds.
    touched: AtomicU64,
}

#[derive(Debug)]
struct Writing {
    /// Its file, once there is something to write to it.
    file: Option<Arc<File>>,
    /// The bytes written so far. A file system keeps no more of a file than the blocks of these, so
    /// the rest of its length is not counted, and never read back.
    bytes: RangeSet,
    /// Bytes counted against the store's ceiling: those written, and those a write has failed on.
    charged: u64,
    /// The hash of what was written in order.
    frontier: Frontier,
    /// Committed, cancelled or dropped.
    ended: bool,
}

/// What became of an upload that is to be taken in.
enum Admitted {
    Beside,
    InPlaceOf(Arc<Session>),
    Not,
}

impl Store {
    /// Begins an upload that will most likely be committed under a digest of `algorithm` (it is
    /// hashed by that as it is written; another is right too, but read again).
    ///
    /// When too many are open, the one that has stood still for longest gives way, as long as it
    /// has no byte and nobody holds a handle to it; `ErrorKind::NoSpace` when there is none.
    pub fn create_upload(&self, algorithm: Algorithm) -> Result<Upload> {
        let (inner, max) = (&self.inner, self.inner.config.uploads_max);
        let refused =
            || Error::new(ErrorKind::NoSpace, format!("more than {max} uploads are open"));
        let number = {
            let mut uploads = lock(&inner.uploads);
            if uploads.open.len() >= max && uploads.longest_idle().is_none() {
                return Err(refused());
            }
            uploads.begun += 1;
            uploads.begun
        };
        let id = UploadId::random()?;
        inner.layout.make_dir(&inner.layout.upload(&id))?;
        let session = Arc::new(Session {
            id: id.clone(),
            number,
            writing: Mutex::new(Writing {
                file: None,
                bytes: RangeSet::new(),
                charged: 0,
                frontier: Frontier::new(algorithm),
                ended: false,
            }),
            touched: AtomicU64::new(unix_now()),
        });
        let upload = Upload { store: Arc::clone(inner), session: Arc::clone(&session) };
        let admitted = lock(&inner.uploads).admit(session, max);
        match admitted {
            Admitted::Beside => {}
            Admitted::InPlaceOf(session) => {
                // What is left of it is wiped at the next start; the new one is none the worse.
                let _ = Upload { store: Arc::clone(inner), session }.cancel();
            }
            // Others were faster since the first look; the lock is not held over calls of the
            // system.
            Admitted::Not => {
                upload.cancel()?;
                return Err(refused());
            }
        }
        Ok(upload)
    }

    /// Refuses a blob of `len` bytes that could not be kept even if it were the only one, before
    /// others make room for it in vain: `ErrorKind::NoSpace`. Does not block.
    pub fn could_hold(&self, len: u64) -> Result<()> {
        match self.inner.config.capacity_bytes {
            Some(capacity) if len > capacity => Err(Error::new(
                ErrorKind::NoSpace,
                format!("a blob of {len} bytes is larger than all room, {capacity} bytes"),
            )),
            _ => Ok(()),
        }
    }

    /// How many uploads are under way. Does not block on disk.
    pub fn upload_count(&self) -> usize {
        lock(&self.inner.uploads).open.len()
    }

    /// The upload of this name; `ErrorKind::NotFound` where there is none. Does not block on disk.
    pub fn upload(&self, id: &UploadId) -> Result<Upload> {
        match lock(&self.inner.uploads).open.get(id) {
            Some(session) => {
                Ok(Upload { store: Arc::clone(&self.inner), session: Arc::clone(session) })
            }
            None => Err(Error::not_found(format!("upload {id}"))),
        }
    }

    /// All uploads under way, in the order of their names.
    pub(super) fn uploads(&self) -> Vec<Upload> {
        let store = &self.inner;
        let mut uploads: Vec<Upload> = lock(&store.uploads)
            .open
            .values()
            .map(|session| Upload { store: Arc::clone(store), session: Arc::clone(session) })
            .collect();
        uploads.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        uploads
    }

    /// Cancels every upload that was not written to for `idle`; how many.
    pub fn cancel_idle_uploads(&self, idle: Duration) -> Result<usize> {
        let before = unix_now().saturating_sub(idle.as_secs());
        let mut stale: Vec<Arc<Session>> = lock(&self.inner.uploads)
            .open
            .values()
            .filter(|session| session.touched.load(Ordering::Relaxed) <= before)
            .cloned()
            .collect();
        stale.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let count = stale.len();
        for session in stale {
            Upload { store: Arc::clone(&self.inner), session }.cancel()?;
        }
        Ok(count)
    }
}

impl Upload {
    /// Its name.
    pub fn id(&self) -> &UploadId {
        &self.session.id
    }

    /// Where the bytes written so far end. Waits while another thread writes.
    pub fn len(&self) -> u64 {
        lock(&self.session.writing).bytes.end()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file with its bytes. Blocks.
    pub fn file(&self) -> Result<Arc<File>> {
        self.data(&mut *self.writing()?)
    }

    /// Writes after the last byte; the length after that. `ErrorKind::NoSpace` leaves it as it
    /// was. Blocks.
    pub fn append(&self, bytes: &[u8]) -> Result<u64> {
        let mut writing = self.writing()?;
        let offset = writing.bytes.end();
        self.write(&mut writing, offset, bytes)
    }

    /// Writes at any offset, over what is there too; the length after that. Only bytes that are
    /// written take room, and an upload with others in between cannot be committed.
    /// `ErrorKind::NoSpace` leaves the length as it was; `ErrorKind::Invalid` when what is written
    /// would be in more than [`UPLOAD_PARTS_MAX`](crate::store::limits::UPLOAD_PARTS_MAX) parts.
    /// Blocks.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<u64> {
        let mut writing = self.writing()?;
        self.write(&mut writing, offset, bytes)
    }

    /// Whether the bytes so far hash to `digest`: `ErrorKind::Mismatch` if not, and
    /// `ErrorKind::Invalid` while some before the last were never written. Changes nothing.
    /// Blocks, for up to the time it takes to hash what was not written in order.
    pub fn verify(&self, digest: &Digest) -> Result<()> {
        self.check(&mut *self.writing()?, digest)
    }

    /// The metainfo of the bytes so far as the blob `digest`, which is taken at its word, in pieces
    /// of `piece_len` bytes. Blocks: everything is read.
    pub fn compute_metainfo(&self, digest: &Digest, piece_len: u64) -> Result<MetaInfo> {
        let mut writing = self.writing()?;
        self.refuse_hole(&writing)?;
        let geometry = Geometry::new(writing.bytes.end(), piece_len)?;
        metainfo_of(&*self.data(&mut writing)?, *digest, geometry)
    }

    /// Checks the bytes against `digest` and moves them to the cache, where they are visible with
    /// all `sidecars` or not at all. A blob that is there already is given the sidecars, and is as
    /// good. `ErrorKind::Mismatch` drops the upload; after any other failure, such as
    /// `ErrorKind::Invalid` for bytes never written, it is as it was, and may be committed again.
    /// Blocks, for up to the time it takes to hash the whole.
    pub fn commit(&self, digest: &Digest, sidecars: &[Sidecar]) -> Result<Arc<Blob>> {
        let mut writing = self.writing()?;
        if let Err(error) = self.check(&mut writing, digest) {
            if error.kind() == ErrorKind::Mismatch {
                // Told is what is wrong with the upload; what is left is wiped at the next start.
                let _ = self.end(&mut writing);
            }
            return Err(error);
        }
        let file = self.data(&mut writing)?;
        if self.store.layout.durable() {
            file.sync_data()
                .map_err(|error| Error::io(format!("flush upload {}", self.id()), error))?;
        }
        let exclusive = self.store.exclusive(digest);
        if let Some(blob) = exclusive.load_cached()? {
            exclusive.add_sidecars(sidecars)?;
            self.end(&mut writing)?;
            return Ok(blob);
        }
        let dir = self.store.layout.upload(self.id());
        exclusive.install(&dir, &file, sidecars)?;
        self.enter_cache(&exclusive, &mut writing, sidecars);
        exclusive.load_cached()?.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("{digest} left the cache at once"))
        })
    }

    /// Throws the upload away; one that has ended is as good. Blocks.
    pub fn cancel(&self) -> Result<()> {
        let mut writing = lock(&self.session.writing);
        if writing.ended { Ok(()) } else { self.end(&mut writing) }
    }

    /// Throws the upload away if its last write, in unix seconds, `is_due`; one that is just being
    /// written or committed stays.
    pub(super) fn cancel_if(&self, is_due: impl Fn(u64) -> bool) -> Result<Outcome> {
        let is_due = || is_due(self.session.touched.load(Ordering::Relaxed));
        if !is_due() {
            return Ok(Outcome::NotDue);
        }
        let mut writing = match self.session.writing.try_lock() {
            Ok(writing) => writing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Outcome::Kept),
        };
        if writing.ended || !is_due() {
            return Ok(Outcome::NotDue);
        }
        let bytes = writing.charged;
        self.end(&mut writing).map(|()| Outcome::Removed(bytes))
    }

    fn writing(&self) -> Result<std::sync::MutexGuard<'_, Writing>> {
        let writing = lock(&self.session.writing);
        if writing.ended {
            return Err(Error::not_found(format!("upload {}: it has ended", self.id())));
        }
        Ok(writing)
    }

    fn write(&self, writing: &mut Writing, offset: u64, bytes: &[u8]) -> Result<u64> {
        let end = match offset.checked_add(bytes.len() as u64) {
            Some(end) if end <= BLOB_LEN_MAX => end,
            _ => {
                let text = format!("upload {}: more than {BLOB_LEN_MAX} bytes", self.id());
                return Err(Error::new(ErrorKind::TooLarge, text));
            }
        };
        let range = offset..end;
        if range.is_empty() {
            return Ok(writing.bytes.end());
        }
        if !writing.bytes.touches(&range) && writing.bytes.parts() >= UPLOAD_PARTS_MAX {
            let text =
                format!("upload {}: more than {UPLOAD_PARTS_MAX} parts that are apart", self.id());
            return Err(Error::invalid(text));
        }
        self.session.touched.store(unix_now(), Ordering::Relaxed);
        let wanted = writing.bytes.len() + writing.bytes.missing(&range);
        if let Some(more @ 1..) = wanted.checked_sub(writing.charged) {
            self.store.admit(more)?;
            writing.charged = wanted;
        }
        if offset < writing.frontier.hashed() {
            writing.frontier.restart();
        }
        self.store.with_room(bytes.len() as u64, || {
            self.data(writing)?.write_all_at(bytes, offset).map_err(|error| {
                let text = format!("write {} bytes of upload {}", bytes.len(), self.id());
                Error::io(text, error)
            })
        })?;
        if offset == writing.frontier.hashed() {
            writing.frontier.update(bytes);
        }
        writing.bytes.insert(range);
        Ok(writing.bytes.end())
    }

    /// The file, opened when it is first needed: an upload that never gets a byte holds none.
    fn data(&self, writing: &mut Writing) -> Result<Arc<File>> {
        if let Some(file) = &writing.file {
            return Ok(Arc::clone(file));
        }
        let path = self.store.layout.upload(self.id()).join(DATA);
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let opened =
            opened.map_err(|error| Error::io(format!("begin upload {}", self.id()), error))?;
        Ok(Arc::clone(writing.file.insert(Arc::new(opened))))
    }

    /// Bytes never written would be read as zeros: terabytes of them, if a sender says so.
    fn refuse_hole(&self, writing: &Writing) -> Result<()> {
        match writing.bytes.first_gap() {
            None => Ok(()),
            Some(hole) => Err(Error::invalid(format!(
                "upload {}: the bytes {}-{} of {} were never written",
                self.id(),
                hole.start,
                hole.end - 1,
                writing.bytes.end()
            ))),
        }
    }

    fn check(&self, writing: &mut Writing, digest: &Digest) -> Result<()> {
        self.refuse_hole(writing)?;
        let (file, len) = (self.data(writing)?, writing.bytes.end());
        let found = writing.frontier.digest(&file, len, digest.algorithm())?;
        if found == *digest {
            return Ok(());
        }
        let text = format!("upload {} hashes to {found}, not {digest}", self.id());
        Err(Error::new(ErrorKind::Mismatch, text))
    }

    /// The index takes its bytes as a blob's.
    fn enter_cache(&self, exclusive: &Exclusive<'_>, writing: &mut Writing, with: &[Sidecar]) {
        let (now, len) = (unix_now(), writing.bytes.end());
        let cached = Cached {
            len,
            persist: with.iter().any(Sidecar::is_persist),
            accessed: now,
            accessed_on_disk: now,
            modified: now,
            open: Weak::new(),
        };
        self.store.index().put_cached(exclusive.digest(), cached);
        self.store.release(writing.charged.saturating_sub(len));
        writing.ended = true;
        lock(&self.store.uploads).open.remove(self.id());
    }

    /// Removes what was written.
    fn end(&self, writing: &mut Writing) -> Result<()> {
        writing.ended = true;
        lock(&self.store.uploads).open.remove(self.id());
        self.store.release(std::mem::take(&mut writing.charged));
        self.store.layout.remove_entry(&self.store.layout.upload(self.id()))
    }
}

impl Uploads {
    /// Takes `session` in if that makes no more than `max`, by giving up another if need be.
    fn admit(&mut self, session: Arc<Session>, max: usize) -> Admitted {
        let mut admitted = Admitted::Beside;
        if self.open.len() >= max {
            let idle = self.longest_idle().and_then(|id| self.open.remove(&id));
            let Some(idle) = idle else { return Admitted::Not };
            admitted = Admitted::InPlaceOf(idle);
        }
        self.open.insert(session.id.clone(), session);
        admitted
    }

    /// The one that has stood still for longest, of those without a byte that nobody uses: handles
    /// are given out under the lock of this map, so none appears meanwhile.
    fn longest_idle(&self) -> Option<UploadId> {
        let is_empty = |session: &Session| {
            session.writing.try_lock().is_ok_and(|writing| writing.bytes.end() == 0)
        };
        let idle = self.open.values().filter(|session| Arc::strong_count(session) == 1);
        let idle = idle.filter(|session| is_empty(session));
        let longest =
            idle.min_by_key(|session| (session.touched.load(Ordering::Relaxed), session.number));
        longest.map(|session| session.id.clone())
    }
}
