//! Checks from outside: what a peer promises and counts is compared with what it was seen to do.

use super::engine::Simulation;
use super::world::{Host, Nanos};
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

    pub(super) fn storm(&mut self, host: &Host, what: &str) {
        self.violate(host, what);
        self.storm = true;
    }
}

/// Limits.
impl Simulation {
    /// Events must not breed events.
    pub(super) fn count_call(&mut self, host: u32) {
        let it = &mut self.hosts[host as usize];
        if self.now - it.tally.second >= 1_000_000_000 {
            (it.tally.second, it.tally.calls) = (self.now, 0);
        }
        it.tally.calls += 1;
        it.tally.calls_max = it.tally.calls_max.max(it.tally.calls);
        if it.tally.calls > CALLS_PER_SEC_MAX {
            self.audit.storm(it, "told of something too often within a second");
        }
    }

    pub(super) fn note_announce(&mut self, copy: u32, complete: bool) {
        self.tally.announces += 1;
        let it = &mut self.copies[copy as usize];
        let host = &mut self.hosts[it.host as usize];
        host.tally.announces += 1;
        let before = it.announced_at.replace(self.now);
        let interval = super::engine::nanos(self.scenario.trackers.handout.interval);
        let soon = before.is_some_and(|at| self.now - at < interval / 10 * 7);
        if soon && !complete {
            it.early_announces += 1;
            self.tally.announces_early += 1;
            if it.early_announces == EARLY_ANNOUNCES_MAX + 1 {
                self.audit.violate(host, "announces too often too early");
            }
        }
    }

    pub(super) fn note_open(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        let copy = &mut self.copies[it.copy as usize];
        copy.conns += 1;
        let host = &self.hosts[it.host as usize];
        if copy.conns as usize > host.limits.conns_per_torrent {
            self.audit.violate(host, &format!("{} connections of a torrent", copy.conns));
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
        match message {
            Message::PieceRequest { index, .. } => {
                if it.asked.is_empty() && !it.took_back {
                    it.heard_at = self.now;
                }
                it.asked.push(index.0);
                self.copies[it.copy as usize].requests += 1;
                self.check_requests(end);
            }
            Message::CancelPiece { index } => {
                it.took_back = true;
                self.note_late(end);
                self.note_unasked(end, index.0);
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
            _ => {}
        }
    }

    /// An end gets a piece.
    pub(super) fn note_answered(&mut self, end: u32, index: u32) {
        self.note_alive(end);
        self.ends[end as usize].took_back = false;
        self.note_unasked(end, index);
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

    fn check_requests(&mut self, end: u32) {
        let it = &self.ends[end as usize];
        let host = &self.hosts[it.host as usize];
        if it.asked.len() > host.limits.requests_per_conn {
            let open = it.asked.len();
            self.audit.violate(host, &format!("{open} requests open with one peer"));
        }
        let copy = &self.copies[it.copy as usize];
        let piece_len = self.blobs[copy.blob as usize].geometry.piece_len();
        let most = (host.limits.in_flight_bytes / piece_len).max(host.limits.in_flight_pieces_min);
        if u64::from(copy.requests) <= most {
            return;
        }
        let ends = host.conns.values().map(|end| &self.ends[*end as usize]);
        let (silent, heard): (Vec<_>, Vec<_>) = ends
            .filter(|other| other.copy == it.copy)
            .partition(|other| self.now - other.heard_at > SILENCE);
        // What a silent peer was asked for may be asked of another one besides.
        let is_again = |index: &u32| silent.iter().any(|other| other.asked.contains(index));
        let mut open: Vec<u32> = heard.iter().flat_map(|other| other.asked.clone()).collect();
        open.retain(|index| !is_again(index) && !copy.late.contains(index));
        open.sort_unstable();
        open.dedup();
        if open.len() as u64 > most + MOVED_MAX {
            let what = format!("{} pieces of a torrent on order, of {most}", open.len());
            self.audit.violate(host, &what);
        }
    }

    /// A host is to send a piece.
    pub(super) fn note_piece_to_send(&mut self, end: u32, index: u32) {
        let it = &mut self.ends[end as usize];
        let host = &self.hosts[it.host as usize];
        let copy = &self.copies[it.copy as usize];
        if !copy.have.contains(kraken_core::PieceIndex(index)) {
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
        let stored = counters.pieces_from_origins + counters.pieces_from_peers;
        let bytes = counters.bytes_from_origins + counters.bytes_from_peers;
        let pairs = [
            ("announces", counters.announces, seen.announces),
            ("dials", counters.dials, seen.dials),
            ("accepted", counters.accepted, seen.accepted),
            ("refused", counters.refused, seen.refused),
            ("pieces sent", counters.pieces_sent, seen.pieces_sent),
            ("pieces stored", stored, seen.pieces_stored),
            ("bytes stored", bytes, seen.bytes_stored),
            ("duplicates", counters.pieces_duplicate, seen.duplicates),
        ];
        for (what, counted, seen) in pairs {
            if counted != seen {
                let what = format!("counted {counted} {what}, and there were {seen}");
                self.audit.violate(it, &what);
            }
        }
    }
}

/// Violations that are kept: enough to see what is wrong.
const VIOLATIONS_KEPT: usize = 64;

/// Calls to one host within a second: an agent at 10 GbE with 1 MiB pieces is told of 1,200 of its
/// own, and of as many by each of 30 neighbours and more.
const CALLS_PER_SEC_MAX: u64 = 500_000;

/// Announces of one torrent that may come before their time: six pauses that double reach the
/// usual one.
const EARLY_ANNOUNCES_MAX: u32 = 8;

/// After so long without a byte what is open with a peer no longer counts as on order.
const SILENCE: Nanos = 2_000_000_000;

/// Pieces that may be on order besides, because they were moved away from peers that fell silent:
/// as many as one look at what is overdue moves.
const MOVED_MAX: u64 = 4;
