//! The runs of a scenario: as it is written, and those that it is compared with.

use std::collections::BTreeMap;

use kraken_p2p::sim::{Report, Scenario};

use crate::fair::{self, FairShares};
use crate::file::ScenarioFile;
use crate::policy::PolicyName;
use crate::stop::Stop;
use crate::targets::Measure;

/// One of the runs of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// As it is written.
    AsWritten,
    /// With hosts that do not lie.
    Honest,
    /// With one policy on all hosts, origins and trackers.
    All(PolicyName),
}

/// What came of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What happened.
    pub report: Report,
    /// The fair shares of its copies, if a target is about them.
    pub(crate) fair: Option<FairShares>,
}

/// What came of the runs of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Runs(BTreeMap<Variant, Run>);

impl Variant {
    /// What is run.
    pub fn scenario(self, file: &ScenarioFile) -> Scenario {
        match self {
            Self::AsWritten => file.scenario.clone(),
            Self::Honest => file.honest(),
            Self::All(policy) => file.with_policy(policy),
        }
    }

    /// What it is called in messages, behind the scenario's name.
    pub fn title(self) -> String {
        match self {
            Self::AsWritten => String::new(),
            Self::Honest => " without lies".to_owned(),
            Self::All(policy) => format!(" with {}", policy.title()),
        }
    }
}

impl Run {
    /// Of a report, with what the targets compare it with.
    pub fn new(file: &ScenarioFile, report: Report) -> Self {
        Self::unless_stopped(file, report, &Stop::default())
    }

    /// The same; once it is stopped, there are no fair shares.
    pub(crate) fn unless_stopped(file: &ScenarioFile, report: Report, stop: &Stop) -> Self {
        let asks_fair = file.targets.list.iter().any(|it| it.measure == Measure::FairShare);
        let fair = asks_fair.then(|| fair::shares(&file.scenario, &report, stop)).flatten();
        Self { report, fair }
    }
}

impl Runs {
    /// Adds what came of a run.
    pub fn insert(&mut self, variant: Variant, run: Run) {
        self.0.insert(variant, run);
    }

    /// What came of a run, if it was done.
    pub fn run(&self, variant: Variant) -> Option<&Run> {
        self.0.get(&variant)
    }

    /// What happened in it.
    pub fn report(&self, variant: Variant) -> Option<&Report> {
        self.run(variant).map(|run| &run.report)
    }
}
