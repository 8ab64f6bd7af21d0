//! Pieces that the application brings itself: an origin has them from its backend.

use std::sync::Arc;

use bytes::Bytes;
use kraken_core::TorrentMeta;
use kraken_core::{Error, ErrorKind, Namespace, PieceIndex, PieceProof, Provisional, Result};

use super::commands::add;
use super::event::Event;
use super::inner::NodeInner;
use super::lease::HeldLease;
use super::torrent::Torrent;
use super::{Download, Node};

/// The right to write one piece of a torrent. Until it is dropped nobody else does, unless no write
/// came for half a second.
#[derive(Debug)]
pub struct Landing {
    node: Arc<NodeInner>,
    torrent: Arc<Torrent>,
    lease: Arc<HeldLease>,
    index: PieceIndex,
}

impl Node {
    /// Opens the torrent of a blob that arrives here first and has no sums yet, or joins it.
    /// Nothing is asked of peers for it, who get each piece as it lands ([`Download::begin_piece`]);
    /// the download ends when the whole is verified, or is not the blob. `ErrorKind::Conflict`
    /// where another attempt has not come to its end. Cancel safe.
    pub async fn begin(&self, meta: Provisional, namespace: &Namespace) -> Result<Download> {
        let digest = meta.digest();
        let _turn = self.0.shared.openings.enter(&digest).await;
        if let Some(download) = self.join(&digest).await? {
            return Ok(download);
        }
        let meta = TorrentMeta::Provisional(meta);
        let (torrent, spec) = self.open_torrent(namespace, meta).await?;
        match add(&self.0.commands, torrent, spec, true).await? {
            Some(subscription) => Ok(Download::new(Arc::clone(&self.0), subscription)),
            None => {
                let text = format!("begin {digest}: dropped as soon as it was added");
                Err(Error::new(ErrorKind::Unavailable, text))
            }
        }
    }
}

impl Landing {
    pub(super) fn new(
        node: Arc<NodeInner>,
        torrent: Arc<Torrent>,
        index: PieceIndex,
    ) -> Option<Self> {
        let lease = torrent.leases.acquire(index, node.shared.clock.now())?;
        Some(Self { node, torrent, lease: Arc::new(lease), index })
    }

    /// Writes bytes at an offset of the blob, which must be the piece's. A call that is dropped may
    /// have written them or not.
    pub async fn write(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let (torrent, lease, clock) =
            (Arc::clone(&self.torrent), Arc::clone(&self.lease), self.node.shared.clock);
        let write = move || {
            let (Some(_open), Some(_guard)) = (torrent.writable(), lease.lock()) else {
                return Err(lost(&torrent));
            };
            lease.touch(clock.now());
            torrent.file.write_at(offset, &bytes)
        };
        self.node.shared.blocking.run("write a piece", write).await.flatten()
    }

    /// Marks the piece, all of whose bytes are written; from now on it is sent to others. That its
    /// bytes are what `proof` says is for the caller to know.
    pub async fn finish(self, proof: PieceProof) -> Result<()> {
        let (torrent, lease, index) =
            (Arc::clone(&self.torrent), Arc::clone(&self.lease), self.index);
        let mark = move || {
            let (Some(_open), Some(guard)) = (torrent.writable(), lease.lock()) else {
                return Err(lost(&torrent));
            };
            torrent.file.mark_proven(index, &proof)?;
            lease.set_marked(&guard);
            Ok(())
        };
        self.node.shared.blocking.run("mark a piece", mark).await.flatten()?;
        let Self { node, torrent, .. } = self;
        node.shared.report(Event::Landed { torrent, index }).await;
        Ok(())
    }
}

fn lost(torrent: &Torrent) -> Error {
    let text = format!("write a piece of {}: somebody else does, or it is gone", torrent.digest);
    Error::new(ErrorKind::Conflict, text)
}
