//! The loads of a command: one program under requests, one system after the other.

use std::path::PathBuf;
use std::time::Duration;

use kraken_core::{Error, Result};

use crate::args::Args;
use crate::load::{self, Load, LoadReport};
use crate::plan;
use crate::session::{self, Progress};
use crate::system::System;

/// What to put load on.
#[derive(Debug)]
pub(crate) struct Loads {
    name: String,
    systems: Vec<System>,
    runs: u32,
    dir: PathBuf,
    force: bool,
    load: Load,
}

impl Loads {
    /// The loads of a command line; an error is the command line's fault.
    pub(crate) fn new(args: &Args, kraken: &std::path::Path) -> Result<Self> {
        let name = args.scenario.to_ascii_uppercase();
        if args.changes_hosts() || args.loopback || args.has_plots() {
            return Err(Error::invalid(format!(
                "{name} is load on one program of a system, on loopback and without plots: of the \
                 flags it takes --runs, --seconds, --connections, --json, --dir, --force and those \
                 of systems"
            )));
        }
        let usual = Load::default();
        Ok(Self {
            systems: plan::systems(args, kraken)?,
            runs: args.runs,
            dir: args.data_dir(),
            force: args.force,
            load: Load {
                lasting: args.seconds.map_or(usual.lasting, Duration::from_secs),
                connections: args.connections.map_or(usual.connections, usize::from),
            },
            name,
        })
    }

    /// How many there are in all.
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.runs) * self.systems.len() as u64
    }

    /// Puts all of them, each printed once it is done; those are in `reports`, also if it fails or
    /// is dropped.
    pub(crate) async fn measure(
        &self,
        reports: &mut Vec<LoadReport>,
        progress: &Progress,
    ) -> Result<()> {
        let scratch = session::scratch(&self.dir)?;
        for number in 1..=self.runs {
            for (at, system) in self.systems.iter().enumerate() {
                if !self.force {
                    session::wait_until_quiet(progress).await?;
                }
                progress.show(&format!("{}, run {number}", system.name));
                let dir = scratch.sub(&format!("run{number}-{at}"))?;
                let report = load::run(&self.name, system, self.load, dir.path())
                    .await
                    .map_err(|error| error.context(format!("run {number}")))?;
                progress.say(&report.to_string());
                progress.step();
                reports.push(report);
            }
        }
        Ok(())
    }
}

/// The loads in `kraken bench list`.
pub(crate) const LIST: [(&str, &str); 2] = [
    ("S7", "reads of a warm manifest on an agent: answers for each second of its CPU time"),
    ("S8", "announces on a tracker, one large swarm and many small ones: the same"),
];

/// How long a load may take to end after the command was told to: an answer is waited for.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(20);
