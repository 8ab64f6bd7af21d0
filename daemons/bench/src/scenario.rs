//! What a run is: hosts, links, a blob, and what happens to them.

use std::time::Duration;

/// A run's whole set-up but for the programs.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: String,
    /// What it shows, in one sentence.
    pub about: String,
    /// How many agents pull.
    pub agents: usize,
    /// How many origins hold the blob.
    pub origins: usize,
    /// Length of the blob in bytes.
    pub blob_len: u64,
    /// Length of a piece in bytes.
    pub piece_len: u64,
    /// What an agent's link carries each way; `None` is no cap.
    pub agent_link: Option<Rate>,
    /// What an origin's link carries each way; `None` is no cap.
    pub origin_link: Option<Rate>,
    /// What the storage does of which origins fetch the blob when agents begin; `None`: they hold
    /// it already.
    pub cold: Option<Storage>,
    /// When the agents begin to pull.
    pub start: Start,
    /// What the last agent reads of the blob in place of all of it.
    pub reads: Option<Ranges>,
    /// What happens while they do.
    pub events: Vec<Event>,
}

/// Bytes a second, as the cap is set (nominal: headers included).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Rate(pub u64);

/// Storage that is slow, or far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Storage {
    /// What it sends at the most to all origins together; `None` is no limit.
    pub rate: Option<Rate>,
    /// How long each request waits before it is answered.
    #[serde(serialize_with = "crate::result::seconds")]
    pub latency: Duration,
}

/// Ranges at random places, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Ranges {
    /// How many.
    pub count: usize,
    /// The length of each in bytes.
    pub len: u64,
}

/// When the agents begin to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// All at once.
    Together,
    /// One after another, evenly over this time.
    Over(#[serde(serialize_with = "crate::result::seconds")] Duration),
    /// All but the last at once; the last when all others are complete.
    LastIsLate,
}

/// What happens to a host while agents pull.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The agent of this index has a link so many times slower, from the beginning.
    Slow {
        /// Which agent.
        agent: usize,
        /// How many times slower.
        factor: u64,
    },
    /// The agent gets SIGSTOP once the link could have brought this part of the blob (0 to 1); it
    /// is not waited for and not counted.
    Stop {
        /// Which agent.
        agent: usize,
        /// Which part.
        at: f64,
    },
    /// The origin gets SIGKILL once the link could have brought this part of the blob.
    KillOrigin {
        /// Which origin.
        origin: usize,
        /// Which part.
        at: f64,
    },
}
