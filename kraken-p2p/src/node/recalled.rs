//! Blobs that storage wants back, to make room for others.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kraken_core::Digest;
use tokio::sync::Notify;

use crate::storage::{Recall, TorrentStorage};

/// What storage has asked for and the swarm's task has not looked at. While it lives, storage asks.
pub(super) struct Recalled {
    inbox: Arc<Inbox>,
    _recall: Arc<Recall>,
}

/// Digests of blobs in storage, each once: no more than there are.
#[derive(Default)]
struct Inbox {
    digests: Mutex<BTreeSet<Digest>>,
    news: Notify,
}

impl Recalled {
    /// Has `storage` ask here.
    pub(super) fn of(storage: &dyn TorrentStorage) -> Self {
        let inbox = Arc::new(Inbox::default());
        let asked = Arc::clone(&inbox);
        let recall: Arc<Recall> = Arc::new(move |digests: &[Digest]| {
            asked.digests.lock().unwrap_or_else(PoisonError::into_inner).extend(digests);
            asked.news.notify_one();
        });
        storage.on_recall(&recall);
        Self { inbox, _recall: recall }
    }

    /// Waits until something was asked for. Cancel safe.
    pub(super) async fn news(&self) {
        self.inbox.news.notified().await;
    }

    /// Takes what was asked for.
    pub(super) fn take(&self) -> BTreeSet<Digest> {
        let mut digests = self.inbox.digests.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *digests)
    }
}

impl fmt::Debug for Recalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recalled")
    }
}
