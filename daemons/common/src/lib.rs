//! What all Kraken daemons share: the HTTP server, answers by uber/kraken's conventions, host
//! lists, logging, signals, and the shape of a `main`.
//!
//! It knows no role: routes and logic are each daemon's own. It speaks no TLS; a daemon that
//! terminates TLS puts that in front.
#![forbid(unsafe_code)]

pub mod answer;
#[cfg(feature = "backends")]
pub mod backends;
pub mod blocking;
pub mod body;
#[cfg(feature = "program")]
pub mod castore;
pub mod cleanup;
pub mod clients;
pub mod durations;
pub mod hosts;
pub mod launch;
pub mod limits;
pub mod logging;
pub mod metrics;
#[cfg(feature = "program")]
pub mod net;
pub mod path;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "swarm")]
pub mod scheduler;
pub mod serve;
pub mod shutdown;
#[cfg(feature = "node")]
pub mod streamed;
pub mod task;
#[cfg(feature = "program")]
pub mod upstream;
pub mod watch;

pub use answer::Answer;
pub use blocking::blocking;
pub use body::{Body, BoxError, Chunks, RequestBody, read_bounded};
pub use cleanup::Cleaner;
pub use clients::{AllowedClients, Cidr};
pub use hosts::{HostList, HostSource, Hosts};
pub use launch::Role;
pub use metrics::{Figures, Metrics};
pub use path::{Query, Segments};
pub use serve::{ClientAddr, Server, Serving};
pub use task::Companion;
pub use watch::{HealthConfig, WatchedHosts};
