//! What a run tells.

use std::collections::BTreeMap;

use serde::Serialize;

use super::engine::{EPOCH, Ending, Simulation};
use super::limits::{MISSING_KEPT, STARVING_KEPT};
use super::tally::Curve;
use super::world::{Copy, Host, Nanos};

/// What happened in a run. Times are seconds of virtual time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What everything random was drawn from.
    pub seed: u64,
    /// When the run ended, in seconds after its start.
    pub ended_secs: f64,
    /// How it ended: `finished`, `starved`, `time is up`, `storm` or `stopped`.
    pub ending: String,
    /// The hosts that count: times from a host's first wish to the last byte of its last blob,
    /// divided by what its link alone takes, in the slower of its two directions.
    pub overall: Figures,
    /// Every group of hosts by itself, origins too.
    pub groups: Vec<GroupReport>,
    /// Every blob by itself.
    pub blobs: Vec<BlobReport>,
    /// Every host but the origins.
    pub hosts: Vec<HostReport>,
    /// The step of the curves in seconds: a tenth, and more in runs of more than an hour.
    pub curve_step_secs: f64,
    /// How many copies of blobs were finished by the end of each step.
    pub finished_curve: Vec<u64>,
    /// Bytes of pieces that left origins in each step.
    pub origin_bytes_curve: Vec<u64>,
    /// Bytes of pieces stored that came from origins.
    pub bytes_from_origins: u64,
    /// Bytes of pieces stored that came from other hosts.
    pub bytes_from_peers: u64,
    /// Bytes of pieces that came to connections that had been closed.
    pub bytes_wasted: u64,
    /// Pieces stored.
    pub pieces_stored: u64,
    /// Pieces that came twice.
    pub pieces_in_vain: u64,
    /// Pieces that were wrong.
    pub pieces_corrupt: u64,
    /// Announces to the trackers.
    pub announces: u64,
    /// Of them those before 70 % of the interval that trackers ask for, but for the first one that
    /// says that a blob is complete.
    pub announces_early: u64,
    /// Messages said over connections, requests among them.
    pub messages: u64,
    /// Connections that ended, by reason; one that ends is counted by each side.
    pub closes: BTreeMap<String, u64>,
    /// Handshakes that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Bans of peers that lied, by the hosts that run at the end; each for one blob.
    pub bans: u64,
    /// How often a host was sent so many wrong pieces of one blob by one that lies that it should
    /// ban it: three with flipped bytes, or a forged one.
    pub bans_due: u64,
    /// Of these times how often it did.
    pub bans_made: u64,
    /// Bytes that crossed each link between zones, there and back.
    pub zone_bytes: Vec<((usize, usize), [u64; 2])>,
    /// Events of the simulation.
    pub events: u64,
    /// Most calls to one host within a second.
    pub calls_per_sec_max: u64,
    /// Hosts that did not get what they want by the end, the first hundred.
    pub starving: Vec<Starving>,
    /// How many there are.
    pub starving_total: usize,
    /// Promises that were broken and counters that were wrong, the first ones.
    pub violations: Vec<String>,
    /// How many there were.
    pub violations_total: u64,
}

/// Times of several hosts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// How many hosts finished.
    pub hosts: usize,
    /// Half of them were not slower than this.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// A group of hosts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub policy: String,
    /// Whether its hosts are among those of [`Report::overall`].
    pub counted: bool,
    /// How many hosts it has.
    pub hosts: usize,
    /// Their times, divided by what the link alone takes.
    pub times: Figures,
    /// Seconds from wanting a blob to its first piece.
    pub first_piece_secs: Figures,
    /// Bytes of pieces they sent.
    pub bytes_sent: u64,
    /// Bytes of pieces they stored.
    pub bytes_stored: u64,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlobReport {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// Bytes of a piece.
    pub piece_len: u64,
    /// How many whole copies of it left origins.
    pub copies_from_origins: f64,
    /// Seconds from wanting it to its last byte.
    pub secs: Figures,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostReport {
    /// Its group's name.
    pub group: String,
    /// When it joined.
    pub joined_secs: f64,
    /// From its first wish to the last byte of its last blob; `None` if it did not get all.
    pub took_secs: Option<f64>,
    /// The same, divided by what its link alone takes.
    pub took_by_link: Option<f64>,
    /// Bytes of pieces it sent.
    pub bytes_sent: u64,
    /// Its blobs.
    pub blobs: Vec<CopyReport>,
}

/// A host's copy of a blob.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyReport {
    /// The number of the blob.
    pub blob: usize,
    /// When it was wanted.
    pub wanted_secs: Option<f64>,
    /// From then to its first piece.
    pub first_piece_secs: Option<f64>,
    /// From then to its last byte.
    pub took_secs: Option<f64>,
    /// Bytes from origins.
    pub bytes_from_origins: u64,
    /// Bytes from other hosts.
    pub bytes_from_peers: u64,
}

/// Someone who did not get what it wants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Starving {
    /// The host's address.
    pub host: String,
    /// Its group's name.
    pub group: String,
    /// The blob's name.
    pub blob: String,
    /// How many pieces it lacks.
    pub pieces_missing: u32,
    /// The first ones of them.
    pub first_missing: Vec<u32>,
    /// Open connections for the blob.
    pub conns: u32,
    /// How many of the hosts at their other ends have a piece that it lacks.
    pub conns_of_use: u32,
    /// Requests open.
    pub requests: u32,
    /// Why its peer gave up, if it did.
    pub dropped: Option<String>,
}

impl Report {
    /// Whether everyone who was to finish did, and every promise was kept.
    pub fn is_ok(&self) -> bool {
        self.ending == "finished" && self.starving_total == 0 && self.violations_total == 0
    }
}

impl Figures {
    /// Of any values, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(max) = values.last().copied() else { return Self::default() };
        let rank = |share: f64| {
            let place = (share * values.len() as f64).ceil() as usize;
            values[place.clamp(1, values.len()) - 1]
        };
        Self {
            hosts: values.len(),
            p50: rank(0.5),
            p99: rank(0.99),
            p999: rank(0.999),
            max,
            mean: values.iter().sum::<f64>() / values.len() as f64,
        }
    }
}

/// What has happened so far.
pub(super) fn of(simulation: &Simulation, ending: Option<Ending>) -> Report {
    let tally = &simulation.tally;
    let hosts: Vec<_> = simulation.hosts.iter().filter(|host| !host.origin).collect();
    let counted = hosts.iter().filter(|host| simulation.groups[host.group as usize].counted);
    let names = |counts: &BTreeMap<&'static str, u64>| {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let sum = |bytes: fn(&Copy) -> u64| simulation.copies.iter().map(bytes).sum();
    let (mut finished, mut origin_bytes) = (Curve::default(), tally.origin_bytes.clone());
    for at in simulation.copies.iter().filter_map(|copy| copy.finished_at) {
        finished.add(at - EPOCH, 1);
    }
    finished.match_step(&origin_bytes);
    origin_bytes.match_step(&finished);
    let mut sum_finished = 0;
    for count in &mut finished.counts {
        sum_finished += *count;
        *count = sum_finished;
    }
    let starving: Vec<_> =
        simulation.copies.iter().filter(|copy| is_starving(simulation, copy)).collect();
    Report {
        scenario: simulation.scenario.name.clone(),
        seed: simulation.seed,
        ended_secs: secs(simulation.now - EPOCH),
        ending: match ending {
            Some(Ending::Finished) => "finished",
            Some(Ending::Starved) => "starved",
            Some(Ending::TimeUp) => "time is up",
            Some(Ending::Storm) => "storm",
            None => "stopped",
        }
        .to_owned(),
        overall: Figures::of(counted.filter_map(|host| by_link(simulation, host)).collect()),
        groups: groups(simulation),
        blobs: blobs(simulation),
        curve_step_secs: secs(origin_bytes.step),
        finished_curve: finished.counts,
        origin_bytes_curve: origin_bytes.counts,
        bytes_from_origins: sum(|copy| copy.bytes_from_origins),
        bytes_from_peers: sum(|copy| copy.bytes_from_peers),
        bytes_wasted: tally.bytes_wasted,
        pieces_stored: tally.pieces_stored,
        pieces_in_vain: tally.pieces_in_vain,
        pieces_corrupt: tally.pieces_corrupt,
        announces: tally.announces,
        announces_early: tally.announces_early,
        messages: tally.messages,
        closes: names(&tally.closes),
        refused: names(&tally.refused),
        bans: simulation.hosts.iter().map(|host| host.tally.bans).sum(),
        bans_due: tally.bans_due,
        bans_made: tally.bans_made,
        zone_bytes: simulation.zones.bytes().collect(),
        events: tally.events,
        calls_per_sec_max: hosts_max(simulation, |host| host.lifetime().calls_max),
        starving_total: starving.len(),
        starving: starving
            .iter()
            .take(STARVING_KEPT)
            .map(|copy| starves(simulation, copy))
            .collect(),
        violations: simulation.audit.violations.clone(),
        violations_total: simulation.audit.violations_total,
        hosts: hosts.iter().map(|host| host_report(simulation, host)).collect(),
    }
}

fn hosts_max(simulation: &Simulation, of: impl Fn(&Host) -> u64) -> u64 {
    simulation.hosts.iter().map(of).max().unwrap_or(0)
}

/// From a host's first wish to its last byte, if it got all.
fn took(simulation: &Simulation, host: &Host) -> Option<Nanos> {
    let copies = || host.copies.iter().map(|copy| &simulation.copies[*copy as usize]);
    let first = copies().filter_map(|copy| copy.wanted_at).min()?;
    let mut last = first;
    for copy in copies() {
        last = last.max(copy.finished_at?);
    }
    Some(last - first)
}

fn by_link(simulation: &Simulation, host: &Host) -> Option<f64> {
    let copies = host.copies.iter().map(|copy| &simulation.copies[*copy as usize]);
    let bytes: u64 =
        copies.map(|copy| simulation.blobs[copy.blob as usize].geometry.blob_len()).sum();
    let rates = &simulation.groups[host.group as usize].rates;
    // What nobody sends nobody gets: of unequal directions the slower one is the bound.
    let rate = rates.down.bytes_per_sec.min(rates.up.bytes_per_sec);
    Some(secs(took(simulation, host)?) / (bytes as f64 / rate))
}

fn groups(simulation: &Simulation) -> Vec<GroupReport> {
    let group = |(at, group): (usize, &super::engine::GroupState)| {
        let hosts = || simulation.hosts.iter().filter(move |host| host.group as usize == at);
        let copies = hosts().flat_map(|host| &host.copies);
        let copies = copies.map(|copy| &simulation.copies[*copy as usize]);
        GroupReport {
            name: group.name.clone(),
            policy: group.policy.name(),
            counted: group.counted,
            hosts: hosts().count(),
            times: Figures::of(hosts().filter_map(|host| by_link(simulation, host)).collect()),
            first_piece_secs: Figures::of(copies.filter_map(first_piece).collect()),
            bytes_sent: hosts().map(|host| host.lifetime().bytes_sent).sum(),
            bytes_stored: hosts().map(|host| host.lifetime().bytes_stored).sum(),
        }
    };
    simulation.groups.iter().enumerate().map(group).collect()
}

fn blobs(simulation: &Simulation) -> Vec<BlobReport> {
    let mut times = vec![Vec::new(); simulation.blobs.len()];
    for copy in &simulation.copies {
        let group = simulation.hosts[copy.host as usize].group;
        if simulation.groups[group as usize].counted {
            times[copy.blob as usize].extend(copy_took(copy));
        }
    }
    let named = simulation.scenario.blobs.iter().zip(&simulation.blobs);
    named
        .zip(times)
        .map(|((blob, state), times)| BlobReport {
            name: blob.name.clone(),
            len: blob.len,
            piece_len: state.geometry.piece_len(),
            copies_from_origins: state.origin_bytes as f64 / blob.len as f64,
            secs: Figures::of(times),
        })
        .collect()
}

fn host_report(simulation: &Simulation, host: &Host) -> HostReport {
    let copies = host.copies.iter().map(|copy| &simulation.copies[*copy as usize]);
    HostReport {
        group: simulation.groups[host.group as usize].name.clone(),
        joined_secs: secs(host.joined_at.saturating_sub(EPOCH)),
        took_secs: took(simulation, host).map(secs),
        took_by_link: by_link(simulation, host),
        bytes_sent: host.lifetime().bytes_sent,
        blobs: copies
            .map(|copy| CopyReport {
                blob: copy.blob as usize,
                wanted_secs: copy.wanted_at.map(|at| secs(at - EPOCH)),
                first_piece_secs: first_piece(copy),
                took_secs: copy_took(copy),
                bytes_from_origins: copy.bytes_from_origins,
                bytes_from_peers: copy.bytes_from_peers,
            })
            .collect(),
    }
}

fn first_piece(copy: &Copy) -> Option<f64> {
    Some(secs(copy.first_at? - copy.wanted_at?))
}

fn copy_took(copy: &Copy) -> Option<f64> {
    Some(secs(copy.finished_at? - copy.wanted_at?))
}

fn is_starving(simulation: &Simulation, copy: &Copy) -> bool {
    let group = simulation.hosts[copy.host as usize].group;
    simulation.groups[group as usize].must_finish && copy.finished_at.is_none()
}

fn starves(simulation: &Simulation, copy: &Copy) -> Starving {
    let host = &simulation.hosts[copy.host as usize];
    let missing = || {
        let all = (0..copy.have.len()).map(kraken_core::PieceIndex);
        all.filter(|index| !copy.have.contains(*index))
    };
    let neighbours = host.conns.values().filter_map(|end| {
        let (it, other) = (&simulation.ends[*end as usize], &simulation.ends[(*end ^ 1) as usize]);
        (simulation.copies[it.copy as usize].blob == copy.blob)
            .then(|| &simulation.copies[other.copy as usize])
    });
    let of_use = neighbours.filter(|theirs| missing().any(|index| theirs.have.contains(index)));
    Starving {
        host: host.local.ip.clone(),
        group: simulation.groups[host.group as usize].name.clone(),
        blob: simulation.scenario.blobs[copy.blob as usize].name.clone(),
        pieces_missing: copy.have.len() - copy.have_count,
        first_missing: missing().take(MISSING_KEPT).map(|index| index.0).collect(),
        conns: copy.conns,
        conns_of_use: of_use.count() as u32,
        requests: copy.requests,
        dropped: copy.dropped.clone(),
    }
}

fn secs(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}
