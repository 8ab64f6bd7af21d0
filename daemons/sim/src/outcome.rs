//! Whether a scenario's figures are as they are to be.

use std::collections::BTreeSet;

use kraken_p2p::sim::{Figures, Report, Scenario};

use crate::fair::group_of;
use crate::file::ScenarioFile;
use crate::targets::{Measure, Target, Targets};
use crate::variants::{Run, Runs, Variant};

/// Whether a target was reached.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// What is measured.
    pub what: String,
    /// What it came to; `None` if the runs do not tell.
    pub value: Option<f64>,
    /// The same as text.
    pub shown: String,
    /// What it was to be.
    pub target: String,
    /// Whether it is.
    pub met: bool,
}

impl Outcome {
    /// Says beside what it came to from where to where it was in these runs too.
    pub(crate) fn show_others(&mut self, measure: &Measure, others: &[Self]) {
        let values = others.iter().filter_map(|other| other.value).chain(self.value);
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        if measure.show(least) != measure.show(most) {
            let range = format!(" ({} to {})", measure.show(least), measure.show(most));
            self.shown.push_str(&range);
        }
    }
}

impl Targets {
    /// The runs that are needed besides the scenario's own.
    pub fn needs(&self, file: &ScenarioFile) -> Vec<Variant> {
        let needed = self.list.iter().filter_map(|target| match &target.measure {
            Measure::LaterThanHonest => Some(Variant::Honest),
            Measure::NoWorseAlone(group) => file.policy_of(group).map(Variant::All),
            _ => None,
        });
        let mut needed: Vec<Variant> = needed.collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The times that the targets are about.
    pub fn times(&self, report: &Report) -> Figures {
        match &self.of {
            None => report.overall,
            Some(of) => group(report, of).map(|group| group.times).unwrap_or_default(),
        }
    }

    /// Every target beside what it came to.
    pub fn outcomes(&self, file: &ScenarioFile, runs: &Runs) -> Vec<Outcome> {
        self.list.iter().map(|target| target.outcome(self, file, runs)).collect()
    }
}

impl Target {
    fn outcome(&self, all: &Targets, file: &ScenarioFile, runs: &Runs) -> Outcome {
        let value = runs.run(Variant::AsWritten).and_then(|Run { report, fair }| {
            let times = all.times(report);
            match &self.measure {
                Measure::P50 => some(times, times.p50),
                Measure::P99 => some(times, times.p99),
                Measure::P999 => some(times, times.p999),
                Measure::Max => some(times, times.max),
                Measure::FirstPieceP50 => first_piece(all, report),
                Measure::CopiesCrossing => Some(copies_crossing(&file.scenario, report)),
                Measure::FairShare => fair.as_ref().map(|shares| shares.worst_blob),
                Measure::LaterThanHonest => {
                    let honest = all.times(runs.report(Variant::Honest)?);
                    Some(ratio(times, honest) - 1.0)
                }
                Measure::LiarsBanned => {
                    let due = report.bans_due;
                    (due > 0).then(|| report.bans_made as f64 / due as f64)
                }
                Measure::NoWorseAlone(name) => {
                    let alone = runs.report(Variant::All(file.policy_of(name)?))?;
                    Some(ratio(group(report, name)?.times, alone.overall))
                }
            }
        });
        let met = value.is_some_and(|value| self.limit.holds(value));
        let shown = value.map_or_else(|| "-".to_owned(), |value| self.measure.show(value));
        Outcome { what: self.measure.title(), value, shown, target: self.text(), met }
    }
}

fn some(times: Figures, value: f64) -> Option<f64> {
    (times.hosts > 0).then_some(value)
}

fn group<'a>(report: &'a Report, name: &str) -> Option<&'a kraken_p2p::sim::GroupReport> {
    report.groups.iter().find(|group| group.name == name)
}

fn first_piece(all: &Targets, report: &Report) -> Option<f64> {
    let figures = match &all.of {
        Some(of) => group(report, of)?.first_piece_secs,
        None => {
            let counts = |name: &String| group(report, name).is_some_and(|group| group.counted);
            let hosts = report.hosts.iter().filter(|host| counts(&host.group));
            let copies = hosts.flat_map(|host| &host.blobs);
            Figures::of(copies.filter_map(|copy| copy.first_piece_secs).collect())
        }
    };
    some(figures, figures.p50)
}

/// Copies of all that is wanted on the other side, over the link and in the direction with most.
fn copies_crossing(scenario: &Scenario, report: &Report) -> f64 {
    let ways = report
        .zone_bytes
        .iter()
        .flat_map(|((one, other), [there, back])| [(*other, *there), (*one, *back)]);
    let copies = ways.map(|(zone, bytes)| {
        let groups = scenario.groups.iter().filter(|group| group.zone == zone);
        let names: BTreeSet<&str> = groups.map(|group| group.name.as_str()).collect();
        let hosts = report.hosts.iter().filter(|host| names.contains(group_of(&host.group)));
        let copies = hosts.flat_map(|host| &host.blobs).filter(|it| it.wanted_secs.is_some());
        let wanted: BTreeSet<usize> = copies.map(|copy| copy.blob).collect();
        let wanted: u64 = wanted.iter().map(|blob| report.blobs[*blob].len).sum();
        bytes as f64 / wanted.max(1) as f64
    });
    copies.fold(0.0, f64::max)
}

/// The largest ratio of the three figures.
fn ratio(these: Figures, those: Figures) -> f64 {
    let pairs = [(these.p50, those.p50), (these.p99, those.p99), (these.p999, those.p999)];
    pairs.into_iter().map(|(this, that)| this / that).fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kraken_p2p::sim::run;

    use super::*;

    /// Of the two blobs the far hosts want the small one, so the link carries a tenth of all, or
    /// each byte of what is wanted there once and a few of them again.
    #[test]
    fn copies_cross_a_link_of_what_is_wanted_beyond_it() {
        let text = "\
blobs: [{name: b, size: 30MB, piece: 1MiB}, {name: c, size: 270MB, piece: 1MiB}]
hosts:
  - {name: near, count: 10, link: 300MB/s, zone: 0}
  - {name: far, count: 10, link: 300MB/s, zone: 1, wants: [b], killed: at 1s, replaced: yes}
origins: [{count: 3, link: 1.2GB/s}]
zone_links: [{between: 0 and 1, link: 100MB/s, round_trip: 10ms}]
trackers: {zone_bridges: 2}
targets: {copies_crossing: 5}
";
        let file = ScenarioFile::parse(Path::new("a/b.yaml"), text).unwrap();
        let report = run(&file.scenario, 1).unwrap();
        let [(_, [there, back])] = report.zone_bytes[..] else { panic!("{report:?}") };
        let copies = copies_crossing(&file.scenario, &report);
        assert_eq!(copies, there as f64 / 30e6);
        assert!(copies > 1.0 && back < there, "{copies}");
        // Those that take the places of others want what those wanted.
        let mut scenario = file.scenario;
        scenario.groups[1].name = "nobody".to_owned();
        assert!(copies_crossing(&scenario, &report) > 1000.0);
    }

    #[test]
    fn hosts_that_do_not_count_are_left_out() {
        let text = "\
blobs: [{name: b, size: 30MB, piece: 1MiB}]
hosts:
  - {name: fast, count: 4, link: 300MB/s}
  - {name: slow, count: 12, link: 1MB/s, joins: from 5s over 1s, counted: no}
origins: [{count: 1, link: 1.2GB/s}]
targets: {first_piece_p50: 700ms}
";
        let file = ScenarioFile::parse(Path::new("a/b.yaml"), text).unwrap();
        let mut runs = Runs::default();
        let report = run(&file.scenario, 1).unwrap();
        runs.insert(Variant::AsWritten, Run::new(&file, report));
        let outcomes = file.targets.outcomes(&file, &runs);
        assert!(outcomes[0].met, "{outcomes:?}");
    }
}
