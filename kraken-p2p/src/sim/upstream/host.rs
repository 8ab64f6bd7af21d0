//! A whole host: its torrents, its one announce timer and its one look at idle connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{Digest, Error, PeerInfo, PieceIndex, Time};

use super::announces::AnnounceQueue;
use super::config::UpstreamConfig;
use super::torrent::{Cx, Torrent};
use crate::sim::peer::{Limits, Peer};
use crate::swarm::{
    Announced, CloseReason, ConnId, Counters, DemandId, Output, PieceOutcome, Refused, TorrentSpec,
};
use crate::wire::{Handshake, Message};

/// uber/kraken's scheduler on one host. What it announces of itself says whether it is an agent or
/// an origin; origins neither announce nor dial.
///
/// Its process is taken to have started long before it got something to do: where in their
/// intervals its timers stand is drawn at random.
#[derive(Debug)]
pub struct Upstream {
    config: UpstreamConfig,
    local: PeerInfo,
    rng: Rng,
    torrents: BTreeMap<Digest, Torrent>,
    /// The torrent of each connection and dial.
    conns: BTreeMap<ConnId, Digest>,
    next_conn: u64,
    queue: AnnounceQueue,
    /// When it next looks for idle connections and torrents.
    preempt_at: Time,
    /// When each torrent next looks for lost requests.
    watches: BTreeSet<(Time, Digest)>,
    started: bool,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Upstream {
    /// A host without torrents. `local` is what it announces of itself.
    pub fn new(config: UpstreamConfig, local: PeerInfo, seed: u64) -> Self {
        Self {
            queue: AnnounceQueue::new(config.announce_interval, Time::MAX),
            config,
            local,
            rng: Rng::new(seed),
            torrents: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            preempt_at: Time::MAX,
            watches: BTreeSet::new(),
            started: false,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    fn start(&mut self, now: Time) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut phase = |interval: Duration| {
            now + interval.mul_f64(self.rng.fraction()).max(Duration::from_nanos(1))
        };
        self.preempt_at = phase(self.config.preemption_interval);
        if !self.local.origin {
            self.queue.tick_at = phase(self.config.announce_interval);
        }
    }

    /// Lets one torrent work, then forgets it or plans its next look at its requests.
    fn with<R>(
        &mut self,
        now: Time,
        digest: &Digest,
        work: impl FnOnce(&mut Torrent, &mut Cx<'_>) -> R,
    ) -> Option<R> {
        let torrent = self.torrents.get_mut(digest)?;
        let mut cx = Cx {
            now,
            config: &self.config,
            local: &self.local,
            rng: &mut self.rng,
            out: &mut self.outputs,
            counters: &mut self.counters,
            conns: &mut self.conns,
            next_conn: &mut self.next_conn,
            queue: &mut self.queue,
        };
        let before = torrent.watch_at;
        let result = work(torrent, &mut cx);
        let (after, gone) = (torrent.watch_at, torrent.gone);
        if before != after || gone {
            self.watches.extend(after.filter(|_| !gone).map(|at| (at, *digest)));
            if let Some(before) = before {
                self.watches.remove(&(before, *digest));
            }
        }
        if gone {
            self.torrents.remove(digest);
        }
        Some(result)
    }

    fn with_conn(&mut self, now: Time, conn: ConnId, work: impl FnOnce(&mut Torrent, &mut Cx<'_>)) {
        if let Some(digest) = self.conns.get(&conn).copied() {
            self.with(now, &digest, work);
        }
    }

    fn tick(&mut self, now: Time) {
        let (torrents, config) = (&self.torrents, &self.config);
        let saturated = |torrent: &Digest| {
            torrents.get(torrent).is_some_and(|torrent| torrent.links.is_saturated(config))
        };
        if let Some(digest) = self.queue.tick(now, saturated) {
            self.with(now, &digest, Torrent::announce);
        }
    }

    fn preempt(&mut self, now: Time) {
        self.preempt_at = now + self.config.preemption_interval;
        for digest in self.torrents.keys().copied().collect::<Vec<_>>() {
            self.with(now, &digest, Torrent::preempt);
        }
    }
}

impl Peer for Upstream {
    fn add_torrent(&mut self, now: Time, spec: TorrentSpec) -> Result<(), Error> {
        self.start(now);
        if !self.torrents.contains_key(&spec.meta.digest()) {
            let torrent = Torrent::new(&self.config, spec)?;
            self.torrents.insert(torrent.digest, torrent);
        }
        Ok(())
    }

    /// A download of the whole blob, which nothing stops; a blob that is here is read from disk.
    fn set_demand(
        &mut self,
        now: Time,
        torrent: &Digest,
        demand: DemandId,
        bytes: Option<Range<u64>>,
    ) {
        if bytes.is_some() {
            self.with(now, torrent, |torrent, cx| torrent.download(cx, demand));
        }
    }

    fn handle_announced(&mut self, now: Time, torrent: &Digest, result: Result<Announced, Error>) {
        if let Ok(announced) = &result {
            self.queue.set_interval(announced.interval);
        }
        self.with(now, torrent, |torrent, cx| torrent.on_announced(cx, result));
    }

    fn handle_dialed(&mut self, now: Time, conn: ConnId, result: Result<Handshake, CloseReason>) {
        self.with_conn(now, conn, |torrent, cx| torrent.on_dialed(cx, conn, result));
    }

    fn handle_incoming(
        &mut self,
        now: Time,
        _remote_ip: IpAddr,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        let answer = self
            .with(now, &handshake.digest, |torrent, cx| torrent.on_incoming(cx, handshake))
            .unwrap_or(Err(Refused::UnknownTorrent));
        let counter = match &answer {
            Ok(_) => &mut self.counters.accepted,
            Err(_) => &mut self.counters.refused,
        };
        *counter += 1;
        answer
    }

    fn handle_message(&mut self, now: Time, conn: ConnId, message: Message) {
        self.with_conn(now, conn, |torrent, cx| torrent.on_message(cx, conn, &message));
    }

    fn handle_piece(
        &mut self,
        now: Time,
        torrent: &Digest,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        self.with(now, torrent, |torrent, cx| torrent.on_piece(cx, conn, index, outcome));
    }

    fn handle_piece_sent(
        &mut self,
        now: Time,
        conn: ConnId,
        index: PieceIndex,
        result: Result<(), ()>,
    ) {
        if result.is_ok() {
            self.with_conn(now, conn, |torrent, cx| torrent.on_piece_sent(cx, index));
        }
    }

    fn handle_closed(&mut self, now: Time, conn: ConnId, _reason: CloseReason) {
        self.with_conn(now, conn, |torrent, cx| torrent.on_closed(cx, conn));
    }

    /// Never asked for: agents do not verify a blob as a whole.
    fn handle_committed(&mut self, _now: Time, _torrent: &Digest, _result: Result<(), Error>) {}

    /// Never asked for.
    fn handle_discarded(&mut self, _now: Time, _torrent: &Digest, _result: Result<(), Error>) {}

    fn handle_timeout(&mut self, now: Time) {
        if self.queue.tick_at <= now {
            self.tick(now);
        }
        while let Some(&(at, digest)) = self.watches.first()
            && at <= now
        {
            self.with(now, &digest, Torrent::resend);
        }
        if self.preempt_at <= now {
            self.preempt(now);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let watch = self.watches.first().map_or(Time::MAX, |(at, _)| *at);
        Some(self.queue.tick_at.min(self.preempt_at).min(watch)).filter(|at| *at < Time::MAX)
    }

    fn writes_in_order(&self) -> bool {
        true
    }

    fn buffers_pieces(&self) -> bool {
        true
    }

    fn keeps_stalled(&self) -> bool {
        true
    }

    fn tells_zone(&self) -> bool {
        false
    }

    fn verifies_blobs(&self) -> bool {
        false
    }

    /// Requests that were given up stay open as far as the other side knows, so only connections
    /// have a limit that shows.
    fn limits(&self) -> Limits {
        Limits { conns_per_torrent: self.config.max_open_conn, ..Limits::default() }
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.counters)
    }
}
