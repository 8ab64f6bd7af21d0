//! The tracker as a program: `kraken-tracker --config FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kraken_common::program::main::<kraken_tracker::Tracker>()
}
