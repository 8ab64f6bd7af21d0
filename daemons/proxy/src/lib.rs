//! Kraken's proxy: the registry that takes pushes.
//!
//! Blobs go to the origins before a push is answered, tags to the build-index. The proxy keeps
//! nothing but uploads in progress: what it serves it streams from an origin, hashing as it goes,
//! so there is no cache that could disagree with the origins.
#![forbid(unsafe_code)]

mod config;
mod limits;
mod manifests;
mod metrics;
mod parts;
#[cfg(feature = "program")]
mod program;
mod proxy;
mod registry;
mod sessions;
#[cfg(test)]
mod tests;
mod uploads;
mod verify;

pub use config::ProxyConfig;
pub use proxy::Proxy;
