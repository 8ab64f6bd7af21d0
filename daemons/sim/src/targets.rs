//! What a scenario's figures are to be, and whether they are.

use std::collections::BTreeSet;

use kraken_p2p::sim::{Figures, Report, Scenario};

use crate::fair::{self, FairShares, group_of};
use crate::file::ScenarioFile;
use crate::variants::{Runs, Variant};

/// All targets of a scenario.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Targets {
    /// Whose times they are about; without it those of all hosts that count.
    pub of: Option<String>,
    /// What no policy can be faster than, if it is not 1: p99.9 ÷ what the link alone takes.
    pub bound: Option<f64>,
    /// The figures.
    pub list: Vec<Target>,
}

/// One figure that is to be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What is measured.
    pub measure: Measure,
    /// What it is to be.
    pub limit: Limit,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// The median of times ÷ what the link alone takes.
    P50,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// The slowest.
    Max,
    /// The median of the times to the first piece in order, in seconds.
    FirstPieceP50,
    /// The most copies that crossed a link between zones in one direction, of all blobs together
    /// that are wanted on its other side.
    CopiesCrossing,
    /// The slowest blob: the mean time of its copies ÷ that with a fair share of the links.
    FairShare,
    /// How much later than without hosts that lie, the most of p50, p99 and p99.9.
    LaterThanHonest,
    /// How often one that sent enough wrong pieces to a host was banned by it, as a share.
    LiarsBanned,
    /// Times of a group ÷ those of a swarm where all run what it runs, the most of p50, p99 and
    /// p99.9.
    NoWorseAlone(String),
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// This, give or take a share of it.
    Within {
        /// This…
        of: f64,
        /// …give or take so much of it.
        share: f64,
    },
}

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

    /// The target for a figure, if there is one.
    pub fn target(&self, measure: &Measure) -> Option<&Target> {
        self.list.iter().find(|target| target.measure == *measure)
    }
}

impl Target {
    /// What the figure is to be.
    pub fn text(&self) -> String {
        match self.limit {
            Limit::AtMost(most) => format!("≤ {}", self.measure.show_limit(most)),
            Limit::AtLeast(least) => format!("≥ {}", self.measure.show_limit(least)),
            Limit::Within { of, share } => {
                format!("{} ± {:.0} %", self.measure.show_limit(of), share * 100.0)
            }
        }
    }

    fn outcome(&self, all: &Targets, file: &ScenarioFile, runs: &Runs) -> Outcome {
        let value = runs.report(Variant::AsWritten).and_then(|report| {
            let times = all.times(report);
            match &self.measure {
                Measure::P50 => some(times, times.p50),
                Measure::P99 => some(times, times.p99),
                Measure::P999 => some(times, times.p999),
                Measure::Max => some(times, times.max),
                Measure::FirstPieceP50 => first_piece(all, report),
                Measure::CopiesCrossing => Some(copies_crossing(&file.scenario, report)),
                Measure::FairShare => fair_shares(file, report).map(|shares| shares.worst_blob),
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

impl Measure {
    /// What it is called in tables.
    pub fn title(&self) -> String {
        match self {
            Self::P50 => "p50".to_owned(),
            Self::P99 => "p99".to_owned(),
            Self::P999 => "p99.9".to_owned(),
            Self::Max => "max".to_owned(),
            Self::FirstPieceP50 => "first piece p50, s".to_owned(),
            Self::CopiesCrossing => "copies crossing".to_owned(),
            Self::FairShare => "slowest blob ÷ fair share".to_owned(),
            Self::LaterThanHonest => "later than without lies".to_owned(),
            Self::LiarsBanned => "liars banned".to_owned(),
            Self::NoWorseAlone(group) => format!("{group} ÷ alone"),
        }
    }

    /// A value as text.
    pub fn show(&self, value: f64) -> String {
        match self {
            Self::LaterThanHonest => format!("{:.1} %", value * 100.0),
            // Not rounded up: nearly all are not all.
            Self::LiarsBanned => format!("{:.1} %", (value * 1000.0).floor() / 10.0),
            _ => format!("{value:.3}"),
        }
    }

    /// What it is to be as text, without digits that say nothing.
    pub(crate) fn show_limit(&self, value: f64) -> String {
        let (value, least, unit) = match self {
            Self::LaterThanHonest | Self::LiarsBanned => (value * 100.0, 1, " %"),
            _ => (value, 2, ""),
        };
        // Not rounded: what it is compared with would read as if it were reached.
        let is_exact = |text: &String| {
            text.parse::<f64>().is_ok_and(|shown| (shown / value - 1.0).abs() < 1e-12)
        };
        let fixed = |digits: usize| format!("{value:.digits$}");
        let text = (least..=6).map(fixed).find(|text| value < 1e6 && is_exact(text));
        let text = text.unwrap_or_else(|| format!("{value:e}"));
        format!("{text}{unit}")
    }

    /// Whether it is one of the figures that every scenario has.
    pub fn is_time(&self) -> bool {
        matches!(self, Self::P50 | Self::P99 | Self::P999)
    }
}

impl Limit {
    /// Whether a value is as it is to be.
    pub fn holds(self, value: f64) -> bool {
        // As many digits as tables show: a figure that reads as its target meets it.
        let rounded = (value * 1e3).round() / 1e3;
        match self {
            Self::AtMost(most) => rounded <= most,
            // Nearly all are not all.
            Self::AtLeast(least) => value >= least,
            Self::Within { of, share } => (rounded - of).abs() <= of * share + 1e-9,
        }
    }
}

/// The fair shares of a run's copies, if a target is about them.
pub(crate) fn fair_shares(file: &ScenarioFile, report: &Report) -> Option<FairShares> {
    fair::shares(&file.scenario, report)
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
            let all = report.hosts.iter().flat_map(|host| &host.blobs);
            Figures::of(all.filter_map(|copy| copy.first_piece_secs).collect())
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
    fn limits_are_shown_as_they_are_compared() {
        let time = |limit| Measure::P50.show_limit(limit);
        assert_eq!([time(1.1), time(1.03), time(1.0304)], ["1.10", "1.03", "1.0304"]);
        assert_eq!([time(0.0004), time(1e300)], ["0.0004", "1e300"]);
        let share = |limit| Measure::LaterThanHonest.show_limit(limit);
        assert_eq!([share(0.01), share(0.0125), share(0.07)], ["1.0 %", "1.25 %", "7.0 %"]);
    }
}
