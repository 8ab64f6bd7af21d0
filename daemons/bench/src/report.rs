//! A report on the terminal, and as JSON.

use std::fmt::Write as _;

use kraken_core::{Error, ErrorKind, Result};

use crate::figures::{self, Figure, Spread};
use crate::result::{Machine, Report, Run};
use crate::scenarios;

/// The report as JSON: every run as it was measured, and what they come to.
pub(crate) fn json(report: &Report) -> Result<Vec<u8>> {
    let summary = report
        .systems
        .iter()
        .map(|one| Summary { system: &one.name, figures: figures::of_system(report, one) })
        .collect();
    let link_time = figures::link_time(report).map(|time| time.as_secs_f64());
    let document = Document { report, link_time, summary };
    pretty(&document)
}

/// Anything as JSON for people and programs.
pub fn pretty(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(document).map_err(|error| {
        Error::new(ErrorKind::Internal, "write the report as JSON").with_source(error)
    })?;
    text.push(b'\n');
    Ok(text)
}

#[derive(serde::Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// In seconds: what times are divided by.
    link_time: Option<f64>,
    summary: Vec<Summary<'a>>,
}

#[derive(serde::Serialize)]
struct Summary<'a> {
    system: &'a str,
    figures: Vec<Spread>,
}

/// What is run, on what.
pub(crate) fn heading(report: &Report) -> String {
    let Report { scenario, machine, .. } = report;
    let mut text = format!("{}: {}\n", scenario.name, scenarios::set_up(scenario));
    let _ = writeln!(text, "{}", scenario.about);
    let _ = writeln!(text, "{}", of_machine(machine));
    text
}

/// What plain TCP flows were measured at, and what times are divided by.
pub(crate) fn links(report: &Report) -> Option<String> {
    let time = figures::link_time(report)?.as_secs_f64();
    let flow = |goodput: f64| format!("{:.1} MiB/s", goodput / MIB);
    let flows = match (report.agent_goodput, report.origin_goodput) {
        (Some(agent), Some(origin)) => {
            format!("{} through an agent's link, {} through an origin's", flow(agent), flow(origin))
        }
        (Some(agent), None) => format!("{} through an agent's link", flow(agent)),
        (None, Some(origin)) => format!("{} through an origin's link", flow(origin)),
        (None, None) => return None,
    };
    Some(format!("one plain TCP flow: {flows}; link time of the blob {time:.2} s"))
}

/// The names above [`row`]s.
pub(crate) fn row_heading(report: &Report) -> String {
    let mut line = format!("{:<width$} {:>3}", "system", "run", width = name_width(report));
    for (_, title, width) in COLUMNS {
        let _ = write!(line, "  {title:>width$}");
    }
    line
}

/// One run as a line.
pub(crate) fn row(report: &Report, system: &str, number: usize, run: &Run) -> String {
    let figures = figures::of_run(report, run);
    let mut line = format!("{system:<width$} {number:>3}", width = name_width(report));
    for (key, _, width) in COLUMNS {
        let found = figures.iter().find(|figure| figure.key == key);
        let value =
            found.map_or_else(|| "-".to_owned(), |Figure { value, unit, .. }| unit.show(*value));
        let _ = write!(line, "  {value:>width$}");
    }
    line
}

/// The whole table: a line for each figure, a column for each system.
pub(crate) fn table(report: &Report) -> String {
    let systems: Vec<_> = report
        .systems
        .iter()
        .filter(|system| !system.runs.is_empty())
        .map(|system| (system, figures::of_system(report, system)))
        .collect();
    let mut lines = vec![(String::new(), Vec::new())];
    for (system, _) in &systems {
        lines[0].1.push(match system.runs.len() {
            1 => format!("{}, 1 run", system.name),
            runs => format!("{}, {runs} runs", system.name),
        });
    }
    for (key, label) in all_labels(systems.iter().map(|(_, spreads)| spreads)) {
        let cell = |spreads: &[Spread]| {
            let found = spreads.iter().find(|spread| spread.key == key);
            found.map_or_else(|| "-".to_owned(), spread_text)
        };
        lines.push((label, systems.iter().map(|(_, spreads)| cell(spreads)).collect()));
    }
    aligned(&lines)
}

/// The figures of all systems, each once, in the order of the first that has it and what follows.
fn all_labels<'a>(systems: impl Iterator<Item = &'a Vec<Spread>>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for spreads in systems {
        let mut at = 0;
        for spread in spreads {
            match found.iter().position(|(key, _)| *key == spread.key) {
                Some(known) => at = known + 1,
                None => {
                    found.insert(at, (spread.key.clone(), spread.label.clone()));
                    at += 1;
                }
            }
        }
    }
    found
}

/// `1.16`, or with several runs `1.16 (1.14-1.19)`.
fn spread_text(spread: &Spread) -> String {
    let [median, least, most] =
        [spread.median, spread.least, spread.most].map(|v| spread.unit.show(v));
    if least == most { median } else { format!("{median} ({least}-{most})") }
}

/// Lines of a name and cells each, as columns.
pub fn aligned(lines: &[(String, Vec<String>)]) -> String {
    let chars = |text: &String| text.chars().count();
    let label_width = lines.iter().map(|(label, _)| chars(label)).max().unwrap_or(0);
    let columns = lines.first().map_or(0, |(_, cells)| cells.len());
    let width = |column: usize| {
        lines.iter().filter_map(|(_, cells)| cells.get(column)).map(chars).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (label, cells) in lines {
        let mut line = format!("{label:label_width$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "  {cell:<width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn of_machine(machine: &Machine) -> String {
    let Machine { cpus, cpu_model, kernel, namespaces, congestion } = machine;
    let hosts = match namespaces {
        true => format!("a network namespace for each host, TCP {congestion}"),
        false => "all hosts on loopback, without links of their own".to_owned(),
    };
    format!("{cpus} processors ({cpu_model}), Linux {kernel}; {hosts}")
}

fn name_width(report: &Report) -> usize {
    let names = report.systems.iter().map(|system| system.name.chars().count());
    names.max().unwrap_or(0).max("system".len())
}

/// Of a run's line: the figure, its title, its width.
const COLUMNS: [(&str, &str, usize); 9] = [
    ("wall_p50", "p50 s", 7),
    ("wall_p99", "p99 s", 7),
    ("wall_max", "max s", 7),
    ("max_over_link", "÷ link", 6),
    ("first_byte_p50", "first s", 7),
    ("origin_copies", "copies", 6),
    ("cpu_per_gb", "CPU-s/GB", 8),
    ("machine_per_gb", "machine", 7),
    ("memory.agent", "agent MiB", 9),
];

const MIB: f64 = (1 << 20) as f64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::made_up;

    #[test]
    fn the_table_has_a_column_a_system_and_medians_with_ranges() {
        let table = table(&made_up());
        let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(table.lines().next().unwrap().contains("kraken, 2 runs"), "{table}");
        let max = line("an agent's time, max, s");
        assert!(
            max.contains("15.75 (15.00-16.50)") && max.contains("63.00 (60.00-66.00)"),
            "{table}"
        );
        assert!(line("copies that origins sent").ends_with("4.00"), "{table}");
        assert!(line("CPU-s/GB, agent").contains("0.98 (0.93-1.02)"), "{table}");
        assert!(line("memory, agent, MiB").contains("50"), "{table}");
    }

    #[test]
    fn a_system_without_runs_has_no_column() {
        let mut report = made_up();
        report.systems[1].runs.clear();
        assert!(!table(&report).contains("other"));
        report.systems[0].runs.clear();
        assert_eq!(table(&report).trim(), "");
    }

    #[test]
    fn a_figure_that_only_one_system_has_is_a_line_with_a_gap() {
        let mut report = made_up();
        for run in &mut report.systems[1].runs {
            run.cpu.insert("build-index".to_owned(), 1.0);
        }
        let table = table(&report);
        let at = |start: &str| table.lines().position(|line| line.starts_with(start)).unwrap();
        assert!(at("CPU-s/GB, build-index") > at("CPU-s/GB, agent"));
        assert!(at("CPU-s/GB, build-index") < at("CPU-s/GB, origin"));
        assert!(
            table.lines().nth(at("CPU-s/GB, build-index")).unwrap().contains(" -  "),
            "{table}"
        );
    }

    #[test]
    fn a_run_is_a_line_below_its_heading() {
        let report = made_up();
        let line = row(&report, "kraken", 1, &report.systems[0].runs[0]);
        let heading = row_heading(&report);
        assert_eq!(line.chars().count(), heading.chars().count());
        assert!(line.starts_with("kraken      1    12.00    15.00    15.00    1.12"), "{line}");
        assert!(links(&report).unwrap().contains("link time of the blob 13.42 s"));
    }

    #[test]
    fn json_has_the_runs_in_seconds_and_their_summary() {
        let json: serde_json::Value = serde_json::from_slice(&json(&made_up()).unwrap()).unwrap();
        assert_eq!(json["scenario"]["name"], "S2");
        assert_eq!(json["systems"][0]["runs"][1]["wall"], 16.5);
        assert_eq!(json["systems"][0]["runs"][0]["agents"][0]["first_byte"], 0.05);
        let curve = &json["systems"][0]["runs"][0]["agents"][0]["curve"];
        assert_eq!(curve[49], serde_json::json!([10.5, 512 << 20]));
        let figures = json["summary"][1]["figures"].as_array().unwrap();
        let max = figures.iter().find(|figure| figure["key"] == "wall_max").unwrap();
        assert_eq!(max["median"], 63.0);
        assert!(json["link_time"].as_f64().unwrap() > 13.0);
    }
}
