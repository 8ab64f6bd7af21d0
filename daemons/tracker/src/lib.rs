//! Kraken's tracker: introduces the peers of a torrent to one another and to the origins, and
//! relays metainfo from the origins.
//!
//! It hands out addresses and never sees a blob. It keeps nothing on disk: what it knows comes back
//! with the next announces.
#![forbid(unsafe_code)]

mod config;
mod limits;
mod memo;
mod origins;
mod server;
#[cfg(test)]
mod tests;
mod tracker;

pub use config::{CacheConfig, Policy, TrackerConfig};
pub use tracker::Tracker;
