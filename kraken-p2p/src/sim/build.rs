//! From a scenario to the tables of a run.

use kraken_core::piece::PieceLengths;
use kraken_core::rng::Rng;
use kraken_core::{Bitfield, Digest, Geometry, MetaInfo, PeerContext, PieceSums, Result};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::engine::{GroupState, Simulation, nanos};
use super::queue::Event;
use super::rate::Pipe;
use super::scenario::{Blob, Fate, Reading, Scenario, Spread, Want};
use super::trackers::Tracker;
use super::world::{
    BlobState, ConnIds, Copy, Host, HostTally, NEVER, Nanos, Past, Uplink, peer_info,
};

/// All tables, and the first events.
pub(super) fn simulation(scenario: &Scenario, seed: u64) -> Result<Simulation> {
    let mut rng = Rng::new(seed);
    let mut simulation = Simulation::with_tables(scenario, seed, Rng::new(rng.next()));
    for (at, blob) in scenario.blobs.iter().enumerate() {
        let state = blob_state(blob, at)?;
        simulation.blob_of.insert(state.digest(), at as u32);
        simulation.blobs.push(state);
    }
    for _ in 0..scenario.trackers.count {
        let (service, handout) = (scenario.trackers.service, scenario.trackers.handout.clone());
        simulation.trackers.push(Tracker::new(service, handout, rng.next()));
    }
    add_origins(&mut simulation, &mut rng);
    for at in 0..scenario.groups.len() {
        add_group(&mut simulation, at, &mut rng);
    }
    simulation.audit.copies_total = simulation.outstanding;
    Ok(simulation)
}

fn blob_state(blob: &Blob, at: usize) -> Result<BlobState> {
    let piece_len = blob.piece_len.unwrap_or_else(|| PieceLengths::default().for_blob(blob.len));
    let geometry = Geometry::new(blob.len, piece_len)?;
    let pieces = geometry.pieces();
    let sums = PieceSums { crc32: vec![0; pieces as usize], blake3: None };
    let digest = Digest::sha256(format!("{at} {}", blob.name).as_bytes());
    let meta = MetaInfo::new(digest, geometry, sums)?;
    Ok(BlobState { meta, geometry, pieces, origins: Vec::new(), origin_bytes: 0 })
}

fn add_origins(simulation: &mut Simulation, rng: &mut Rng) {
    let scenario = simulation.scenario.clone();
    for group in &scenario.origins {
        simulation.groups.push(GroupState {
            name: group.name.clone(),
            policy: group.policy.clone(),
            rates: group.rates,
            counted: false,
            origin: true,
            must_finish: false,
            replacements: None,
        });
        for _ in 0..group.count {
            let host = add_host(simulation, group.zone, Fate::Stays, rng.next());
            simulation.queue.push(simulation.now, Event::Join { host });
        }
    }
    let origins = simulation.hosts.len();
    for (at, blob) in scenario.blobs.iter().enumerate() {
        let holders = if blob.holders == 0 { origins } else { blob.holders };
        for nth in 0..holders {
            let host = (at * holders + nth) % origins;
            let context = context_of(&simulation.hosts[host]);
            simulation.blobs[at].origins.push(context);
            let have = Bitfield::full(simulation.blobs[at].pieces);
            add_copy(simulation, host as u32, at as u32, have, Reading::Whole);
        }
    }
}

/// What an origin says of itself.
fn context_of(host: &Host) -> PeerContext {
    PeerContext {
        ip: host.local.ip.clone(),
        port: host.local.port,
        peer_id: host.local.peer_id,
        zone: host.zone.to_string(),
        cluster: String::new(),
        origin: true,
    }
}

fn add_group(simulation: &mut Simulation, at: usize, rng: &mut Rng) {
    let group = simulation.scenario.groups[at].clone();
    let blobs = simulation.scenario.blobs.clone();
    let dies = matches!(group.fate, Fate::Hangs { .. } | Fate::Killed { .. });
    let replaced = matches!(group.fate, Fate::Killed { replaced: true, .. });
    let number = simulation.groups.len() as u32;
    let state = |name: String, dies: bool| GroupState {
        name,
        policy: group.policy.clone(),
        rates: group.rates,
        counted: group.counted
            && !dies
            && matches!(group.fate, Fate::Stays | Fate::Restarts { .. }),
        origin: false,
        must_finish: !dies,
        replacements: None,
    };
    let mut this = state(group.name.clone(), dies);
    this.replacements = replaced.then_some(number + 1);
    simulation.groups.push(this);
    let first = simulation.hosts.len() as u32;
    let mut joins = Vec::new();
    for _ in 0..group.count {
        let host = add_host(simulation, group.zone, group.fate, rng.next());
        simulation.hosts[host as usize].group = number;
        let join = simulation.now + sample(group.joins, rng);
        simulation.queue.push(join, Event::Join { host });
        if let Fate::Hangs { at } | Fate::Killed { at, .. } | Fate::Restarts { at, .. } = group.fate
        {
            let at = join + sample(at, rng);
            simulation.queue.push(at, Event::Fate { host });
        }
        joins.push(join);
    }
    if replaced {
        simulation.groups.push(state(format!("{}, replacements", group.name), false));
    }
    let only = match group.want {
        Want::All => None,
        Want::Only(only) => Some(only.into_iter().collect::<BTreeSet<_>>()),
    };
    for (blob, wish) in blobs.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !only.contains(&blob)) {
            continue;
        }
        let wanting = wish.wanting(group.count);
        let mut places = rng.distinct_below(group.count, wanting);
        places.sort_unstable();
        for place in places {
            let have = Bitfield::new(simulation.blobs[blob].pieces);
            let host = first + place as u32;
            let copy = add_copy(simulation, host, blob as u32, have, group.reading);
            let at = joins[place] + sample(wish.wanted_after, rng);
            simulation.queue.push(at, Event::Want { copy });
            // Of one that dies the copy of who takes its place must be finished.
            simulation.outstanding += usize::from(!dies || replaced);
        }
    }
}

/// A new, empty host joins in the place of one that was killed.
pub(super) fn replace(simulation: &mut Simulation, host: u32) {
    let dead = &simulation.hosts[host as usize];
    let Some(group) = simulation.groups[dead.group as usize].replacements else { return };
    let (zone, copies) = (dead.zone, dead.copies.clone());
    let seed = simulation.rng.next();
    let rates = simulation.groups[group as usize].rates;
    let host = push_host(simulation, group, zone, Fate::Stays, seed, rates);
    simulation.queue.push(simulation.now, Event::Join { host });
    for copy in copies {
        let dead = &simulation.copies[copy as usize];
        let (blob, reading) = (dead.blob, dead.reading);
        let have = Bitfield::new(dead.have.len());
        let copy = add_copy(simulation, host, blob, have, reading);
        simulation.queue.push(simulation.now, Event::Want { copy });
    }
}

fn add_copy(
    simulation: &mut Simulation,
    host: u32,
    blob: u32,
    have: Bitfield,
    reading: Reading,
) -> u32 {
    let copy = simulation.copies.len() as u32;
    simulation.copies.push(Copy::new(host, blob, have, reading));
    simulation.hosts[host as usize].copies.push(copy);
    copy
}

/// A host of the group that was added last.
fn add_host(simulation: &mut Simulation, zone: usize, fate: Fate, seed: u64) -> u32 {
    let group = simulation.groups.len() - 1;
    let rates = simulation.groups[group].rates;
    push_host(simulation, group as u32, zone, fate, seed, rates)
}

fn push_host(
    simulation: &mut Simulation,
    group: u32,
    zone: usize,
    fate: Fate,
    seed: u64,
    rates: super::scenario::LinkRates,
) -> u32 {
    let host = simulation.hosts.len();
    let origin = simulation.groups[group as usize].origin;
    let slice_len = rates.slice_len(&simulation.scenario.network);
    simulation.hosts.push(Host {
        group,
        origin,
        local: peer_info(host, origin),
        zone,
        peer: None,
        limits: super::peer::Limits::default(),
        writes_in_order: false,
        buffers_pieces: false,
        keeps_stalled: false,
        verifies_blobs: true,
        hung: false,
        fate,
        life: 0,
        seed,
        joined_at: 0,
        copies: Vec::new(),
        conns: BTreeMap::new(),
        dials: BTreeMap::new(),
        given: ConnIds::default(),
        up: Uplink {
            pipe: Pipe::new(rates.up),
            slice_len,
            ready: VecDeque::new(),
            blocked: Vec::new(),
            current: None,
            wake_at: NEVER,
            sent: 0,
            pieces: 0,
        },
        down: Pipe::new(rates.down),
        window: rates.window(&simulation.scenario.network),
        slice_in: rates.slice_in(&simulation.scenario.network),
        timer_at: NEVER,
        look_at: 0,
        tally: HostTally::default(),
        before: Past::default(),
    });
    host as u32
}

fn sample(spread: Spread, rng: &mut Rng) -> Nanos {
    nanos(spread.from) + (nanos(spread.over) as f64 * rng.fraction()) as Nanos
}
