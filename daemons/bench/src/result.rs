//! What a run measured.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize as _;
use serde::ser::{SerializeSeq as _, Serializer};

use crate::scenario::Scenario;

/// All runs of a command, of all systems, interleaved.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// What was run.
    pub scenario: Scenario,
    /// The machine and its state.
    pub machine: Machine,
    /// Goodput of one plain TCP flow through an agent's link in bytes a second; `None` uncapped.
    pub agent_goodput: Option<f64>,
    /// The same through an origin's link.
    pub origin_goodput: Option<f64>,
    /// By system, in the order of the command line: the runs in order.
    pub systems: Vec<SystemRuns>,
}

/// The runs of one system.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SystemRuns {
    /// What the command line calls it.
    pub name: String,
    /// The runs, the first first.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Run {
    /// The agents in order.
    pub agents: Vec<Pull>,
    /// From the first pull's start to the last counted pull's last byte.
    #[serde(serialize_with = "seconds")]
    pub wall: Duration,
    /// How long each range took that the last agent read in place of the blob, in their order.
    #[serde(serialize_with = "all_seconds")]
    pub ranges: Vec<Duration>,
    /// What the storage sent in bytes, where origins fetched the blob from it.
    pub storage_sent: Option<u64>,
    /// What left each origin's link in bytes, headers included; empty on loopback.
    pub origin_sent: Vec<u64>,
    /// What left each agent's link in bytes, headers included; empty on loopback.
    pub agent_sent: Vec<u64>,
    /// CPU seconds by role (`agent`, `origin`, `tracker`, `build-index`, `testfs`, `client`),
    /// while agents pulled.
    pub cpu: BTreeMap<String, f64>,
    /// CPU seconds of the whole machine in that time, whoever used them.
    pub machine_cpu: f64,
    /// The most anonymous memory of any process of a role, in bytes.
    pub anonymous_max: BTreeMap<String, u64>,
}

/// What one agent's client saw.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Pull {
    /// When it began, after the run's start.
    #[serde(serialize_with = "seconds")]
    pub start: Duration,
    /// From its start to the first byte of the blob.
    #[serde(serialize_with = "seconds")]
    pub first_byte: Duration,
    /// The same when it was asked for the blob once more, which it had then.
    #[serde(serialize_with = "some_seconds")]
    pub first_byte_here: Option<Duration>,
    /// From its start to the last byte.
    #[serde(serialize_with = "seconds")]
    pub last_byte: Duration,
    /// Bytes that had come, at most some hundred points: (since its start, bytes).
    #[serde(serialize_with = "points")]
    pub curve: Vec<(Duration, u64)>,
    /// Whether it counts: an agent that was stopped or slowed by the scenario does not.
    pub counted: bool,
    /// Whether it was finished; an agent that was stopped was not.
    pub finished: bool,
}

/// The machine of a report.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Machine {
    /// Processors.
    pub cpus: usize,
    /// The model of the processors.
    pub cpu_model: String,
    /// The kernel.
    pub kernel: String,
    /// Whether every host had a network namespace of its own with capped links.
    pub namespaces: bool,
    /// Congestion control of the links.
    pub congestion: String,
}

pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn some_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

fn all_seconds<S: Serializer>(times: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(Duration::as_secs_f64))
}

fn points<S: Serializer>(curve: &[(Duration, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(curve.len()))?;
    for (time, bytes) in curve {
        list.serialize_element(&(time.as_secs_f64(), bytes))?;
    }
    list.end()
}
