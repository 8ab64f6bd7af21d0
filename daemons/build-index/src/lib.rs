//! Kraken's build-index: which digest a tag names.
//!
//! A tag is accepted once everything it refers to is in the origin cluster, and names the digest of
//! the latest put from the moment that put is answered. It stores no blobs, and does not replicate
//! to other clusters.
#![forbid(unsafe_code)]

mod build_index;
mod config;
mod dependencies;
mod journal;
mod limits;
mod listing;
mod metrics;
mod neighbors;
#[cfg(feature = "program")]
mod program;
mod server;
mod tags;
#[cfg(test)]
mod tests;

pub use build_index::BuildIndex;
pub use config::{BuildIndexConfig, TagBackend, TagRule, TagType};
