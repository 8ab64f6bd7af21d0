//! The contract of a place that keeps tags.

use std::fmt;

use async_trait::async_trait;
use kraken_core::{Digest, Repository, Result, Tag};

use crate::backend::Page;

/// A place that keeps which digest a tag names.
///
/// Who calls it: build-indexes for their durable store, proxies and agents through the client of a
/// remote build-index. Every method may be called at any time from many tasks.
#[async_trait]
pub trait TagStore: fmt::Debug + Send + Sync {
    /// The digest the tag names; `NotFound` if there is no such tag.
    async fn get(&self, tag: &Tag) -> Result<Digest>;

    /// Makes the tag name `digest`. A tag that named another one names the new one as soon as this
    /// returns. Idempotent, atomic for readers.
    async fn put(&self, tag: &Tag, digest: &Digest) -> Result<()>;

    /// One page of the tags in `scope`, in one fixed order; a scope with no tags is an empty page.
    async fn list(&self, scope: TagScope<'_>, page: &Page) -> Result<TagPage>;

    /// Removes the tag. Idempotent: removing what is not there succeeds. `Unsupported` where the
    /// store has no way to.
    async fn delete(&self, tag: &Tag) -> Result<()>;
}

/// Which tags a listing is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagScope<'a> {
    /// Every tag.
    All,
    /// Tags below a path, as uber/kraken's `/list/<path>` takes it: whole components of
    /// `<repository>/_manifests/tags/<tag>`; slashes at its ends mean nothing.
    Under(&'a str),
    /// Tags of exactly this repository.
    Repository(&'a Repository),
}

/// One page of tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagPage {
    /// The tags, in the store's order.
    pub tags: Vec<Tag>,
    /// The token of the next page; `None` on the last.
    pub next: Option<String>,
}
