//! A scenario as a file: YAML that reads like the set-up of a paper.
#![doc = include_str!("../../../docs/SCENARIOS.md")]

mod keys;
mod parts;
mod sense;
mod targets;
mod values;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use kraken_bench::units;
use kraken_common::upstream::{Document, Place, Problem, Problems, quote};
use kraken_core::{Error, Result};
use kraken_p2p::sim::{Fate, Group, OriginGroup, Rate, Scenario};

use self::keys::{Found, Keys};
use crate::limits::{FILE_BYTES_MAX, HOSTS_MAX};
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
        let failed = |error| Error::io(format!("read {}", file.display()), error);
        let mut bytes = Vec::new();
        // Devices and pipes have no length: what they give is counted as it comes.
        let mut taken = File::open(file).map_err(failed)?.take(FILE_BYTES_MAX + 1);
        taken.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{}: more bytes than a scenario's {FILE_BYTES_MAX}",
                file.display()
            )));
        }
        let text = text_of(file, &bytes)?;
        Self::parse(file, text).map_err(Error::from)
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
        Err(Problem::error(&self.most, what)
            .advise("take fewer hosts, shorter blobs or longer pieces".to_owned())
            .into())
    }

    /// The same with `hosts` hosts, groups in proportion, each with one at least. Figures that were
    /// kept are those of another number of hosts, and go.
    pub fn scaled(mut self, hosts: usize) -> Result<Self> {
        let total = self.hosts();
        let groups = &mut self.scenario.groups;
        if hosts > HOSTS_MAX {
            return Err(Error::invalid(format!(
                "{}: {hosts} hosts are more than {HOSTS_MAX}",
                self.scenario.name
            )));
        }
        if hosts < groups.len() {
            return Err(Error::invalid(format!(
                "{}: {hosts} hosts are fewer than its {} groups of hosts",
                self.scenario.name,
                groups.len()
            )));
        }
        for group in groups.iter_mut() {
            let share = group.count as u128 * hosts as u128 / total as u128;
            group.count = usize::try_from(share).unwrap_or(usize::MAX).max(1);
        }
        // What is left by rounding is the largest group's…
        let sum = |groups: &[Group]| groups.iter().map(|group| group.count).sum::<usize>();
        let left = hosts.saturating_sub(sum(groups));
        if let Some(largest) = groups.iter_mut().max_by_key(|group| group.count) {
            largest.count += left;
        }
        // …and what groups of less than one host have got too much comes from all others.
        let mut excess = sum(groups).saturating_sub(hosts);
        while excess > 0 {
            for group in groups.iter_mut().filter(|group| group.count > 1).take(excess) {
                group.count -= 1;
                excess -= 1;
            }
        }
        self.scenario.check()?;
        if hosts != total && matches!(self.column, Column::Kept(_)) {
            self.column = Column::None;
        }
        Ok(self)
    }

    /// How many hosts the targets are about.
    pub(crate) fn hosts_counted(&self) -> usize {
        let counted = |group: &&Group| match &self.targets.of {
            Some(of) => group.name == *of,
            None => group.counted && sense::counts(group.fate),
        };
        self.scenario.groups.iter().filter(counted).map(|group| group.count).sum()
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
    let about = keys.value("about", values::line);
    let notes = keys.value("notes", values::lines);
    let large = keys.value("large", values::flag).unwrap_or(false);
    let column = keys.value("uber_kraken", column).unwrap_or(Column::Run);
    let origins = parts::origins(keys);
    let origins_count = origins.iter().map(|(group, _)| group.count).sum();
    let blobs = parts::blobs(keys, origins_count);
    let (groups, most) = parts::groups(keys, &blobs);
    let network = parts::network(keys);
    let zone_links = parts::zone_links(keys);
    let trackers = parts::trackers(keys);
    let patience = keys.value("patience", values::some_time).unwrap_or(PATIENCE);
    let time_max = keys.value("time_max", values::some_time).unwrap_or(TIME_MAX_DEFAULT);
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
    if keys.are_fine() {
        sense::check(keys, &scenario, &targets);
    }
    let about = about.unwrap_or_default();
    let most = most?;
    Some(ScenarioFile { about, notes, large, column, scenario, targets, agents, origins, most })
}

/// The bytes of a file as text; what is none is told with its place.
fn text_of<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
        let byte = bytes[error.valid_up_to()];
        let place = Place { file: file.into(), line, column };
        Problem::error(&place, format!("the byte {byte:#04x} is no text: a scenario is UTF-8"))
    })
}

/// `a.b/c.yaml` is scenario `c`.
fn name_of(file: &Path) -> String {
    file.file_stem().map_or_else(|| "scenario".to_owned(), |name| name.to_string_lossy().into())
}

fn column(text: &str) -> Result<Column, String> {
    let is_figure = |text: &str| values::factor(text.trim()).is_ok();
    match text {
        "run" => Ok(Column::Run),
        "none" => Ok(Column::None),
        kept if kept.split('/').count() == 3 && kept.split('/').all(is_figure) => {
            Ok(Column::Kept(kept.to_owned()))
        }
        other => Err(format!(
            "{} is none of run, none, or figures such as 2.4 / 2.5 / 2.5",
            quote(other)
        )),
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
    format!("{} at {rates}{comma}{from}{over}", counted(*count, name))
}

fn origins_text(group: &OriginGroup) -> String {
    format!("{} at {}", counted(group.count, &group.name), rate_text(group.rates.up))
}

/// `5 origins`, `1 origin`
fn counted(count: usize, name: &str) -> String {
    let one = name.strip_suffix('s').filter(|_| count == 1);
    format!("{count} {}", one.unwrap_or(name))
}

fn rate_text(rate: Rate) -> String {
    format!("{}/s", units::bytes(rate.bytes_per_sec as u64))
}

const PATIENCE: Duration = Duration::from_secs(120);

const TIME_MAX_DEFAULT: Duration = Duration::from_secs(4 * 3600);

#[cfg(test)]
mod tests;
