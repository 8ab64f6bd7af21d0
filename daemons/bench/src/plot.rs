//! Plots of a report as SVG: light, without a font or a script from elsewhere.

pub mod svg;

use std::fmt::Write as _;
use std::time::Duration;

use self::svg::{Axis, Canvas, Frame, LEGEND_LINE};
use crate::figures;
use crate::result::{Pull, Report, Run};
use crate::scenarios;

/// How much of the blob each agent's client had at what time: a thin line an agent, dashed where
/// it does not count, and a thick one for the median of those that do. Of each system the run
/// whose slowest agent is the median's. `None` if there is no run.
pub(crate) fn completion(report: &Report) -> Option<String> {
    let runs: Vec<(&str, &Run)> = report
        .systems
        .iter()
        .filter_map(|system| Some((system.name.as_str(), figures::typical(system)?)))
        .collect();
    let end = runs
        .iter()
        .flat_map(|(_, run)| figures::counted(run))
        .map(|pull| (pull.start + pull.last_byte).as_secs_f64())
        .max_by(f64::total_cmp)?;
    let time = Axis::new("time since the run's start, seconds", end * 1.02);
    let part = Axis::new("part of the blob at the agent's client, %", 100.0);
    let lines = runs.len() as f64 + 1.0;
    let mut canvas = Canvas::new(WIDTH, 552.0 + lines * LEGEND_LINE);
    canvas.titles(&title(report, "completion", "typical"), &scenarios::set_up(&report.scenario));
    let frame = Frame { left: 76.0, top: 84.0, right: WIDTH - 24.0, bottom: 500.0, time, part };
    frame.draw(&mut canvas);
    let mut legend = Vec::new();
    for (at, (name, run)) in runs.iter().enumerate() {
        let color = color(at);
        for pull in &run.agents {
            let style = if pull.counted { THIN } else { THIN_DASHED };
            canvas.line(&frame, &points(pull), color, style);
        }
        canvas.line(&frame, &median(run, frame.time.end), color, THICK);
        legend.push((color, format!("{name}: each agent thin, their median thick")));
    }
    if let Some(link_time) = figures::link_time(report) {
        let seconds = link_time.as_secs_f64();
        canvas.line(&frame, &[(0.0, 0.0), (seconds, 100.0)], GREY, DASHED);
        legend.push((GREY, format!("link time, {seconds:.1} s (dashed)")));
    }
    canvas.legend(frame.left, 546.0, &legend);
    Some(canvas.finish())
}

/// What each host's link carried away, a panel for each system, all on one scale; the median of
/// its runs. `None` where links have no counters.
pub(crate) fn sources(report: &Report) -> Option<String> {
    let panels: Vec<_> = report
        .systems
        .iter()
        .map(|system| (system.name.as_str(), sent(report, &system.runs)))
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    let most = panels
        .iter()
        .flat_map(|(_, hosts)| hosts.iter().map(|(_, copies)| *copies))
        .max_by(f64::total_cmp)?;
    let (top, each, gap) = (84.0, 190.0, 52.0);
    let height = top + panels.len() as f64 * (each + gap) + 2.0 * LEGEND_LINE + 6.0;
    let mut canvas = Canvas::new(WIDTH, height);
    canvas
        .titles(&title(report, "bytes by source", "median"), &scenarios::set_up(&report.scenario));
    for (at, (name, hosts)) in panels.iter().enumerate() {
        let panel_top = top + at as f64 * (each + gap) + 14.0;
        let frame = Frame {
            left: 76.0,
            top: panel_top,
            right: WIDTH - 24.0,
            bottom: panel_top + each,
            time: Axis::new("", hosts.len() as f64),
            part: Axis::new("copies of the blob sent", most * 1.05),
        };
        canvas.text(frame.left, panel_top - 8.0, "start", 13.0, name);
        bars(&mut canvas, &frame, hosts);
    }
    let legend = [(color(1), "an origin"), (color(0), "an agent")];
    canvas.legend(
        76.0,
        height - 2.0 * LEGEND_LINE - 8.0,
        &legend.map(|(color, text)| (color, text.to_owned())),
    );
    Some(canvas.finish())
}

/// Copies of the blob that each host sent, the median of the runs: the origins first.
fn sent(report: &Report, runs: &[Run]) -> Vec<(String, f64)> {
    let len = report.scenario.blob_len as f64;
    let of = |name: &str, sent: fn(&Run) -> &Vec<u64>| {
        let hosts = runs.iter().map(|run| sent(run).len()).min().unwrap_or(0);
        let median = |host: usize| {
            let mut copies: Vec<f64> = runs
                .iter()
                .filter_map(|run| sent(run).get(host))
                .map(|b| *b as f64 / len)
                .collect();
            copies.sort_by(f64::total_cmp);
            figures::median(&copies)
        };
        (0..hosts).map(|host| (format!("{name} {host}"), median(host))).collect::<Vec<_>>()
    };
    [of("origin", |run| &run.origin_sent), of("agent", |run| &run.agent_sent)].concat()
}

fn bars(canvas: &mut Canvas, frame: &Frame, hosts: &[(String, f64)]) {
    frame.draw_values(canvas);
    let room = (frame.right - frame.left) / hosts.len() as f64;
    for (at, (name, copies)) in hosts.iter().enumerate() {
        let is_origin = name.starts_with("origin");
        let left = frame.left + room * (at as f64 + 0.15);
        canvas.bar(frame, left, room * 0.7, *copies, color(usize::from(is_origin)));
        let middle = frame.left + room * (at as f64 + 0.5);
        // Names and figures only where there is room for them.
        if room >= 62.0 {
            canvas.text(middle, frame.bottom + 16.0, "middle", 11.0, name);
        } else if let (Some((_, number)), true) = (name.split_once(' '), room >= 14.0) {
            canvas.text(middle, frame.bottom + 16.0, "middle", 10.0, number);
        }
        if room >= 30.0 {
            let above = frame.y(*copies) - 4.0;
            canvas.text(middle, above, "middle", 10.0, &format!("{copies:.2}"));
        }
    }
}

/// The agent's curve as (seconds since the run's start, percent).
fn points(pull: &Pull) -> Vec<(f64, f64)> {
    let whole = pull.curve.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
    let all = if pull.finished { whole.max(1) } else { u64::MAX };
    let start = pull.start.as_secs_f64();
    let first = pull.first_byte.min(pull.curve.first().map_or(Duration::MAX, |(time, _)| *time));
    let begin = [(start, 0.0), (start + first.as_secs_f64(), 0.0)];
    let curve = pull
        .curve
        .iter()
        .map(|(time, bytes)| (start + time.as_secs_f64(), 100.0 * *bytes as f64 / all as f64));
    begin.into_iter().chain(curve).collect()
}

/// The median of the counted agents at each moment.
fn median(run: &Run, end: f64) -> Vec<(f64, f64)> {
    let curves: Vec<Vec<(f64, f64)>> = figures::counted(run).map(points).collect();
    let steps = 240;
    let at = |step: u32| {
        let time = end * f64::from(step) / f64::from(steps);
        let mut parts: Vec<f64> = curves.iter().map(|curve| value_at(curve, time)).collect();
        parts.sort_by(f64::total_cmp);
        (time, figures::median(&parts))
    };
    (0..=steps).map(at).collect()
}

/// The value of a curve at a time, on the line between the points beside it.
fn value_at(curve: &[(f64, f64)], time: f64) -> f64 {
    let after = curve.partition_point(|(at, _)| *at <= time);
    match (after.checked_sub(1).and_then(|before| curve.get(before)), curve.get(after)) {
        (Some((from, low)), Some((to, high))) => low + (high - low) * (time - from) / (to - from),
        (Some((_, last)), None) => *last,
        (None, _) => 0.0,
    }
}

fn title(report: &Report, what: &str, chosen: &str) -> String {
    let mut title = format!("{}: {what}", report.scenario.name);
    let runs = report.systems.iter().map(|system| system.runs.len()).max().unwrap_or(0);
    if runs > 1 {
        let _ = write!(title, ", {chosen} of {runs} runs");
    }
    title
}

/// Colours that are told apart by everyone (Okabe and Ito's).
pub fn color(at: usize) -> &'static str {
    const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
    COLORS[at % COLORS.len()]
}

/// How wide plots are.
pub const WIDTH: f64 = 960.0;

/// The colour of what others are compared with.
pub const GREY: &str = "#777777";

const THIN: &str = "stroke-width='1' stroke-opacity='0.45'";
const THIN_DASHED: &str = "stroke-width='1' stroke-opacity='0.45' stroke-dasharray='3 3'";

/// The style of a line that is to be seen first.
pub const THICK: &str = "stroke-width='3'";

/// The style of a line to compare others with.
pub const DASHED: &str = "stroke-width='1.5' stroke-dasharray='6 4'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::made_up;

    /// Every element that is opened is closed, and no value is not a number.
    fn check(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("fill='#ffffff'") && !svg.contains("http://www.w3.org/1999"));
        for name in ["text", "g", "svg", "clipPath"] {
            let opened = svg.matches(&format!("<{name} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{name}>")).count(), "{name}: {svg}");
        }
    }

    #[test]
    fn completion_has_a_line_an_agent_and_a_median_a_system() {
        let report = made_up();
        let svg = completion(&report).unwrap();
        check(&svg);
        // Four agents and a median for each system, and the link time.
        assert_eq!(svg.matches("<polyline ").count(), 2 * 5 + 1, "{svg}");
        assert_eq!(svg.matches("stroke-dasharray='3 3'").count(), 2);
        for text in ["S2: completion", "seconds", "%", "other &lt;&amp;&gt;", "link time, 13.4 s"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn sources_has_a_bar_for_each_host() {
        let mut report = made_up();
        let svg = sources(&report).unwrap();
        check(&svg);
        assert_eq!(svg.matches("class='bar'").count(), 2 * 5);
        for text in ["origin 0", "agent 3", "copies of the blob sent", ">4.00<"] {
            assert!(svg.contains(text), "{text}");
        }
        for run in report.systems.iter_mut().flat_map(|system| &mut system.runs) {
            (run.origin_sent, run.agent_sent) = (Vec::new(), Vec::new());
        }
        assert_eq!(sources(&report), None);
    }

    #[test]
    fn without_runs_there_is_no_plot() {
        let mut report = made_up();
        report.systems.iter_mut().for_each(|system| system.runs.clear());
        assert_eq!(completion(&report), None);
        assert_eq!(sources(&report), None);
    }

    #[test]
    fn an_agent_that_was_stopped_or_got_nothing_draws_no_nonsense() {
        let mut report = made_up();
        for pull in &mut report.systems[0].runs[0].agents {
            (pull.counted, pull.finished) = (false, false);
            pull.curve.clear();
        }
        check(&completion(&report).unwrap());
    }

    #[test]
    fn a_median_lies_between_the_points_beside_it() {
        let curve = [(1.0, 0.0), (2.0, 50.0), (2.0, 60.0), (4.0, 100.0)];
        for (time, expected) in [(0.5, 0.0), (1.5, 25.0), (2.0, 60.0), (3.0, 80.0), (9.0, 100.0)] {
            assert!((value_at(&curve, time) - expected).abs() < 1e-9, "{time}");
        }
    }
}
