//! `kraken sim`: whole swarms under virtual time, from files that read like the set-up of a paper.
//!
//! A scenario is a file: hosts, links, blobs, what goes wrong, and the figures that are to be
//! reached. Those that have a name are files too, kept in the program. The simulator itself is
//! [`kraken_p2p::sim`]; here is what reads its scenarios, runs them in numbers and tells what came
//! of them. Deliberately absent: any knowledge of how hosts decide.
#![forbid(unsafe_code)]

mod all;
mod args;
mod builtin;
mod command;
mod compare;
mod exit;
mod fair;
pub mod file;
mod limits;
mod memory;
pub mod outcome;
mod outputs;
mod plots;
mod policy;
mod progress;
mod single;
mod stop;
mod table;
pub mod targets;
mod variants;
mod work;

pub use builtin::{NAMED, named};
pub use command::{Args, main};
pub use file::ScenarioFile;
pub use policy::PolicyName;
pub use variants::{Run, Runs, Variant};
