//! Peer-to-peer distribution of blobs, wire-compatible with uber/kraken.
//!
//! Bottom up: [`wire`] turns bytes into messages; [`swarm`] is one synchronous state machine that
//! decides everything; [`storage`] is what it writes to; [`node`] drives it on tokio;
//! [`tracker`] introduces peers. With the feature `sim` the module `sim` runs thousands of swarms
//! against each other under virtual time. It does not speak the registry API and knows no storage
//! backend.
#![deny(unsafe_code)]

pub mod limits;
pub mod node;
#[cfg(feature = "sim")]
pub mod sim;
pub mod storage;
pub mod swarm;
pub mod tracker;
pub mod wire;
