//! A row of the table: a scenario, its runs, and what they came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kraken_p2p::sim::{Figures, Report};

use crate::file::{Column, ScenarioFile};
use crate::outcome::Outcome;
use crate::policy::PolicyName;
use crate::table;
use crate::targets::{Limit, Measure, Target};
use crate::variants::{Run, Runs, Variant};

/// A scenario and the runs that its row takes.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) file: ScenarioFile,
    /// The first seed's runs, then those with the other seeds.
    pub(super) runs: Vec<(Variant, u64)>,
}

/// The runs of a row, sorted.
#[derive(Debug, Default)]
struct Sorted {
    /// The first seed's.
    first: Runs,
    /// Whether those that were done again were the same, each of them.
    same: Vec<bool>,
    /// Those of each other seed.
    others: BTreeMap<u64, Runs>,
}

/// A row as it is printed.
#[derive(Debug, serde::Serialize)]
pub(super) struct RowDone {
    /// The scenario's name.
    pub(super) name: String,
    about: String,
    /// Whether all of ours finished, with every promise kept, and the same with the same seed.
    pub(super) ok: bool,
    times: Figures,
    outcomes: Vec<Outcome>,
    uber_kraken: String,
    /// Whether the same seed gave the same figures again.
    again: Option<bool>,
    /// The most that p50, p99, p99.9 or the slowest differed with another seed, as a share.
    seeds_differ: Option<f64>,
    /// Targets that are met with the first seed and not with another one.
    missed_with_others: Vec<String>,
    targets: String,
    troubles: String,
    notes: Option<String>,
}

impl Row {
    pub(super) fn new(file: ScenarioFile, seeds: &[u64]) -> Self {
        let (first, others) = seeds.split_first().unwrap_or((&1, &[]));
        let mut needed = vec![Variant::AsWritten];
        needed.extend(file.targets.needs(&file));
        let mut variants = needed.clone();
        if file.column == Column::Run && !variants.contains(&UPSTREAM) {
            variants.push(UPSTREAM);
        }
        let mut runs: Vec<_> = variants.iter().map(|variant| (*variant, *first)).collect();
        let others = if file.hosts() <= SEEDS_HOSTS_MAX { others } else { &[] };
        for seed in others {
            let these = if seed == first { &variants } else { &needed };
            runs.extend(these.iter().map(|variant| (*variant, *seed)));
        }
        Self { file, runs }
    }

    pub(super) fn runs_count(&self) -> usize {
        self.runs.len()
    }

    /// The row, once each of its runs is done, in their order.
    pub(super) fn done(&self, runs: Vec<Run>) -> RowDone {
        let Sorted { first, same, others } = self.sort(runs);
        let file = &self.file;
        let main = first.report(Variant::AsWritten);
        let main = main.expect("the scenario itself is the first of its runs");
        let mut outcomes = file.targets.outcomes(file, &first);
        let mut differ: Option<f64> = None;
        let mut missed = Vec::new();
        let mut theirs: Vec<Vec<Outcome>> = vec![Vec::new(); outcomes.len()];
        for (seed, runs) in &others {
            let times = runs.report(Variant::AsWritten).map(|report| file.targets.times(report));
            let share = difference(file.targets.times(main), times.unwrap_or_default());
            differ = Some(differ.unwrap_or(0.0).max(share));
            for (at, their) in file.targets.outcomes(file, runs).into_iter().enumerate() {
                if outcomes[at].met && !their.met {
                    missed.push(format!("{} with seed {seed}", their.what));
                }
                theirs[at].push(their);
            }
        }
        for ((outcome, target), theirs) in outcomes.iter_mut().zip(&file.targets.list).zip(&theirs)
        {
            outcome.show_others(&target.measure, theirs);
        }
        let ours = std::iter::once(&first).chain(others.values()).flat_map(|runs| {
            [Variant::AsWritten, Variant::Honest].into_iter().filter_map(|it| runs.report(it))
        });
        let failed: Vec<&Report> = ours.filter(|report| !report.is_ok()).collect();
        let troubles = failed.iter().map(|report| {
            let Report { seed, ending, .. } = report;
            format!("with seed {seed}, {ending}:\n{}", table::troubles(report))
        });
        let again = (!same.is_empty()).then(|| same.iter().all(|same| *same));
        RowDone {
            name: file.scenario.name.clone(),
            about: file.about.clone(),
            ok: failed.is_empty() && again != Some(false),
            times: file.targets.times(main),
            outcomes,
            uber_kraken: upstream(file, &first),
            again,
            seeds_differ: differ,
            missed_with_others: missed,
            targets: target_text(file),
            troubles: troubles.collect(),
            notes: file.notes.clone(),
        }
    }

    fn sort(&self, done: Vec<Run>) -> Sorted {
        let mut sorted = Sorted::default();
        let first = self.runs.first().map(|(_, seed)| *seed);
        for ((variant, seed), run) in self.runs.iter().zip(done) {
            let runs = match Some(*seed) == first {
                true => &mut sorted.first,
                false => sorted.others.entry(*seed).or_default(),
            };
            match runs.run(*variant) {
                Some(before) => sorted.same.push(*before == run),
                None => runs.insert(*variant, run),
            }
        }
        sorted
    }
}

impl RowDone {
    pub(super) fn is_met(&self) -> bool {
        self.ok
            && self.outcomes.iter().all(|outcome| outcome.met)
            && self.missed_with_others.is_empty()
            && self.seeds_agree()
    }

    fn seeds_agree(&self) -> bool {
        self.seeds_differ.is_none_or(|share| share <= SEEDS_DIFFER_MAX)
    }

    /// As a line of the table.
    pub(super) fn line(&self) -> String {
        let mut ours = table::three(self.times);
        for outcome in self.outcomes.iter().filter(|outcome| !is_time(&outcome.what)) {
            let _ = write!(ours, "; {} {}", outcome.what, outcome.shown);
        }
        let Self { name, about, targets, uber_kraken, .. } = self;
        let (met, seeds) = (self.met(), self.seeds());
        format!("| {name} | {about} | {targets} | {ours} | {met} | {uber_kraken} | {seeds} |\n")
    }

    fn met(&self) -> String {
        if !self.ok {
            return "**failed**".to_owned();
        }
        let unmet = self.outcomes.iter().filter(|outcome| !outcome.met);
        let mut unmet: Vec<&str> = unmet.map(|outcome| outcome.what.as_str()).collect();
        unmet.extend(self.missed_with_others.iter().map(String::as_str));
        if !self.seeds_agree() {
            unmet.push("seeds");
        }
        if unmet.is_empty() { "yes".to_owned() } else { format!("no: {}", unmet.join(", ")) }
    }

    fn seeds(&self) -> String {
        let again = self.again.map(|same| if same { "the same again" } else { "**differs**" });
        let differ = self.seeds_differ.map(|share| format!("others {:.1} %", share * 100.0));
        let differ =
            differ.map(|text| if self.seeds_agree() { text } else { format!("**{text}**") });
        match (again, differ) {
            (None, None) => "-".to_owned(),
            (Some(again), None) => again.to_owned(),
            (None, Some(differ)) => differ,
            (Some(again), Some(differ)) => format!("{again}, {differ}"),
        }
    }
}

/// What is to be said of rows that failed, or whose targets are not met.
pub(super) fn remarks(rows: &[RowDone]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.is_met()) {
        if let Some(notes) = &row.notes {
            let _ = write!(text, "\n- **{}**: {}", row.name, notes.replace('\n', " "));
        }
        if !row.troubles.is_empty() {
            let _ = write!(text, "\n- **{}** failed:\n\n```\n{}```", row.name, row.troubles);
        }
    }
    if text.is_empty() { text } else { format!("{text}\n") }
}

fn upstream(file: &ScenarioFile, runs: &Runs) -> String {
    match &file.column {
        Column::None => "-".to_owned(),
        Column::Kept(text) => format!("{text} (kept)"),
        Column::Run => runs.report(UPSTREAM).map_or_else(
            || "-".to_owned(),
            |report| {
                let times = table::of_hosts(file, report);
                match (report.is_ok(), report.starving_total) {
                    (true, _) => times,
                    (false, 0) => format!("{times} ({})", report.ending),
                    (false, lost) => format!("{times} ({}: {lost} downloads)", report.ending),
                }
            },
        ),
    }
}

/// `1.03 / 1.08 / 1.1`, and what else is asked for.
fn target_text(file: &ScenarioFile) -> String {
    let limits = [Measure::P50, Measure::P99, Measure::P999].map(|it| file.targets.target(&it));
    let text = |target: Option<&Target>| match target {
        None => "-".to_owned(),
        Some(Target { measure, limit: Limit::AtMost(most) }) => measure.show_limit(*most),
        Some(other) => other.text(),
    };
    let mut all = match limits {
        [None, None, None] => Vec::new(),
        limits => vec![limits.map(text).join(" / ")],
    };
    for target in file.targets.list.iter().filter(|target| !target.measure.is_time()) {
        all.push(format!("{} {}", target.measure.title(), target.text()));
    }
    if let Some(bound) = file.targets.bound {
        all.push(format!("bound of p99.9 {bound}"));
    }
    if all.is_empty() { "-".to_owned() } else { all.join("; ") }
}

fn is_time(what: &str) -> bool {
    [Measure::P50, Measure::P99, Measure::P999].iter().any(|measure| measure.title() == what)
}

/// The largest difference of the figures, as a share.
fn difference(these: Figures, those: Figures) -> f64 {
    let pairs = [
        (these.p50, those.p50),
        (these.p99, those.p99),
        (these.p999, those.p999),
        (these.max, those.max),
    ];
    pairs.into_iter().map(|(this, that)| (that / this - 1.0).abs()).fold(0.0, f64::max)
}

/// The table's first lines.
pub(super) const HEADING: &str = "\
| scenario | | target p50 / p99 / p99.9 | kraken | met | uber/kraken as shipped | seeds |
|---|---|---|---|---|---|---|
";

const UPSTREAM: Variant = Variant::All(PolicyName::UberKraken);

/// Times that differ by more with another seed say more of the seed than of the swarm.
const SEEDS_DIFFER_MAX: f64 = 0.05;

/// Larger scenarios are run with one seed.
const SEEDS_HOSTS_MAX: usize = 2600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_that_differ_much_are_marked_and_not_met() {
        let row = |differ| RowDone {
            name: "test".to_owned(),
            about: String::new(),
            ok: true,
            times: Figures::default(),
            outcomes: Vec::new(),
            uber_kraken: String::new(),
            again: Some(true),
            seeds_differ: differ,
            missed_with_others: Vec::new(),
            targets: String::new(),
            troubles: String::new(),
            notes: None,
        };
        for fine in [None, Some(0.0), Some(0.05)] {
            assert!(row(fine).is_met() && row(fine).met() == "yes", "{fine:?}");
        }
        let missed = vec!["p99.9 with seed 3".to_owned()];
        let missed = RowDone { missed_with_others: missed, ..row(Some(0.01)) };
        assert!(!missed.is_met() && missed.met() == "no: p99.9 with seed 3");
        let row = row(Some(0.073));
        assert!(!row.is_met() && row.met() == "no: seeds");
        assert_eq!(row.seeds(), "the same again, **others 7.3 %**");
    }
}
