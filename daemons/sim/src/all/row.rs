//! A row of the table: a scenario, its runs, and what they came to.

use std::fmt::Write as _;

use kraken_p2p::sim::{Figures, Report};

use crate::file::{Column, ScenarioFile};
use crate::policy::PolicyName;
use crate::table;
use crate::targets::{Limit, Measure, Outcome, Target};
use crate::variants::{Runs, Variant};

/// A scenario and the runs that its row takes.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) file: ScenarioFile,
    /// The first seed's runs, then the scenario as written with the other seeds.
    pub(super) runs: Vec<(Variant, u64)>,
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
    /// The most that p50, p99 or p99.9 differed with another seed, as a share.
    seeds_differ: Option<f64>,
    targets: String,
    troubles: String,
    notes: Option<String>,
}

impl Row {
    pub(super) fn new(file: ScenarioFile, seeds: &[u64]) -> Self {
        let (first, others) = seeds.split_first().unwrap_or((&1, &[]));
        let mut variants = vec![Variant::AsWritten];
        variants.extend(file.targets.needs(&file));
        if file.column == Column::Run && !variants.contains(&UPSTREAM) {
            variants.push(UPSTREAM);
        }
        let mut runs: Vec<_> = variants.into_iter().map(|variant| (variant, *first)).collect();
        if file.hosts() <= SEEDS_HOSTS_MAX {
            runs.extend(others.iter().map(|seed| (Variant::AsWritten, *seed)));
        }
        Self { file, runs }
    }

    pub(super) fn runs_count(&self) -> usize {
        self.runs.len()
    }

    /// The row, once there is a report of each of its runs, in their order.
    pub(super) fn done(&self, reports: Vec<Report>) -> RowDone {
        let mut runs = Runs::default();
        let mut others = Vec::new();
        for ((variant, _), report) in self.runs.iter().zip(reports) {
            if *variant == Variant::AsWritten && runs.report(*variant).is_some() {
                others.push(report);
            } else {
                runs.insert(*variant, report);
            }
        }
        let file = &self.file;
        let targets = &file.targets;
        let main = runs.report(Variant::AsWritten);
        let main = main.expect("the scenario itself is the first of its runs");
        let times = targets.times(main);
        let same: Vec<bool> =
            others.iter().filter(|it| it.seed == main.seed).map(|it| it == main).collect();
        let differ = others.iter().filter(|it| it.seed != main.seed);
        let differ = differ.map(|it| difference(times, targets.times(it)));
        let ours = [Some(main), runs.report(Variant::Honest)].into_iter().flatten();
        let failed: Vec<&Report> = ours.chain(&others).filter(|report| !report.is_ok()).collect();
        let troubles = failed.iter().map(|report| {
            let Report { seed, ending, .. } = report;
            format!("with seed {seed}, {ending}:\n{}", table::troubles(report))
        });
        let again = (!same.is_empty()).then(|| same.iter().all(|same| *same));
        RowDone {
            name: file.scenario.name.clone(),
            about: file.about.clone(),
            ok: failed.is_empty() && again != Some(false),
            times,
            outcomes: targets.outcomes(file, &runs),
            uber_kraken: upstream(file, &runs),
            again,
            seeds_differ: differ.reduce(f64::max),
            targets: target_text(file),
            troubles: troubles.collect(),
            notes: file.notes.clone(),
        }
    }
}

impl RowDone {
    pub(super) fn is_met(&self) -> bool {
        self.ok && self.outcomes.iter().all(|outcome| outcome.met) && self.seeds_agree()
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
                let times = table::three(file.targets.times(report));
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
        all.push(format!("bound {bound}"));
    }
    if all.is_empty() { "-".to_owned() } else { all.join("; ") }
}

fn is_time(what: &str) -> bool {
    [Measure::P50, Measure::P99, Measure::P999].iter().any(|measure| measure.title() == what)
}

/// The largest difference of the three figures, as a share.
fn difference(these: Figures, those: Figures) -> f64 {
    let pairs = [(these.p50, those.p50), (these.p99, those.p99), (these.p999, those.p999)];
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
            targets: String::new(),
            troubles: String::new(),
            notes: None,
        };
        for fine in [None, Some(0.0), Some(0.05)] {
            assert!(row(fine).is_met() && row(fine).met() == "yes", "{fine:?}");
        }
        let row = row(Some(0.073));
        assert!(!row.is_met() && row.met() == "no: seeds");
        assert_eq!(row.seeds(), "the same again, **others 7.3 %**");
    }
}
