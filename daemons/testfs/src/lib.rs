//! Kraken's testfs: a file server over HTTP that stands in for a storage backend in tests.
//!
//! Files are put whole, read, asked for their size and listed by whoever reaches the port. It is
//! no storage for keeps: nothing is synced to the disk, and there are no access rules.
#![forbid(unsafe_code)]

mod config;
mod files;
mod limits;
mod metrics;
mod name;
mod pace;
#[cfg(feature = "program")]
mod program;
mod server;
mod testfs;
#[cfg(test)]
mod tests;

pub use config::TestFsConfig;
#[cfg(feature = "program")]
pub use program::{main, run};
pub use testfs::TestFs;
