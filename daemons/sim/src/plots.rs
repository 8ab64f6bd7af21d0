//! Plots of runs: how many copies were finished when, and what origins sent.

use kraken_bench::plot::svg::{Axis, Canvas, Frame, LEGEND_LINE};
use kraken_bench::plot::{DASHED, GREY, THICK, WIDTH, color};
use kraken_p2p::sim::Report;

use crate::file::ScenarioFile;

/// The share of all copies of blobs that were finished by what time, a line for each run.
pub(crate) fn completion(file: &ScenarioFile, runs: &[(String, &Report)]) -> String {
    let curve = |report: &Report| {
        let copies: usize = report.hosts.iter().map(|host| host.blobs.len()).sum();
        let counts = report.finished_curve.iter();
        counts.map(|count| 100.0 * *count as f64 / copies.max(1) as f64).collect()
    };
    let mut plot = Plot::new("copies of blobs that are finished, %", runs, curve);
    plot.most = 100.0;
    plot.link_time = link_time(file);
    plot.draw(&format!("{}: completion", file.scenario.name), &file.set_up())
}

/// What all origins together sent over time, a line for each run.
pub(crate) fn origins(file: &ScenarioFile, runs: &[(String, &Report)]) -> String {
    let curve = |report: &Report| {
        let step = report.curve_step_secs;
        report.origin_bytes_curve.iter().map(|bytes| *bytes as f64 / step / 1e9).collect()
    };
    let plot = Plot::new("sent by all origins, GB/s", runs, curve);
    plot.draw(&format!("{}: what origins send", file.scenario.name), &file.set_up())
}

/// A value over time, a line for each run.
struct Plot {
    title: &'static str,
    /// Each with its name and the step of its values in seconds.
    lines: Vec<(String, f64, Vec<f64>)>,
    most: f64,
    /// In seconds.
    end: f64,
    link_time: Option<f64>,
}

impl Plot {
    fn new(
        title: &'static str,
        runs: &[(String, &Report)],
        curve: impl Fn(&Report) -> Vec<f64>,
    ) -> Self {
        let line = |(name, report): &(String, &Report)| {
            (name.clone(), report.curve_step_secs, curve(report))
        };
        let lines: Vec<(String, f64, Vec<f64>)> = runs.iter().map(line).collect();
        let values = lines.iter().flat_map(|(.., values)| values);
        let most = values.copied().fold(0.0, f64::max) * 1.05;
        let ends = runs.iter().map(|(_, report)| report.ended_secs);
        let end = ends.fold(0.0, f64::max) * 1.02;
        Self { title, lines, most, end, link_time: None }
    }

    fn draw(&self, title: &str, set_up: &str) -> String {
        let entries = self.lines.len() + usize::from(self.link_time.is_some());
        let mut canvas = Canvas::new(WIDTH, 552.0 + entries as f64 * LEGEND_LINE);
        canvas.titles(title, set_up);
        let time = Axis::new("time since the run's start, seconds", self.end);
        let part = Axis::new(self.title, self.most);
        let frame = Frame { left: 76.0, top: 84.0, right: WIDTH - 24.0, bottom: 500.0, time, part };
        frame.draw(&mut canvas);
        let mut legend = Vec::new();
        if let Some(seconds) = self.link_time {
            let line = [(seconds, 0.0), (seconds, self.most)];
            canvas.line(&frame, &line, GREY, DASHED);
            let text = format!("what the link alone takes, {seconds:.1} s (dashed)");
            legend.push((GREY, text));
        }
        for (at, (name, step, values)) in self.lines.iter().enumerate() {
            let points = values.iter().enumerate();
            let points = points.map(|(at, value)| ((at + 1) as f64 * step, *value));
            let points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0)).chain(points).collect();
            canvas.line(&frame, &points, color(at), THICK);
            legend.push((color(at), name.clone()));
        }
        canvas.legend(frame.left, 546.0, &legend);
        canvas.finish()
    }
}

/// What the first group's link alone takes for all blobs, if each of its hosts wants all.
fn link_time(file: &ScenarioFile) -> Option<f64> {
    let all = file.scenario.blobs.iter().all(|blob| blob.wanted_by >= 1.0);
    let bytes: u64 = file.scenario.blobs.iter().map(|blob| blob.len).sum();
    let rates = &file.scenario.groups.first().filter(|_| all)?.rates;
    Some(bytes as f64 / rates.up.bytes_per_sec.min(rates.down.bytes_per_sec))
}
