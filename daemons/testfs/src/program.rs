//! The file server as a program. As in uber/kraken it has flags and no configuration file.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use kraken_common::durations;
use kraken_common::launch::{self, EXIT_CONFIG, Role as _};
use kraken_common::logging::{self, LoggingConfig};
use kraken_common::program::parse_args;
use kraken_core::{Error, Result};

use crate::config::TestFsConfig;
use crate::testfs::TestFs;

/// The command line: uber/kraken's `--port`, and some flags of ours.
#[derive(Debug, clap::Parser)]
struct Flags {
    /// The port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// The directory to serve; by default a fresh one that goes away at the end
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The address to listen on; whoever reaches it may write
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind: IpAddr,
    /// Most bytes of files to send per second, over all requests together; 0 is no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    egress_bytes_per_sec: u64,
    /// How long each request waits before it is answered, such as 5ms
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = durations::parse)]
    latency: Duration,
    /// What to log, such as `info,kraken_common=debug`
    #[arg(long, value_name = "DIRECTIVES")]
    log: Option<String>,
}

/// Runs the file server with the arguments of the process. Returns after a first SIGINT or SIGTERM
/// once everything has drained, or after a second one at once.
pub fn main() -> ExitCode {
    run(std::env::args_os().skip(1))
}

/// As [`main`], with arguments that a program of several roles has split off its own.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let about = "Kraken's testfs: a file server that stands in for storage in tests";
    let flags: Flags = match parse_args(TestFs::NAME, about, args) {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    let configured = flags.configure();
    match configured.and_then(|(config, log)| logging::init(&log).map(|()| config)) {
        Ok(config) => launch::launch::<TestFs>(config),
        Err(error) => {
            eprintln!("{}: {error}", TestFs::NAME);
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

impl Flags {
    fn configure(self) -> Result<(TestFsConfig, LoggingConfig)> {
        if self.port == 0 {
            return Err(Error::invalid("--port is 0: name a port from 1 to 65535"));
        }
        let mut logging = LoggingConfig::default();
        if let Some(level) = self.log {
            logging.level = level;
        }
        let config = TestFsConfig {
            listen: SocketAddr::new(self.bind, self.port),
            root: self.root,
            egress_bytes_per_sec: self.egress_bytes_per_sec,
            latency: self.latency,
        };
        Ok((config, logging))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn configured(args: &[&str]) -> Result<(TestFsConfig, LoggingConfig)> {
        let flags: Flags = parse_args("testfs", "", args.iter().map(OsString::from)).unwrap();
        flags.configure()
    }

    #[test]
    fn flags_say_it_all() {
        let (config, logging) = configured(&["-port=14000"]).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:14000");
        assert_eq!((config.root, logging.level), (None, LoggingConfig::default().level));
        let args =
            ["--port", "1", "-root", "/r", "--bind", "::1", "-log", "debug", "-latency", "5ms"];
        let (config, logging) = configured(&args).unwrap();
        assert_eq!(config.listen.to_string(), "[::1]:1");
        assert_eq!(config.root.as_deref(), Some(Path::new("/r")));
        assert_eq!((logging.level.as_str(), config.latency), ("debug", Duration::from_millis(5)));
        assert!(configured(&[]).unwrap_err().to_string().contains("--port"));
    }
}
