//! Checks from outside: what a peer promises and counts is compared with what it was seen to do.

use kraken_core::PieceIndex;

use super::carried::Fetched;
use super::engine::Simulation;
use super::limits::{EARLY_AGAIN, EARLY_ANNOUNCES_MAX, VIOLATIONS_KEPT};
use super::scenario::{Fate, Rate};
use super::world::{Host, Nanos};
use crate::swarm::ConnId;
use crate::wire::Message;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The first findings, and how many there were.
    pub(super) violations: Vec<String>,
    pub(super) violations_total: u64,
    /// The run is not worth going on with.
    pub(super) storm: bool,
    /// Copies that must be finished.
    pub(super) copies_total: usize,
}

impl Audit {
    pub(super) fn violate(&mut self, host: &Host, what: &str) {
        self.violations_total += 1;
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(format!("host {}: {what}", host.local.ip));
        }
    }

    /// No host's doing.
    pub(super) fn storm_of_all(&mut self, what: &str) {
        self.violations_total += 1;
        self.violations.truncate(VIOLATIONS_KEPT - 1);
        self.violations.push(what.to_owned());
        self.storm = true;
    }

    pub(super) fn storm(&mut self, host: &Host, what: &str) {
        self.violate(host, what);
        self.storm = true;
    }
}

/// Limits.
impl Simulation {
    pub(super) fn note_announce(&mut self, copy: u32, complete: bool) {
        self.tally.announces += 1;
        let it = &mut self.copies[copy as usize];
        let host = &mut self.hosts[it.host as usize];
        host.tally.announces += 1;
        let interval = super::engine::nanos(self.scenario.trackers.handout.interval);
        // The first one that says so is what the tracker waits for.
        let tells = complete && !std::mem::replace(&mut it.announced_complete, complete);
        let Some(before) = it.announced_at.replace(self.now) else { return };
        let intervals = (self.now - before) as f64 / interval.max(1) as f64;
        it.early_left = (it.early_left + intervals * EARLY_AGAIN).min(EARLY_ANNOUNCES_MAX);
        if intervals >= EARLY || tells {
            return;
        }
        self.tally.announces_early += 1;
        let was_allowed = it.early_left >= 0.0;
        it.early_left -= 1.0;
        if was_allowed && it.early_left < 0.0 {
            self.audit.violate(host, "announces too often too early");
        }
    }

    /// A host gives an id to a connection; whether it never did before.
    pub(super) fn note_conn_id(&mut self, host: u32, conn: ConnId) -> bool {
        let it = &mut self.hosts[host as usize];
        let is_new = it.given.insert(conn);
        if !is_new {
            self.audit.violate(it, &format!("uses {conn:?} twice"));
        }
        is_new
    }

    /// A host dials for a copy.
    pub(super) fn note_dial(&mut self, host: u32, copy: u32) {
        let it = &self.hosts[host as usize];
        let dials = it.dials.values().filter(|dialed| **dialed == Some(copy)).count();
        let conns = self.copies[copy as usize].conns as usize;
        if dials > it.limits.dials_per_torrent {
            self.audit.violate(it, &format!("{dials} dials of a torrent"));
        }
        if conns + dials > it.limits.conns_once_dialed {
            let what = format!("dials with {conns} connections and {dials} dials of a torrent");
            self.audit.violate(it, &what);
        }
    }

    pub(super) fn note_open(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        let copy = &mut self.copies[it.copy as usize];
        copy.conns += 1;
    }

    /// A host is done with a connection that was opened: it may have closed another one for it.
    pub(super) fn check_conns(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        let (host, conns) = (&self.hosts[it.host as usize], self.copies[it.copy as usize].conns);
        if conns as usize > host.limits.conns_per_torrent {
            self.audit.violate(host, &format!("{conns} connections of a torrent"));
        }
    }

    pub(super) fn note_shut(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        let copy = &mut self.copies[it.copy as usize];
        copy.conns -= 1;
        copy.requests -= it.asked.len() as u32;
    }

    /// An end says something.
    pub(super) fn note_said(&mut self, end: u32, message: &Message) {
        self.tally.messages += 1;
        let it = &mut self.ends[end as usize];
        let host = it.host;
        match message {
            Message::PieceRequest { index, .. } => {
                if it.asked.is_empty() && !it.took_back {
                    it.heard_at = self.now;
                }
                it.asked.push(index.0);
                let this = it.copy;
                if self.copies[this as usize].requests == 0 {
                    self.note_fetching(this);
                }
                self.copies[this as usize].requests += 1;
                self.check_requests(end, index.0);
                self.count_ask(host);
            }
            Message::CancelPiece { index } => {
                it.took_back = true;
                let was_asked = it.asked.contains(&index.0);
                let copy = &mut self.copies[it.copy as usize];
                if was_asked && !copy.have.contains(*index) && !copy.moved.contains(&index.0) {
                    copy.moved.push(index.0);
                }
                self.note_late(end);
                self.note_unasked(end, index.0);
                self.count_ask(host);
            }
            Message::Error { index, .. } => it.owed.retain(|owed| *owed != index.0),
            _ => {}
        }
    }

    /// An end hears something.
    pub(super) fn note_heard(&mut self, end: u32, message: &Message) {
        match message {
            Message::PieceRequest { index, .. } => {
                let owed = &mut self.ends[end as usize].owed;
                if !owed.contains(&index.0) {
                    owed.push(index.0);
                }
            }
            Message::Error { index, .. } => self.note_unasked(end, index.0),
            Message::AnnouncePiece { .. } => {
                let it = &mut self.ends[end as usize];
                it.told += 1;
                if it.told > self.copies[it.copy as usize].have.len() {
                    let teller = &self.hosts[self.ends[(end ^ 1) as usize].host as usize];
                    self.audit.storm(teller, "tells one peer of more pieces than there are");
                }
            }
            _ => {}
        }
    }

    /// A copy begins to fetch.
    fn note_fetching(&mut self, this: u32) {
        let host = self.copies[this as usize].host;
        let it = &mut self.hosts[host as usize];
        if it.copies.iter().all(|copy| self.copies[*copy as usize].requests == 0) {
            let senders = it.conns.values().map(|end| &self.ends[(*end ^ 1) as usize]);
            let busy = senders.filter(|end| end.sending.is_some() || !end.taken.is_empty());
            let under_way = busy.map(|end| end.piece_len + end.in_flight).sum();
            it.tally.fetched = Fetched::since(self.now, under_way);
        }
        self.copies[this as usize].fetching_since = self.now;
    }

    /// An end gets a piece.
    pub(super) fn note_answered(&mut self, end: u32, index: u32) {
        self.note_alive(end);
        self.ends[end as usize].took_back = false;
        self.check_pieces(end, index);
        self.note_unasked(end, index);
    }

    /// Pieces do not come faster than the link lets them, from when they are asked for.
    fn check_pieces(&mut self, end: u32, index: u32) {
        let it = &self.ends[end as usize];
        if !it.asked.contains(&index) {
            return;
        }
        let len = self.blobs[self.copies[it.copy as usize].blob as usize].len_of(index);
        let host = &mut self.hosts[it.host as usize];
        let rate = &self.groups[host.group as usize].rates.down;
        let jitter = self.scenario.network.jitter;
        if let Some(most) = host.tally.fetched.count_piece(self.now, len, rate, jitter) {
            let bytes = host.tally.fetched.bytes;
            let what = format!("{bytes} bytes came where {most:.0} can since they were asked for");
            self.audit.violate(host, &what);
        }
    }

    /// Nor do slices: one that begins to come at `from` is taken at `until`.
    pub(super) fn note_taken_in(&mut self, host: u32, from: Nanos, until: Nanos, bytes: u64) {
        let host = &mut self.hosts[host as usize];
        let rate = &self.groups[host.group as usize].rates.down;
        let down = &mut host.tally.down;
        down.begin(from);
        if let Some(most) = down.end(until, bytes, rate, self.scenario.network.jitter) {
            self.audit.violate(host, &format!("{bytes} bytes came where {most:.0} can"));
        }
    }

    /// Nor do they leave faster.
    fn check_uplink(&mut self, host: u32, bytes: u64) {
        let host = &mut self.hosts[host as usize];
        let rate = &self.groups[host.group as usize].rates.up;
        let jitter = self.scenario.network.jitter;
        if let Some(most) = host.tally.up.end(self.now, bytes, rate, jitter) {
            self.audit.violate(host, &format!("{bytes} bytes left where {most:.0} can"));
        }
    }

    /// Nor do those of all hosts of a zone cross a link to another one.
    pub(super) fn check_zone_link(&mut self, end: u32, until: Nanos, bytes: u64) {
        let (from, to) = self.zones_of(end);
        let Some((link, carried)) = self.zones.carried(from, to) else { return };
        let rate = Rate::flat(self.scenario.zone_links[link].bytes_per_sec);
        carried.begin(self.now);
        if let Some(most) = carried.end(until, bytes, &rate, self.scenario.network.jitter) {
            let host = &self.hosts[self.ends[end as usize].host as usize];
            let what = format!("{bytes} bytes of its zone crossed where {most:.0} can");
            self.audit.violate(host, &what);
        }
    }

    /// Bytes of a piece come over an end: the run goes on if something may come of them.
    pub(super) fn note_progress(&mut self, end: u32, index: u32) {
        let it = &self.ends[end as usize];
        let sender = &self.hosts[self.ends[(end ^ 1) as usize].host as usize];
        let is_lacked = !self.copies[it.copy as usize].have.contains(PieceIndex(index));
        if is_lacked && !matches!(sender.fate, Fate::Lies { .. }) {
            self.moved_at = self.now;
        }
    }

    /// Bytes come over an end.
    pub(super) fn note_alive(&mut self, end: u32) {
        self.note_late(end);
        self.ends[end as usize].heard_at = self.now;
    }

    /// If an end has been silent for long, what was asked of it may be on order besides, with it or
    /// with another one, until it is there.
    fn note_late(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        if self.now - it.heard_at > SILENCE {
            let late = &mut self.copies[it.copy as usize].late;
            late.extend(it.asked.iter().filter(|index| !late.contains(index)).collect::<Vec<_>>());
        }
    }

    fn note_unasked(&mut self, end: u32, index: u32) {
        let it = &mut self.ends[end as usize];
        if let Some(place) = it.asked.iter().position(|asked| *asked == index) {
            it.asked.swap_remove(place);
            self.copies[it.copy as usize].requests -= 1;
        }
    }

    fn check_requests(&mut self, end: u32, index: u32) {
        let it = &self.ends[end as usize];
        let (host, open) = (&self.hosts[it.host as usize], it.asked.len());
        let with_origin = self.hosts[self.ends[(end ^ 1) as usize].host as usize].origin;
        let most = match (it.with_ours, with_origin) {
            (true, _) => host.limits.requests_per_conn,
            (false, true) => host.limits.requests_per_upstream_origin,
            (false, false) => host.limits.requests_per_upstream_agent,
        };
        if open > most {
            self.audit.violate(host, &format!("{open} requests open with one peer"));
        }
        let copy = &mut self.copies[it.copy as usize];
        if let Some(place) = copy.moved.iter().position(|moved| *moved == index) {
            copy.moved.swap_remove(place);
            return;
        }
        let (this, copy) = (it.copy, &self.copies[it.copy as usize]);
        let piece_len = self.blobs[copy.blob as usize].geometry.piece_len();
        // Few are on order mostly, and what all others have need not be looked at.
        let fewest = host.limits.pieces_on_order(piece_len, host.copies.len() as u64);
        if u64::from(copy.requests) <= fewest {
            return;
        }
        let most = host.limits.pieces_on_order(piece_len, self.others_fetching(host, this));
        let open = self.on_order(host, this);
        if open > most + MOVED_MAX {
            let what = format!("{open} pieces of a torrent on order, of {most}");
            self.audit.violate(host, &what);
        }
    }

    /// How many other torrents of a host have pieces on order for sure, and had before this moment:
    /// those that begin in the same step do not count against each other yet.
    fn others_fetching(&self, host: &Host, this: u32) -> u64 {
        let others = host.copies.iter().filter(|other| {
            let copy = &self.copies[**other as usize];
            **other != this
                && copy.requests > 0
                && copy.fetching_since < self.now
                && self.on_order(host, **other) > 0
        });
        others.count() as u64
    }

    /// Pieces that a copy lacks and has on order with peers that are not silent, each counted once.
    fn on_order(&self, host: &Host, this: u32) -> u64 {
        let copy = &self.copies[this as usize];
        let ends = host.conns.values().map(|end| &self.ends[*end as usize]);
        let (silent, heard): (Vec<_>, Vec<_>) = ends
            .filter(|other| other.copy == this)
            .partition(|other| self.now - other.heard_at > SILENCE);
        // What a silent peer was asked for may be asked of another one besides.
        let is_again = |index: &u32| silent.iter().any(|other| other.asked.contains(index));
        let mut open: Vec<u32> = heard.iter().flat_map(|other| other.asked.clone()).collect();
        open.retain(|index| {
            !is_again(index)
                && !copy.late.contains(index)
                && !copy.have.contains(PieceIndex(*index))
        });
        open.sort_unstable();
        open.dedup();
        open.len() as u64
    }

    /// A host is to send a piece.
    pub(super) fn note_piece_to_send(&mut self, end: u32, index: u32) {
        let it = &mut self.ends[end as usize];
        let host = &self.hosts[it.host as usize];
        let copy = &self.copies[it.copy as usize];
        if !copy.have.contains(PieceIndex(index)) {
            self.audit.violate(host, &format!("sends piece {index}, which it lacks"));
        }
        match it.owed.iter().position(|owed| *owed == index) {
            Some(place) => drop(it.owed.swap_remove(place)),
            None => self.audit.violate(host, &format!("sends piece {index} unasked")),
        }
    }

    pub(super) fn note_pieces_at_once(&mut self, host: u32) {
        let it = &self.hosts[host as usize];
        if it.up.pieces > it.limits.pieces_at_once {
            self.audit.violate(it, &format!("sends {} pieces at once", it.up.pieces));
        }
    }

    pub(super) fn note_sent(&mut self, end: u32, bytes: u64) {
        let it = &self.ends[end as usize];
        let host = &mut self.hosts[it.host as usize];
        host.tally.bytes_sent += bytes;
        if host.origin {
            let blob = self.copies[it.copy as usize].blob;
            self.blobs[blob as usize].origin_bytes += bytes;
            self.tally.count_origin_bytes(self.now, bytes);
        }
        let host = it.host;
        self.check_uplink(host, bytes);
    }
}

/// Ends.
impl Simulation {
    /// Whoever has all pieces has the whole verified, if it does not call it complete at once.
    pub(super) fn check_committed(&mut self) {
        for copy in &self.copies {
            let host = &self.hosts[copy.host as usize];
            let works = host.peer.is_some() && !host.hung && copy.wanted_at.is_some();
            if works && copy.have_count == copy.have.len() && !(copy.committed || copy.complete) {
                self.audit.violate(host, "has all pieces of a blob and does not commit it");
            }
        }
    }

    /// Whoever was told that the whole is verified calls it complete.
    pub(super) fn check_completed(&mut self, copy: u32) {
        let it = &self.copies[copy as usize];
        let host = &self.hosts[it.host as usize];
        if host.peer.is_some() && !host.hung && !it.complete {
            self.audit.violate(host, "does not call a blob complete that was committed");
        }
    }
}

/// Counters.
impl Simulation {
    /// Compares what every peer counted with what it did.
    pub(super) fn compare_counters(&mut self) {
        for host in 0..self.hosts.len() as u32 {
            self.compare_host(host);
        }
    }

    pub(super) fn compare_host(&mut self, host: u32) {
        let it = &self.hosts[host as usize];
        let Some(counters) = it.peer.as_ref().and_then(|peer| peer.counters()) else { return };
        let seen = &it.tally;
        let pieces_from_peers = seen.pieces_stored - seen.pieces_from_origins;
        let bytes_from_peers = seen.bytes_stored - seen.bytes_from_origins;
        let pairs = [
            ("announces", counters.announces, seen.announces),
            ("dials", counters.dials, seen.dials),
            ("accepted", counters.accepted, seen.accepted),
            ("refused", counters.refused, seen.refused),
            ("pieces sent", counters.pieces_sent, seen.pieces_sent),
            ("bytes sent", counters.bytes_sent, seen.bytes_sent_whole),
            ("pieces from origins", counters.pieces_from_origins, seen.pieces_from_origins),
            ("pieces from peers", counters.pieces_from_peers, pieces_from_peers),
            ("bytes from origins", counters.bytes_from_origins, seen.bytes_from_origins),
            ("bytes from peers", counters.bytes_from_peers, bytes_from_peers),
            ("duplicates", counters.pieces_duplicate, seen.duplicates),
            ("wrong pieces", counters.pieces_corrupt, seen.pieces_corrupt),
            ("bans", counters.bans, seen.bans),
            // No blob is wrong here as a whole: those that lie lie in pieces.
            ("blobs that failed their digest", counters.blobs_mismatched, 0),
        ];
        for (what, counted, seen) in pairs {
            if counted != seen {
                let what = format!("counted {counted} {what}, and there were {seen}");
                self.audit.violate(it, &what);
            }
        }
    }
}

/// One that comes sooner than after this share of the interval is early: pauses vary by a quarter.
const EARLY: f64 = 0.7;

/// After so long without a byte what is open with a peer no longer counts as on order.
const SILENCE: Nanos = 2_000_000_000;

/// Pieces that may be on order besides, because they were moved away from peers that fell silent:
/// as many as one look at what is overdue moves.
const MOVED_MAX: u64 = 4;
