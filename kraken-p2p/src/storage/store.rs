//! [`TorrentStorage`] over the store of `kraken-core`.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use kraken_core::store::{Blob, Store};
use kraken_core::{
    Bitfield, Digest, MetaInfo, Namespace, PieceIndex, PieceProof, Provisional, Result, TorrentMeta,
};

use crate::storage::{Proof, Readable, Recall, TorrentFile, TorrentStorage};

/// Told of a blob that a peer asked for and that is not here, by digest and the peer's namespace.
///
/// Called on the thread that looked, perhaps often for one blob; it must not block.
pub type OnMissing = Arc<dyn Fn(&Digest, &Namespace) + Send + Sync>;

/// Torrents in a [`Store`]: complete blobs that have metainfo, and arriving ones.
#[derive(Clone)]
pub struct StoreStorage {
    store: Store,
    on_missing: Option<OnMissing>,
}

#[derive(Debug)]
struct StoreFile(Arc<Blob>);

impl StoreStorage {
    /// Torrents in `store`.
    pub fn new(store: Store) -> Self {
        Self { store, on_missing: None }
    }

    /// Has `on_missing` told of each blob that was asked for and is not here: an origin begins to
    /// refresh it from its backend.
    #[must_use]
    pub fn on_missing(mut self, on_missing: OnMissing) -> Self {
        self.on_missing = Some(on_missing);
        self
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl TorrentStorage for StoreStorage {
    fn open(&self, meta: &MetaInfo, _namespace: &Namespace) -> Result<Arc<dyn TorrentFile>> {
        Ok(Arc::new(StoreFile(self.store.open_download(meta)?)))
    }

    fn takes_provisional(&self) -> bool {
        true
    }

    fn open_provisional(
        &self,
        meta: &Provisional,
        _namespace: &Namespace,
    ) -> Result<Arc<dyn TorrentFile>> {
        let blob = self.store.open_torrent(&TorrentMeta::Provisional(meta.clone()))?;
        Ok(Arc::new(StoreFile(blob)))
    }

    fn find(
        &self,
        digest: &Digest,
        namespace: &Namespace,
    ) -> Result<Option<(MetaInfo, Arc<dyn TorrentFile>)>> {
        if let Some(blob) = self.store.find(digest)?
            && let Some(meta) = blob.metainfo()
        {
            return Ok(Some((meta, Arc::new(StoreFile(blob)))));
        }
        if let Some(on_missing) = &self.on_missing {
            on_missing(digest, namespace);
        }
        Ok(None)
    }

    fn on_recall(&self, recall: &Arc<Recall>) {
        self.store.on_recall(recall);
    }
}

impl TorrentFile for StoreFile {
    fn pieces(&self) -> Bitfield {
        self.0.pieces()
    }

    fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn read_marked_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.read_marked_at(offset, buf)
    }

    fn readable_to(&self, start: u64) -> u64 {
        self.0.readable_to(start)
    }

    fn readable(&self, range: Range<u64>) -> Readable {
        Box::pin(self.0.readable(range))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.read_at(offset, buf)
    }

    fn mark(&self, index: PieceIndex, proof: Proof) -> Result<()> {
        self.0.mark(index, proof == Proof::PieceVerified)
    }

    fn metainfo(&self) -> Option<MetaInfo> {
        self.0.metainfo()
    }

    fn mark_proven(&self, index: PieceIndex, proof: &PieceProof) -> Result<()> {
        self.0.mark_proven(index, proof)
    }

    fn proof(&self, index: PieceIndex) -> Result<Option<PieceProof>> {
        self.0.proof(index)
    }

    fn commit(&self) -> Result<()> {
        self.0.commit()
    }

    fn discard(&self) -> Result<()> {
        self.0.discard()
    }

    fn sendfile_source(&self) -> Option<(Arc<File>, u64)> {
        Some((self.0.file(), 0))
    }
}

impl fmt::Debug for StoreStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreStorage").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kraken_core::store::StoreConfig;
    use kraken_core::{Algorithm, ErrorKind};

    use super::*;

    const BYTES: &[u8] = b"hello kraken";

    fn storage() -> (tempfile::TempDir, StoreStorage) {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { durable: false, ..StoreConfig::under(dir.path()) };
        (dir, StoreStorage::new(Store::open(config).unwrap()))
    }

    fn meta() -> MetaInfo {
        MetaInfo::of_bytes(Digest::sha256(BYTES), BYTES, 5).unwrap()
    }

    fn namespace() -> Namespace {
        "library/nginx".parse().unwrap()
    }

    #[test]
    fn a_torrent_goes_through_the_traits() {
        let (_dir, storage) = storage();
        let meta = meta();
        let file = storage.open(&meta, &namespace()).unwrap();
        file.write_at(5, &BYTES[5..10]).unwrap();
        file.mark(PieceIndex(1), Proof::Crc32Only).unwrap();
        let mut piece = [0; 5];
        file.read_marked_at(5, &mut piece).unwrap();
        assert_eq!(piece, BYTES[5..10]);
        let (found, same) = storage.find(&meta.digest(), &namespace()).unwrap().unwrap();
        assert_eq!(found, meta);
        assert_eq!(same.pieces().count(), 1);
        for index in [0, 2] {
            let range = meta.geometry().range(PieceIndex(index));
            file.write_at(range.start, &BYTES[range.start as usize..range.end as usize]).unwrap();
            file.mark(PieceIndex(index), Proof::PieceVerified).unwrap();
        }
        assert!(!file.is_complete());
        file.commit().unwrap();
        assert!(same.is_complete());
        assert!(same.pieces().is_full());
        assert_eq!(same.sendfile_source().unwrap().1, 0);
        assert_eq!(file.discard().unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn what_is_missing_is_told() {
        let (_dir, storage) = storage();
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let storage = storage.on_missing(Arc::new(move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let digest = Digest::sha256(BYTES);
        assert!(storage.find(&digest, &namespace()).unwrap().is_none());
        // Without metainfo a blob cannot be seeded either.
        let upload = storage.store().create_upload(Algorithm::Sha256).unwrap();
        upload.append(BYTES).unwrap();
        upload.commit(&digest, &[]).unwrap();
        assert!(storage.find(&digest, &namespace()).unwrap().is_none());
        assert_eq!(told.load(Ordering::Relaxed), 2);
        storage.store().put_metainfo(&meta()).unwrap();
        let (_, file) = storage.find(&digest, &namespace()).unwrap().unwrap();
        assert!(file.is_complete() && file.pieces().is_full());
    }
}
