//! One run: a cluster is started, agents pull a blob while clocks run, what came is proven right.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::FuturesUnordered;
use kraken_core::rng::Rng;
use kraken_core::{Digest, Error, ErrorKind, Result};
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::{Ask, Blob, Fetched, now};
use crate::cluster::{Client, Cluster};
use crate::lab::Lab;
use crate::net::Network;
use crate::preflight;
use crate::result::{Pull, Run};
use crate::scenario::{Event, Ranges, Rate, Scenario, Start};
use crate::system::System;

/// Runs `scenario` once with `system`.
///
/// Every finished agent's blob is compared with what was uploaded; a difference fails the run. It
/// fails also when a process ends by itself, and after twenty times what the link alone would
/// take and a minute. Cancel safe: every process is killed when the future is dropped, and before
/// it is ready.
pub async fn run(system: &System, scenario: &Scenario, lab: &Lab<'_>) -> Result<Run> {
    let what = format!("{} with {}", scenario.name, system.name);
    let limit = limit(scenario);
    let running = async {
        let (seed, len) = (seed(scenario), scenario.blob_len);
        let blob = tokio::task::spawn_blocking(move || Blob::new(seed, len))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "make a blob").with_source(e))?;
        let cluster = Cluster::start(system, scenario, lab, &blob).await?;
        settle(lab.dir).await?;
        Race::new(scenario, lab.network, blob, cluster)?.run(limit).await
    };
    // Half of it is for the race itself, which knows more of what went wrong.
    let ran = tokio::time::timeout(limit * 2, running).await.unwrap_or_else(|_| {
        let message = format!("no end within {} seconds", (limit * 2).as_secs());
        Err(Error::new(ErrorKind::Unavailable, message))
    });
    ran.map_err(|e| e.context(what))
}

/// Waits until what was done to set up is done with: programs have done what they do at their
/// start, and what was written is on the disk, whichever of it a system had synced by itself.
async fn settle(dir: &Path) -> Result<()> {
    tokio::time::sleep(SETTLE).await;
    let dir = dir.to_owned();
    let syncing = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&dir);
        file.and_then(|file| Ok(rustix::fs::syncfs(file)?))
            .map_err(|e| Error::io(format!("sync the file system of {}", dir.display()), e))
    });
    syncing.await.map_err(|e| Error::new(ErrorKind::Internal, "sync").with_source(e))?
}

/// Agents that pull, and what was measured so far.
struct Race<'a> {
    scenario: &'a Scenario,
    network: &'a Network,
    blob: Blob,
    /// By agent, what its client saw.
    fetched: Vec<Option<Fetched>>,
    /// By agent, the time to the first byte of a blob that it has.
    here: Mutex<BTreeMap<usize, Duration>>,
    /// How long the ranges took that the last agent read.
    ranges: Option<Vec<Duration>>,
    /// Clients that have all of the blob.
    done: Vec<(usize, Client)>,
    /// Clients that are waited for. Before the cluster, so that they are gone before it.
    pulling: FuturesUnordered<BoxFuture<'a, Finish>>,
    /// When which agent begins, the last first; an agent that is late is not among them.
    starts: Vec<(Duration, usize)>,
    /// Agents that begin when all others have finished.
    late: Vec<usize>,
    /// When what happens, the last first.
    events: Vec<(Duration, Event)>,
    cluster: Cluster,
}

/// A pull that has ended.
struct Finish {
    agent: usize,
    client: Client,
    seen: Result<Seen>,
}

/// What a client saw.
enum Seen {
    Whole(Fetched),
    /// How long each range took.
    Ranges(Vec<Duration>),
}

/// Counters that only ever grow.
struct Meters {
    origin_sent: Vec<u64>,
    agent_sent: Vec<u64>,
    cpu: BTreeMap<String, f64>,
    machine_cpu: f64,
}

impl<'a> Race<'a> {
    fn new(
        scenario: &'a Scenario,
        network: &'a Network,
        blob: Blob,
        cluster: Cluster,
    ) -> Result<Self> {
        let (mut starts, late) = starts(scenario);
        let mut events = events(scenario)?;
        starts.sort_by_key(|(at, agent)| std::cmp::Reverse((*at, *agent)));
        events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(Self {
            scenario,
            network,
            blob,
            fetched: vec![None; scenario.agents],
            here: Mutex::default(),
            ranges: None,
            done: Vec::new(),
            pulling: FuturesUnordered::new(),
            starts,
            late,
            events,
            cluster,
        })
    }

    async fn run(mut self, limit: Duration) -> Result<Run> {
        let before = self.meters()?;
        let begun = now();
        self.pull(limit).await?;
        let after = self.meters()?;
        let storage_sent = self.cluster.storage_sent().await?;
        self.prove().await?;
        let pulls = self.pulls(begun);
        let counted = pulls.iter().filter(|pull| pull.counted);
        let first = self.fetched.iter().flatten().map(|fetched| fetched.start).min();
        let first = first.unwrap_or(begun).saturating_sub(begun);
        let last = counted.map(|pull| pull.start + pull.last_byte).max().unwrap_or_default();
        Ok(Run {
            wall: last.saturating_sub(first),
            agents: pulls,
            ranges: self.ranges.unwrap_or_default(),
            storage_sent,
            origin_sent: differences(&after.origin_sent, &before.origin_sent),
            agent_sent: differences(&after.agent_sent, &before.agent_sent),
            cpu: after
                .cpu
                .into_iter()
                .map(|(role, cpu)| {
                    let used = cpu - before.cpu.get(&role).copied().unwrap_or_default();
                    (role, used.max(0.0))
                })
                .collect(),
            machine_cpu: after.machine_cpu - before.machine_cpu,
            anonymous_max: self.cluster.anonymous_max(),
        })
    }

    /// Lets agents begin and things happen until all counted agents have the blob.
    async fn pull(&mut self, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut samples = tokio::time::interval(SAMPLE_INTERVAL);
        samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.missing().next().is_none() {
                return Ok(());
            }
            if self.starts.is_empty() && self.missing().all(|agent| self.late.contains(&agent)) {
                self.starts = self.late.drain(..).map(|agent| (begun.elapsed(), agent)).collect();
            }
            let start = self.starts.last().map(|(at, _)| begun + *at);
            let event = self.events.last().map(|(at, _)| begun + *at);
            tokio::select! {
                biased;
                () = sleep_until(start) => self.start_next()?,
                Some(finish) = self.pulling.next() => self.finish(finish)?,
                () = sleep_until(event) => self.happen_next()?,
                _ = samples.tick() => self.cluster.sample()?,
                () = tokio::time::sleep_until(begun + limit) => return Err(self.too_late(limit)),
            }
        }
    }

    fn start_next(&mut self) -> Result<()> {
        let Some((_, agent)) = self.starts.pop() else { return Ok(()) };
        let mut client = self.cluster.take_client(agent).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("agent {agent} pulls already"))
        })?;
        let blob = self.blob.clone();
        let ranges = reads(self.scenario, agent).map(|reads| places(reads, &blob));
        self.pulling.push(Box::pin(async move {
            let seen = match ranges {
                None => {
                    let ask = Ask::Fetch { addr: client.server, blob };
                    client.inside.ask(&ask).await.map(Seen::Whole)
                }
                Some(ranges) => {
                    let ask = Ask::Ranges { registry: client.registry, blob, ranges };
                    client.inside.ask(&ask).await.map(Seen::Ranges)
                }
            };
            Finish { agent, client, seen }
        }));
        Ok(())
    }

    fn finish(&mut self, finish: Finish) -> Result<()> {
        let agent = finish.agent;
        let fetched = match finish.seen {
            Ok(Seen::Whole(fetched)) => fetched,
            Ok(Seen::Ranges(times)) => {
                self.ranges = Some(times);
                return Ok(());
            }
            // Why an agent fails is often that something else has died.
            Err(error) => {
                self.cluster.sample()?;
                return Err(error.context(format!("pull with agent {agent}")));
            }
        };
        if (fetched.len, fetched.crc32) != (self.blob.len, self.blob.crc32) {
            let message = format!(
                "agent {agent} delivered {} bytes with CRC-32 {:08x} instead of {} with {:08x}",
                fetched.len, fetched.crc32, self.blob.len, self.blob.crc32
            );
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        self.fetched[agent] = Some(fetched);
        self.done.push((agent, finish.client));
        Ok(())
    }

    fn happen_next(&mut self) -> Result<()> {
        match self.events.pop() {
            Some((_, Event::Stop { agent, .. })) => self.cluster.freeze_agent(agent),
            Some((_, Event::KillOrigin { origin, .. })) => self.cluster.kill_origin(origin),
            Some((_, Event::Slow { .. })) | None => Ok(()),
        }
    }

    /// Compares what agents have now with what was uploaded.
    async fn prove(&mut self) -> Result<()> {
        let (blob, here) = (&self.blob, &self.here);
        let proofs = self.done.iter_mut().map(async |(agent, client)| {
            let ask = Ask::Hash { addr: client.server, blob: blob.clone() };
            let (digest, first_byte): (Digest, Duration) = client.inside.ask(&ask).await?;
            here.lock().unwrap_or_else(PoisonError::into_inner).insert(*agent, first_byte);
            if digest == blob.digest {
                return Ok(());
            }
            let message = format!("agent {agent} has {digest} instead of {}", blob.digest);
            Err(Error::new(ErrorKind::Mismatch, message))
        });
        try_join_all(proofs).await.map(drop)
    }

    /// Agents that are waited for: counted ones that have not finished, and the one that reads
    /// ranges.
    fn missing(&self) -> impl Iterator<Item = usize> {
        (0..self.scenario.agents).filter(|&agent| match reads(self.scenario, agent) {
            Some(_) => self.ranges.is_none(),
            None => self.fetched[agent].is_none() && is_counted(self.scenario, agent),
        })
    }

    fn too_late(&self, limit: Duration) -> Error {
        let missing: Vec<String> = self.missing().map(|agent| agent.to_string()).collect();
        let message = format!(
            "after {} seconds these of {} agents still pull: {}",
            limit.as_secs(),
            self.scenario.agents,
            missing.join(", ")
        );
        Error::new(ErrorKind::Unavailable, message)
    }

    fn meters(&self) -> Result<Meters> {
        let sent = |prefix: &str, count: usize| -> Result<Vec<u64>> {
            let hosts = (0..count).map(|number| format!("{prefix}{number}"));
            hosts.filter_map(|host| self.network.sent_bytes(&host).transpose()).collect()
        };
        Ok(Meters {
            machine_cpu: preflight::machine_cpu_seconds()?,
            cpu: self.cluster.cpu()?,
            origin_sent: sent("origin", self.scenario.origins)?,
            agent_sent: sent("agent", self.scenario.agents)?,
        })
    }

    /// What each agent's client saw, in times after `begun`.
    fn pulls(&self, begun: Duration) -> Vec<Pull> {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let pull = |(agent, fetched): (usize, &Option<Fetched>)| {
            let seen = fetched.clone().unwrap_or(Fetched {
                start: begun,
                first_byte: begun,
                last_byte: begun,
                curve: Vec::new(),
                len: 0,
                crc32: 0,
            });
            Pull {
                start: seen.start.saturating_sub(begun),
                first_byte: seen.first_byte.saturating_sub(seen.start),
                first_byte_here: here.get(&agent).copied(),
                last_byte: seen.last_byte.saturating_sub(seen.start),
                curve: seen.curve,
                counted: is_counted(self.scenario, agent),
                finished: fetched.is_some(),
            }
        };
        self.fetched.iter().enumerate().map(pull).collect()
    }
}

/// When each agent begins after the run's start, and those that wait for all others.
fn starts(scenario: &Scenario) -> (Vec<(Duration, usize)>, Vec<usize>) {
    let together = |agents| (0..agents).map(|agent| (Duration::ZERO, agent)).collect();
    match scenario.start {
        Start::Together => (together(scenario.agents), Vec::new()),
        Start::Over(time) => {
            let gaps = scenario.agents.saturating_sub(1).max(1) as f64;
            let at = |agent| (time.mul_f64(agent as f64 / gaps), agent);
            ((0..scenario.agents).map(at).collect(), Vec::new())
        }
        Start::LastIsLate => {
            let others = scenario.agents.saturating_sub(1);
            (together(others), (others..scenario.agents).collect())
        }
    }
}

/// What happens when; `Slow` is how a link is from the beginning, so nothing happens.
fn events(scenario: &Scenario) -> Result<Vec<(Duration, Event)>> {
    let mut events = Vec::new();
    for event in &scenario.events {
        let at = match event {
            Event::Slow { .. } => continue,
            Event::Stop { at, .. } | Event::KillOrigin { at, .. } => *at,
        };
        let Some(Rate(rate)) = scenario.agent_link else {
            let message = "something happens after a part of the time that an agent's link takes, \
                           but the link has no rate: give it one";
            return Err(Error::invalid(message));
        };
        let at = at.clamp(0.0, 1.0) * scenario.blob_len as f64 / rate.max(1) as f64;
        events.push((Duration::from_secs_f64(at), event.clone()));
    }
    Ok(events)
}

/// What this agent reads in place of all of the blob.
fn reads(scenario: &Scenario, agent: usize) -> Option<Ranges> {
    scenario.reads.filter(|_| agent + 1 == scenario.agents)
}

/// Where ranges are, the same for every system and run.
fn places(reads: Ranges, blob: &Blob) -> Vec<Range<u64>> {
    let mut rng = Rng::new(blob.len ^ u64::from(blob.crc32));
    let len = reads.len.min(blob.len);
    let mut place = || {
        let start = rng.below((blob.len - len + 1) as usize) as u64;
        start..start + len
    };
    (0..reads.count).map(|_| place()).collect()
}

/// An agent that the scenario slows down or stops is not, nor one that reads ranges.
fn is_counted(scenario: &Scenario, agent: usize) -> bool {
    let whole = reads(scenario, agent).is_none();
    whole
        && scenario.events.iter().all(|event| match event {
            Event::Slow { agent: other, .. } | Event::Stop { agent: other, .. } => *other != agent,
            Event::KillOrigin { .. } => true,
        })
}

/// How long agents may take together.
fn limit(scenario: &Scenario) -> Duration {
    let storage = scenario.cold.and_then(|storage| storage.rate);
    let Rate(rate) = scenario.agent_link.into_iter().chain(storage).min().unwrap_or(UNCAPPED);
    let link = scenario.blob_len as f64 / rate.max(1) as f64;
    let joining = match scenario.start {
        Start::Over(time) => time,
        Start::Together | Start::LastIsLate => Duration::ZERO,
    };
    Duration::from_secs_f64(20.0 * link) + Duration::from_secs(60) + joining
}

/// Different for different scenarios, the same for every system and run.
fn seed(scenario: &Scenario) -> u64 {
    let name = scenario.name.bytes().fold(0, |seed: u64, byte| seed << 8 ^ u64::from(byte));
    name.rotate_left(32) ^ scenario.blob_len
}

fn differences(after: &[u64], before: &[u64]) -> Vec<u64> {
    after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect()
}

/// Ends then, or never.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// How long programs have for what they do at their start.
const SETTLE: Duration = Duration::from_secs(1);

/// What a link without a cap is taken for where only a limit depends on it.
const UNCAPPED: Rate = Rate(64 << 20);

#[cfg(test)]
mod tests;
