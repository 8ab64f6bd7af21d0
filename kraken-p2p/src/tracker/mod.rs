//! Tracker logic, and the client of a tracker.

mod client;

pub use client::{AnnounceRequest, AnnounceResponse, TrackerClient};
