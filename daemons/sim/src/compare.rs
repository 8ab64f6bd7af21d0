//! `kraken sim compare`: one scenario with one policy on all hosts, and with another.

use std::collections::BTreeSet;
use std::process::ExitCode;

use kraken_core::{Error, Result};
use kraken_p2p::sim::Report;

use crate::args::CompareArgs;
use crate::file::ScenarioFile;
use crate::outputs::Outputs;
use crate::policy::PolicyName;
use crate::progress::{Line, print};
use crate::work::{Stop, simulate, until_interrupted};
use crate::{builtin, exit, table};

/// What is written as JSON, for each policy.
#[derive(serde::Serialize)]
struct Document<'a> {
    policy: &'a str,
    report: &'a Report,
}

/// Runs the command: 0 if with every policy everyone finished and every promise was kept.
pub(crate) fn main(args: CompareArgs) -> ExitCode {
    let CompareArgs { scenario, policies, seed, hosts, json, svg } = args;
    if !are_different(&policies) {
        return exit::wrong(&Error::invalid("--policies: name two or more, each once"));
    }
    let file = match builtin::find(&scenario, hosts) {
        Ok(file) => file,
        Err(error) => return exit::wrong(&error),
    };
    let code = Outputs::new(json, svg, Some(&scenario))
        .and_then(|outputs| run(file, policies, seed, outputs));
    code.unwrap_or_else(|error| exit::failed(&error))
}

fn run(
    file: ScenarioFile,
    policies: Vec<PolicyName>,
    seed: u64,
    mut outputs: Outputs,
) -> Result<ExitCode> {
    print(&format!("{}: {}\n{}\n\n", file.scenario.name, file.about, file.set_up()))?;
    let (done, interrupted) = until_interrupted(move |stop| {
        let reports = simulate_all(&file, &policies, seed, stop);
        reports.map(|reports| (file, reports))
    })?;
    let (file, reports) = done?;
    let columns: Vec<_> = reports
        .iter()
        .map(|(policy, report)| (policy.title().to_owned(), table::figures(&file, report)))
        .collect();
    print(&table::side_by_side(&columns))?;
    for (policy, report) in &reports {
        let troubles = table::troubles(report);
        if !troubles.is_empty() {
            print(&format!("{}:\n{troubles}", policy.title()))?;
        }
    }
    let documents =
        reports.iter().map(|(policy, report)| Document { policy: policy.as_str(), report });
    outputs.write_json(&documents.collect::<Vec<_>>())?;
    let named = reports.iter().map(|(policy, report)| (policy.title().to_owned(), report));
    outputs.write_plots(&file, &named.collect::<Vec<_>>())?;
    let ok = reports.iter().all(|(_, report)| report.is_ok());
    Ok(match (interrupted, ok) {
        (true, _) => exit::interrupted(),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(exit::EXIT_FAILED),
    })
}

/// Whether there is something to compare.
fn are_different(policies: &[PolicyName]) -> bool {
    let different: BTreeSet<_> = policies.iter().collect();
    different.len() > 1 && different.len() == policies.len()
}

fn simulate_all(
    file: &ScenarioFile,
    policies: &[PolicyName],
    seed: u64,
    stop: &Stop,
) -> Result<Vec<(PolicyName, Report)>> {
    let line = Line::of_run();
    let mut reports = Vec::new();
    for policy in policies {
        if stop.is_asked() {
            break;
        }
        let what = format!("{}, ", policy.title());
        let scenario = file.with_policy(*policy);
        let report = simulate(&scenario, seed, stop, |progress| line.show(&what, progress))?;
        reports.push((*policy, report));
    }
    line.finish();
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_not_compared_with_itself() {
        use PolicyName::{Swarm, UberKraken};
        assert!(are_different(&[Swarm, UberKraken]) && are_different(&PolicyName::ALL));
        for same in [&[][..], &[Swarm], &[Swarm, Swarm], &[Swarm, UberKraken, Swarm]] {
            assert!(!are_different(same), "{same:?}");
        }
    }
}
