//! What the swarm's task and those who wait for a torrent tell each other.

use std::sync::{Arc, Mutex, PoisonError};

use kraken_core::{Digest, ErrorKind};
use tokio::sync::{Notify, watch};

use super::torrent::Torrent;
use crate::swarm::DemandId;

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
