//! Kraken's agent, to run or to embed: a pull-only registry on every host, fed by the swarm.
//!
//! [`Agent::start`] binds three ports: the registry that docker and containerd pull from, uber/
//! kraken's HTTP endpoints, and the peer port. It holds no origin address: blobs come from the
//! swarm, tags from the build-index. It takes no pushes.
#![forbid(unsafe_code)]

mod access;
mod agent;
mod config;
mod finishing;
mod limits;
mod metrics;
mod parts;
#[cfg(feature = "program")]
mod program;
mod recent;
mod registry;
mod server;
#[cfg(test)]
mod tests;

pub use agent::Agent;
pub use config::AgentConfig;
#[cfg(feature = "program")]
pub use program::Flags;
