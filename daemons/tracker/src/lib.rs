//! Kraken's tracker: introduces the peers of a torrent to one another and to the origins, and
//! relays metainfo from the origins.
//!
//! It hands out addresses and never sees a blob. It keeps nothing on disk: what it knows comes back
//! with the next announces.
#![forbid(unsafe_code)]

mod config;
mod limits;
mod memo;
mod metrics;
mod origins;
#[cfg(feature = "program")]
mod program;
mod server;
#[cfg(test)]
mod tests;
mod tracker;

pub use config::{CacheConfig, Policy, TrackerConfig};
#[cfg(feature = "program")]
pub use program::Flags;
pub use tracker::Tracker;
