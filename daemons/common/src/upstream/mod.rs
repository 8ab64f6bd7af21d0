//! uber/kraken's configuration: YAML files that extend one another, read by one schema that knows
//! every key.
//!
//! [`Load`] reads a file with what it extends and an overlay of secrets, checks **each file by
//! itself** against the role's schema, so that a message names the file, the line and the key that
//! was meant, and merges them. [`Settings`] are what comes out: values by path, with defaults and
//! origins, from which a program fills its role's plain configuration.
//!
//! ```
//! use std::time::Duration;
//! use kraken_common::upstream::{RoleName, Settings};
//!
//! let text = "
//! origin: {hosts: {static: ['origin-1:15002', '[fd00::2]:15002']}}
//! trackerserver: {announce_interval: 5s}
//! nginx: {name: kraken-tracker}
//! tls: {server: {disabled: true}, client: {disabled: true}}
//! ";
//! let settings = Settings::parse(RoleName::Tracker, "inline", text)?;
//! settings.require_plain()?;
//! let root = settings.root();
//! let interval: Duration = root.value("trackerserver.announce_interval")?;
//! let limit: usize = root.value("trackerserver.announce_limit")?;
//! assert_eq!((interval, limit), (Duration::from_secs(5), 50));
//! let origins = root.hosts("origin.hosts")?;
//! assert_eq!(
//!     settings.notice().as_deref(),
//!     Some("configuration accepted, but without meaning here: nginx")
//! );
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here knows how a role is built; the schema says only what may stand in a file.

pub mod document;
pub mod limits;
pub mod problem;
pub mod schema;

mod check;
mod checking;
mod docs;
mod load;
mod settings;
#[cfg(test)]
mod tests;
mod values;

pub use crate::Cidr;
pub use check::effective_yaml;
pub use checking::check_document;
pub use docs::tables_markdown;
pub use document::{Document, quote};
pub use load::Load;
pub use problem::{Place, Problem, Problems, Severity};
pub use schema::{RoleName, Status};
pub use settings::{FileRead, Origin, Section, Setting, Settings};
pub use values::nearest;
