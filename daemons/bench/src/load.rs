//! Load on one program: announces on a tracker (S8), reads of a warm manifest on an agent (S7).
//!
//! The program has a core of its own and so has the generator, where there are two; what counts is
//! the program's own CPU time.

mod announces;
mod generator;
mod manifests;
mod programs;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kraken_core::{Error, ErrorKind, Result};
use serde::Serialize;

use self::announces::Announces;
use self::generator::{Answered, Connections, Pace, Requests, Stop};
use self::manifests::Manifests;
use self::programs::{GENERATOR_CPU, Programs, on_cpu};
use crate::process::Process;
use crate::system::System;

/// How much load there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Load {
    /// How long each part lasts.
    #[serde(serialize_with = "crate::result::seconds")]
    pub lasting: Duration,
    /// How many connections there are, one request under way on each.
    pub connections: usize,
}

/// What a load came to.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// The scenario's name.
    pub name: String,
    /// What the command line calls the system.
    pub system: String,
    /// How much load there was.
    pub load: Load,
    /// Whether the program had a core for itself.
    pub pinned: bool,
    /// Each kind of load.
    pub rows: Vec<LoadRow>,
}

/// One kind of load.
#[derive(Debug, Clone, Serialize)]
pub struct LoadRow {
    /// What was asked.
    pub what: String,
    /// Answers at full load.
    pub answers: u64,
    /// Answers for each second of the program's CPU time, at full load.
    pub per_cpu_second: f64,
    /// Answers a second at full load.
    pub per_second: f64,
    /// How long an answer took at full load.
    pub full: Times,
    /// Requests a second at half of the full load.
    pub half_per_second: f64,
    /// How long an answer took then.
    pub half: Times,
    /// How long an answer took to one client that waits for each, if that was measured.
    pub alone: Option<Times>,
    /// Anonymous memory for each peer that the tracker knows, in bytes.
    pub bytes_per_peer: Option<f64>,
    /// Anonymous memory at the end, in bytes.
    pub anonymous: u64,
}

/// How long answers took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    /// Half of them took no longer.
    #[serde(serialize_with = "crate::result::seconds")]
    pub p50: Duration,
    /// 99 of 100 took no longer.
    #[serde(serialize_with = "crate::result::seconds")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "crate::result::seconds")]
    pub max: Duration,
}

/// Whether `name` is a load and not a scenario.
pub fn is_load(name: &str) -> bool {
    ["S7", "S8"].iter().any(|load| load.eq_ignore_ascii_case(name))
}

/// Puts the load called `name`, S7 or S8, on `system`; files are put in `dir`.
///
/// Cancel safe: what was started is killed, if not at once then when the part under way has ended.
pub async fn run(name: &str, system: &System, load: Load, dir: &Path) -> Result<LoadReport> {
    let dir =
        std::path::absolute(dir).map_err(|e| Error::io(format!("find {}", dir.display()), e))?;
    let name = name.to_ascii_uppercase();
    let rows = match name.as_str() {
        "S7" => agent(system, load, &dir).await,
        "S8" => tracker(system, load, &dir).await,
        _ => Err(Error::invalid(format!("no load {name:?}: there are S7 and S8"))),
    };
    let rows = rows.map_err(|e| e.context(format!("{name} with {}", system.name)))?;
    let pinned = programs::has_two_cpus();
    Ok(LoadReport { name, system: system.name.clone(), load, pinned, rows })
}

/// One large swarm, then many small ones; each with a tracker of its own.
async fn tracker(system: &System, load: Load, dir: &Path) -> Result<Vec<LoadRow>> {
    let mut rows = Vec::new();
    for (swarms, peers) in [(1, 15_000), (1000, 50)] {
        let programs = Programs::start(system, dir, false).await?;
        let row = on_thread(move |stop| {
            let mut warm_up = Announces::new("warm up", 1, 60);
            let mut announces = Announces::new("load", swarms, peers);
            let mut connections = Connections::open(programs.tracker_addr, load.connections, stop)?;
            // Buffers and the program's memory are as large as they get before peers are counted.
            connections.drive(&mut warm_up, Pace::Full, FOREVER)?;
            warm_up.anyone();
            connections.drive(&mut warm_up, Pace::Full, WARM_UP)?;
            let before = programs.tracker.resources().1;
            connections.drive(&mut announces, Pace::Full, FOREVER)?;
            announces.anyone();
            connections.drive(&mut announces, Pace::Full, WARM_UP)?;
            let grown = programs.tracker.resources().1.saturating_sub(before);
            let what = format!("announces, {swarms} x {peers} peers");
            let mut row = measure(what, &mut connections, &mut announces, load, &programs.tracker)?;
            row.bytes_per_peer = Some(grown as f64 / announces.peers() as f64);
            if announces.short > 0 {
                let message = format!("{} handouts were too short", announces.short);
                return Err(Error::new(ErrorKind::Mismatch, message));
            }
            Ok(row)
        });
        rows.push(row.await?);
    }
    Ok(rows)
}

/// A manifest that the agent has.
async fn agent(system: &System, load: Load, dir: &Path) -> Result<Vec<LoadRow>> {
    let manifest = manifests::manifest();
    let digest = kraken_core::Digest::sha256(manifest.as_bytes());
    let programs = Programs::start(system, dir, true).await?;
    let addr = programs.give(&manifest, &digest).await?;
    on_thread(move |stop| {
        let Some((agent, _)) = &programs.agent else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        for method in ["GET", "HEAD"] {
            let body = manifest.clone().into_bytes();
            let mut requests = Manifests::new(method, programs::REPOSITORY, &digest, body);
            let mut connections = Connections::open(addr, load.connections, stop)?;
            connections.drive(&mut requests, Pace::Full, WARM_UP)?;
            let what = format!("{method} of a manifest of {} bytes", manifest.len());
            let mut row = measure(what, &mut connections, &mut requests, load, agent)?;
            row.alone = Some(alone(addr, &mut requests, load, stop)?);
            rows.push(row);
        }
        Ok(rows)
    })
    .await
}

/// Full load, then half of it.
fn measure(
    what: String,
    connections: &mut Connections,
    requests: &mut dyn Requests,
    load: Load,
    program: &Process,
) -> Result<LoadRow> {
    let before = program.resources().0;
    let full = connections.drive(requests, Pace::Full, load.lasting)?;
    let cpu = program.resources().0 - before;
    program.check()?;
    let answers = full.times.len() as u64;
    let per_second = answers as f64 / full.wall.as_secs_f64();
    let half_per_second = per_second / 2.0;
    let half = connections.drive(requests, Pace::Rate(half_per_second), load.lasting)?;
    program.check()?;
    Ok(LoadRow {
        what,
        answers,
        per_cpu_second: answers as f64 / cpu,
        per_second,
        full: times(full)?,
        half_per_second,
        half: times(half)?,
        alone: None,
        bytes_per_peer: None,
        anonymous: program.resources().1,
    })
}

fn alone(addr: SocketAddr, requests: &mut dyn Requests, load: Load, stop: &Stop) -> Result<Times> {
    let mut one = Connections::open(addr, 1, stop)?;
    one.drive(requests, Pace::Full, WARM_UP)?;
    times(one.drive(requests, Pace::Full, load.lasting)?)
}

fn times(mut answered: Answered) -> Result<Times> {
    answered.times.sort_unstable();
    let Some(max) = answered.times.last().copied() else {
        return Err(Error::new(ErrorKind::Unavailable, "there was not one answer"));
    };
    let at = |part: f64| answered.times[((answered.times.len() - 1) as f64 * part) as usize];
    Ok(Times { p50: at(0.5), p99: at(0.99), max })
}

/// Stops a generator that nobody waits for any more.
#[derive(Default)]
struct StopsWhenDropped(Stop);

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// Runs the generator on its own thread and core. When this is dropped `work` is told to stop, and
/// what it has goes with it a moment later.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let stops = StopsWhenDropped::default();
    let stop = stops.0.clone();
    tokio::task::spawn_blocking(move || on_cpu(GENERATOR_CPU, || work(&stop)))
        .await
        .map_err(|e| Error::new(ErrorKind::Internal, "generate load").with_source(e))?
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, system, load, pinned, rows } = self;
        let cores = if *pinned { "a core of its own" } else { "its core shared with the load" };
        writeln!(
            f,
            "{name}, {system}: {} connections, {} s each, the program on {cores}\n",
            load.connections,
            load.lasting.as_secs()
        )?;
        writeln!(
            f,
            "| load | per CPU-second | per second | p50, p99 at full load, ms | at half load: per \
             second | p50, p99, max, ms | one client: p50, p99, ms | bytes per peer | anonymous, \
             MiB |\n|---|---|---|---|---|---|---|---|---|"
        )?;
        for row in rows {
            let peer = row.bytes_per_peer.map_or_else(none, |bytes| format!("{bytes:.0}"));
            let alone = row.alone.map(|alone| format!("{}, {}", ms(alone.p50), ms(alone.p99)));
            let alone = alone.unwrap_or_else(none);
            writeln!(
                f,
                "| {} | {:.0} | {:.0} | {}, {} | {:.0} | {}, {}, {} | {alone} | {peer} | {:.1} |",
                row.what,
                row.per_cpu_second,
                row.per_second,
                ms(row.full.p50),
                ms(row.full.p99),
                row.half_per_second,
                ms(row.half.p50),
                ms(row.half.p99),
                ms(row.half.max),
                row.anonymous as f64 / f64::from(1 << 20)
            )?;
        }
        Ok(())
    }
}

impl Default for Load {
    fn default() -> Self {
        Self { lasting: Duration::from_secs(10), connections: 32 }
    }
}

/// Of what was not measured.
fn none() -> String {
    "-".to_owned()
}

fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// What comes before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// Until there are no more requests.
const FOREVER: Duration = Duration::from_secs(3600);
