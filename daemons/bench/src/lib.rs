//! `kraken bench`: whole clusters of separate processes on links of their own, ours beside others.
//!
//! A scenario is run in turns by each system: its daemons on hosts that are network namespaces with
//! capped links, a client at each agent, and a report of times, bytes, CPU and memory. Deliberately
//! absent: delay and loss on the links, and any knowledge of what the programs do inside; they are
//! driven by uber/kraken's flags and configuration, and so may be anyone's.

mod args;
pub mod cgroup;
mod client;
mod cluster;
mod command;
mod figures;
pub mod flow;
pub mod lab;
pub mod load;
mod loads;
pub mod net;
mod plan;
pub mod plot;
pub mod preflight;
mod process;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
mod scenarios;
mod scratch;
mod session;
pub mod system;
pub mod units;

pub use args::Args;
pub use command::main;
