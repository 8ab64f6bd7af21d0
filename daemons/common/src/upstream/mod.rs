//! uber/kraken's configuration.

pub mod document;
pub mod limits;
pub mod problem;
