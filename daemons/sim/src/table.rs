//! What came of runs, as text.

use std::fmt::Write as _;

use kraken_bench::report::aligned;
use kraken_p2p::sim::{Figures, Report, Starving};

use crate::file::ScenarioFile;
use crate::outcome::Outcome;
use crate::variants::Run;

/// What a run came to, name by name; runs of one scenario have the same names.
pub(crate) fn figures(file: &ScenarioFile, run: &Run) -> Vec<(String, String)> {
    let Run { report, fair } = run;
    let mut lines = Vec::new();
    let mut push = |name: &str, value: String| lines.push((name.to_owned(), value));
    let times = file.targets.times(report);
    let of = file.targets.of.as_ref().map_or(String::new(), |of| format!(" of {of}"));
    push(&format!("time ÷ link{of}: p50 / p99 / p99.9"), of_hosts(file, report));
    push("max, mean", format!("{:.3}, {:.3}", times.max, times.mean));
    let agents = report.groups.iter().filter(|group| group.times.hosts > 0);
    let agents: Vec<_> = agents.collect();
    for group in agents.iter().filter(|_| agents.len() > 1) {
        push(&format!("  {}, {} hosts", group.name, group.hosts), three(group.times));
    }
    for group in &agents {
        let first = group.first_piece_secs;
        let text = format!("{:.2} / {:.2} / {:.2}", first.p50, first.p99, first.p999);
        push(&format!("first piece of {}, s", group.name), text);
    }
    let copies: Vec<f64> = report.blobs.iter().map(|blob| blob.copies_from_origins).collect();
    push("copies from origins", of_blobs(&copies));
    for (zones, ways) in &report.zone_bytes {
        let [there, back] = ways.map(|bytes| bytes as f64 / 1e9);
        push(&format!("GB between zones {} and {}", zones.0, zones.1), {
            format!("{there:.2} there, {back:.2} back")
        });
    }
    if let Some(shares) = fair {
        push("download ÷ fair share: p50 / p99 / p99.9", three(shares.downloads));
        let text = format!("{:.3}, {}", shares.worst_blob, shares.worst_blob_name);
        push("slowest blob ÷ fair share", text);
        if let Some(worst) = shares.worst_blob_from_origins {
            push("  with fair shares of the origins' uplinks", format!("{worst:.3}"));
        }
    }
    let gb = |bytes: u64| format!("{:.2}", bytes as f64 / 1e9);
    push("GB from origins", gb(report.bytes_from_origins));
    push("GB from peers", gb(report.bytes_from_peers));
    push("GB in vain", gb(report.bytes_wasted));
    push("pieces twice, wrong", format!("{}, {}", report.pieces_in_vain, report.pieces_corrupt));
    push("announces, early", format!("{}, {}", report.announces, report.announces_early));
    push("bans", report.bans.to_string());
    push("virtual time, s", format!("{:.2}", report.ended_secs));
    push("events, millions", format!("{:.1}", report.events as f64 / 1e6));
    push("ended", report.ending.clone());
    lines
}

/// Columns of figures, each under its name.
pub(crate) fn side_by_side(columns: &[(String, Vec<(String, String)>)]) -> String {
    let heads = columns.iter().map(|(name, _)| name.clone()).collect();
    let mut lines = vec![(String::new(), heads)];
    let names = columns.first().map_or(&[][..], |(_, figures)| figures);
    for (at, (name, _)) in names.iter().enumerate() {
        let cells = columns.iter().map(|(_, figures)| {
            let same = figures.get(at).filter(|(other, _)| other == name);
            let found = same.or_else(|| figures.iter().find(|(other, _)| other == name));
            found.map_or_else(|| "-".to_owned(), |(_, value)| value.clone())
        });
        lines.push((name.clone(), cells.collect()));
    }
    aligned(&lines)
}

/// Targets and what they came to.
pub(crate) fn outcomes(file: &ScenarioFile, outcomes: &[Outcome]) -> String {
    if outcomes.is_empty() {
        return String::new();
    }
    let line = |outcome: &Outcome| {
        let Outcome { what, shown, target, .. } = outcome;
        let met = if outcome.met { "met" } else { "not met" };
        (format!("  {what}"), vec![target.clone(), shown.clone(), met.to_owned()])
    };
    let lines: Vec<_> = outcomes.iter().map(line).collect();
    let mut text = format!("targets\n{}", aligned(&lines));
    if let Some(bound) = file.targets.bound {
        let _ = writeln!(text, "  (no policy can have p99.9 below {bound})");
    }
    text
}

/// What went wrong: who lacks what, which promises were broken. In a run that was stopped nobody
/// has waited in vain yet.
pub(crate) fn troubles(report: &Report) -> String {
    let mut text = if report.ending == "stopped" { String::new() } else { lacking(report) };
    for violation in report.violations.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "broken: {violation}");
    }
    let shown = SHOWN_MAX.min(report.violations.len()) as u64;
    let more = report.violations_total.saturating_sub(shown);
    if more > 0 {
        let _ = writeln!(text, "and {more} more that was broken");
    }
    text
}

fn lacking(report: &Report) -> String {
    let mut text = String::new();
    for starving in report.starving.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "{}", starves(starving));
    }
    let more = report.starving_total.saturating_sub(SHOWN_MAX.min(report.starving.len()));
    if more > 0 {
        let _ = writeln!(text, "and {more} more that lack something");
    }
    text
}

/// The times that targets are about; of how many hosts, if not of all: those who come last are not
/// among them.
pub(crate) fn of_hosts(file: &ScenarioFile, report: &Report) -> String {
    let times = file.targets.times(report);
    let all = file.hosts_counted();
    match times.hosts {
        hosts if hosts < all => format!("{} (of {hosts} of {all} hosts)", three(times)),
        _ => three(times),
    }
}

/// `1.016 / 1.049 / 1.063`
pub(crate) fn three(times: Figures) -> String {
    if times.hosts == 0 {
        return "-".to_owned();
    }
    format!("{:.3} / {:.3} / {:.3}", times.p50, times.p99, times.p999)
}

fn starves(it: &Starving) -> String {
    let Starving { host, group, blob, pieces_missing, first_missing, .. } = it;
    let first: Vec<String> = first_missing.iter().map(u32::to_string).collect();
    let mut text = format!(
        "starving: host {host} of {group} lacks {pieces_missing} pieces of {blob} ({}{}), with {} \
         connections, {} of them of use, and {} requests open",
        first.join(", "),
        if first.len() < *pieces_missing as usize { ", …" } else { "" },
        it.conns,
        it.conns_of_use,
        it.requests
    );
    if let Some(reason) = &it.dropped {
        let _ = write!(text, "; it gave up: {reason}");
    }
    text
}

/// Each of a few blobs, or the least, the mean and the most of many.
fn of_blobs(copies: &[f64]) -> String {
    if copies.len() <= 4 {
        let each: Vec<String> = copies.iter().map(|copies| format!("{copies:.2}")).collect();
        return each.join(", ");
    }
    let least = copies.iter().copied().fold(f64::INFINITY, f64::min);
    let most = copies.iter().copied().fold(0.0, f64::max);
    let mean = copies.iter().sum::<f64>() / copies.len() as f64;
    format!("{mean:.2} ({least:.2}-{most:.2})")
}

/// So many lines of a kind: more are not read.
const SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use kraken_p2p::sim::{Scenario, run_with};
    use std::ops::ControlFlow;

    use super::*;

    #[test]
    fn nobody_starves_in_a_run_that_was_stopped() {
        let stop = |_: &_| ControlFlow::Break(());
        let mut report = run_with(&Scenario::new("test", 3), 1, stop).unwrap();
        assert_eq!((report.ending.as_str(), report.starving_total), ("stopped", 3));
        assert_eq!(troubles(&report), "");
        report.violations = vec!["host 1: something".to_owned()];
        report.violations_total = 1;
        assert_eq!(troubles(&report), "broken: host 1: something\n");
        report.ending = "starved".to_owned();
        assert_eq!(troubles(&report).matches("starving: ").count(), 3);
    }
}
