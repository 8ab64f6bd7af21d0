//! The shape of every daemon's run: logging, start, wait, drain, exit code.

use std::future::Future;
use std::process::ExitCode;

use kraken_core::{Error, ErrorKind, Result};

use crate::logging::{self, LoggingConfig};
use crate::shutdown::Signals;

/// A daemon as its `main` sees it.
pub trait Role: Sized + Send {
    /// What it is told.
    type Config: Send;

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
