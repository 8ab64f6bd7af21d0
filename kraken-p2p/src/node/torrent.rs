//! A torrent as the node's tasks see it: its sums, its bytes, and who writes what.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use kraken_core::{Digest, Error, ErrorKind, Geometry, Namespace, PieceIndex, Result, TorrentMeta};
use tokio::sync::mpsc;

use super::lease::Leases;
use super::limits::WANTS_MAX;
use crate::storage::{TorrentFile, TorrentStorage};
use crate::swarm::TorrentSpec;

/// Bytes that peers wait for.
#[derive(Debug, Default)]
struct Wants {
    told: Option<mpsc::Sender<Range<u64>>>,
    /// What came before anybody was to be told.
    early: Vec<Range<u64>>,
}

/// One torrent with its open file. A discard makes a new one.
#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) digest: Digest,
    pub(super) geometry: Geometry,
    pub(super) namespace: Namespace,
    pub(super) file: Arc<dyn TorrentFile>,
    pub(super) leases: Arc<Leases>,
    /// Whether the application brings its pieces.
    brought: AtomicBool,
    /// Where the application hears of bytes that peers wait for; a leaf.
    wants: Mutex<Wants>,
    /// How long writes to the file took, one after the other, in nanoseconds.
    disk_nanos: AtomicU64,
    /// What vouches for its pieces; a leaf.
    meta: RwLock<TorrentMeta>,
    /// Whether the file may be written; taken for reading over each write, on blocking threads.
    open: RwLock<bool>,
}

impl Torrent {
    /// Opens the torrent in storage; no older one of the digest may be written any more. Blocks on
    /// disk.
    pub(super) fn open(
        storage: &dyn TorrentStorage,
        meta: TorrentMeta,
        namespace: Namespace,
    ) -> Result<Arc<Self>> {
        let file = match &meta {
            TorrentMeta::Final(meta) => storage.open(meta, &namespace)?,
            TorrentMeta::Provisional(meta) => storage.open_provisional(meta, &namespace)?,
        };
        // Storage may have known sums already.
        let meta = file.metainfo().map_or(meta, TorrentMeta::Final);
        Ok(Self::new(meta, namespace, file))
    }

    /// From a file that storage has opened. Blocks on disk.
    pub(super) fn new(
        meta: TorrentMeta,
        namespace: Namespace,
        file: Arc<dyn TorrentFile>,
    ) -> Arc<Self> {
        let leases = Leases::new(file.pieces());
        Arc::new(Self {
            digest: meta.digest(),
            geometry: meta.geometry(),
            namespace,
            file,
            leases,
            brought: AtomicBool::new(false),
            wants: Mutex::default(),
            disk_nanos: AtomicU64::new(0),
            meta: RwLock::new(meta),
            open: RwLock::new(true),
        })
    }

    /// Whether the application brings its pieces from now on.
    pub(super) fn set_brought(&self, brought: bool) {
        self.brought.store(brought, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(super) fn is_brought(&self) -> bool {
        self.brought.load(Ordering::Relaxed)
    }

    /// Hears of bytes that peers wait for, from now on and in place of whoever heard of them
    /// before.
    pub(super) fn wanted(&self) -> mpsc::Receiver<Range<u64>> {
        let (wants, wanted) = mpsc::channel(WANTS_MAX);
        let mut held = self.wants.lock().unwrap_or_else(PoisonError::into_inner);
        for range in held.early.drain(..) {
            let _ = wants.try_send(range);
        }
        held.told = Some(wants);
        wanted
    }

    /// Somebody waits for these pieces. When too many do, they wait.
    pub(super) fn want(&self, pieces: Range<u32>) {
        let [first, last] = [pieces.start, pieces.end - 1].map(PieceIndex);
        let bytes = self.geometry.range(first).start..self.geometry.range(last).end;
        let mut held = self.wants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = &held.told {
            let _ = told.try_send(bytes);
        } else if held.early.len() < WANTS_MAX && !held.early.contains(&bytes) {
            held.early.push(bytes);
        }
    }

    /// Notes a write.
    pub(super) fn add_disk_time(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.disk_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How long writes took, those at once counted each.
    pub(super) fn disk_time(&self) -> Duration {
        Duration::from_nanos(self.disk_nanos.load(Ordering::Relaxed))
    }

    /// What vouches for its pieces, as known now.
    pub(super) fn meta(&self) -> TorrentMeta {
        self.meta.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// More is known: sums, or keys of the same attempt. Whether it could be taken.
    pub(super) fn learn(&self, news: TorrentMeta) -> bool {
        let mut meta = self.meta.write().unwrap_or_else(PoisonError::into_inner);
        match (&*meta, news) {
            (TorrentMeta::Final(_), _) => true,
            (TorrentMeta::Provisional(_), news @ TorrentMeta::Final(_)) => {
                *meta = news;
                true
            }
            (TorrentMeta::Provisional(held), TorrentMeta::Provisional(news)) => {
                let Some(both) = held.united_with(&news) else { return false };
                *meta = TorrentMeta::Provisional(both);
                true
            }
        }
    }

    /// What the swarm is told of it. Blocks on disk.
    pub(super) fn spec(&self) -> TorrentSpec {
        TorrentSpec {
            meta: self.meta(),
            namespace: self.namespace.clone(),
            have: self.file.pieces(),
            complete: self.file.is_complete(),
        }
    }

    /// To be held over each write; `None` once the torrent has ended. Blocks.
    pub(super) fn writable(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.then_some(open)
    }

    /// Waits for writes under way and lets no more happen; whether any could until now. Blocks.
    pub(super) fn end(&self) -> bool {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *open)
    }

    /// Ends it, throws the bytes away and opens the torrent anew. `ErrorKind::Cancelled` when it
    /// has ended before: then its bytes may be another's already. Blocks on disk.
    pub(super) fn discard(&self, storage: &dyn TorrentStorage) -> Result<Arc<Self>> {
        if !self.end() {
            let text = format!("discard {}: it was removed", self.digest);
            return Err(Error::new(ErrorKind::Cancelled, text));
        }
        self.file.discard()?;
        Self::open(storage, self.meta(), self.namespace.clone())
    }
}
