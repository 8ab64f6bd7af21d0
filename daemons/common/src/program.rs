//! A role as a program: uber/kraken's command line and YAML in front of a [`Role`].

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use kraken_core::{Error, Result};

use crate::castore;
use crate::launch::{self, EXIT_CONFIG, Role};
use crate::logging::{self, Format, LoggingConfig};
use crate::upstream::{Load, RoleName, Settings};

/// A role with the flags and the configuration that its program takes.
pub trait Program: Role {
    /// The flags beside those that all daemons have ([`Common`]).
    type Flags: clap::Args;

    /// Whose configuration `--config` names.
    const ROLE: RoleName;

    /// What `--help` says first.
    const ABOUT: &'static str;

    /// What the role is told; errors name the key or the flag at fault.
    fn configure(common: &Common, flags: &Self::Flags, settings: &Settings)
    -> Result<Self::Config>;
}

/// The flags that all daemons have: uber/kraken's, and some of ours.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// A file of secrets, laid over the configuration; its values are shown to nobody. An empty
    /// name is none, as in uber/kraken
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    pub secrets: Option<PathBuf>,
    /// The address to listen on, on every port
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// The name of the cluster, as origins tell it to peers
    #[arg(long, value_name = "NAME", default_value = "")]
    pub cluster: String,
    /// Accepted for uber/kraken's sake; does nothing
    #[arg(long, value_name = "N", default_value_t = 0, hide = true, allow_negative_numbers = true)]
    pub mutex_profile_fraction: i64,
    /// Take unknown keys in the configuration for errors
    #[arg(long)]
    pub strict: bool,
    /// What to log, such as `info,kraken_p2p=debug`; goes before `zap.level`
    #[arg(long, value_name = "DIRECTIVES")]
    pub log: Option<String>,
}

impl Common {
    /// The file of secrets, if one is named.
    pub fn secrets(&self) -> Option<PathBuf> {
        named(self.secrets.clone())
    }

    /// Where to listen for the port that `flag` names.
    pub fn listen(&self, flag: &str, port: u16) -> Result<SocketAddr> {
        if port == 0 {
            return Err(Error::invalid(format!("{flag} is 0: name a port from 1 to 65535")));
        }
        Ok(SocketAddr::new(self.bind, port))
    }
}

/// The whole command line of a daemon.
#[derive(Debug, clap::Parser)]
struct Line<F: clap::Args> {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    flags: F,
}

/// Runs `P` as a program with the arguments of the process. Returns after a first SIGINT or
/// SIGTERM once everything has drained, or after a second one at once.
pub fn main<P: Program>() -> ExitCode {
    run::<P>(std::env::args_os().skip(1))
}

/// As [`main`], with arguments that a program of several roles has split off its own.
pub fn run<P: Program>(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line: Line<P::Flags> = match parse_args(P::NAME, P::ABOUT, args) {
        Ok(line) => line,
        Err(code) => return code,
    };
    let settings = match read::<P>(&line.common) {
        Ok(settings) => settings,
        Err(error) => {
            // How log lines look is in what could not be read.
            eprintln!("{}: {error}", P::NAME);
            return launch::exit_code(&error);
        }
    };
    match configure::<P>(&line, &settings) {
        Ok(config) => launch::launch::<P>(config),
        Err(error) => launch::does_not_start::<P>(&error),
    }
}

/// What `P` would make of `settings` at a start with ports and an address of its own: an error is
/// one that a start would have, with the key at fault. Nothing is opened or looked up.
pub fn check<P: Program>(settings: &Settings) -> Result<()> {
    let flags = <P::Flags as clap::Args>::augment_args(clap::Command::new(P::NAME));
    let needed = flags.get_arguments().filter_map(|flag| {
        let name = flag.get_long()?;
        let value = if name.ends_with("port") { "1" } else { "127.0.0.1" };
        (name.ends_with("port") || name == "peer-ip").then(|| format!("--{name}={value}"))
    });
    let args = [P::NAME.to_owned(), "--config=checked".to_owned()].into_iter().chain(needed);
    let line = <Line<P::Flags> as clap::Parser>::try_parse_from(args)
        .map_err(|error| Error::invalid(format!("the flags of a check: {error}")))?;
    P::configure(&line.common, &line.flags, settings).map(drop)
}

/// The arguments, each with one dash or two, as `A` has them. Otherwise they have been answered,
/// and this is the exit code: [`EXIT_CONFIG`] unless it was a call for help.
pub fn parse_args<A: clap::Parser>(
    name: &'static str,
    about: &'static str,
    args: impl IntoIterator<Item = OsString>,
) -> Result<A, ExitCode> {
    let args = args.into_iter().map(with_two_dashes);
    let command = A::command().name(name).bin_name(name).about(about);
    // Of a flag that is given twice the last counts, as in Go.
    let command = command.version(env!("CARGO_PKG_VERSION")).args_override_self(true);
    let parsed = command
        .try_get_matches_from(std::iter::once(OsString::from(name)).chain(args))
        .and_then(|matches| A::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // Where the terminal is gone nobody reads it anyway.
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS }
    })
}

/// Takes any path, even the empty one.
pub fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `path`, unless it is empty.
pub fn named(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// Go's flag package, whose command lines are kept, takes one dash or two; clap would read
/// `-config` as a cluster of short flags.
fn with_two_dashes(arg: OsString) -> OsString {
    let bytes = arg.as_encoded_bytes();
    let is_long = bytes.len() > 2 && bytes[0] == b'-' && bytes[1].is_ascii_alphabetic();
    if !is_long {
        return arg;
    }
    let mut dashed = OsString::from("-");
    dashed.push::<&OsStr>(arg.as_ref());
    dashed
}

/// Reads the files, and begins to log as they say.
fn read<P: Program>(common: &Common) -> Result<Settings> {
    let settings = Load::new(&common.config)
        .secrets(common.secrets())
        .role(P::ROLE)
        .strict(common.strict)
        .read()
        .map_err(Error::from)?;
    logging::init(&logging(common, &settings)?)?;
    Ok(settings)
}

/// Says what is odd in the files, and makes the role's configuration of them.
fn configure<P: Program>(line: &Line<P::Flags>, settings: &Settings) -> Result<P::Config> {
    for warning in settings.warnings().as_slice() {
        tracing::warn!("{warning}");
    }
    if let Some(notice) = settings.notice() {
        tracing::info!("{notice}");
    }
    settings.require_plain()?;
    let config = P::configure(&line.common, &line.flags, settings)?;
    castore::make_directories(settings)?;
    Ok(config)
}

fn logging(common: &Common, settings: &Settings) -> Result<LoggingConfig> {
    let root = settings.root();
    let format = match root.value::<String>("zap.encoding")?.as_str() {
        "json" => Format::Json,
        _ => Format::Text,
    };
    let level = match root.value::<String>("zap.level")?.as_str() {
        // What zap has beyond errors ends the process.
        "dpanic" | "panic" | "fatal" => "error".to_owned(),
        level => level.to_owned(),
    };
    let asked = common.log.clone().filter(|directives| !directives.is_empty());
    Ok(LoggingConfig { format, level: asked.unwrap_or(level) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Args)]
    struct Flags {
        /// A port
        #[arg(long)]
        peer_port: u16,
        /// Ports
        #[arg(long)]
        port: Vec<u16>,
    }

    fn line(args: &[&str]) -> Result<Line<Flags>, ExitCode> {
        parse_args("kraken-test", "A test", args.iter().map(OsString::from))
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for args in [
            &["-config", "c.yaml", "-peer-port=1", "-port", "2", "--port", "3"][..],
            &["--config=c.yaml", "--peer-port", "1", "--port=2", "-port=3"],
        ] {
            let line = line(args).unwrap();
            assert_eq!(line.common.config, PathBuf::from("c.yaml"));
            assert_eq!((line.flags.peer_port, line.flags.port), (1, vec![2, 3]));
        }
        assert_eq!(with_two_dashes("-".into()), "-");
        assert_eq!(with_two_dashes("-5".into()), "-5");
        assert_eq!(with_two_dashes("-h".into()), "-h");
    }

    #[test]
    fn flags_are_read_as_in_go() {
        let line = |more: &[&str]| {
            let args = ["--config", "c", "--peer-port", "1"].iter().chain(more);
            line(&args.copied().collect::<Vec<_>>()).unwrap()
        };
        for none in [&["--secrets="][..], &["-secrets", ""], &[], &["--secrets=s", "--secrets="]] {
            assert_eq!(line(none).common.secrets(), None, "{none:?}");
        }
        let again = line(&["-secrets=a", "--secrets", "b", "-peer-port=7", "--strict", "--strict"]);
        assert_eq!(again.common.secrets(), Some("b".into()));
        assert_eq!((again.flags.peer_port, again.common.strict), (7, true));
        for fraction in [&["--mutex-profile-fraction", "-1"][..], &["-mutex-profile-fraction=-1"]] {
            assert_eq!(line(fraction).common.mutex_profile_fraction, -1);
        }
    }

    #[test]
    fn a_wrong_command_line_is_no_success_and_help_is() {
        for args in [&[][..], &["--config", "c"], &["--config", "c", "--peer-port", "x"], &["a"]] {
            assert_eq!(line(args).unwrap_err(), ExitCode::from(EXIT_CONFIG), "{args:?}");
        }
        assert_eq!(line(&["-help"]).unwrap_err(), ExitCode::SUCCESS);
        assert_eq!(line(&["--version"]).unwrap_err(), ExitCode::SUCCESS);
    }
}
