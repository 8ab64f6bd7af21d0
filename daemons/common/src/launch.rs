//! The shape of every daemon's run: start, wait, drain, exit code.

use std::future::Future;
use std::process::ExitCode;

use kraken_core::{Error, ErrorKind, Result};

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

/// Runs `R` with `config` in a runtime of its own until a signal, and drains; the log has begun.
/// The exit code of the process: [`EXIT_CONFIG`] if `config` was at fault.
pub fn launch<R: Role>(config: R::Config) -> ExitCode {
    #[cfg(feature = "program")]
    raise_open_files_max();
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

/// Says why `R` does not start; the exit code.
pub(crate) fn does_not_start<R: Role>(error: &Error) -> ExitCode {
    tracing::error!(%error, "{} does not start", R::NAME);
    exit_code(error)
}

/// The exit code of a start that `error` ended.
pub(crate) fn exit_code(error: &Error) -> ExitCode {
    let invalid = error.kind() == ErrorKind::Invalid;
    if invalid { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
}

/// Takes as many descriptors as the process may have. The usual soft limit of 1024 is there for
/// programs that use `select`; every client here is a socket, every open blob a file.
#[cfg(feature = "program")]
fn raise_open_files_max() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::debug!(from = ?current, to = ?maximum, "open files: limit raised"),
        Err(error) => tracing::warn!(%error, "the limit on open files stays {current:?}"),
    }
}

#[cfg(all(test, feature = "program"))]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::*;

    #[test]
    fn the_limit_on_open_files_is_the_hard_one() {
        raise_open_files_max();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
