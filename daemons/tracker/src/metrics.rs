//! What a tracker tells at `/metrics`.

use std::sync::Arc;

use kraken_common::metrics::names;
use kraken_common::{Figures, Metrics};

use crate::server::Service;

/// The numbers of a tracker.
pub(crate) fn of(service: Arc<Service>) -> Metrics {
    Metrics::new("tracker", move || {
        let stats = service.announcer().stats();
        let mut figures = Figures::new();
        figures.set_with(&names::TRACKER_ANNOUNCES, &["complete"], stats.complete);
        figures.set_with(&names::TRACKER_ANNOUNCES, &["incomplete"], stats.incomplete);
        figures.set(&names::TRACKER_EMPTY_HANDOUTS, stats.empty);
        figures.set(&names::TRACKER_HANDED_OUT_PEERS, stats.handed_out);
        if let Some(counts) = stats.peers {
            figures.set_len(&names::TRACKER_PEERS, counts.peers);
            figures.set_len(&names::TRACKER_TORRENTS, counts.torrents);
        }
        std::future::ready(figures)
    })
}

/// The tracker's paths.
pub(crate) const ROUTES: &[&str] = &[
    "/health",
    "/readiness",
    "/announce",
    "/announce/{info_hash}",
    "/namespace/{namespace}/blobs/{digest}/metainfo",
];
