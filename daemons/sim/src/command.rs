//! `kraken sim` as a command.

use std::path::PathBuf;
use std::process::ExitCode;

use kraken_common::launch::EXIT_CONFIG;
use kraken_core::Error;

use crate::policy::PolicyName;
use crate::progress::print;
use crate::{all, builtin, compare, single};

/// The arguments of `kraken sim`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    after_help = "Scenarios are YAML files: `show NAME` prints one, docs/SCENARIOS.md says every key."
)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: Option<RunArgs>,
}

/// What to do with scenarios.
#[derive(Debug, Clone, clap::Subcommand)]
enum Action {
    /// List the scenarios that have a name
    List,
    /// Print the file of a scenario that has a name
    Show {
        /// The scenario's name
        #[arg(value_name = "NAME")]
        scenario: String,
    },
    /// Run a scenario, as `kraken sim SCENARIO` does
    Run(RunArgs),
    /// Run a scenario with one policy on all hosts, then with another
    Compare(CompareArgs),
    /// Run all scenarios that have a name and print them as a table, their targets beside what
    /// they came to
    All(AllArgs),
}

/// The flags of `kraken sim run`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArgs {
    /// The scenario's name, or a file; `list` shows the names
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: String,
    /// What everything random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Run it with so many hosts, groups in proportion
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) hosts: Option<usize>,
    /// What all hosts, origins and trackers run, in place of what the scenario says
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) policy: Option<PolicyName>,
    /// Write everything that was counted to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write plots to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
}

/// The flags of `kraken sim compare`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CompareArgs {
    /// The scenario's name, or a file
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: String,
    /// What all hosts, origins and trackers run, one after the other
    #[arg(long, value_name = "A,B", value_enum, value_delimiter = ',', required = true)]
    pub(crate) policies: Vec<PolicyName>,
    /// What everything random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Run it with so many hosts, groups in proportion
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) hosts: Option<usize>,
    /// Write everything that was counted to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write plots to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
}

/// The flags of `kraken sim all`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllArgs {
    /// Only these scenarios
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The large ones too
    #[arg(long)]
    pub(crate) large: bool,
    /// Run scenarios of up to 2,600 hosts with each of these; the first one's figures are shown, a
    /// run with it again must be the same, also uber/kraken's, and with others all targets must be
    /// met too and times differ by 5 % at most: the table of all is made with
    /// `kraken sim all --seeds 1,1,2,3,4`
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1")]
    #[arg(allow_negative_numbers = true)]
    pub(crate) seeds: Vec<u64>,
    /// Runs at once
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,
    /// Run each with so many hosts at most
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) hosts: Option<usize>,
    /// Write the table to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Runs the command: 0 if everyone finished and every promise was kept, 1 if not, 64 for wrong
/// arguments or files, 130 after Ctrl-C. Targets that are not met are shown, and no failure.
pub fn main(args: Args) -> ExitCode {
    match (args.action, args.run) {
        (Some(Action::List), _) => list(),
        (Some(Action::Show { scenario }), _) => show(&scenario),
        (Some(Action::Run(run)), _) | (None, Some(run)) => single::main(run),
        (Some(Action::Compare(args)), _) => compare::main(args),
        (Some(Action::All(args)), _) => all::main(args),
        (None, None) => wrong(&Error::invalid("no scenario: `kraken sim list` shows their names")),
    }
}

fn list() -> ExitCode {
    let mut text = String::new();
    for (name, _) in builtin::NAMED {
        match builtin::named(name) {
            Ok(file) => {
                text += &format!("{name:<16} {}\n{:16} {}\n", file.about, "", file.set_up());
            }
            Err(error) => return failed(&error),
        }
    }
    printed(&text)
}

fn show(name: &str) -> ExitCode {
    match builtin::text(name) {
        Ok(text) => printed(text),
        Err(error) => wrong(&error),
    }
}

fn printed(text: &str) -> ExitCode {
    print(text).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// What was asked for cannot be run.
pub(crate) fn wrong(error: &Error) -> ExitCode {
    say(error, EXIT_CONFIG)
}

/// What was asked for could not be done.
pub(crate) fn failed(error: &Error) -> ExitCode {
    say(error, EXIT_FAILED)
}

/// Ctrl-C came.
pub(crate) fn interrupted() -> ExitCode {
    eprintln!("kraken sim: interrupted");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// Ctrl-C came again: whatever is under way is left.
pub(crate) fn interrupted_again() -> ! {
    eprintln!("kraken sim: interrupted twice");
    std::process::exit(EXIT_INTERRUPTED.into())
}

fn say(error: &Error, code: u8) -> ExitCode {
    eprintln!("kraken sim: {error}");
    ExitCode::from(code)
}

/// Someone starves, or a promise was broken.
pub(crate) const EXIT_FAILED: u8 = 1;

/// 128 and the number of SIGINT, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;
