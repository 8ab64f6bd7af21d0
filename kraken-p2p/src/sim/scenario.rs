//! What is simulated: hosts, links, blobs, and what goes wrong.

mod check;

use std::sync::Arc;
use std::time::Duration;

use kraken_core::Result;

use super::limits::{INTERVAL_MAX, SLICE_MIN, SLICE_SECS, WINDOW_SECS};
use super::peer::{Policy, SwarmPolicy};
use crate::tracker::HandoutConfig;

/// A set-up: plain data, to be filled in and given to [`super::run`].
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: String,
    /// The blobs, all of them complete at their origins from the start.
    pub blobs: Vec<Blob>,
    /// The hosts that want blobs.
    pub groups: Vec<Group>,
    /// The hosts that have them.
    pub origins: Vec<OriginGroup>,
    /// Latency, losses, and how links carry pieces.
    pub network: Network,
    /// Thin links between zones; two zones without one are like one zone.
    pub zone_links: Vec<ZoneLink>,
    /// The trackers.
    pub trackers: Trackers,
    /// The run ends, and says who starves, when for so long nobody has got a byte of a piece that
    /// it lacks; bytes of wrong pieces do not count.
    pub patience: Duration,
    /// The run ends after this much virtual time.
    pub time_max: Duration,
}

/// A blob.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    /// What it is called in reports.
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// Bytes of a piece; `None` for what origins choose by the blob's length.
    pub piece_len: Option<u64>,
    /// Which share of the hosts want it, at random: from 0 to 1.
    pub wanted_by: f64,
    /// When they want it, after they have joined.
    pub wanted_after: Spread,
    /// How many origins have it, 0 for all; blobs are dealt out to origins in turn.
    pub holders: usize,
}

/// Hosts that are alike and want blobs.
#[derive(Debug, Clone)]
pub struct Group {
    /// What it is called in reports.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Their links.
    pub rates: LinkRates,
    /// When they join, after the start of the run.
    pub joins: Spread,
    /// Where they are; any number.
    pub zone: usize,
    /// What becomes of them.
    pub fate: Fate,
    /// How their blobs are read.
    pub reading: Reading,
    /// Which of the blobs they may want.
    pub want: Want,
    /// What they run.
    pub policy: Arc<dyn Policy>,
    /// Whether their times count in the report's overall figures. Those of hosts that are to die
    /// or that lie never do, nor those of replacements; those of hosts that restart do, with the
    /// time for which they are down.
    pub counted: bool,
}

/// Origins that are alike. They are there from the start, and complete.
#[derive(Debug, Clone)]
pub struct OriginGroup {
    /// What it is called in reports.
    pub name: String,
    /// How many.
    pub count: usize,
    /// Their links.
    pub rates: LinkRates,
    /// Where they are.
    pub zone: usize,
    /// What they run.
    pub policy: Arc<dyn Policy>,
}

/// The two directions of a host's link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkRates {
    /// What the host sends.
    pub up: Rate,
    /// What it receives.
    pub down: Rate,
    /// The uplink sends whole pieces one after the other, as uber/kraken's own limiter makes it;
    /// else the pieces that go out at once take turns slice by slice, as TCP's flows do.
    pub whole_pieces: bool,
}

/// How fast one direction of a link is: a token bucket on a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Bytes a second in the long run.
    pub bytes_per_sec: f64,
    /// Bytes that may go at the line's rate after a pause; 0 for none.
    pub burst: u64,
    /// Bytes a second at most; used only with a burst.
    pub line_bytes_per_sec: f64,
}

/// Points in time, evenly at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// The first one.
    pub from: Duration,
    /// How much later the last one is.
    pub over: Duration,
}

/// What becomes of the hosts of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// They stay and seed until the end.
    #[default]
    Stays,
    /// They stop answering at a time after their start, with all connections open.
    Hangs {
        /// When.
        at: Spread,
    },
    /// Their process is killed: connections break, nobody listens. Those that have everything by
    /// then are killed too.
    Killed {
        /// When, after their start.
        at: Spread,
        /// Whether a new, empty host joins in the same moment in each one's place; it stays.
        replaced: bool,
    },
    /// Their process is killed and started again with what is on its disk.
    Restarts {
        /// When, after their start.
        at: Spread,
        /// For how long nobody listens.
        down: Duration,
    },
    /// They flip bytes in every piece they send.
    Lies {
        /// So well that CRC32 matches and only BLAKE3 tells. Whoever gets one is told that it is
        /// wrong, whatever it runs: uber/kraken's own agents, which check CRC32 alone, would keep
        /// it, and what becomes of them then is not simulated.
        forged: bool,
    },
}

/// How hosts read a blob while it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// As the node's downloads and streams of whole blobs ask for it: `0..blob_len`.
    #[default]
    Whole,
    /// A reader of ranges: it waits for so many bytes from the first that it lacks.
    Window {
        /// How many.
        bytes: u64,
    },
}

/// Which of the blobs a group may want; each one's own share applies besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Want {
    /// All of them.
    #[default]
    All,
    /// These, by their numbers.
    Only(Vec<usize>),
}

/// What is between hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// One way.
    pub latency: Duration,
    /// Bytes of a piece between two looks at whose turn it is, and between slow links no more than
    /// either takes in 50 ms: more is quicker to simulate and coarser. The node hands 256 KiB to
    /// the system at once. With 1 MiB, at hosts of 300 MB/s, times differ by less than one in a
    /// hundred, those of a small blob by up to four; where few hosts are ten times slower the last
    /// ones come up to a tenth sooner than with 256 KiB.
    pub slice_len: u64,
    /// Bytes of one connection on the way that its receiver has not taken: what TCP has in flight
    /// and in its buffers. On slow downlinks no more than come in a quarter of a second; but two
    /// slices at least, or two whole pieces from who sends them whole.
    pub window: u64,
    /// How much the time that a slice takes on a link may differ from what its rate says: ± this
    /// share, at random.
    pub jitter: f64,
    /// The mean life of connections, which break at random; `None` for no losses.
    pub conn_life: Option<Duration>,
    /// From a piece's last byte to its mark on disk: hashing and writing.
    pub piece_time: Duration,
    /// From the last piece to the verified blob.
    pub commit_time: Duration,
}

/// A link shared by all hosts of two zones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZoneLink {
    /// The two zones.
    pub zones: (usize, usize),
    /// Bytes a second, each way.
    pub bytes_per_sec: f64,
    /// One way, in place of the network's.
    pub latency: Duration,
}

/// The trackers; each blob has one, by its number. All of them are as far from every host as
/// hosts of one zone are from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trackers {
    /// How many.
    pub count: usize,
    /// How long each works on an announce; one after the other.
    pub service: Duration,
    /// How they answer.
    pub handout: HandoutConfig,
}

impl Scenario {
    /// `hosts` agents that run the production code with its defaults, 5 origins at 1.2 GB/s of
    /// which 3 hold each blob, one blob of 1 GB; all links and delays as in [`Network::default`].
    pub fn new(name: &str, hosts: usize) -> Self {
        Self {
            name: name.to_owned(),
            blobs: vec![Blob::new("blob", 1_000_000_000)],
            groups: vec![Group::new("agents", hosts)],
            origins: vec![OriginGroup::new(5, LinkRates::symmetric(1.2e9))],
            network: Network::default(),
            zone_links: Vec::new(),
            trackers: Trackers::default(),
            patience: Duration::from_secs(120),
            time_max: Duration::from_secs(4 * 3600),
        }
    }

    /// uber/kraken's published test: 3 GB in 2 layers of 4 MiB pieces, `hosts` agents at 300 MB/s,
    /// joining within `joins`.
    pub fn readme(hosts: usize, joins: Duration) -> Self {
        let layer = |name| Blob { piece_len: Some(4 << 20), ..Blob::new(name, 1_500_000_000) };
        let mut scenario = Self::new("readme", hosts);
        scenario.blobs = vec![layer("layer 1"), layer("layer 2")];
        scenario.groups[0].joins = Spread::over(joins);
        if hosts >= 1000 {
            // A quarter of the events.
            scenario.network.slice_len = 1 << 20;
        }
        scenario
    }

    /// Whether it can be run; what is wrong with it and where.
    pub fn check(&self) -> Result<()> {
        check::scenario(self)
    }
}

impl Blob {
    /// Wanted by everyone at once, held by three origins, pieces by length.
    pub fn new(name: &str, len: u64) -> Self {
        Self {
            name: name.to_owned(),
            len,
            piece_len: None,
            wanted_by: 1.0,
            wanted_after: Spread::default(),
            holders: 3,
        }
    }

    /// How many of so many hosts want it.
    pub(super) fn wanting(&self, hosts: usize) -> usize {
        (self.wanted_by * hosts as f64).round() as usize
    }
}

impl Group {
    /// Agents at 300 MB/s that join at the start, want all and stay.
    pub fn new(name: &str, count: usize) -> Self {
        Self {
            name: name.to_owned(),
            count,
            rates: LinkRates::symmetric(300e6),
            joins: Spread::default(),
            zone: 0,
            fate: Fate::Stays,
            reading: Reading::Whole,
            want: Want::All,
            policy: Arc::new(SwarmPolicy::default()),
            counted: true,
        }
    }
}

impl OriginGroup {
    /// Origins that run the production code.
    pub fn new(count: usize, rates: LinkRates) -> Self {
        Self {
            name: "origins".to_owned(),
            count,
            rates,
            zone: 0,
            policy: Arc::new(SwarmPolicy::origin()),
        }
    }
}

impl Trackers {
    /// The longest interval: hosts believe none that is longer.
    pub const INTERVAL_MAX: Duration = INTERVAL_MAX;
}

impl Network {
    /// Bytes of a piece that go over a link of this pace before another one's may.
    pub(super) fn slice_on(&self, bytes_per_sec: f64) -> u64 {
        let soon = (bytes_per_sec * SLICE_SECS) as u64;
        self.slice_len.min(soon.max(SLICE_MIN))
    }
}

impl LinkRates {
    /// Bytes of a piece that go out before another one's may.
    pub fn slice_len(&self, network: &Network) -> u64 {
        if self.whole_pieces {
            return u64::MAX;
        }
        network.slice_on(self.up.bytes_per_sec)
    }

    /// Bytes of a piece that come to who has this link before its sender looks whose turn it is.
    pub(super) fn slice_in(&self, network: &Network) -> u64 {
        network.slice_on(self.down.bytes_per_sec)
    }

    /// Bytes of a connection that may be on the way to who has this link.
    pub(super) fn window(&self, network: &Network) -> u64 {
        let soon = (self.down.bytes_per_sec * WINDOW_SECS) as u64;
        network.window.min(soon.max(SLICE_MIN))
    }

    /// The same both ways, slice by slice, without bursts.
    pub fn symmetric(bytes_per_sec: f64) -> Self {
        Self { up: Rate::flat(bytes_per_sec), down: Rate::flat(bytes_per_sec), whole_pieces: false }
    }
}

impl Rate {
    /// Without bursts.
    pub fn flat(bytes_per_sec: f64) -> Self {
        Self { bytes_per_sec, burst: 0, line_bytes_per_sec: bytes_per_sec }
    }
}

impl Spread {
    /// All at one time.
    pub fn at(from: Duration) -> Self {
        Self { from, over: Duration::ZERO }
    }

    /// From the beginning on.
    pub fn over(over: Duration) -> Self {
        Self { from: Duration::ZERO, over }
    }
}

impl Default for Network {
    /// A data centre: 0.25 ms, slices of 256 KiB, 3 MiB in flight a connection (half of what Linux
    /// lets a receive buffer grow to), nothing lost.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(250),
            slice_len: 256 << 10,
            window: (3 << 20) + (64 << 10),
            jitter: 0.0,
            conn_life: None,
            piece_time: Duration::ZERO,
            commit_time: Duration::ZERO,
        }
    }
}

impl Default for Trackers {
    /// Five, which take 40 µs for an announce: what this project's does on one processor (`kraken
    /// bench S8`, 25,000 a second).
    fn default() -> Self {
        let handout = HandoutConfig::default();
        Self { count: 5, service: Duration::from_micros(40), handout }
    }
}
