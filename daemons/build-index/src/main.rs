//! The build-index as a program: `kraken-build-index --config FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kraken_common::program::main::<kraken_build_index::BuildIndex>()
}
