//! Where blobs and tags are kept: [`BlobBackend`] and [`TagStore`], their implementations, the
//! router that picks a backend by namespace, layers (retry, silence deadline, throttle) that wrap
//! one backend in another, and the clients of a testfs, a remote origin cluster and a remote
//! build-index.
//!
//! Deliberately absent: caches of any kind, write-back queues, digest verification (a backend
//! returns what is there, its caller proves it), metrics and YAML.
#![forbid(unsafe_code)]

pub mod backend;
pub mod backend_tags;
pub mod build_index;
#[cfg(test)]
mod fake;
mod hosts;
pub mod layers;
pub mod limits;
pub mod local;
pub mod name;
pub mod origin;
pub mod pather;
pub mod router;
pub mod source;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
pub mod tags;
pub mod testfs;

pub use backend::{BlobBackend, BlobStat, ListPage, Page, Version};
pub use backend_tags::BackendTags;
pub use build_index::BuildIndex;
pub use local::LocalDisk;
pub use name::ObjectName;
pub use origin::{Origin, OriginCluster};
pub use pather::{Layout, Pather};
pub use router::{Route, Router};
pub use source::{BlobStream, BytesSource, FileSource, UploadSource};
pub use tags::{TagPage, TagScope, TagStore};
pub use testfs::{TestFsBackend, TestFsBackendConfig};
