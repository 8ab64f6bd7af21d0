//! The proxy as a program.

fn main() -> std::process::ExitCode {
    kraken_common::program::main::<kraken_proxy::Proxy>()
}
