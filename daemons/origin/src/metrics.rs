//! What an origin tells at `/metrics`.

use std::sync::Arc;

use kraken_common::metrics::names;
use kraken_common::{Figures, Metrics};

use crate::fetches::FetchStats;
use crate::parts::Parts;
use crate::queue::WriteBackStats;

/// The numbers of an origin.
pub(crate) fn of(parts: Arc<Parts>) -> Metrics {
    Metrics::new("origin", move || {
        let parts = Arc::clone(&parts);
        async move {
            let mut figures = Figures::new();
            figures.add_node(&parts.node).await;
            figures.add_store(&parts.store.stats());
            add_write_backs(&mut figures, &parts.write_back.stats());
            add_fetches(&mut figures, &parts.fetches.stats());
            figures
        }
    })
}

fn add_write_backs(figures: &mut Figures, stats: &WriteBackStats) {
    figures.set_len(&names::WRITE_BACK_QUEUED_BLOBS, stats.queued);
    figures.set_len(&names::WRITE_BACK_RUNNING_BLOBS, stats.running);
    figures.set_real(&names::WRITE_BACK_OLDEST_SECONDS, stats.oldest.as_secs_f64());
    figures.set_with(&names::WRITE_BACK_ATTEMPTS, &["written"], stats.written);
    figures.set_with(&names::WRITE_BACK_ATTEMPTS, &["gone"], stats.gone);
    figures.set_with(&names::WRITE_BACK_ATTEMPTS, &["failed"], stats.failed);
}

fn add_fetches(figures: &mut Figures, stats: &FetchStats) {
    figures.set_len(&names::BACKEND_FETCHES_RUNNING, stats.running);
    figures.set_with(&names::BACKEND_FETCHES, &["fetched"], stats.fetched);
    figures.set_with(&names::BACKEND_FETCHES, &["failed"], stats.failed);
    figures.set(&names::BACKEND_FETCHED_BYTES, stats.bytes);
}

/// The origin's paths.
pub(crate) const ROUTES: &[&str] = &[
    "/health",
    "/readiness",
    "/blobs/{digest}/locations",
    "/namespace/{namespace}/blobs/{digest}",
    "/namespace/{namespace}/blobs/{digest}/prefetch",
    "/namespace/{namespace}/blobs/{digest}/uploads",
    "/namespace/{namespace}/blobs/{digest}/uploads/{id}",
    "/internal/peercontext",
    "/internal/blobs/{digest}",
    "/internal/blobs/{digest}/uploads",
    "/internal/blobs/{digest}/uploads/{id}",
    "/internal/duplicate/namespace/{namespace}/blobs/{digest}/uploads/{id}",
    "/internal/namespace/{namespace}/blobs/{digest}",
    "/internal/namespace/{namespace}/blobs/{digest}/metainfo",
    "/x/stats",
];
