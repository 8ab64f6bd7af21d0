//! `kraken sim` as a command.

use std::process::ExitCode;

use kraken_core::Error;

use crate::args::{AllArgs, CompareArgs, RunArgs};
use crate::exit::{failed, wrong};
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
