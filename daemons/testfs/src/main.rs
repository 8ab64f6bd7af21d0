//! The file server as a program: `kraken-testfs --config FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kraken_common::main_with::<kraken_testfs::TestFs>()
}
