//! Downloads that go on when nobody reads them any more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use kraken_core::Digest;
use kraken_p2p::node::Download;
use tokio_util::task::TaskTracker;

/// Those under way, one of each blob. They end with their blobs, or with the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finishing {
    digests: Arc<Mutex<BTreeSet<Digest>>>,
    tasks: TaskTracker,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    of: Finishing,
    digest: Digest,
}

impl Finishing {
    /// The right to finish a blob; `None` while somebody has it.
    pub(crate) fn enter(&self, digest: &Digest) -> Option<Turn> {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(*digest).then(|| Turn { of: self.clone(), digest: *digest })
    }

    /// Waits for all of a blob beside those that read it.
    pub(crate) fn finish(&self, turn: Turn, mut download: Download, len: u64) {
        self.tasks.spawn(async move {
            let digest = turn.digest;
            download.set_demand(0..len);
            if let Err(error) = download.finished().await {
                // Whoever reads it is told too.
                tracing::debug!(%digest, %error, "a download was not finished");
            }
            drop(turn);
        });
    }

    /// Waits until all have ended, as they do when the node closes.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}
