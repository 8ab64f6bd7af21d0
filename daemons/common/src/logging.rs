//! The process's log, on standard error.

use std::io::IsTerminal as _;

use kraken_core::store::VERIFIES_BLOBS;
use kraken_core::{Error, ErrorKind, Result};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One line of text an event, for people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// How log lines look.
    pub format: Format,
    /// A level, or directives like `info,kraken_p2p=debug`.
    pub level: String,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { format: Format::Text, level: "info".into() }
    }
}

/// Makes the process log to standard error; may be called once. Only a program's `main` does so.
pub fn init(config: &LoggingConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|e| Error::invalid(format!("logging level {:?}", config.level)).with_source(e))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let set = match config.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|e| Error::new(ErrorKind::Internal, "start logging").with_source(e))?;
    if !VERIFIES_BLOBS {
        tracing::warn!("blobs are not checked against their digests: a build for benchmarks only");
    }
    Ok(())
}
