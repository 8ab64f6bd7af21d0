//! The content-addressable blob store on the local disk.
//!
//! One layout for every role, uber/kraken's: uploads in `<upload_dir>/<uuid>/data`, arriving blobs
//! in `<download_dir>/xx/yy/<hex>/data`, complete ones in `<cache_dir>/xx/yy/<hex>/data`, each with
//! sidecar files beside `data`. A blob is in the cache only when its bytes hash to its digest; it
//! gets there by the rename of its whole directory, so it is visible with all its sidecars or not
//! at all.
//!
//! The store is synchronous and knows no runtime: every method whose documentation says that it
//! blocks belongs on a thread that may. What waits without a thread is [`Readable`], on std wakers.
//! It spawns nothing, keeps no globals and chooses no victims at random. It does not fetch, repair
//! or replicate.
#![allow(
    clippy::disallowed_methods,
    reason = "the store is where this crate opens files and reads the clock"
)]

mod blob;
mod cache;
mod cleanup;
mod config;
mod download;
mod evict;
mod index;
mod layout;
pub mod limits;
mod proofs;
mod recall;
mod recovery;
mod sidecar;
mod upload;
mod upload_id;
mod verify;
mod waiters;
mod write_backs;

#[cfg(test)]
mod tests;

pub use blob::Blob;
pub use cache::{Entry, Store, StoreStats};
pub use cleanup::{Area, Cleaned, CleanupConfig};
pub use config::StoreConfig;
pub use evict::Pin;
pub use recall::Recall;
pub use recovery::lock_dir;
pub use sidecar::Sidecar;
pub use upload::Upload;
pub use upload_id::UploadId;
pub use waiters::Readable;

/// Whether this build checks a downloaded blob against its digest before it is committed: false
/// only with the feature `bench-unverified`, and then the program says so in its log at start.
pub const VERIFIES_BLOBS: bool = !cfg!(feature = "bench-unverified");
