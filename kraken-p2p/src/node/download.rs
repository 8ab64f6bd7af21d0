//! A download as the application holds it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use kraken_core::{Digest, Error, ErrorKind, MetaInfo, Result};
use tokio::sync::{Notify, watch};

use super::NodeInner;
use super::event::Command;
use super::torrent::Torrent;
use crate::storage::TorrentFile;
use crate::swarm::DemandId;

/// A wish for a blob. Several of one digest share the work; when the last is dropped the node asks
/// for no more of it, and seeds what it has.
#[derive(Debug)]
pub struct Download {
    node: Arc<NodeInner>,
    subscription: Subscription,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Pieces that are here.
    pub pieces: u32,
    /// Pieces of the blob.
    pub pieces_total: u32,
    /// Bytes of pieces that came from origins.
    pub bytes_from_origins: u64,
    /// Bytes of pieces that came from other peers.
    pub bytes_from_peers: u64,
    /// Whether the blob is verified as a whole and committed.
    pub complete: bool,
}

/// What the swarm's task tells those who wait for a torrent.
#[derive(Debug)]
pub(super) struct State {
    pub(super) torrent: Arc<Torrent>,
    pub(super) progress: Progress,
    /// Why there is nothing more to wait for.
    pub(super) failure: Option<(ErrorKind, String)>,
}

/// One demand, with the state of its torrent. Gives the demand back when it is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) digest: Digest,
    pub(super) id: DemandId,
    pub(super) state: watch::Receiver<State>,
    pub(super) released: Arc<Released>,
}

/// Demands given back and not yet taken from the swarm: at most one entry for each that was made.
#[derive(Debug, Default)]
pub(super) struct Released {
    demands: Mutex<Vec<(Digest, DemandId)>>,
    news: Notify,
}

impl Download {
    pub(super) fn new(node: Arc<NodeInner>, subscription: Subscription) -> Self {
        Self { node, subscription }
    }

    /// Waits until the blob is verified and committed. Cancel safe.
    pub async fn finished(&mut self) -> Result<()> {
        let digest = self.digest();
        let over = |state: &State| state.progress.complete || state.failure.is_some();
        let state = self.subscription.state.wait_for(over).await.map_err(|_| closing(&digest))?;
        match &state.failure {
            Some((kind, text)) if !state.progress.complete => {
                Err(Error::new(*kind, text.clone()).context(format_args!("download {digest}")))
            }
            _ => Ok(()),
        }
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
    pub async fn set_demand(&self, range: Range<u64>) -> Result<()> {
        let (digest, id) = (self.digest(), self.subscription.id);
        self.node.command(Command::SetDemand { digest, id, range: Some(range) }).await
    }

    /// The blob.
    pub fn digest(&self) -> Digest {
        self.subscription.digest
    }

    /// The blob's metainfo.
    pub fn metainfo(&self) -> MetaInfo {
        self.subscription.state.borrow().torrent.meta.clone()
    }

    /// The blob's bytes in storage. Another file after the blob failed its digest and is fetched
    /// again; the old one then gives errors.
    pub fn file(&self) -> Arc<dyn TorrentFile> {
        Arc::clone(&self.subscription.state.borrow().torrent.file)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut demands = self.released.demands.lock().unwrap_or_else(PoisonError::into_inner);
        demands.push((self.digest, self.id));
        self.released.news.notify_one();
    }
}

impl Released {
    /// Waits until something was given back. Cancel safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes what was given back.
    pub(super) fn take(&self) -> Vec<(Digest, DemandId)> {
        std::mem::take(&mut *self.demands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn closing(digest: &Digest) -> Error {
    Error::new(ErrorKind::Cancelled, format!("download {digest}: the node is closing"))
}
