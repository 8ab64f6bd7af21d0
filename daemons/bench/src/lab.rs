//! The place of a run.

use std::path::Path;

use crate::net::Network;

/// Where a run takes place.
#[derive(Clone, Copy)]
pub struct Lab<'a> {
    /// Hosts called `hub`, `origin0`, `agent0` and so on.
    pub network: &'a Network,
    /// An empty directory for this run, which the caller removes.
    pub dir: &'a Path,
}
