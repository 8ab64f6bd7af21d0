//! The runs of a command, one system after the other, again and again.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kraken_core::{Error, ErrorKind, Result};
use tokio::task::{block_in_place, yield_now};

use crate::lab::Lab;
use crate::net::Network;
use crate::plan::Plan;
use crate::preflight::{self, DirtyRatios, TouchedMemory};
use crate::result::{Report, SystemRuns};
use crate::run;
use crate::scenarios;
use crate::scratch::Scratch;
use crate::system::System;
use crate::{flow, report};

/// An empty report of a plan.
pub(crate) fn empty(plan: &Plan) -> Report {
    let mut machine = preflight::machine();
    machine.namespaces = plan.namespaces;
    if plan.namespaces {
        machine.congestion = crate::net::congestion_control();
    }
    let named = |system: &System| SystemRuns { name: system.name.clone(), runs: Vec::new() };
    Report {
        scenario: plan.scenario.clone(),
        machine,
        agent_goodput: None,
        origin_goodput: None,
        systems: plan.systems.iter().map(named).collect(),
    }
}

/// Does all runs of a plan; those that were done are in `report`, also if it fails or is dropped,
/// which kills and removes everything that it has started and made.
///
/// Blocks its thread now and then, for up to seconds.
pub(crate) async fn measure(plan: &Plan, report: &mut Report, progress: &Progress) -> Result<()> {
    let scratch = scratch(&plan.dir)?;
    preflight::check(&plan.needs(), &plan.dir)?;
    // Restored when this is dropped.
    let _ratios = raise_dirty_ratios(plan, progress)?;
    measure_links(plan, report, &scratch, progress).await?;
    if let Some(links) = report::links(report) {
        progress.say(&links);
    }
    progress.say(&report::row_heading(report));
    for number in 1..=plan.runs {
        for (at, system) in plan.systems.iter().enumerate() {
            progress.show(&format!("{}, run {number}", system.name));
            let name = format!("run{number}-{at}");
            let run = one(plan, system, &scratch, &name, progress)
                .await
                .map_err(|error| error.context(format!("run {number}")))?;
            progress.say(&report::row(report, &system.name, number as usize, &run));
            report.systems[at].runs.push(run);
            progress.step();
        }
    }
    Ok(())
}

async fn one(
    plan: &Plan,
    system: &System,
    scratch: &Scratch,
    name: &str,
    progress: &Progress,
) -> Result<crate::result::Run> {
    if !plan.force {
        wait_until_quiet(progress).await?;
    }
    let needs = plan.needs();
    block_in_place(|| preflight::check(&needs, &plan.dir))?;
    let _touched = TouchedMemory::fill(&plan.dir).await?;
    // Dropped from the last to the first: processes, hosts, data.
    let dir = scratch.sub(name)?;
    let network = network(plan)?;
    let run = run::run(system, &plan.scenario, &Lab { network: &network, dir: dir.path() }).await?;
    block_in_place(|| network.close())?;
    Ok(run)
}

/// A directory for data below `parent`, after what benches that were killed have left has been
/// removed: namespaces, processes in them, settings, directories.
pub(crate) fn scratch(parent: &Path) -> Result<Scratch> {
    block_in_place(|| {
        if rustix::process::geteuid().is_root() {
            Network::remove_leftovers()?;
            DirtyRatios::restore_leftover()?;
        }
        Scratch::new(parent)
    })
}

/// Without caps more is written in a moment than the disk takes; with them it is left as it is.
fn raise_dirty_ratios(plan: &Plan, progress: &Progress) -> Result<Option<DirtyRatios>> {
    if scenarios::is_capped(&plan.scenario) {
        return Ok(None);
    }
    let ratios = DirtyRatios::raise()?;
    if !ratios.is_raised() {
        progress.say("vm.dirty_ratio cannot be raised here: writers may wait for the disk");
    }
    Ok(Some(ratios))
}

/// One plain TCP flow through each kind of link.
async fn measure_links(
    plan: &Plan,
    report: &mut Report,
    scratch: &Scratch,
    progress: &Progress,
) -> Result<()> {
    let scenario = &plan.scenario;
    if !plan.namespaces || !scenarios::needs_links(scenario) {
        return Ok(());
    }
    progress.show("measuring a plain flow");
    let logs = scratch.sub("links")?;
    let network = network(plan)?;
    // No scenario slows the first agent.
    if scenario.agent_link.is_some() {
        let flow = flow::goodput(&network, "hub", "agent0", &plan.kraken, logs.path()).await;
        report.agent_goodput = Some(flow.map_err(|error| error.context("an agent's link"))?);
    }
    if scenario.origin_link == scenario.agent_link {
        report.origin_goodput = report.agent_goodput;
    } else if scenario.origin_link.is_some() {
        let flow = flow::goodput(&network, "origin0", "hub", &plan.kraken, logs.path()).await;
        report.origin_goodput = Some(flow.map_err(|error| error.context("an origin's link"))?);
    }
    block_in_place(|| network.close())
}

fn network(plan: &Plan) -> Result<Network> {
    let hosts = plan.hosts();
    if plan.namespaces {
        block_in_place(|| Network::namespaces(&hosts))
    } else {
        Ok(Network::loopback(&hosts))
    }
}

/// Other work on the machine may be about to end, so it is looked at a few times.
pub(crate) async fn wait_until_quiet(progress: &Progress) -> Result<()> {
    let mut load = 0.0;
    for _ in 0..QUIET_TRIES {
        load = block_in_place(|| preflight::foreign_load(QUIET_TIME))?;
        if load <= LOAD_MAX {
            return Ok(());
        }
        progress.show("waiting for other work on the machine to end");
        yield_now().await;
    }
    let percent = load * 100.0;
    Err(Error::new(
        ErrorKind::Unavailable,
        format!(
            "other work takes {percent:.0} % of the machine's CPU: end it, or measure all the \
             same with --force"
        ),
    ))
}

/// A line that tells how far it is, on a terminal; lines that stay are printed above it.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(runs: u64) -> Self {
        let bar = ProgressBar::new(runs);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{elapsed} {pos} of {len} runs, {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            // A closed pipe, as of `| head`, must not end a run half-way.
            let _ = writeln!(std::io::stdout(), "{line}");
        });
    }

    /// Changes what the progress line says.
    pub(crate) fn show(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// One more run is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Takes the progress line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Of the machine's CPU that may be taken by others: what goals and comparisons allow.
const LOAD_MAX: f64 = 0.05;

/// Long enough for a share of 5 % to be told from a moment's work.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// What a build or a check needs to end in; more is other work.
const QUIET_TRIES: u32 = 15;
