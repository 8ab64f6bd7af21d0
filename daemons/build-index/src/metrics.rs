//! What a build-index tells at `/metrics`.

use std::sync::Arc;

use kraken_common::metrics::names;
use kraken_common::{Figures, Metrics};

use crate::server::Service;

/// The numbers of a build-index.
pub(crate) fn of(service: Arc<Service>) -> Metrics {
    Metrics::new("build-index", move || {
        let mut figures = Figures::new();
        figures.set_len(&names::BUILD_INDEX_JOURNAL_TAGS, service.tags.unwritten());
        std::future::ready(figures)
    })
}

/// The build-index's paths.
pub(crate) const ROUTES: &[&str] = &[
    "/health",
    "/readiness",
    "/origin",
    "/tags/{tag}",
    "/tags/{tag}/digest/{digest}",
    "/remotes/tags/{tag}",
    "/repositories/{repository}/tags",
    "/list/{prefix..}",
    "/internal/duplicate/tags/{tag}/digest/{digest}",
    "/internal/duplicate/remotes/tags/{tag}/digest/{digest}",
];
