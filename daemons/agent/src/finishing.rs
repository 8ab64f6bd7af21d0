//! Downloads that go on when nobody reads them any more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use kraken_core::Digest;
use kraken_p2p::node::Download;

/// Those under way, one of each blob. They end with their blobs, or with the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finishing(Arc<Mutex<BTreeSet<Digest>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    of: Finishing,
    digest: Digest,
}

impl Finishing {
    /// The right to finish a blob; `None` while somebody has it.
    pub(crate) fn enter(&self, digest: &Digest) -> Option<Turn> {
        let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(*digest).then(|| Turn { of: self.clone(), digest: *digest })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

/// Waits for all of a blob beside those that read it.
pub(crate) fn finish(turn: Turn, mut download: Download, len: u64) {
    tokio::spawn(async move {
        let digest = turn.digest;
        download.set_demand(0..len);
        if let Err(error) = download.finished().await {
            // Whoever reads it is told too.
            tracing::debug!(%digest, %error, "a download was not finished");
        }
        drop(turn);
    });
}
