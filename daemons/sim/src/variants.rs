//! The runs of a scenario: as it is written, and those that it is compared with.

use std::collections::BTreeMap;

use kraken_p2p::sim::{Report, Scenario};

use crate::file::ScenarioFile;
use crate::policy::PolicyName;

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

/// What came of the runs of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Runs(BTreeMap<Variant, Report>);

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

impl Runs {
    /// Adds what came of a run.
    pub fn insert(&mut self, variant: Variant, report: Report) {
        self.0.insert(variant, report);
    }

    /// What came of a run, if it was done.
    pub fn report(&self, variant: Variant) -> Option<&Report> {
        self.0.get(&variant)
    }
}
