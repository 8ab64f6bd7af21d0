//! What a file server tells at `/metrics`.

use kraken_common::{Figures, Metrics};

/// The numbers of a file server: those that every role has.
pub(crate) fn of() -> Metrics {
    Metrics::new("testfs", || std::future::ready(Figures::new()))
}

/// The file server's paths.
pub(crate) const ROUTES: &[&str] = &["/health", "/files/{name..}", "/list/{prefix..}", "/x/stats"];
