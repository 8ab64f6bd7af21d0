//! What a proxy tells at `/metrics`.

use std::sync::Arc;

use kraken_common::metrics::names;
use kraken_common::{Figures, Metrics};

use crate::registry::ProxyRegistry;

/// The numbers of a proxy.
pub(crate) fn of(registry: Arc<ProxyRegistry>) -> Metrics {
    Metrics::new("proxy", move || {
        let mut figures = Figures::new();
        figures.add_store(&registry.parts.store.stats());
        figures.set_len(&names::PROXY_UPLOAD_SESSIONS, registry.sessions.len());
        std::future::ready(figures)
    })
}
