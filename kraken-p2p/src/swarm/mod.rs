//! The swarm: one synchronous state machine that decides whom to talk to, what to ask of whom and
//! what to send next.
//!
//! It reads no clock, opens no socket and spawns nothing. The methods of [`Swarm`] sort into
//! getters; `handle_*` (events in); commands of the application; and `poll_*` (outputs). After any
//! call the driver takes outputs with `poll_output` until there are none, and calls
//! `handle_timeout` once the time of `poll_timeout` has come.
#![forbid(unsafe_code)]

mod config;
mod io;
mod rng;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;

use kraken_core::{Digest, Error, InfoHash, PeerInfo, PieceIndex, Time};

pub use config::SwarmConfig;
pub use io::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, Sums, TorrentSpec,
};
pub use snapshot::{Blacklisted, ConnSnapshot, Counters, TorrentSnapshot};

use crate::wire::{Handshake, Message};

/// The state machine: torrents, their connections, and what is to be done next.
#[derive(Debug)]
pub struct Swarm {
    config: SwarmConfig,
    local: PeerInfo,
    rng: rng::Rng,
    torrents: BTreeMap<Digest, TorrentSpec>,
    aliases: BTreeMap<InfoHash, Digest>,
    conns: BTreeMap<ConnId, Digest>,
    outputs: VecDeque<Output>,
    counters: Counters,
}

/// Construction and commands of the application.
impl Swarm {
    /// A swarm without torrents. `local` is what this node announces of itself.
    pub fn new(config: SwarmConfig, local: PeerInfo, seed: u64) -> Self {
        Self {
            config,
            local,
            rng: rng::Rng::new(seed),
            torrents: BTreeMap::new(),
            aliases: BTreeMap::new(),
            conns: BTreeMap::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Adds a torrent. Idempotent: one that is here stays as it is, but final sums replace the
    /// lack of sums. Refused with `Conflict` when the geometry is another.
    pub fn add_torrent(&mut self, _now: Time, spec: TorrentSpec) -> Result<(), Error> {
        let info_hash = match &spec.sums {
            Sums::Arriving { info_hash } => *info_hash,
            Sums::Final(meta) => meta.info_hash(),
        };
        self.aliases.insert(info_hash, spec.digest);
        self.torrents.insert(spec.digest, spec);
        Ok(())
    }

    /// Forgets a torrent and closes its connections; whether it was here.
    pub fn remove_torrent(&mut self, _now: Time, torrent: &Digest) -> bool {
        self.aliases.retain(|_, digest| digest != torrent);
        self.torrents.remove(torrent).is_some()
    }

    /// Says which bytes someone waits for; `None` takes it back. The range `0..blob_len` is a whole
    /// download, fetched rarest first; of any other range the beginning comes first.
    pub fn set_demand(
        &mut self,
        _now: Time,
        _torrent: &Digest,
        _demand: DemandId,
        _bytes: Option<Range<u64>>,
    ) {
    }

    /// Takes a demand back.
    pub fn clear_demand(&mut self, now: Time, torrent: &Digest, demand: DemandId) {
        self.set_demand(now, torrent, demand, None);
    }

    /// Starts or stops sending pieces to others.
    pub fn set_seeding(&mut self, _now: Time, seed: bool) {
        self.config.seed = seed;
    }

    /// Replaces the configuration; connections beyond new limits stay.
    pub fn set_config(&mut self, _now: Time, config: SwarmConfig) {
        self.config = config;
    }

    /// Closes every connection and forgets every torrent; nothing is accepted afterwards.
    pub fn shutdown(&mut self, _now: Time) {
        self.torrents.clear();
        self.aliases.clear();
    }
}

/// Events in.
impl Swarm {
    /// The tracker answered an [`Output::Announce`].
    pub fn handle_announced(
        &mut self,
        _now: Time,
        _torrent: &Digest,
        _result: Result<Announced, Error>,
    ) {
    }

    /// An [`Output::Dial`] ended: with the other side's handshake, or not.
    pub fn handle_dialed(
        &mut self,
        _now: Time,
        _conn: ConnId,
        _result: Result<Handshake, CloseReason>,
    ) {
    }

    /// Someone connected and sent its handshake. With `Ok` the driver sends the reply before any
    /// output of that connection; with `Err` it closes the socket without a word.
    pub fn handle_incoming(
        &mut self,
        _now: Time,
        _remote_ip: IpAddr,
        _handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        self.counters.refused += 1;
        Err(Refused::UnknownTorrent)
    }

    /// A message arrived. Payloads do not come this way but by [`Swarm::handle_piece`].
    pub fn handle_message(&mut self, _now: Time, _conn: ConnId, _message: Message) {}

    /// The bytes of a piece arrived and this is what came of them. Also to be told of a connection
    /// that was closed meanwhile.
    pub fn handle_piece(
        &mut self,
        _now: Time,
        _conn: ConnId,
        _index: PieceIndex,
        _outcome: PieceOutcome,
    ) {
    }

    /// Some bytes of a requested piece arrived: the peer is alive. Optional.
    pub fn handle_piece_progress(&mut self, _now: Time, _conn: ConnId, _bytes: u64) {}

    /// An [`Output::SendPiece`] ended: the last byte was handed to the socket, or could not be
    /// read from disk (the connection stands; the peer is told).
    pub fn handle_piece_sent(
        &mut self,
        _now: Time,
        _conn: ConnId,
        _index: PieceIndex,
        _result: Result<(), ()>,
    ) {
    }

    /// The receiver of a piece took nothing for 500 ms: it loses its upload slot until the piece
    /// is sent. The driver may close the connection later.
    pub fn handle_stalled(&mut self, _now: Time, _conn: ConnId) {}

    /// A connection ended without this side's doing. Unknown ones are ignored.
    pub fn handle_closed(&mut self, _now: Time, _conn: ConnId, _reason: CloseReason) {}

    /// An [`Output::Commit`] ended.
    pub fn handle_committed(&mut self, _now: Time, _torrent: &Digest, _result: Result<(), Error>) {}

    /// An [`Output::Discard`] ended: the torrent is open anew and empty.
    pub fn handle_discarded(&mut self, _now: Time, _torrent: &Digest, _result: Result<(), Error>) {}

    /// The time of [`Swarm::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, _now: Time) {}
}

/// Outputs.
impl Swarm {
    /// The next thing to do; to be called until `None` after any other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Swarm::handle_timeout`]; may change after any other call.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

/// Getters.
impl Swarm {
    /// What this node announces of itself.
    pub fn local(&self) -> &PeerInfo {
        &self.local
    }

    /// The configuration in force.
    pub fn config(&self) -> &SwarmConfig {
        &self.config
    }

    /// The digests of all torrents, in order.
    pub fn torrents(&self) -> impl Iterator<Item = Digest> + '_ {
        self.torrents.keys().copied()
    }

    /// The torrent that an info hash stands for.
    pub fn torrent_of(&self, info_hash: &InfoHash) -> Option<Digest> {
        self.aliases.get(info_hash).copied()
    }

    /// The torrent that a connection belongs to.
    pub fn torrent_of_conn(&self, conn: ConnId) -> Option<Digest> {
        self.conns.get(&conn).copied()
    }

    /// One torrent as it stands.
    pub fn snapshot(&self, torrent: &Digest) -> Option<TorrentSnapshot> {
        let _ = self.torrents.get(torrent)?;
        None
    }

    /// Whom this node will not dial or accept at the moment.
    pub fn blacklist(&self, _now: Time) -> Vec<Blacklisted> {
        Vec::new()
    }

    /// Running totals.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
