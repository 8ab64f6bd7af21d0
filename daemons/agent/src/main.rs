//! The agent as a program: `kraken-agent --config FILE`.

fn main() -> std::process::ExitCode {
    kraken_common::program::main::<kraken_agent::Agent>()
}
