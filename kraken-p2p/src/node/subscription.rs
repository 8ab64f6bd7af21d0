//! What the swarm's task and those who wait for a torrent tell each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraken_core::{Digest, Error, ErrorKind, Result};
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

/// One who waits for a torrent, with its state. Takes its demand back when it is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Before the demand: who learns that nobody demands anything sees that nobody watches.
    pub(super) state: watch::Receiver<State>,
    demand: Demand,
}

/// What somebody demands of a torrent, until it is dropped.
#[derive(Debug)]
struct Demand {
    digest: Digest,
    id: DemandId,
    wishes: Arc<Wishes>,
}

/// What subscriptions demand and the swarm's task has not looked at: of each the latest, so no more
/// than there are and were since it looked. A demand that is taken back can never be overtaken by
/// one that was made before.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    last_id: AtomicU64,
    latest: Mutex<Demands>,
    news: Notify,
}

/// Demands by torrent and subscription; `None` is one taken back.
pub(super) type Demands = BTreeMap<(Digest, DemandId), Option<Range<u64>>>;

impl Subscription {
    /// Watches a torrent, without any demand.
    pub(super) fn new(digest: Digest, state: watch::Receiver<State>, wishes: Arc<Wishes>) -> Self {
        let id = DemandId(wishes.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        Self { state, demand: Demand { digest, id, wishes } }
    }

    /// Another one of the same torrent, without any demand.
    pub(super) fn another(&self) -> Self {
        Self::new(self.demand.digest, self.state.clone(), Arc::clone(&self.demand.wishes))
    }

    pub(super) fn digest(&self) -> Digest {
        self.demand.digest
    }

    /// Waits for these bytes from now on, in place of those before.
    pub(super) fn set_demand(&self, range: Range<u64>) {
        // A torrent that is gone must not be mistaken for its successor.
        if self.state.borrow().failure.is_none() {
            self.demand.make(Some(range));
        }
    }
}

impl Demand {
    fn make(&self, range: Option<Range<u64>>) {
        self.wishes.put(self.digest, self.id, range);
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.make(None);
    }
}

impl State {
    /// The failure as an error, unless all is here.
    pub(super) fn failed(&self) -> Result<()> {
        match &self.failure {
            Some((kind, text)) if !self.progress.complete => Err(Error::new(*kind, text.clone())),
            _ => Ok(()),
        }
    }
}

impl Wishes {
    fn put(&self, digest: Digest, id: DemandId, range: Option<Range<u64>>) {
        self.latest().insert((digest, id), range);
        self.news.notify_one();
    }

    /// Waits until a demand was made or taken back. Cancel safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes what is new.
    pub(super) fn take(&self) -> Demands {
        std::mem::take(&mut *self.latest())
    }

    fn latest(&self) -> MutexGuard<'_, Demands> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
