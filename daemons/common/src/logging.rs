//! The process's log, on standard error.

use std::io::IsTerminal as _;

use kraken_core::store::VERIFIES_BLOBS;
use kraken_core::{Error, ErrorKind, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
    let filter = filter(&config.level)?;
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

/// The filter that `directives` are.
fn filter(directives: &str) -> Result<EnvFilter> {
    // A word alone would be the name of a module, whose every line is wanted: hardly ever meant,
    // and a misspelt level would be silence.
    let mut words = directives.split(',').map(str::trim).filter(|word| !word.contains(UNLIKE_WORD));
    if let Some(word) = words.find(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(Error::invalid(format!(
            "logging level {word:?}: neither off, error, warn, info, debug nor trace; a module \
             takes one, such as kraken_p2p=debug"
        )));
    }
    EnvFilter::try_new(directives)
        .map_err(|e| Error::invalid(format!("logging level {directives:?}")).with_source(e))
}

/// What directives have that are more than a word: a level, a span and its fields.
const UNLIKE_WORD: [char; 5] = ['=', '[', ']', '{', '}'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_level() {
        for good in [
            "info",
            "info,",
            "",
            "WARN",
            "off",
            "info,kraken_p2p=debug",
            "a::b=trace",
            "[span{x}]=info",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["inof", "info,kraken_p2p", "info,a=loud", "a::b"] {
            let error = filter(bad).unwrap_err().to_string();
            assert!(error.contains("logging level"), "{error}");
        }
    }
}
