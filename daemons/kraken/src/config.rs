//! `kraken config check`: what a configuration comes to, and what is wrong with it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use kraken_common::launch::EXIT_CONFIG;
use kraken_common::program::{self, any_path, named};
use kraken_common::upstream::{Load, RoleName, Settings, effective_yaml};

/// What to do with a configuration.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Check the keys and values of a configuration file, and print what it comes to: every value
    /// with its origin. What a start would refuse is said; that hosts resolve and directories can
    /// be written only a start finds out
    Check(Check),
}

/// The flags of `kraken config check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The file, as a daemon's --config names it
    file: PathBuf,
    /// Whose configuration it is; guessed from its keys if not given
    #[arg(long, value_parser = role)]
    role: Option<RoleName>,
    /// A file of secrets, laid over it; its values are not printed
    #[arg(long, value_name = "FILE", value_parser = any_path())]
    secrets: Option<PathBuf>,
    /// Take unknown keys for errors
    #[arg(long)]
    strict: bool,
}

/// Runs the command: 0 if every value is one that its key holds, 64 if not.
///
/// That is the schema, for a file may be one that others extend. Which keys a role cannot do
/// without, whether TLS is turned off and which backends are built is said and no error; whether a
/// directory can be written or a host resolves only a daemon that starts finds out.
pub(crate) fn main(action: Action) -> ExitCode {
    let Action::Check(check) = action;
    let load =
        Load::new(check.file).secrets(named(check.secrets)).role(check.role).strict(check.strict);
    let settings = match load.read() {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    for warning in settings.warnings().as_slice() {
        eprintln!("{warning}");
    }
    if settings.role_is_guessed() {
        eprintln!("taken for the configuration of {}; --role says otherwise", settings.role());
    }
    if let Some(notice) = settings.notice() {
        eprintln!("{notice}");
    }
    let refusals = [settings.require_plain(), as_the_role(&settings)];
    for error in refusals.into_iter().filter_map(Result::err) {
        eprintln!("a daemon does not start with it yet: {error}");
    }
    // A closed pipe, as of `| head`, is no failure of the check.
    let _ = std::io::stdout().write_all(effective_yaml(&settings).as_bytes());
    ExitCode::SUCCESS
}

/// What the role says of settings that its schema takes.
fn as_the_role(settings: &Settings) -> kraken_core::Result<()> {
    match settings.role() {
        RoleName::Agent => program::check::<kraken_agent::Agent>(settings),
        RoleName::Origin => program::check::<kraken_origin::Origin>(settings),
        RoleName::Tracker => program::check::<kraken_tracker::Tracker>(settings),
        RoleName::BuildIndex => program::check::<kraken_build_index::BuildIndex>(settings),
        RoleName::Proxy => program::check::<kraken_proxy::Proxy>(settings),
    }
}

fn role(name: &str) -> Result<RoleName, String> {
    let names = || RoleName::ALL.map(RoleName::as_str).join(", ");
    RoleName::from_name(name).ok_or_else(|| format!("one of {}", names()))
}
