//! A scenario as a file: YAML that reads like the set-up of a paper.
//!
//! ```yaml
//! about: uber/kraken's README test, joins within a second
//! blobs:
//!   - {name: layer, count: 2, size: 1500MB, piece: 4MiB, holders: 3}
//! hosts:
//!   - {name: agents, count: 2600, link: 300MB/s, joins: over 1s}
//! origins:
//!   - {count: 5, link: 1.2GB/s}
//! targets: {p50: 1.03, p99: 1.08, p99.9: 1.10}
//! ```

mod keys;
mod parts;
mod targets;
mod values;

use std::path::Path;
use std::time::Duration;

use kraken_bench::units;
use kraken_common::upstream::{Document, Place, Problem, Problems};
use kraken_core::{Error, Result};
use kraken_p2p::sim::{Fate, Group, OriginGroup, Rate, Scenario};

use self::keys::{Found, Keys};
use crate::memory;
use crate::policy::PolicyName;
use crate::targets::Targets;

/// A scenario with what is said about it.
#[derive(Debug, Clone)]
pub struct ScenarioFile {
    /// What it is, in a sentence.
    pub about: String,
    /// What is to be known about its figures.
    pub notes: Option<String>,
    /// Whether it is so large that it is run only when asked for.
    pub large: bool,
    /// What the table says of uber/kraken.
    pub column: Column,
    /// What is simulated.
    pub scenario: Scenario,
    /// What is to be reached.
    pub targets: Targets,
    agents: Vec<Runs>,
    origins: Vec<Runs>,
    /// Where the largest number of hosts is written.
    most: Place,
}

/// What a table says of uber/kraken in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// What a run with it gives.
    Run,
    /// What a run gave once.
    Kept(String),
    /// Nothing.
    None,
}

/// What a group of hosts runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Runs {
    policy: PolicyName,
    /// Whether uplinks send whole pieces, if the file says so.
    whole_pieces: Option<bool>,
}

impl ScenarioFile {
    /// Reads `text`, which is called `file` in messages; every problem has its line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let found = Found::new(document.problems.as_slice());
        let mut keys = Keys::new(&document.root, &document.place, &found);
        let read = read(&mut keys, &name_of(file));
        keys.end();
        match read {
            Some(read) if found.is_empty() => {
                let checked = read.scenario.check();
                checked.map_err(|error| Problem::error(&document.place, error.to_string()))?;
                Ok(read)
            }
            _ => Err(found.into_problems(&document.place)),
        }
    }

    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self> {
        let context = || format!("read {}", file.display());
        let length = std::fs::metadata(file).map_err(|error| Error::io(context(), error))?.len();
        if length > FILE_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{}: {length} bytes are more than a scenario's {FILE_BYTES_MAX}",
                file.display()
            )));
        }
        let text = std::fs::read_to_string(file).map_err(|error| Error::io(context(), error))?;
        Self::parse(file, &text).map_err(Error::from)
    }

    /// An error unless a run fits into so many bytes of memory; it names the line with the count.
    pub fn check_memory(&self, available: u64) -> Result<()> {
        let needed = memory::estimate(&self.scenario);
        if needed <= available {
            return Ok(());
        }
        let hosts = self.hosts();
        let [needed, available] = [needed, available].map(|bytes| bytes.div_ceil(1 << 20));
        let what = format!(
            "a run with {hosts} hosts needs about {needed} MiB of memory, and {available} MiB are \
             there"
        );
        Err(Problem::error(&self.most, what).advise("take fewer hosts".to_owned()).into())
    }

    /// The same with `hosts` hosts, groups in proportion, each with one at least.
    pub fn scaled(mut self, hosts: usize) -> Result<Self> {
        let total = self.hosts();
        let groups = &mut self.scenario.groups;
        if hosts < groups.len() {
            return Err(Error::invalid(format!(
                "{}: {hosts} hosts are fewer than its {} groups of hosts",
                self.scenario.name,
                groups.len()
            )));
        }
        for group in groups.iter_mut() {
            let share = group.count as f64 * hosts as f64 / total as f64;
            group.count = (share.round() as usize).max(1);
        }
        // What rounding gives or takes is the largest group's.
        let others = |groups: &[Group], at| {
            groups.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, g)| g.count).sum()
        };
        if let Some(at) = (0..groups.len()).max_by_key(|at| groups[*at].count) {
            let others: usize = others(groups, at);
            groups[at].count = hosts.saturating_sub(others).max(1);
        }
        self.scenario.check()?;
        Ok(self)
    }

    /// How many hosts want blobs.
    pub fn hosts(&self) -> usize {
        self.scenario.groups.iter().map(|group| group.count).sum()
    }

    /// The scenario with this policy on all hosts, origins and trackers.
    pub fn with_policy(&self, policy: PolicyName) -> Scenario {
        let mut scenario = self.scenario.clone();
        for (group, runs) in scenario.groups.iter_mut().zip(&self.agents) {
            group.policy = policy.agent();
            group.rates.whole_pieces = runs.with(policy).sends_whole_pieces();
        }
        for (group, runs) in scenario.origins.iter_mut().zip(&self.origins) {
            group.policy = policy.origin();
            group.rates.whole_pieces = runs.with(policy).sends_whole_pieces();
        }
        scenario.trackers.handout.policy = policy.handout();
        scenario
    }

    /// What the hosts of a group run.
    pub fn policy_of(&self, group: &str) -> Option<PolicyName> {
        let at = self.scenario.groups.iter().position(|one| one.name == group)?;
        Some(self.agents.get(at)?.policy)
    }

    /// The scenario with hosts that do not lie; those that would do not count.
    pub fn honest(&self) -> Scenario {
        let mut scenario = self.scenario.clone();
        for group in &mut scenario.groups {
            if matches!(group.fate, Fate::Lies { .. }) {
                (group.fate, group.counted) = (Fate::Stays, false);
            }
        }
        scenario
    }

    /// Hosts, links and blobs in a line.
    pub fn set_up(&self) -> String {
        let Scenario { groups, origins, blobs, .. } = &self.scenario;
        let groups: Vec<String> = groups.iter().map(group_text).collect();
        let origins: Vec<String> = origins.iter().map(origins_text).collect();
        let bytes: u64 = blobs.iter().map(|blob| blob.len).sum();
        let blobs = match blobs.as_slice() {
            [blob] => units::bytes(blob.len),
            many => format!("{} in {} blobs", units::bytes(bytes), many.len()),
        };
        format!("{}; {}; {blobs}", groups.join(", "), origins.join(", "))
    }
}

impl Runs {
    fn with(self, policy: PolicyName) -> Self {
        Self { policy, ..self }
    }

    fn sends_whole_pieces(self) -> bool {
        self.whole_pieces.unwrap_or_else(|| self.policy.sends_whole_pieces())
    }
}

/// The whole file, if nothing is wrong that hinders going on.
fn read(keys: &mut Keys<'_>, name: &str) -> Option<ScenarioFile> {
    let about = keys.value("about", values::text);
    let notes = keys.value("notes", values::text);
    let large = keys.value("large", values::flag).unwrap_or(false);
    let column = keys.value("uber_kraken", |text| Ok(column(text))).unwrap_or(Column::Run);
    let origins = parts::origins(keys);
    let origins_count = origins.iter().map(|(group, _)| group.count).sum();
    let blobs = parts::blobs(keys, origins_count);
    let (groups, most) = parts::groups(keys, &blobs);
    let network = parts::network(keys);
    let zone_links = parts::zone_links(keys);
    let trackers = parts::trackers(keys);
    let patience = keys.value("patience", values::some_time).unwrap_or(PATIENCE);
    let time_max = keys.value("time_max", values::some_time).unwrap_or(TIME_MAX);
    let names: Vec<&str> = groups.iter().map(|(group, _)| group.name.as_str()).collect();
    let targets = targets::read(keys, &names);
    let (groups, agents): (Vec<Group>, Vec<Runs>) = groups.into_iter().unzip();
    let (origin_groups, origins): (Vec<OriginGroup>, Vec<Runs>) = origins.into_iter().unzip();
    let scenario = Scenario {
        name: name.to_owned(),
        blobs,
        groups,
        origins: origin_groups,
        network,
        zone_links,
        trackers,
        patience,
        time_max,
    };
    let about = about.unwrap_or_default();
    let most = most?;
    Some(ScenarioFile { about, notes, large, column, scenario, targets, agents, origins, most })
}

/// `a.b/c.yaml` is scenario `c`.
fn name_of(file: &Path) -> String {
    file.file_stem().map_or_else(|| "scenario".to_owned(), |name| name.to_string_lossy().into())
}

fn column(text: &str) -> Column {
    match text {
        "run" => Column::Run,
        "none" => Column::None,
        kept => Column::Kept(kept.to_owned()),
    }
}

fn group_text(group: &Group) -> String {
    let Group { name, count, rates, joins, .. } = group;
    let rates = match rate_text(rates.up) == rate_text(rates.down) {
        true => rate_text(rates.up),
        false => format!("{} up and {} down", rate_text(rates.up), rate_text(rates.down)),
    };
    let from = if joins.from.is_zero() { String::new() } else { format!(" from {:?}", joins.from) };
    let over = if joins.over.is_zero() { String::new() } else { format!(" over {:?}", joins.over) };
    let comma = if from.is_empty() && over.is_empty() { "" } else { ", joining" };
    format!("{count} {name} at {rates}{comma}{from}{over}")
}

fn origins_text(group: &OriginGroup) -> String {
    format!("{} {} at {}", group.count, group.name, rate_text(group.rates.up))
}

fn rate_text(rate: Rate) -> String {
    format!("{}/s", units::bytes(rate.bytes_per_sec as u64))
}

/// More than that is no scenario; the ones kept here have some hundred bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(120);

const TIME_MAX: Duration = Duration::from_secs(4 * 3600);

#[cfg(test)]
mod tests;
