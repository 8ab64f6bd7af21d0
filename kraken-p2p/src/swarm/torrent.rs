//! One torrent: its pieces, its connections, its life from the first piece to the last reader.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use kraken_core::rng::Rng;
use kraken_core::{
    Bitfield, Digest, Error, ErrorKind, Geometry, InfoHash, Namespace, PeerId, PeerInfo,
    PieceIndex, Time, provisional,
};

use super::announcer::Announcer;
use super::availability::Availability;
use super::chase::Recall;
use super::config::SwarmConfig;
use super::conn::Conn;
use super::dialer::Dialer;
use super::io::{CloseReason, ConnId, DemandId, Output, TorrentSpec};
use super::limits::COMMIT_FAILURES_MAX;
use super::snapshot::{Counters, TorrentSnapshot};
use super::upload::Uplink;
use crate::wire::{Capabilities, Handshake, Message};

/// A torrent and everything that is going on for it.
#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) digest: Digest,
    pub(super) namespace: Namespace,
    pub(super) geometry: Geometry,
    pub(super) info_hash: InfoHash,
    /// What it is called by who has no sums.
    pub(super) provisional_hash: InfoHash,
    /// Whether there are sums.
    pub(super) is_final: bool,
    pub(super) phase: Phase,
    pub(super) have: Bitfield,
    pub(super) have_count: u32,
    /// Pieces on order: the keys of `owners`.
    pub(super) requested: Bitfield,
    /// With whom each piece is on order.
    pub(super) owners: BTreeMap<PieceIndex, Vec<ConnId>>,
    /// Requests that were taken back and may still be answered, of each piece one.
    pub(super) recalled: BTreeMap<PieceIndex, Recall>,
    /// Pieces that were here already when they came, or were being written.
    pub(super) in_vain: u64,
    /// Pieces that another connection was found writing, each not asked for before its time: the
    /// bytes would be thrown away again.
    pub(super) contended: BTreeMap<PieceIndex, Time>,
    /// How many connections have each piece.
    pub(super) availability: Availability,
    /// How often each piece was sent.
    pub(super) sent: Vec<u32>,
    pub(super) demands: BTreeMap<DemandId, Demand>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) dialer: Dialer,
    pub(super) announcer: Announcer,
    /// Seconds a piece takes on a connection, averaged over all.
    pub(super) typical_service: f64,
    /// After a blob that failed its digest nobody but origins is believed.
    pub(super) origins_only: bool,
    pub(super) mismatches: u32,
    pub(super) commit_failures: u32,
    /// Pauses in a row for the disk's sake.
    pub(super) storage_failures: u32,
    /// When to try a commit again.
    pub(super) commit_at: Option<Time>,
    /// When the first of those that rest, peers, pieces or the disk, has rested enough.
    pub(super) resume_at: Option<Time>,
    /// No requests before this: the disk refuses pieces.
    pub(super) pause_until: Time,
    /// When to look for requests that are overdue.
    pub(super) tick_at: Time,
    /// When to look for what is idle.
    pub(super) sweep_at: Time,
    /// When a piece was last stored, or someone began to wait.
    pub(super) stored_at: Time,
    /// Metainfo is not asked for again before this.
    pub(super) refresh_at: Time,
    /// Whether it is to be asked for then.
    pub(super) refresh_due: bool,
    /// If it fetches for its zone, as the tracker said last: the piece it begins at.
    pub(super) bridge: Option<u32>,
    /// When a piece was last stored or sent, or a connection closed.
    pub(super) active_at: Time,
    pub(super) totals: Totals,
    /// The entry of this torrent among the swarm's timers.
    pub(super) wake: Option<Time>,
    /// Set when the swarm is to forget it.
    pub(super) gone: bool,
}

/// Where a torrent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Pieces are missing.
    Fetching,
    /// All pieces are here, the blob is being verified.
    Committing,
    /// The blob failed its digest and is being thrown away; then it is fetched again or dropped.
    Discarding,
    /// Verified and committed.
    Complete,
}

/// A run of pieces someone waits for.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub(super) pieces: Range<u32>,
    /// All pieces before this one, from the start of the run, are here.
    pub(super) cursor: u32,
    /// The whole blob is waited for, in any order.
    pub(super) whole: bool,
    /// The piece from which on the application was last told that somebody waits.
    pub(super) told: Option<u32>,
}

impl Demand {
    /// The run from its first missing piece on.
    pub(super) fn missing(&self) -> Range<u32> {
        self.cursor..self.pieces.end
    }
}

/// What went over a torrent's connections since it was added.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) pieces_received: u64,
    pub(super) bytes_received: u64,
    pub(super) pieces_sent: u64,
    pub(super) bytes_sent: u64,
}

/// What a torrent works with that belongs to the swarm.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) config: &'a SwarmConfig,
    pub(super) local: &'a PeerInfo,
    pub(super) rng: &'a mut Rng,
    pub(super) out: &'a mut VecDeque<Output>,
    pub(super) counters: &'a mut Counters,
    pub(super) uplink: &'a mut Uplink,
    /// The torrent of each connection and dial.
    pub(super) conns: &'a mut BTreeMap<ConnId, Digest>,
    pub(super) next_conn: &'a mut u64,
    /// How many other torrents have pieces on order.
    pub(super) others_fetching: usize,
}

impl Cx<'_> {
    pub(super) fn send(&mut self, conn: ConnId, message: Message) {
        self.out.push_back(Output::Send { conn, message });
    }

    /// A connection id that was never used.
    pub(super) fn fresh_conn(&mut self, torrent: Digest) -> ConnId {
        let conn = ConnId(*self.next_conn);
        *self.next_conn += 1;
        self.conns.insert(conn, torrent);
        conn
    }
}

impl Torrent {
    pub(super) fn new(now: Time, spec: TorrentSpec, config: &SwarmConfig) -> Self {
        let (digest, geometry) = (spec.meta.digest(), spec.meta.geometry());
        let pieces = geometry.pieces();
        let have = if spec.complete { Bitfield::full(pieces) } else { spec.have };
        Self {
            digest,
            namespace: spec.namespace,
            geometry,
            info_hash: spec.meta.info_hash(),
            provisional_hash: provisional::info_hash(&digest, &geometry),
            is_final: spec.meta.as_final().is_some(),
            phase: if spec.complete { Phase::Complete } else { Phase::Fetching },
            have_count: have.count(),
            have,
            requested: Bitfield::new(pieces),
            owners: BTreeMap::new(),
            recalled: BTreeMap::new(),
            in_vain: 0,
            contended: BTreeMap::new(),
            availability: Availability::new(pieces),
            sent: vec![0; pieces as usize],
            demands: BTreeMap::new(),
            conns: BTreeMap::new(),
            dialer: Dialer::default(),
            announcer: Announcer::new(config),
            typical_service: SERVICE_GUESS,
            origins_only: false,
            mismatches: 0,
            commit_failures: 0,
            storage_failures: 0,
            commit_at: None,
            resume_at: None,
            pause_until: Time::ZERO,
            tick_at: now,
            sweep_at: now + SWEEP_INTERVAL,
            stored_at: now,
            refresh_at: now,
            refresh_due: false,
            bridge: None,
            active_at: now,
            totals: Totals::default(),
            wake: None,
            gone: false,
        }
    }

    /// Bytes of each piece but the last.
    pub(super) fn piece_len(&self) -> u64 {
        self.geometry.piece_len()
    }

    /// There are sums now, and what is here fits them. Peers are told, and told so once; so is the
    /// tracker, however many peers there are: who knows only the new hash is to find this one too.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>, info_hash: InfoHash) {
        self.info_hash = info_hash;
        self.is_final = true;
        self.refresh_due = false;
        for (&id, conn) in &self.conns {
            if conn.lacks_sums {
                cx.send(id, Message::Final { info_hash });
            }
        }
        self.announce_by(cx.now);
        self.wake_up(cx);
        self.fill(cx);
    }

    /// Begins to work: a torrent was added, or emptied.
    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            Phase::Fetching if self.have_all() => self.commit(cx),
            Phase::Fetching | Phase::Complete => self.wake_up(cx),
            Phase::Committing | Phase::Discarding => {}
        }
    }

    pub(super) fn set_demand(&mut self, cx: &mut Cx<'_>, id: DemandId, bytes: Option<Range<u64>>) {
        let Some(bytes) = bytes else {
            self.demands.remove(&id);
            return;
        };
        if self.demands.is_empty() {
            self.stored_at = cx.now;
            self.dialer.hungry_since = None;
        }
        let whole = bytes.start == 0 && bytes.end >= self.geometry.blob_len();
        let pieces = self.geometry.covering(bytes);
        self.demands.insert(id, Demand { cursor: pieces.start, pieces, whole, told: None });
        self.advance_cursors();
        for conn in self.conns.values_mut() {
            conn.dry = false;
        }
        self.wake_up(cx);
        self.fill(cx);
    }

    /// Announces and dials where that is due.
    pub(super) fn wake_up(&mut self, cx: &mut Cx<'_>) {
        self.announce_first(cx.now);
        self.announce(cx);
        self.dial(cx);
    }

    /// All pieces are here: the blob is to be verified.
    pub(super) fn commit(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Committing;
        self.commit_at = None;
        cx.out.push_back(Output::Commit { torrent: self.digest });
    }

    pub(super) fn on_committed(&mut self, cx: &mut Cx<'_>, result: Result<(), Error>) {
        if self.phase != Phase::Committing {
            return;
        }
        // Whichever commit it was: one that is planned would commit what is complete or gone.
        self.commit_at = None;
        match result {
            Ok(()) if !self.is_final => self.give_up(cx, "committed without sums".into()),
            Ok(()) => self.on_complete(cx),
            Err(error) if error.kind() == ErrorKind::Mismatch => {
                cx.counters.blobs_mismatched += 1;
                self.mismatches += 1;
                self.phase = Phase::Discarding;
                self.close_all(cx, &CloseReason::TorrentGone);
                cx.out.push_back(Output::Discard { torrent: self.digest });
            }
            Err(error) => {
                self.commit_failures += 1;
                if self.commit_failures >= COMMIT_FAILURES_MAX {
                    self.give_up(cx, format!("the blob cannot be committed: {error}"));
                } else {
                    let pause = COMMIT_RETRY * 2u32.pow(self.commit_failures - 1);
                    self.commit_at = Some(cx.now + pause);
                }
            }
        }
    }

    fn on_complete(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Complete;
        self.origins_only = false;
        self.active_at = cx.now;
        cx.out.push_back(Output::Completed { torrent: self.digest });
        let dials: Vec<_> = self.dialer.dialing.keys().copied().collect();
        for conn in dials {
            self.cancel_dial(cx, conn, CloseReason::BothComplete);
        }
        let ids: Vec<_> = self.conns.keys().copied().collect();
        for id in ids {
            let conn = &self.conns[&id];
            if conn.has_all() && conn.pieces_sent == 0 {
                // It claims everything itself; what was only sent to it may still be on its way,
                // and that peer answers COMPLETE with its own or by closing.
                self.close(cx, id, CloseReason::BothComplete);
            } else if cx.config.seed {
                cx.send(id, Message::Complete);
            } else {
                self.close(cx, id, CloseReason::TorrentGone);
            }
        }
        self.dialer.forget_candidates();
        self.announce_by(cx.now);
        self.announce(cx);
    }

    pub(super) fn on_discarded(&mut self, cx: &mut Cx<'_>, result: Result<(), Error>) {
        if self.phase != Phase::Discarding {
            return;
        }
        if let Err(error) = result {
            self.give_up(
                cx,
                format!("the blob failed its digest and cannot be discarded: {error}"),
            );
        } else if !self.is_final {
            // What was vouched for was not the blob: its origin begins anew, if it does.
            self.give_up(cx, "the blob that arrived failed its digest".into());
        } else if self.mismatches > cx.config.discard_attempts {
            self.give_up(cx, format!("the blob failed its digest {} times", self.mismatches));
        } else {
            self.phase = Phase::Fetching;
            self.origins_only = true;
            self.have = Bitfield::new(self.geometry.pieces());
            self.have_count = 0;
            self.contended.clear();
            self.stored_at = cx.now;
            for demand in self.demands.values_mut() {
                demand.cursor = demand.pieces.start;
            }
            self.start(cx);
        }
    }

    /// Closes everything and asks to be forgotten.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>, reason: String) {
        self.close_all(cx, &CloseReason::TorrentGone);
        cx.out.push_back(Output::Dropped { torrent: self.digest, reason });
        self.gone = true;
    }

    /// Closes every connection and dial.
    pub(super) fn close_all(&mut self, cx: &mut Cx<'_>, reason: &CloseReason) {
        self.dialer.sought = 0;
        self.dialer.sought_at = None;
        let dials: Vec<_> = self.dialer.dialing.keys().copied().collect();
        for conn in dials {
            self.cancel_dial(cx, conn, reason.clone());
        }
        let ids: Vec<_> = self.conns.keys().copied().collect();
        for conn in ids {
            self.close(cx, conn, reason.clone());
        }
    }

    /// Closes one connection from this side.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>, id: ConnId, reason: CloseReason) {
        self.detach(cx, id, &reason);
        cx.out.push_back(Output::Close { conn: id, reason });
    }

    /// Closes a connection that broke the rules, and asks others for what was on order with it.
    pub(super) fn expel(&mut self, cx: &mut Cx<'_>, id: ConnId, reason: CloseReason) {
        self.close(cx, id, reason);
        self.dial(cx);
        self.fill(cx);
    }

    /// Takes a connection out of every table.
    pub(super) fn detach(&mut self, cx: &mut Cx<'_>, id: ConnId, reason: &CloseReason) {
        let open: Vec<_> = match self.conns.get(&id) {
            Some(conn) => conn.requests.keys().copied().collect(),
            None => return,
        };
        for index in open {
            self.release(id, index);
        }
        cx.conns.remove(&id);
        let Some(conn) = self.conns.remove(&id) else { return };
        if !matches!(reason, CloseReason::TorrentGone | CloseReason::Shutdown) {
            self.on_gone(cx, &conn, reason);
        }
        self.availability.remove_all(&conn.bits);
        cx.uplink.on_closed(id, &conn);
        self.active_at = cx.now;
        self.dialer.on_closed(cx, &conn, reason);
    }

    /// Timers that are due.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        // A sweep plans anew, from now on.
        let resumes = self.resume_at.is_some_and(|at| at <= now);
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_INTERVAL;
            self.sweep(cx);
        }
        if self.gone {
            return;
        }
        if self.commit_at.is_some_and(|at| at <= now) {
            self.commit(cx);
        }
        if resumes {
            self.end_contention(now);
            self.plan_resume(now);
            self.fill(cx);
        }
        if self.tick_at <= now && !self.owners.is_empty() {
            self.tick_at = now + TICK;
            self.chase(cx);
        }
        if self.refresh_due && self.refresh_at <= now {
            self.refresh(cx);
        }
        self.announce(cx);
        if self.dialer.dial_at.is_some_and(|at| at <= now) {
            self.dial(cx);
        }
    }

    /// Closes connections that are idle or stuck; drops the torrent when it has been idle too long
    /// itself.
    fn sweep(&mut self, cx: &mut Cx<'_>) {
        let idle: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| {
                // One that has what this side still lacks is kept in reserve.
                let of_use = self.wants_pieces() && !conn.dry;
                !of_use && conn.is_quiet() && cx.now.since(conn.active_at) > cx.config.conn_idle
            })
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.close(cx, id, CloseReason::Idle);
        }
        if self.wants_pieces() {
            self.expire_stuck(cx);
            self.tell_wants_again(cx);
        }
        if self.wants_pieces() && cx.now.since(self.stored_at) >= SWEEP_INTERVAL {
            self.refresh(cx);
        }
        let is_here = |demand: &Demand| demand.missing().is_empty();
        if !self.demands.is_empty() && self.demands.values().all(is_here) {
            // All they wait for is here: readers may take their time.
            self.stored_at = cx.now;
        }
        let unused = self.conns.is_empty() && self.dialer.dialing.is_empty();
        match self.phase {
            Phase::Complete if unused && cx.now.since(self.active_at) > cx.config.seeder_tti => {
                self.give_up(cx, "seeded to nobody for too long".into());
            }
            Phase::Fetching if cx.now.since(self.stored_at) > cx.config.leecher_tti => {
                let reason = if self.demands.is_empty() {
                    "incomplete, and nobody waits for it"
                } else {
                    "no piece came for too long"
                };
                self.give_up(cx, reason.into());
            }
            _ => self.dial(cx),
        }
    }

    /// Sending pieces was switched off.
    pub(super) fn stop_seeding(&mut self, cx: &mut Cx<'_>) {
        if self.phase == Phase::Complete {
            self.close_all(cx, &CloseReason::TorrentGone);
            return;
        }
        for (&id, conn) in &mut self.conns {
            for index in std::mem::take(&mut conn.queue) {
                cx.send(id, super::upload::refusal(index, "not seeding"));
            }
        }
    }

    /// When the next timer is due.
    pub(super) fn next_wake(&self, config: &SwarmConfig) -> Option<Time> {
        let tick = (!self.owners.is_empty()).then_some(self.tick_at);
        let refresh = self.refresh_due.then_some(self.refresh_at);
        [
            Some(self.sweep_at),
            refresh,
            self.commit_at,
            self.resume_at,
            tick,
            self.announcer.next(config),
            self.dialer.dial_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether someone waits and pieces are missing.
    pub(super) fn wants_pieces(&self) -> bool {
        self.phase == Phase::Fetching && !self.demands.is_empty()
    }

    /// Whether pieces are on order.
    pub(super) fn is_fetching(&self) -> bool {
        !self.owners.is_empty()
    }

    pub(super) fn have_all(&self) -> bool {
        self.have_count == self.geometry.pieces()
    }

    pub(super) fn conn_of_peer(&self, peer_id: &PeerId) -> Option<ConnId> {
        self.conns.iter().find(|(_, conn)| conn.peer_id == *peer_id).map(|(id, _)| *id)
    }

    /// The pieces that may be asked for.
    pub(super) fn claimed(&self, cx: &Cx<'_>) -> Bitfield {
        if cx.config.seed { self.have.clone() } else { Bitfield::new(self.geometry.pieces()) }
    }

    /// The handshake of this side; an acceptor's carries no namespace.
    pub(super) fn handshake(&self, cx: &Cx<'_>, dialing: bool) -> Handshake {
        Handshake {
            peer_id: cx.local.peer_id,
            info_hash: self.info_hash,
            digest: self.digest,
            namespace: if dialing { self.namespace.clone() } else { no_namespace() },
            bitfield: Bytes::from(self.claimed(cx).to_wire()),
            remote_peers: Vec::new(),
            capabilities: Some(CAPABILITIES),
        }
    }

    pub(super) fn snapshot(&self) -> TorrentSnapshot {
        TorrentSnapshot {
            digest: self.digest,
            info_hash: self.info_hash,
            blob_len: self.geometry.blob_len(),
            pieces_total: self.geometry.pieces(),
            pieces_have: self.have_count,
            complete: self.phase == Phase::Complete,
            pieces_received: self.totals.pieces_received,
            bytes_received: self.totals.bytes_received,
            pieces_sent: self.totals.pieces_sent,
            bytes_sent: self.totals.bytes_sent,
            dialing: self.dialer.dialing.len(),
            conns: self.conns.iter().map(|(id, conn)| conn.snapshot(*id)).collect(),
        }
    }
}

fn no_namespace() -> Namespace {
    "".parse().expect("the empty text is short enough for a namespace")
}

/// What this side can do.
pub(super) const CAPABILITIES: Capabilities =
    Capabilities(Capabilities::CANCELS_ANSWERED | Capabilities::PROVISIONAL);

/// Seconds a piece is thought to take before any was seen.
const SERVICE_GUESS: f64 = 0.1;

/// How often overdue requests are looked for while any are open.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// How often idle connections and torrents are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// First pause before a commit that failed for another reason than the digest is tried again.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
