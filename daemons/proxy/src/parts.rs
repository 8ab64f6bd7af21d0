//! What the requests share.

use kraken_backends::{BuildIndex, OriginCluster};
use kraken_core::store::Store;
use kraken_core::{Namespace, Repository, Result};

/// A proxy's parts.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) origins: OriginCluster,
    pub(crate) build_index: BuildIndex,
}

/// What picks the storage backend of a repository's blobs at the origin: its name, on pushes as on
/// pulls. (uber/kraken sends a fixed word on pushes, the same for every repository.)
pub(crate) fn namespace_of(repository: &Repository) -> Result<Namespace> {
    repository.as_str().parse()
}
