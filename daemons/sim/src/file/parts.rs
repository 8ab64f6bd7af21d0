//! The parts of a scenario: blobs, hosts, origins, what is between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kraken_common::upstream::{Place, quote};
use kraken_core::Geometry;
use kraken_core::piece::PieceLengths;
use kraken_p2p::sim::{
    Blob, Fate, Group, LinkRates, Network, OriginGroup, Rate, Reading, Trackers, Want, ZoneLink,
};
use kraken_p2p::tracker::HandoutPolicy;

use super::Runs;
use super::keys::Keys;
use super::values;
use crate::limits::{BLOBS_MAX, GROUPS_MAX, HOSTS_MAX, ORIGINS_MAX, TRACKERS_MAX};
use crate::policy::PolicyName;

/// The blobs; there are so many origins.
pub(super) fn blobs(keys: &mut Keys<'_>, origins: usize) -> Vec<Blob> {
    let mut blobs = Vec::new();
    let mut names = BTreeSet::new();
    for mut keys in keys.needed_maps("blobs") {
        let name = keys.placed("name", values::name);
        let (base, name_place) = name.unwrap_or_else(|| ("blob".to_owned(), keys.place));
        let count = keys.placed("count", values::count);
        let sizes = keys.needed("size", values::sizes);
        let piece_len = piece_len(&mut keys);
        let wanted_by = keys.value("wanted_by", values::share).unwrap_or(1.0);
        let wanted_after = keys.value("wanted", values::spread).unwrap_or_default();
        let holders = keys.placed("holders", holders);
        let (count, place) = count.unwrap_or((1, keys.place));
        if count > BLOBS_MAX - blobs.len().min(BLOBS_MAX) {
            keys.wrong_at(place, &format!("count: more than {BLOBS_MAX} blobs"));
            keys.end();
            continue;
        }
        if let Some((holders, place)) = holders
            && holders > origins
        {
            keys.wrong_at(place, &format!("holders: there are {origins} origins"));
        }
        let holders = holders.map_or_else(|| HOLDERS.min(origins), |(holders, _)| holders);
        if let Some(((least, most), place)) = sizes {
            let wrong = [least, most].into_iter().find_map(|len| {
                let pieces = piece_len.unwrap_or_else(|| PieceLengths::default().for_blob(len));
                Geometry::new(len, pieces).err()
            });
            if let Some(error) = wrong {
                keys.wrong_at(place, &format!("size: {error}"));
            }
            let named = |at| if count == 1 { base.clone() } else { format!("{base} {}", at + 1) };
            let these = (0..count).map(|at| Blob {
                name: named(at),
                len: between(least, most, at, count),
                piece_len,
                wanted_by,
                wanted_after,
                holders,
            });
            let these: Vec<Blob> = these.collect();
            if let Some(taken) = these.iter().find(|blob| !names.insert(blob.name.clone())) {
                let what = format!("name: another blob is called {:?} already", taken.name);
                keys.wrong_at(name_place, &what);
            }
            blobs.extend(these);
        }
        keys.end();
    }
    blobs
}

/// The hosts, and where the largest number of them is written.
pub(super) fn groups(keys: &mut Keys<'_>, blobs: &[Blob]) -> (Vec<(Group, Runs)>, Option<Place>) {
    let mut groups: Vec<(Group, Runs)> = Vec::new();
    let mut most: Option<(usize, Place)> = None;
    let mut total = 0_usize;
    let named = Named::new(blobs);
    for (at, mut keys) in keys.needed_maps("hosts").into_iter().enumerate() {
        if at == GROUPS_MAX {
            keys.wrong(&format!("hosts: more than {GROUPS_MAX} groups"));
            break;
        }
        let name = keys.placed("name", values::name);
        let (name, place) = name.unwrap_or_else(|| ("agents".to_owned(), keys.place));
        if groups.iter().any(|(group, _)| group.name == name) {
            keys.wrong_at(place, &format!("name: another group is called {name:?} already"));
        }
        let count = keys.needed("count", values::count);
        if let Some((count, place)) = count {
            total = total.saturating_add(count);
            if total > HOSTS_MAX {
                keys.wrong_at(place, &format!("count: more than {HOSTS_MAX} hosts"));
            }
            if most.as_ref().is_none_or(|(most, _)| count > *most) {
                most = Some((count, place.clone()));
            }
        }
        let runs = runs(&mut keys);
        let rates = rates(&mut keys, runs);
        let group = Group {
            count: count.map_or(1, |(count, _)| count),
            rates,
            joins: keys.value("joins", values::spread).unwrap_or_default(),
            zone: keys.value("zone", values::number).unwrap_or(0),
            fate: fate(&mut keys),
            reading: match keys.value("reading_window", values::size) {
                Some(bytes) => Reading::Window { bytes },
                None => Reading::Whole,
            },
            want: wants(&mut keys, &named),
            policy: runs.policy.agent(),
            counted: keys.value("counted", values::flag).unwrap_or(true),
            ..Group::new(&name, 1)
        };
        groups.push((group, runs));
        keys.end();
    }
    (groups, most.map(|(_, place)| place))
}

/// The origins.
pub(super) fn origins(keys: &mut Keys<'_>) -> Vec<(OriginGroup, Runs)> {
    let mut groups = Vec::new();
    let mut total = 0_usize;
    for mut keys in keys.needed_maps("origins") {
        let name = keys.value("name", values::name).unwrap_or_else(|| "origins".to_owned());
        let count = keys.needed("count", values::count);
        if let Some((count, place)) = count {
            total = total.saturating_add(count);
            if total > ORIGINS_MAX {
                keys.wrong_at(place, &format!("count: more than {ORIGINS_MAX} origins"));
            }
        }
        let runs = runs(&mut keys);
        let rates = rates(&mut keys, runs);
        let count = count.map_or(1, |(count, _)| count);
        let zone = keys.value("zone", values::number).unwrap_or(0);
        let policy = runs.policy.origin();
        let group = OriginGroup { name, zone, policy, ..OriginGroup::new(count, rates) };
        groups.push((group, runs));
        keys.end();
    }
    groups
}

/// What is between hosts.
pub(super) fn network(keys: &mut Keys<'_>) -> Network {
    let mut network = Network::default();
    let Some(mut keys) = keys.map("network") else { return network };
    if let Some(round_trip) = keys.value("round_trip", values::some_time) {
        network.latency = round_trip / 2;
    }
    if let Some(slice) = keys.value("slice", values::portion) {
        network.slice_len = slice;
    }
    if let Some(window) = keys.value("window", values::portion) {
        network.window = window;
    }
    if let Some((jitter, place)) = keys.placed("jitter", values::share) {
        if jitter >= 1.0 {
            keys.wrong_at(place, "jitter: it must be below 100%");
        }
        network.jitter = jitter;
    }
    network.conn_life = keys.value("conn_life", values::some_time);
    if let Some(time) = keys.value("piece_time", values::time) {
        network.piece_time = time;
    }
    if let Some(time) = keys.value("commit_time", values::time) {
        network.commit_time = time;
    }
    if network.latency.is_zero() {
        keys.wrong("round_trip: it must be 2ns at least");
    }
    keys.end();
    network
}

/// Thin links between zones.
pub(super) fn zone_links(keys: &mut Keys<'_>) -> Vec<ZoneLink> {
    let mut links: Vec<ZoneLink> = Vec::new();
    for mut keys in keys.maps("zone_links") {
        let between = keys.needed("between", |text| match text.split_once(" and ") {
            Some((from, to)) => Ok((values::number(from)?, values::number(to)?)),
            None => Err("write it like \"0 and 1\"".to_owned()),
        });
        let rate = keys.needed("link", values::rate);
        let round_trip = keys.needed("round_trip", values::some_time);
        if let (Some((zones, place)), Some((bytes_per_sec, _)), Some((round_trip, _))) =
            (between, rate, round_trip)
        {
            let back = (zones.1, zones.0);
            if zones.0 == zones.1 {
                keys.wrong_at(place, "between: it is one zone");
            } else if links.iter().any(|link| link.zones == zones || link.zones == back) {
                keys.wrong_at(place, "between: these zones have a link already");
            }
            links.push(ZoneLink { zones, bytes_per_sec, latency: round_trip / 2 });
        }
        keys.end();
    }
    links
}

/// The trackers.
pub(super) fn trackers(keys: &mut Keys<'_>) -> Trackers {
    let mut trackers = Trackers::default();
    let Some(mut keys) = keys.map("trackers") else { return trackers };
    if let Some((count, place)) = keys.placed("count", values::count) {
        if count > TRACKERS_MAX {
            keys.wrong_at(place, &format!("count: more than {TRACKERS_MAX} trackers"));
        }
        trackers.count = count;
    }
    if let Some(service) = keys.value("service", values::time) {
        trackers.service = service;
    }
    if let Some((interval, place)) = keys.placed("interval", values::some_time) {
        if interval > Trackers::INTERVAL_MAX {
            let most = Trackers::INTERVAL_MAX;
            keys.wrong_at(place, &format!("interval: no host believes more than {most:?}"));
        }
        trackers.handout.interval = interval;
    }
    let policies = [("mixed", HandoutPolicy::Mixed), ("completeness", HandoutPolicy::Completeness)];
    if let Some(bridges) = keys.value("zone_bridges", values::number) {
        trackers.handout.zone_bridges = bridges;
    }
    if let Some(policy) = keys.value("handout", |text| values::one_of(text, &policies)) {
        trackers.handout.policy = policy;
    }
    keys.end();
    trackers
}

/// The length of a blob's pieces, if it is given and possible.
fn piece_len(keys: &mut Keys<'_>) -> Option<u64> {
    let (piece_len, place) = keys.placed("piece", values::piece)?;
    // Whether so many of them are too many is the size's affair.
    match Geometry::new(0, piece_len?) {
        Ok(_) => piece_len,
        Err(error) => {
            keys.wrong_at(place, &format!("piece: {error}"));
            None
        }
    }
}

fn runs(keys: &mut Keys<'_>) -> Runs {
    let policies = PolicyName::ALL.map(|policy| (policy.as_str(), policy));
    let policy = keys.value("policy", |text| values::one_of(text, &policies));
    let uplinks = [("slices", false), ("pieces", true)];
    let whole_pieces = keys.value("uplink", |text| values::one_of(text, &uplinks));
    Runs { policy: policy.unwrap_or(PolicyName::Swarm), whole_pieces }
}

fn rates(keys: &mut Keys<'_>, runs: Runs) -> LinkRates {
    let both = keys.has("link");
    if both && (keys.has("up") || keys.has("down")) {
        keys.wrong("link is both directions: give it, or up and down");
    }
    let ways = keys.has("up") && keys.has("down");
    if !both && !ways {
        keys.wrong("link is missing, or up and down");
    }
    let link = keys.value("link", values::rate);
    let [up, down] = ["up", "down"].map(|way| keys.value(way, values::rate).or(link));
    let [up, down] = [up, down].map(|rate| rate.unwrap_or(ANY_RATE));
    let mut rates = LinkRates { up: Rate::flat(up), ..LinkRates::symmetric(down) };
    rates.whole_pieces = runs.sends_whole_pieces();
    if let Some(((burst, line), place)) = keys.placed("burst", values::burst) {
        if line < up.max(down) {
            keys.wrong_at(place, "burst: the line is slower than the link");
        }
        for rate in [&mut rates.up, &mut rates.down] {
            (rate.burst, rate.line_bytes_per_sec) = (burst, line);
        }
    }
    rates
}

fn fate(keys: &mut Keys<'_>) -> Fate {
    let fates = ["hangs", "killed", "restarts", "lies"];
    let given: Vec<&str> = fates.into_iter().filter(|fate| keys.has(fate)).collect();
    if given.len() > 1 {
        keys.wrong(&format!("{} cannot be had together", given.join(" and ")));
    }
    for (word, fate) in [("replaced", "killed"), ("down_for", "restarts")] {
        if keys.has(word) && !keys.has(fate) {
            keys.wrong(&format!("{word} says nothing without {fate}"));
        }
    }
    let hangs = keys.value("hangs", values::spread);
    let killed = keys.value("killed", values::spread);
    let replaced = keys.value("replaced", values::flag).unwrap_or(false);
    let restarts = keys.value("restarts", values::spread);
    let down = keys.value("down_for", values::some_time).unwrap_or(DOWN_FOR);
    let lies = [("flipped-bits", false), ("forged-pieces", true)];
    let lies = keys.value("lies", |text| values::one_of(text, &lies));
    match (hangs, killed, restarts, lies) {
        (Some(at), ..) => Fate::Hangs { at },
        (_, Some(at), ..) => Fate::Killed { at, replaced },
        (_, _, Some(at), _) => Fate::Restarts { at, down },
        (.., Some(forged)) => Fate::Lies { forged },
        _ => Fate::Stays,
    }
}

fn wants(keys: &mut Keys<'_>, named: &Named<'_>) -> Want {
    let Some(names) = keys.words("wants") else { return Want::All };
    let (mut only, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (name, place) in names {
        match named.blobs(name) {
            [] => keys.wrong_at(place, &format!("wants: no blob is called {}", quote(name))),
            blobs if seen.insert(name) => only.extend(blobs),
            _ => {}
        }
    }
    Want::Only(only.into_iter().collect())
}

/// Blobs by their names, and those of one kind by the name that they have without their numbers.
struct Named<'a> {
    one: BTreeMap<&'a str, usize>,
    numbered: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Named<'a> {
    fn new(blobs: &'a [Blob]) -> Self {
        let one = blobs.iter().enumerate().map(|(at, blob)| (blob.name.as_str(), at)).collect();
        let mut numbered: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, blob) in blobs.iter().enumerate() {
            if let Some((kind, number)) = blob.name.rsplit_once(' ')
                && number.parse::<usize>().is_ok()
            {
                numbered.entry(kind).or_default().push(at);
            }
        }
        Self { one, numbered }
    }

    /// The blob of just that name, or else those that are so called with a number.
    fn blobs(&self, name: &str) -> &[usize] {
        match self.one.get(name) {
            Some(at) => std::slice::from_ref(at),
            None => self.numbered.get(name).map_or(&[], Vec::as_slice),
        }
    }
}

fn holders(text: &str) -> Result<usize, String> {
    if text == "all" { Ok(0) } else { values::count(text) }
}

/// The length of one of several blobs whose lengths are spread evenly.
fn between(least: u64, most: u64, at: usize, count: usize) -> u64 {
    if count < 2 {
        return least;
    }
    let part = at as f64 / (count - 1) as f64;
    least + ((most - least) as f64 * part).round() as u64
}

/// How many origins hold a blob if nothing is said.
const HOLDERS: usize = 3;

/// In place of one that is wrong.
const ANY_RATE: f64 = 1e6;

/// How long a process that is started again is away if nothing is said.
const DOWN_FOR: Duration = Duration::from_secs(1);
