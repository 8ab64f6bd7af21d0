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
use crate::stop::Stop;
use crate::variants::{Run, Variant};
use crate::work::{simulate, until_interrupted};
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
    match Outputs::new(json, svg, Some(&scenario)) {
        Ok(outputs) => {
            let code = run(file, policies, seed, outputs);
            code.unwrap_or_else(|error| exit::failed(&error))
        }
        Err(error) => exit::wrong(&error),
    }
}

fn run(
    file: ScenarioFile,
    policies: Vec<PolicyName>,
    seed: u64,
    mut outputs: Outputs,
) -> Result<ExitCode> {
    print(&format!("{}: {}\n{}\n\n", file.scenario.name, file.about, file.set_up()))?;
    let (done, interrupted) = until_interrupted(move |stop| {
        let runs = simulate_all(&file, &policies, seed, stop);
        runs.map(|runs| (file, runs))
    })?;
    let (file, runs) = done?;
    let columns: Vec<_> = runs
        .iter()
        .map(|(policy, run)| (policy.title().to_owned(), table::figures(&file, run)))
        .collect();
    print(&table::side_by_side(&columns))?;
    for (policy, Run { report, .. }) in &runs {
        let troubles = table::troubles(report);
        if !troubles.is_empty() {
            print(&format!("{}:\n{troubles}", policy.title()))?;
        }
    }
    let documents =
        runs.iter().map(|(policy, run)| Document { policy: policy.as_str(), report: &run.report });
    outputs.write_json(&documents.collect::<Vec<_>>())?;
    let named = runs.iter().map(|(policy, run)| (policy.title().to_owned(), &run.report));
    outputs.write_plots(&file, &named.collect::<Vec<_>>())?;
    let ok = runs.iter().all(|(_, run)| run.report.is_ok());
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
) -> Result<Vec<(PolicyName, Run)>> {
    let line = Line::of_run();
    let mut runs = Vec::new();
    for policy in policies {
        if stop.is_asked() {
            break;
        }
        let what = format!("{}, ", policy.title());
        let show = |progress: &_| line.show(&what, progress);
        runs.push((*policy, simulate(file, (Variant::All(*policy), seed), stop, show)?));
    }
    line.finish();
    Ok(runs)
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
