//! A download as the application holds it.

use std::ops::Range;
use std::sync::Arc;

use kraken_core::{Digest, Error, ErrorKind, Geometry, PieceIndex, Result, TorrentMeta};
use tokio::sync::mpsc;

use super::inner::NodeInner;
use super::landing::Landing;
use super::stream::BlobStream;
use super::subscription::{Progress, State, Subscription};
use super::torrent::Torrent;
use crate::storage::TorrentFile;

/// A wish for a blob. Several of one digest share the work; when the last is dropped, and the last
/// [`BlobStream`], the node asks for no more of it, and seeds what it has.
#[derive(Debug)]
pub struct Download {
    node: Arc<NodeInner>,
    subscription: Subscription,
    /// Whether its holder brings the pieces.
    brings: bool,
}

impl Download {
    pub(super) fn new(node: Arc<NodeInner>, subscription: Subscription) -> Self {
        Self { node, subscription, brings: false }
    }

    /// The download of whoever brings the pieces.
    pub(super) fn bringing(mut self) -> Self {
        self.brings = true;
        self
    }

    /// Waits until the blob is verified and committed. Cancel safe.
    pub async fn finished(&mut self) -> Result<()> {
        let digest = self.digest();
        let over = |state: &State| state.progress.complete || state.failure.is_some();
        let state = self.subscription.state.wait_for(over).await.map_err(|_| closing(&digest))?;
        state.failed().map_err(|error| error.context(format_args!("download {digest}")))
    }

    /// Waits until [`Download::progress`] says something else than when it was last asked. Fails
    /// when there will be no more news. Cancel safe.
    pub async fn progressed(&mut self) -> Result<()> {
        let digest = self.digest();
        self.subscription.state.changed().await.map_err(|_| closing(&digest))
    }

    /// How far it is now.
    pub fn progress(&mut self) -> Progress {
        self.subscription.state.borrow_and_update().progress
    }

    /// Waits for these bytes of the blob only, the first ones first; `0..blob_len` is the whole
    /// again, in the order that is best for all.
    pub fn set_demand(&self, range: Range<u64>) {
        self.subscription.set_demand(range);
    }

    /// The right to write a piece that the application has from elsewhere; `None` when it is here,
    /// or somebody writes it.
    pub fn begin_piece(&self, index: PieceIndex) -> Option<Landing> {
        Landing::new(Arc::clone(&self.node), self.torrent(), index)
    }

    /// Bytes that peers wait for from now on, for who brings the blob: they should come first. At
    /// most 64 stand in the line, further ones are left out. Whoever calls it last hears of them.
    pub fn wanted(&self) -> mpsc::Receiver<Range<u64>> {
        self.torrent().wanted()
    }

    pub(super) fn torrent(&self) -> Arc<Torrent> {
        Arc::clone(&self.subscription.state.borrow().torrent)
    }

    /// These bytes of the blob, in order, as they become readable. A stream waits for bytes of its
    /// own accord, whatever this download waits for, and lives on without it.
    pub fn stream(&self, range: Range<u64>) -> BlobStream {
        BlobStream::new(Arc::clone(&self.node), self.subscription.another(), range)
    }

    /// The blob.
    pub fn digest(&self) -> Digest {
        self.subscription.digest()
    }

    /// The blob's length and how it is cut.
    pub fn geometry(&self) -> Geometry {
        self.subscription.state.borrow().torrent.geometry
    }

    /// The blob's metainfo, without sums while it arrives at its origin.
    pub fn metainfo(&self) -> TorrentMeta {
        self.subscription.state.borrow().torrent.meta()
    }

    /// The blob's bytes in storage. Another file after the blob failed its digest and is fetched
    /// again; the old one then gives errors.
    pub fn file(&self) -> Arc<dyn TorrentFile> {
        Arc::clone(&self.subscription.state.borrow().torrent.file)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.brings {
            self.torrent().set_brought(false);
        }
    }
}

fn closing(digest: &Digest) -> Error {
    Error::new(ErrorKind::Cancelled, format!("download {digest}: the node is closing"))
}
