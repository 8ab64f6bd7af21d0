//! Kraken's origin: a dedicated seeder that keeps blobs and writes them back to storage.
//!
//! Pushes end here: a blob is verified, durable on disk with its write-back pending, and copied to
//! the other owners before its upload is answered. Blobs that are not here are fetched from the
//! backend when they are first asked for, by the first owner, and passed on to peers as they come.
//! An origin dials the owner that brings a blob and nobody else; its tracker knows it.
#![forbid(unsafe_code)]

mod blobs;
mod commit;
mod config;
mod fetches;
mod follow;
mod followed;
mod key;
mod limits;
mod membership;
mod metrics;
mod origin;
mod parts;
#[cfg(feature = "program")]
mod program;
mod pull;
mod queue;
mod refresh;
mod replicate;
mod server;
#[cfg(test)]
mod tests;
mod uploads;
mod write_back;

pub use config::{OriginConfig, RingConfig};
pub use origin::Origin;
