//! The file server as a program: `kraken-testfs --port PORT`.

fn main() -> std::process::ExitCode {
    kraken_testfs::main()
}
