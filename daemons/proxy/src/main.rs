//! The proxy as a program.

fn main() -> std::process::ExitCode {
    kraken_common::main_with::<kraken_proxy::Proxy>()
}
