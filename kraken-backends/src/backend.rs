//! The contract of a place that keeps blobs.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use kraken_core::{Error, Namespace, Result};

use crate::limits;
use crate::name::ObjectName;
use crate::source::{BlobStream, UploadSource};

/// A place that keeps blobs under names: a local disk, an object store, another cluster.
///
/// Who calls it: origins (write-back and refresh, concurrently, from many tasks) and build-indexes
/// (through [`BackendTags`](crate::BackendTags)). Every method may be called at any time, also for
/// one name at once. Dropping a future or a stream gives the operation up: an upload then leaves
/// either the old object, the new one, or none, never a part.
///
/// Errors: `NotFound` when there is no such object, `Unavailable` when the same call may succeed
/// later, `Unsupported` when this backend never does it, `Invalid` for a name the backend's layout
/// has no place for.
#[async_trait]
pub trait BlobBackend: fmt::Debug + Send + Sync {
    /// The object's length and version, without moving its bytes.
    async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat>;

    /// Opens the object's bytes, or those of `range` (which must lie inside the object, else
    /// `Invalid`).
    ///
    /// With `version`, every byte comes from that version of the object; if it was replaced, the
    /// call or the stream fails with `Mismatch`. Without, all bytes of one stream come from one
    /// version, whichever is there now.
    async fn download(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream>;

    /// Stores the whole source under `name`, durably, replacing what was there.
    ///
    /// Atomic: a reader sees the old object or the new one. Idempotent: the same upload again
    /// changes nothing but the version.
    async fn upload(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()>;

    /// One page of the names under `prefix`, a path of whole components below the layout's base
    /// (slashes at its ends mean nothing, and empty is everything). Pages follow one fixed order,
    /// so a name present throughout a listing is on exactly one page. A prefix that does not exist
    /// is an empty page. `namespace` only picks the backend.
    async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage>;

    /// Removes the object. Idempotent: removing what is not there succeeds.
    async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()>;
}

/// What [`BlobBackend::stat`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobStat {
    /// The length in bytes.
    pub len: u64,
    /// What tells this content from another under the same name; `None` where the backend has no
    /// such thing.
    pub version: Option<Version>,
}

/// An opaque mark of one content of an object (an ETag, a generation, an inode with its times).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

/// Which part of a listing is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where the page before it ended: its `next`; `None` for the first page.
    pub token: Option<String>,
    /// How many names at most; a backend may return fewer and still have a next page.
    pub limit: usize,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// The names, in the backend's order.
    pub names: Vec<ObjectName>,
    /// The token of the next page; `None` on the last.
    pub next: Option<String>,
}

impl Version {
    /// A version as the backend states it.
    pub fn new(version: impl Into<Arc<str>>) -> Self {
        Self(version.into())
    }

    /// The version as the backend states it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Page {
    /// The first page, of the default size.
    pub fn first() -> Self {
        Self { token: None, limit: limits::PAGE_LIMIT_DEFAULT }
    }

    /// The page after `token`, as long as this one.
    #[must_use]
    pub fn after(&self, token: String) -> Self {
        Self { token: Some(token), limit: self.limit }
    }

    /// The limit inside this crate's bounds, and the token if it is not absurdly long.
    pub(crate) fn checked(&self) -> Result<(Option<&str>, usize)> {
        match &self.token {
            Some(token) if token.len() > limits::PAGE_TOKEN_LEN_MAX => {
                Err(Error::invalid(format!(
                    "listing token of {} bytes, more than {}",
                    token.len(),
                    limits::PAGE_TOKEN_LEN_MAX
                )))
            }
            token => Ok((token.as_deref(), self.limit.clamp(1, limits::PAGE_LIMIT_MAX))),
        }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first()
    }
}

/// `range` resolved against a length: the whole object when nothing was asked for.
pub(crate) fn resolve_range(
    name: &ObjectName,
    range: Option<Range<u64>>,
    len: u64,
) -> Result<Range<u64>> {
    let range = range.unwrap_or(0..len);
    if range.start <= range.end && range.end <= len {
        Ok(range)
    } else {
        Err(Error::invalid(format!(
            "download bytes {}..{} of {name}, which has {len}",
            range.start, range.end
        )))
    }
}
