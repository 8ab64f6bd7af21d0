//! A line that tells how far the work is, on a terminal.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kraken_core::{Error, Result};
use kraken_p2p::sim::Progress;

/// The line; nothing where there is no terminal.
#[derive(Debug)]
pub(crate) struct Line {
    bar: ProgressBar,
}

impl Line {
    /// One for a single run: copies of blobs, and virtual time.
    pub(crate) fn of_run() -> Self {
        // Until it has begun nobody knows of how many copies: a bar of none looks full.
        let line = Self::new("{elapsed} {bar:30} {pos} of {len} copies, {msg}");
        line.bar.set_length(1);
        line
    }

    /// Says what is about to be done where no line will.
    pub(crate) fn announce(text: &str) {
        if !std::io::stderr().is_terminal() {
            eprintln!("kraken sim: {text}");
        }
    }

    /// One for many runs.
    pub(crate) fn of_runs(runs: usize) -> Self {
        let line = Self::new("{elapsed} {pos} of {len} runs, {msg}");
        line.bar.set_length(runs as u64);
        line
    }

    fn new(template: &str) -> Self {
        let bar = ProgressBar::new(0);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }

    /// Tells how far a single run is.
    pub(crate) fn show(&self, what: &str, progress: &Progress) {
        self.bar.set_length(progress.copies_total as u64);
        self.bar.set_position(progress.copies_finished as u64);
        let (seconds, pieces) = (progress.time.as_secs_f64(), progress.pieces_stored);
        self.bar.set_message(format!("{what}{seconds:.1} s simulated, {pieces} pieces"));
    }

    /// Changes what is said of the runs under way.
    pub(crate) fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// One more run is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Prints text that stays.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        self.bar.suspend(|| print(text))
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Prints text. A closed pipe, as of `| head`, is no failure; a full disk is.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("write to standard output", error))
        }
        _ => Ok(()),
    }
}
