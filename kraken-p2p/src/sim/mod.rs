//! Whole swarms under virtual time: thousands of hosts, their links, trackers and origins, without
//! a socket, a thread or a clock.
//!
//! The hosts run the code of the node ([`crate::swarm::Swarm`]), or whatever else implements
//! [`Peer`], and the trackers run the code of the tracker. Bytes are counted and never moved. A run
//! is a pure function of its [`Scenario`] and a seed: the same digits on every machine.
//!
//! It does not model TCP's congestion control or loss of packets, disks that are slower than the
//! link, or the fetch of metainfo; and what is said over a connection waits for the pieces that go
//! out over it, not for those of others on the same link.
#![forbid(unsafe_code)]

mod audit;
mod build;
mod carried;
mod conns;
mod engine;
mod flows;
mod lies;
mod life;
mod limits;
mod peer;
mod queue;
mod rate;
mod report;
mod scenario;
mod storms;
mod tally;
#[cfg(test)]
mod tests;
mod trackers;
mod upstream;
mod world;
mod zones;

pub use engine::{Progress, Simulation, run, run_with};
pub use peer::{Limits, Peer, Policy, SwarmPolicy};
pub use report::{BlobReport, CopyReport, Figures, GroupReport, HostReport, Report, Starving};
pub use scenario::{
    Blob, Fate, Group, LinkRates, Network, OriginGroup, Rate, Reading, Scenario, Spread, Trackers,
    Want, ZoneLink,
};
pub use upstream::{PieceRequestPolicy, Upstream, UpstreamConfig, UpstreamPolicy};
