//! Tracker logic, and the client of a tracker.
//!
//! A tracker remembers who has announced a torrent ([`PeerStore`]) and tells each who announces of
//! some others and of the origins ([`Announcer`], [`handout`]). It hands out addresses, never
//! bytes. Serving HTTP and finding the origins is the daemon's; the time is an argument.

mod announcer;
mod client;
mod handout;
#[cfg(feature = "http")]
mod http_client;
mod json;
pub mod limits;
mod peers;
#[cfg(feature = "http")]
mod ring;
mod store;
#[cfg(test)]
mod tests;
mod zones;

pub use announcer::{Announcer, AnnouncerStats};
pub use client::{AnnounceRequest, AnnounceResponse, BLOB_HEADER, BLOB_UNKNOWN, TrackerClient};
pub use handout::{HandoutConfig, HandoutPolicy, handout};
#[cfg(feature = "http")]
pub use http_client::{HttpTrackerClient, HttpTrackerConfig};
pub use peers::PeerTable;
pub use store::{MemoryPeerStore, PeerCounts, PeerStore, TTL_DEFAULT};
