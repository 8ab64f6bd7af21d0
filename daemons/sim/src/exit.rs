//! How `kraken sim` ends when all did not go well: what it says, and its exit codes.

use std::process::ExitCode;

use kraken_common::launch::EXIT_CONFIG;
use kraken_core::Error;

/// What was asked for cannot be run.
pub(crate) fn wrong(error: &Error) -> ExitCode {
    say(error, EXIT_CONFIG)
}

/// What was asked for could not be done.
pub(crate) fn failed(error: &Error) -> ExitCode {
    say(error, EXIT_FAILED)
}

/// Ctrl-C came.
pub(crate) fn interrupted() -> ExitCode {
    eprintln!("kraken sim: interrupted");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// Ctrl-C came again: whatever is under way is left.
pub(crate) fn interrupted_again() -> ! {
    eprintln!("kraken sim: interrupted twice");
    std::process::exit(EXIT_INTERRUPTED.into())
}

/// Ctrl-C came while results were written.
pub(crate) fn interrupted_late() -> ! {
    eprintln!("kraken sim: interrupted before all was written");
    std::process::exit(EXIT_INTERRUPTED.into())
}

fn say(error: &Error, code: u8) -> ExitCode {
    eprintln!("kraken sim: {error}");
    ExitCode::from(code)
}

/// Someone starves, or a promise was broken.
pub(crate) const EXIT_FAILED: u8 = 1;

/// 128 and the number of SIGINT, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;
