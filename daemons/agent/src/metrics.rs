//! What an agent tells at `/metrics`.

use std::sync::Arc;

use kraken_common::{Figures, Metrics};

use crate::parts::Parts;

/// The numbers of an agent.
pub(crate) fn of(parts: Arc<Parts>) -> Metrics {
    Metrics::new("agent", move || {
        let parts = Arc::clone(&parts);
        async move {
            let mut figures = Figures::new();
            figures.add_node(&parts.node).await;
            figures.add_store(&parts.store.stats());
            figures
        }
    })
}

/// The paths of the agent's server.
pub(crate) const ROUTES: &[&str] = &[
    "/health",
    "/readiness",
    "/tags/{tag}",
    "/namespace/{namespace}/blobs/{digest}",
    "/blobs/{digest}",
    "/x/blacklist",
    "/x/downloads",
    "/x/stats",
];
