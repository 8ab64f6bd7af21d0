//! Where a node keeps the pieces it moves.
//!
//! The traits are synchronous and positional: the driver calls them on its blocking threads. An
//! embedder with a store of their own implements [`TorrentStorage`]; with the default feature
//! `store` the store of `kraken-core` does.

#[cfg(feature = "store")]
mod store;

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use kraken_core::{
    Bitfield, Digest, Error, ErrorKind, MetaInfo, Namespace, PieceIndex, PieceProof, Provisional,
    Result,
};

#[cfg(feature = "store")]
pub use store::{OnMissing, StoreStorage};

/// How far a piece is proven when it is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its BLAKE3 matched metainfo that came from an origin: it may be read, streamed and seeded.
    PieceVerified,
    /// Only uber/kraken's CRC32 vouches for it: it may be seeded, but not read before the whole
    /// blob is verified.
    Crc32Only,
}

/// Told of blobs that storage could make room with if their files were not open. A node lets go of
/// those that nobody downloads. It does not block.
pub type Recall = dyn Fn(&[Digest]) + Send + Sync;

/// Ready when bytes may be read; see [`TorrentFile::readable`].
pub type Readable = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Finds and makes torrents on disk. Every method may block on disk.
pub trait TorrentStorage: fmt::Debug + Send + Sync + 'static {
    /// Opens the torrent of `meta`, creating it when it is not there, keeping what is there when
    /// it has the same geometry. Marked pieces have been verified against `meta` again when this
    /// returns. Idempotent: a second call gives the same torrent.
    fn open(&self, meta: &MetaInfo, namespace: &Namespace) -> Result<Arc<dyn TorrentFile>>;

    /// Whether [`TorrentStorage::open_provisional`] is of use.
    fn takes_provisional(&self) -> bool {
        false
    }

    /// As [`TorrentStorage::open`], of a blob that has no sums yet. What is there in another
    /// attempt is begun anew, unless somebody has it open: `ErrorKind::Conflict`. What has sums
    /// keeps them.
    fn open_provisional(
        &self,
        meta: &Provisional,
        namespace: &Namespace,
    ) -> Result<Arc<dyn TorrentFile>> {
        let _ = namespace;
        let text = format!("download {}: storage takes no blobs without sums", meta.digest());
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    /// What is on disk under this digest, complete or partial, with its metainfo; `None` when there
    /// is nothing. `namespace` is what the asking peer sent: an origin may start a refresh from
    /// its backend, and still answer `None` now.
    fn find(
        &self,
        digest: &Digest,
        namespace: &Namespace,
    ) -> Result<Option<(MetaInfo, Arc<dyn TorrentFile>)>>;

    /// Has `recall` told of what is in the way, for as long as it lives; called once, by a node
    /// that starts. Nothing to do for storage that never needs room.
    fn on_recall(&self, recall: &Arc<Recall>) {
        let _ = recall;
    }
}

/// One torrent's bytes and marks. Every method may block on disk.
///
/// The driver makes sure that one piece is written by one writer at a time and never written again
/// once it is marked.
pub trait TorrentFile: fmt::Debug + Send + Sync + 'static {
    /// Which pieces are marked: may be seeded.
    fn pieces(&self) -> Bitfield;

    /// Whether the blob is verified as a whole and committed.
    fn is_complete(&self) -> bool;

    /// Writes bytes of a piece that is not marked, at a byte offset of the blob.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Fills `buf` from a byte offset of the blob, to send the bytes to a peer; only for bytes of
    /// marked pieces.
    fn read_marked_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Where the bytes that may be *read* from `start` on end; `start` itself when there are none.
    ///
    /// Those are the bytes of pieces marked as [`Proof::PieceVerified`], and all once the blob is
    /// complete. What may be read stays so until a discard. Asked of async tasks: never blocks.
    fn readable_to(&self, start: u64) -> u64;

    /// Waits until every byte of `range` may be read. An error says that they never will be: the
    /// torrent was discarded, or has no such bytes.
    ///
    /// The future belongs to no runtime: it is woken from within [`TorrentFile::mark`],
    /// [`TorrentFile::commit`] and [`TorrentFile::discard`]. It may be dropped at any time. A
    /// reader has one for what it waits for, so there may be many of one torrent.
    fn readable(&self, range: Range<u64>) -> Readable;

    /// Fills `buf` from a byte offset of the blob; only for bytes that may be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Marks a piece whose bytes are written and checked.
    fn mark(&self, index: PieceIndex, proof: Proof) -> Result<()>;

    /// Its sums, if there are any; to be asked where the torrent may have begun without.
    fn metainfo(&self) -> Option<MetaInfo> {
        None
    }

    /// As [`TorrentFile::mark`], of a piece that `proof` vouches for, which is kept for those who
    /// are sent the piece. Used of torrents without sums alone.
    fn mark_proven(&self, index: PieceIndex, proof: &PieceProof) -> Result<()> {
        let _ = proof;
        self.mark(index, Proof::PieceVerified)
    }

    /// What vouches for a marked piece, if it was marked before there were sums.
    fn proof(&self, index: PieceIndex) -> Result<Option<PieceProof>> {
        let _ = index;
        Ok(None)
    }

    /// Checks the whole blob against its digest and commits it; `ErrorKind::Mismatch` when it does
    /// not match (then nothing is committed and the caller discards). Idempotent. A torrent that
    /// had no sums has those of its bytes afterwards.
    fn commit(&self) -> Result<()>;

    /// Throws away every byte and mark of a torrent that is not complete. Readers that wait get an
    /// error. The handle is of no use afterwards; `open` makes a new one.
    fn discard(&self) -> Result<()>;

    /// The file to send pieces from with `sendfile`, and the offset of the blob's first byte in it;
    /// `None` where there is no such file (then `read_marked_at` is used).
    fn sendfile_source(&self) -> Option<(Arc<File>, u64)> {
        None
    }
}
