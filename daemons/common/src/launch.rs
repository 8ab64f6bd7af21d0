//! The shape of every daemon's `main`: flags, configuration, logging, start, wait, drain, exit
//! code.

use std::ffi::OsString;
use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kraken_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::limits;
use crate::logging::{self, LoggingConfig};
use crate::shutdown::Signals;

/// A daemon as its `main` sees it.
pub trait Role: Sized + Send {
    /// Its configuration file's content.
    type Config: DeserializeOwned + Send;

    /// The program's name.
    const NAME: &'static str;

    /// Starts it; called once, inside the runtime. [`ErrorKind::Invalid`] is a configuration at
    /// fault.
    fn start(config: Self::Config) -> impl Future<Output = Result<Self>> + Send;

    /// Ends it in order: requests under way end, every task is joined. Dropped if a second signal
    /// comes.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// The exit code for a configuration at fault (`EX_USAGE` of `sysexits.h`): restarting will not
/// help.
pub const EXIT_CONFIG: u8 = 64;

/// The exit code of an end forced by a second signal.
pub const EXIT_FORCED: u8 = 130;

/// Runs `R` as a program: `--config FILE` names a JSON file with its configuration. Returns after
/// a first SIGINT or SIGTERM once everything has drained, or after a second one at once.
pub fn main_with<R: Role>() -> ExitCode {
    run_with::<R>(std::env::args_os().skip(1))
}

/// As [`main_with`], with arguments that a program of several roles has split off its own.
pub fn run_with<R: Role>(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let config = match flags(args.into_iter()) {
        Ok(Some(path)) => load::<R::Config>(&path),
        Ok(None) => {
            println!("usage: {} --config FILE", R::NAME);
            return ExitCode::SUCCESS;
        }
        Err(e) => Err(e),
    };
    match config {
        Ok((config, logging)) => launch::<R>(&logging, config),
        Err(e) => {
            eprintln!("{}: {e}", R::NAME);
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Logs as `logging` says, runs `R` with `config` in a runtime of its own until a signal, and
/// drains. The exit code of the process: [`EXIT_CONFIG`] if `config` was at fault.
pub fn launch<R: Role>(logging: &LoggingConfig, config: R::Config) -> ExitCode {
    if let Err(e) = logging::init(logging) {
        eprintln!("{}: {e}", R::NAME);
        return ExitCode::from(EXIT_CONFIG);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            tracing::error!(error = %e, "start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run::<R>(config));
    // After a forced end blocking calls may hang; the process does not wait for them.
    runtime.shutdown_background();
    code
}

/// Starts the role, waits for signals, ends it.
async fn run<R: Role>(config: R::Config) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => return does_not_start::<R>(&e),
    };
    // A start may wait for others for long.
    let started = tokio::select! {
        started = R::start(config) => started,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before it has started");
            return ExitCode::SUCCESS;
        }
    };
    let role = match started {
        Ok(role) => role,
        Err(e) => return does_not_start::<R>(&e),
    };
    let name = signals.next().await;
    tracing::info!(signal = name, "draining; a second signal stops at once");
    tokio::select! {
        closed = role.close() => match closed {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                tracing::error!(error = %e, "the end was not orderly");
                ExitCode::FAILURE
            }
        },
        name = signals.next() => {
            tracing::warn!(signal = name, "stopping at once");
            ExitCode::from(EXIT_FORCED)
        }
    }
}

fn does_not_start<R: Role>(error: &Error) -> ExitCode {
    tracing::error!(%error, "{} does not start", R::NAME);
    let invalid = error.kind() == ErrorKind::Invalid;
    if invalid { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
}

/// The configuration file named by the flags; `None` for a call for help.
fn flags(args: impl Iterator<Item = OsString>) -> Result<Option<PathBuf>> {
    let mut args = args;
    let mut config = None;
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        // Go's flag package, whose command lines are kept, takes one dash or two.
        let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or("");
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("help" | "h", _) => return Ok(None),
            ("config", value) if flag.contains('=') => config = Some(PathBuf::from(value)),
            ("config", _) => config = args.next().map(PathBuf::from),
            _ => return Err(Error::invalid(format!("unknown argument {text:?}"))),
        }
    }
    config.map(Some).ok_or_else(|| Error::invalid("no configuration: --config FILE is missing"))
}

/// Reads `path`: the role's configuration, and under `logging` what to log.
fn load<C: DeserializeOwned>(path: &Path) -> Result<(C, LoggingConfig)> {
    /// The part of the file that every role has.
    #[derive(Deserialize)]
    struct Shared {
        #[serde(default)]
        logging: LoggingConfig,
    }
    let context = |e| Error::io(format!("read configuration {}", path.display()), e);
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limits::CONFIG_BYTES_MAX).read_to_string(&mut text))
        .map_err(context)?;
    let invalid = |e| Error::invalid(format!("configuration {}", path.display())).with_source(e);
    let shared: Shared = serde_json::from_str(&text).map_err(invalid)?;
    let config = serde_json::from_str(&text).map_err(invalid)?;
    Ok((config, shared.logging))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::Format;

    #[test]
    fn flags_name_the_configuration() {
        let parse = |args: &[&str]| flags(args.iter().map(OsString::from));
        for args in [&["--config", "a"][..], &["-config", "a"], &["--config=a"], &["-config=a"]] {
            assert_eq!(parse(args).unwrap(), Some(PathBuf::from("a")), "{args:?}");
        }
        assert_eq!(parse(&["--help"]).unwrap(), None);
        for args in [&[][..], &["--config"], &["--colour", "a"], &["config", "a"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_file_holds_the_role_and_the_log() {
        #[derive(Debug, Deserialize)]
        struct Config {
            port: u16,
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        std::fs::write(&path, r#"{"port":7,"logging":{"format":"json"},"other":1}"#).unwrap();
        let (config, logging) = load::<Config>(&path).unwrap();
        assert_eq!((config.port, logging.format), (7, Format::Json));
        std::fs::write(&path, r#"{"port":-7}"#).unwrap();
        assert_eq!(load::<Config>(&path).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(load::<Config>(&dir.path().join("none")).is_err());
    }
}
