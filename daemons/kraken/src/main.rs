//! Kraken in one program: `kraken dev` runs a whole cluster on embedded defaults, `kraken bench`
//! measures clusters, `kraken sim` simulates swarms, and `kraken <role> --config FILE` is the
//! daemon of that role.

mod config;
mod dev;

use std::process::ExitCode;

use kraken_common::program;

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(max_term_width = 100)]
enum Command {
    /// Run a whole cluster in this process, prove that it works, then serve until Ctrl-C
    Dev(dev::Args),
    /// Measure a cluster of separate processes on links of their own, beside other programs
    Bench(kraken_bench::Args),
    /// Simulate swarms of thousands of hosts under virtual time
    Sim(kraken_sim::Args),
    /// What `bench` runs on each host
    #[command(hide = true)]
    BenchInside(kraken_bench::flow::InsideArgs),
    /// Look at configuration files
    #[command(subcommand)]
    Config(config::Action),
    /// Run the agent: a pull-only registry on every host, fed by the swarm
    #[command(disable_help_flag = true)]
    Agent(RoleArgs),
    /// Run the origin: a dedicated seeder that writes blobs back to storage
    #[command(disable_help_flag = true)]
    Origin(RoleArgs),
    /// Run the tracker, which introduces peers
    #[command(disable_help_flag = true)]
    Tracker(RoleArgs),
    /// Run the build-index, which maps tags to digests
    #[command(disable_help_flag = true)]
    BuildIndex(RoleArgs),
    /// Run the proxy: the registry that takes pushes
    #[command(disable_help_flag = true)]
    Proxy(RoleArgs),
    /// Run testfs, a file server that stands in for a storage backend in tests
    #[command(disable_help_flag = true)]
    Testfs(RoleArgs),
}

/// The flags of a daemon, read by the daemon itself.
#[derive(Debug, clap::Args)]
struct RoleArgs {
    /// For example `--config FILE`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<std::ffi::OsString>,
}

const ABOUT: &str = "Peer-to-peer distribution of container images";

fn main() -> ExitCode {
    let command = match program::parse_args("kraken", ABOUT, std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(code) => return code,
    };
    match command {
        Command::Dev(args) => dev::main(args),
        Command::Bench(args) => kraken_bench::main(args),
        Command::Sim(args) => kraken_sim::main(args),
        Command::BenchInside(args) => kraken_bench::flow::inside(args),
        Command::Config(action) => config::main(action),
        Command::Agent(args) => program::run::<kraken_agent::Agent>(args.flags),
        Command::Origin(args) => program::run::<kraken_origin::Origin>(args.flags),
        Command::Tracker(args) => program::run::<kraken_tracker::Tracker>(args.flags),
        Command::BuildIndex(args) => program::run::<kraken_build_index::BuildIndex>(args.flags),
        Command::Proxy(args) => program::run::<kraken_proxy::Proxy>(args.flags),
        Command::Testfs(args) => kraken_testfs::run(args.flags),
    }
}
