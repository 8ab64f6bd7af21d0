//! A torrent as the node's tasks see it: its sums, its bytes, and who writes what.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kraken_core::{Error, ErrorKind, MetaInfo, Namespace, Result};

use super::lease::Leases;
use crate::storage::{TorrentFile, TorrentStorage};
use crate::swarm::{Sums, TorrentSpec};

/// One torrent with its open file. A discard makes a new one.
#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) meta: MetaInfo,
    pub(super) namespace: Namespace,
    pub(super) file: Arc<dyn TorrentFile>,
    pub(super) leases: Arc<Leases>,
    /// Whether the file may be written; taken for reading over each write, on blocking threads.
    open: RwLock<bool>,
}

impl Torrent {
    /// Opens the torrent in storage; no older one of the digest may be written any more. Blocks on
    /// disk.
    pub(super) fn open(
        storage: &dyn TorrentStorage,
        meta: MetaInfo,
        namespace: Namespace,
    ) -> Result<Arc<Self>> {
        let file = storage.open(&meta, &namespace)?;
        Ok(Self::new(meta, namespace, file))
    }

    /// From a file that storage has opened. Blocks on disk.
    pub(super) fn new(
        meta: MetaInfo,
        namespace: Namespace,
        file: Arc<dyn TorrentFile>,
    ) -> Arc<Self> {
        let leases = Leases::new(file.pieces());
        Arc::new(Self { meta, namespace, file, leases, open: RwLock::new(true) })
    }

    /// What the swarm is told of it. Blocks on disk.
    pub(super) fn spec(&self) -> TorrentSpec {
        TorrentSpec {
            meta: TorrentMeta::Final(self.meta.clone()),
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
            let text = format!("discard {}: it was removed", self.meta.digest());
            return Err(Error::new(ErrorKind::Cancelled, text));
        }
        self.file.discard()?;
        Self::open(storage, self.meta.clone(), self.namespace.clone())
    }
}
