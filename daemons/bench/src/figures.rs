//! What the runs of a report come to: each figure of each run, and its median and range.

use std::time::Duration;

use crate::result::{Pull, Report, Run, SystemRuns};
use crate::scenario::{Rate, Scenario, Start, Storage};

/// One figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// What it is called in JSON, such as `cpu_per_gb.agent`.
    pub(crate) key: String,
    /// What it is called in a table.
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

/// How a figure is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    /// A factor or a count of copies.
    Times,
    /// CPU seconds for 10^9 bytes.
    SecondsPerGb,
    /// Bytes, shown in MiB.
    Bytes,
    /// Bytes a second, shown in GB.
    BytesPerSecond,
}

/// A figure over all runs of a system.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    #[serde(skip)]
    pub(crate) label: String,
    #[serde(skip)]
    pub(crate) unit: Unit,
    pub(crate) key: String,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Unit {
    /// The figure as a table has it; its label names the unit.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1.0 => format!("{value:.3}"),
            Self::Bytes => format!("{:.0}", value / MIB),
            Self::BytesPerSecond => format!("{:.2}", value / GB),
            Self::Seconds | Self::Times | Self::SecondsPerGb => format!("{value:.2}"),
        }
    }
}

/// The least time in which links that carry what was measured bring the blob to an agent: through
/// the agent's own, and once out of the origins. `None` without caps.
pub(crate) fn link_time(report: &Report) -> Option<Duration> {
    let origins = report.origin_goodput.map(|one| one * report.scenario.origins as f64);
    let slowest = [report.agent_goodput, origins].into_iter().flatten().min_by(f64::total_cmp)?;
    let seconds = report.scenario.blob_len as f64 / slowest;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Every figure of a run, in the order of the table.
pub(crate) fn of_run(report: &Report, run: &Run) -> Vec<Figure> {
    let mut figures = times(report, run);
    figures.extend(bytes(&report.scenario, run));
    figures.extend(costs(&report.scenario, run));
    figures
}

/// Every figure of a system's runs, in the order of the table.
pub(crate) fn of_system(report: &Report, system: &SystemRuns) -> Vec<Spread> {
    let runs: Vec<_> = system.runs.iter().map(|run| of_run(report, run)).collect();
    let mut keys: Vec<&Figure> = Vec::new();
    for figure in runs.iter().flatten() {
        if !keys.iter().any(|known| known.key == figure.key) {
            keys.push(figure);
        }
    }
    let spread = |one: &Figure| {
        let same = runs.iter().flatten().filter(|figure| figure.key == one.key);
        let mut values: Vec<f64> = same.map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        Spread {
            label: one.label.clone(),
            unit: one.unit,
            key: one.key.clone(),
            median: median(&values),
            least: values.first().copied().unwrap_or_default(),
            most: values.last().copied().unwrap_or_default(),
        }
    };
    keys.into_iter().map(spread).collect()
}

/// The run whose slowest agent is the median's, for a plot of one run.
pub(crate) fn typical(system: &SystemRuns) -> Option<&Run> {
    let mut runs: Vec<&Run> = system.runs.iter().collect();
    runs.sort_by_key(|run| counted(run).map(|pull| pull.last_byte).max());
    runs.get(runs.len().saturating_sub(1) / 2).copied()
}

/// The pulls that count.
pub(crate) fn counted(run: &Run) -> impl Iterator<Item = &Pull> {
    run.agents.iter().filter(|pull| pull.counted)
}

/// The middle of sorted values, or the mean of the two that are; 0 of none.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 1) => *upper,
        (Some(upper), _) => f64::midpoint(*upper, sorted[sorted.len() / 2 - 1]),
    }
}

fn times(report: &Report, run: &Run) -> Vec<Figure> {
    let sorted = |time: fn(&Pull) -> Duration| {
        let mut times: Vec<f64> = counted(run).map(|pull| time(pull).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let (first, last) = (sorted(|pull| pull.first_byte), sorted(|pull| pull.last_byte));
    let seconds = |key: &str, label: &str, value| figure(key, label, value, Unit::Seconds);
    let bound = link_time(report).map(|time| time.as_secs_f64());
    let mut figures = vec![
        seconds("wall_p50", "an agent's time, p50, s", rank(&last, 0.5)),
        seconds("wall_p99", "an agent's time, p99, s", rank(&last, 0.99)),
        seconds("wall_max", "an agent's time, max, s", rank(&last, 1.0)),
    ];
    let over = |key: &str, label: &str, time| {
        bound.map(|bound| figure(key, label, time / bound, Unit::Times))
    };
    figures.extend(over("p50_over_link", "p50 ÷ link time", rank(&last, 0.5)));
    figures.extend(over("max_over_link", "max ÷ link time", rank(&last, 1.0)));
    if let (Start::LastIsLate, Some(late)) = (report.scenario.start, run.agents.last()) {
        let first = late.first_byte.as_secs_f64();
        figures.push(seconds("late_first", "the late agent's first byte, s", first));
        let late = late.last_byte.as_secs_f64();
        figures.push(seconds("late", "the late agent's time, s", late));
        figures.extend(over("late_over_link", "the late agent's ÷ link time", late));
    }
    if let Some(Storage { rate: Some(Rate(rate)), .. }) = report.scenario.cold {
        let storage = report.scenario.blob_len as f64 / rate as f64;
        let later = rank(&last, 1.0) - storage;
        figures.push(seconds("after_storage", "slowest agent after the storage, s", later));
        let over = rank(&last, 1.0) / storage;
        figures.push(figure("max_over_storage", "max ÷ the storage's time", over, Unit::Times));
    }
    figures.push(seconds("first_byte_p50", "first byte, p50, s", rank(&first, 0.5)));
    figures.push(seconds("first_byte_max", "first byte, max, s", rank(&first, 1.0)));
    let mut here: Vec<f64> = counted(run)
        .filter_map(|pull| pull.first_byte_here)
        .map(|time| time.as_secs_f64())
        .collect();
    here.sort_by(f64::total_cmp);
    if !here.is_empty() {
        let label = "first byte of a blob that is here, p50, s";
        figures.push(seconds("first_byte_here_p50", label, rank(&here, 0.5)));
    }
    let mut ranges: Vec<f64> = run.ranges.iter().map(Duration::as_secs_f64).collect();
    ranges.sort_by(f64::total_cmp);
    if !ranges.is_empty() {
        figures.push(seconds("range_p50", "a range, p50, s", rank(&ranges, 0.5)));
        figures.push(seconds("range_p99", "a range, p99, s", rank(&ranges, 0.99)));
        figures.push(seconds("range_max", "a range, max, s", rank(&ranges, 1.0)));
    }
    let rate = delivered(run) as f64 / run.wall.as_secs_f64().max(f64::MIN_POSITIVE);
    figures.push(figure("delivered", "delivered in all, GB/s", rate, Unit::BytesPerSecond));
    figures
}

fn bytes(scenario: &Scenario, run: &Run) -> Vec<Figure> {
    let copies = |key: &str, label: &str, sent: &[u64]| {
        let copies = sent.iter().sum::<u64>() as f64 / scenario.blob_len as f64;
        (!sent.is_empty()).then(|| figure(key, label, copies, Unit::Times))
    };
    let origins = copies("origin_copies", "copies that origins sent", &run.origin_sent);
    let agents = copies("agent_copies", "copies that agents sent", &run.agent_sent);
    let storage: Vec<u64> = run.storage_sent.into_iter().collect();
    let storage = copies("storage_copies", "copies that the storage sent", &storage);
    storage.into_iter().chain(origins).chain(agents).collect()
}

fn costs(scenario: &Scenario, run: &Run) -> Vec<Figure> {
    let gigabytes = (delivered(run).max(scenario.blob_len / 1000) as f64 / GB).max(f64::EPSILON);
    let cost = |key: &str, label: &str, seconds: f64| {
        figure(key, label, seconds / gigabytes, Unit::SecondsPerGb)
    };
    let mut figures = Vec::new();
    for (role, seconds) in &run.cpu {
        let label = format!("CPU-s/GB, {}", named(role));
        figures.push(cost(&format!("cpu_per_gb.{role}"), &label, *seconds));
    }
    if !run.cpu.is_empty() {
        let system = run.cpu.iter().filter(|(role, _)| *role != CLIENT).map(|(_, seconds)| seconds);
        figures.push(cost("cpu_per_gb", "CPU-s/GB, all but the clients", system.sum()));
    }
    figures.push(cost("machine_per_gb", "CPU-s/GB, the whole machine", run.machine_cpu));
    for (role, bytes) in &run.anonymous_max {
        let label = format!("memory, {}, MiB", named(role));
        figures.push(figure(&format!("memory.{role}"), &label, *bytes as f64, Unit::Bytes));
    }
    figures
}

/// Bytes that came to the agents that got all.
fn delivered(run: &Run) -> u64 {
    run.agents.iter().filter_map(|pull| pull.curve.last()).map(|(_, bytes)| bytes).sum()
}

fn named(role: &str) -> &str {
    if role == CLIENT { "the benchmark's clients" } else { role }
}

/// The value that such a part of the sorted ones does not exceed.
fn rank(sorted: &[f64], part: f64) -> f64 {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

fn figure(key: &str, label: &str, value: f64, unit: Unit) -> Figure {
    Figure { key: key.to_owned(), label: label.to_owned(), value, unit }
}

const CLIENT: &str = "client";
const MIB: f64 = (1 << 20) as f64;
const GB: f64 = 1e9;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::result::Machine;
    use crate::scenarios;

    /// A report of two systems, two runs each, the second of each 10 % slower.
    pub(crate) fn made_up() -> Report {
        let mut scenario = scenarios::named("S2").unwrap();
        scenario.agents = 4;
        let run =
            |slowest: f64, copies: u64, cpu: f64| made_up_run(&scenario, slowest, copies, cpu);
        let system = |name: &str, runs| SystemRuns { name: name.to_owned(), runs };
        Report {
            machine: Machine {
                cpus: 2,
                cpu_model: "a model".to_owned(),
                kernel: "6.1".to_owned(),
                namespaces: true,
                congestion: "cubic".to_owned(),
            },
            agent_goodput: Some(40e6),
            origin_goodput: Some(40e6),
            systems: vec![
                system("kraken", vec![run(15.0, 1, 2.0), run(16.5, 1, 2.2)]),
                system("other <&>", vec![run(60.0, 4, 8.0), run(66.0, 4, 8.8)]),
            ],
            scenario,
        }
    }

    fn made_up_run(scenario: &Scenario, slowest: f64, copies: u64, cpu: f64) -> Run {
        let len = scenario.blob_len;
        let pull = |at: usize| {
            let last_byte = Duration::from_secs_f64(slowest * (0.7 + 0.1 * at as f64));
            let first_byte = Duration::from_millis(50 + 10 * at as u64);
            let point = |part: u32| {
                let bent = (f64::from(part) / 50.0).powf(1.0 + 0.4 * at as f64);
                (first_byte + (last_byte - first_byte) * part / 50, (bent * len as f64) as u64)
            };
            let curve = (1..=50).map(point).collect();
            Pull {
                start: Duration::ZERO,
                first_byte,
                first_byte_here: None,
                last_byte,
                curve,
                counted: at != 2,
                finished: true,
            }
        };
        Run {
            agents: (0..4).map(pull).collect(),
            wall: Duration::from_secs_f64(slowest),
            ranges: Vec::new(),
            storage_sent: None,
            origin_sent: vec![copies * len],
            agent_sent: (0..4).map(|at| len * (4 - copies) / 4 + at * len / 20).collect(),
            cpu: [("agent", cpu), ("client", 0.5), ("origin", 0.5)]
                .map(|(r, s)| (r.to_owned(), s))
                .into(),
            machine_cpu: cpu + 2.0,
            anonymous_max: [("agent".to_owned(), 50 << 20)].into(),
        }
    }

    fn value(figures: &[Figure], key: &str) -> f64 {
        figures.iter().find(|figure| figure.key == key).unwrap_or_else(|| panic!("no {key}")).value
    }

    #[test]
    fn a_run_comes_to_its_figures() {
        let report = made_up();
        let figures = of_run(&report, &report.systems[0].runs[0]);
        let near = |key: &str, expected: f64| {
            let found = value(&figures, key);
            assert!((found - expected).abs() < 1e-6, "{key}: {found}, not {expected}");
        };
        // The third agent does not count: 0.7, 0.8 and 1.0 of 15 seconds.
        near("wall_p50", 12.0);
        near("wall_p99", 15.0);
        near("wall_max", 15.0);
        near("max_over_link", 15.0 * 40e6 / f64::from(512 << 20));
        near("first_byte_p50", 0.06);
        near("origin_copies", 1.0);
        near("agent_copies", 3.3);
        let gigabytes = 4.0 * f64::from(512 << 20) / 1e9;
        near("delivered", gigabytes * 1e9 / 15.0);
        near("cpu_per_gb.agent", 2.0 / gigabytes);
        near("cpu_per_gb", 2.5 / gigabytes);
        near("machine_per_gb", 4.0 / gigabytes);
        near("memory.agent", f64::from(50 << 20));
        assert!(!figures.iter().any(|figure| figure.key.starts_with("late")));
    }

    #[test]
    fn the_link_time_is_that_of_the_narrowest() {
        let mut report = made_up();
        let mut seconds = |agent, origin, origins| {
            (report.agent_goodput, report.origin_goodput) = (agent, origin);
            report.scenario.origins = origins;
            // In tenths of what one megabyte a second takes.
            link_time(&report).map(|time| (time.as_secs_f64() * 1e7 / f64::from(1 << 29)).round())
        };
        assert_eq!(seconds(Some(2e6), Some(1e6), 1), Some(10.0));
        assert_eq!(seconds(Some(2e6), Some(1e6), 4), Some(5.0));
        assert_eq!(seconds(None, Some(1e6), 1), Some(10.0));
        assert_eq!(seconds(None, None, 1), None);
    }

    #[test]
    fn the_late_agent_has_figures_of_its_own() {
        let mut report = made_up();
        report.scenario.start = Start::LastIsLate;
        let figures = of_run(&report, &report.systems[0].runs[0]);
        assert!((value(&figures, "late") - 15.0).abs() < 1e-9);
        assert!(value(&figures, "late_over_link") > 1.0);
        assert!(value(&figures, "late_first") < 15.0);
    }

    #[test]
    fn without_caps_or_counters_there_is_nothing_to_divide_by() {
        let mut report = made_up();
        (report.agent_goodput, report.origin_goodput) = (None, None);
        let run = &mut report.systems[0].runs[0];
        (run.origin_sent, run.agent_sent) = (Vec::new(), Vec::new());
        run.cpu.clear();
        run.agents.clear();
        run.wall = Duration::ZERO;
        let figures = of_run(&report, &report.systems[0].runs[0]);
        let gone =
            |figure: &Figure| figure.key.contains("over_link") || figure.key.contains("copies");
        assert!(!figures.iter().any(gone));
        assert!(figures.iter().all(|figure| figure.value.is_finite()), "{figures:?}");
    }

    #[test]
    fn medians_and_ranges() {
        let report = made_up();
        let spreads = of_system(&report, &report.systems[0]);
        let max = spreads.iter().find(|spread| spread.key == "wall_max").unwrap();
        assert!((max.median - 15.75).abs() < 1e-9);
        assert!((max.least - 15.0).abs() < 1e-9 && (max.most - 16.5).abs() < 1e-9);
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
        let typical = typical(&report.systems[1]).unwrap();
        assert_eq!(typical.wall, Duration::from_secs(60));
    }

    #[test]
    fn a_rank_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (part, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            assert!((rank(&values, part) - expected).abs() < 1e-9);
        }
        assert!(rank(&[], 0.5).abs() < 1e-9);
    }
}
