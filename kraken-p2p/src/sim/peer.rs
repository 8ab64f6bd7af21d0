//! What a simulated host runs.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use kraken_core::{Digest, Error, PeerInfo, PieceIndex, Time};

use crate::swarm::{
    Announced, CloseReason, ConnId, Counters, DemandId, Output, PieceOutcome, Refused, Swarm,
    SwarmConfig, TorrentSpec,
};
use crate::wire::{Handshake, Message};

/// A host's state machine, called by the simulator as a driver calls [`Swarm`].
///
/// After any call but the getters the simulator takes outputs until there are none. It calls
/// `handle_timeout` once the time of `poll_timeout` has come; afterwards that time must lie later.
/// Time never goes back. A peer decides by what it is told and by its seed alone, else a run could
/// not be repeated: no clock, no randomness of the system, no order of a hash map.
///
/// Methods and outputs have the meanings they have for [`Swarm`], and what a policy of its own must
/// do for a blob to come is little (`examples/policy.rs` is one):
///
/// - announce it (the info hash is that of the spec's metainfo) and dial who is named, under
///   [`ConnId`]s that it chooses and never uses twice, with a handshake of what it has;
/// - answer handshakes, or refuse them;
/// - ask for pieces with [`Message::PieceRequest`] and send those that it is asked for with
///   [`Output::SendPiece`], to nobody who did not ask;
/// - say [`Output::Commit`] once it has all pieces, and [`Output::Completed`] once it was told that
///   the blob is committed.
///
/// Who never asks for a piece starves, and the report says so.
pub trait Peer: fmt::Debug + Send {
    /// Adds a torrent; called once for each blob the host wants or has, before any demand for it.
    fn add_torrent(&mut self, now: Time, spec: TorrentSpec) -> Result<(), Error>;

    /// Says which bytes the host waits for; `0..blob_len` is the whole blob. `None` takes it back.
    fn set_demand(&mut self, now: Time, torrent: &Digest, id: DemandId, bytes: Option<Range<u64>>);

    /// An [`Output::Announce`] was answered.
    fn handle_announced(&mut self, now: Time, torrent: &Digest, result: Result<Announced, Error>);

    /// An [`Output::Dial`] ended.
    fn handle_dialed(&mut self, now: Time, conn: ConnId, result: Result<Handshake, CloseReason>);

    /// Someone connected and sent its handshake; the reply, and the id of the connection, which
    /// was never used by this peer before.
    fn handle_incoming(
        &mut self,
        now: Time,
        remote_ip: IpAddr,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused>;

    /// A message arrived; never a handshake or a payload.
    fn handle_message(&mut self, now: Time, conn: ConnId, message: Message);

    /// The last byte of a piece arrived over `conn`, and this came of it.
    fn handle_piece(
        &mut self,
        now: Time,
        torrent: &Digest,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    );

    /// So many more bytes of a piece arrived; told at most every 100 ms.
    fn handle_piece_progress(&mut self, _now: Time, _conn: ConnId, _bytes: u64) {}

    /// The last byte of an [`Output::SendPiece`] was handed to the network.
    fn handle_piece_sent(
        &mut self,
        now: Time,
        conn: ConnId,
        index: PieceIndex,
        result: Result<(), ()>,
    );

    /// The receiver of a piece took nothing for 500 ms.
    fn handle_stalled(&mut self, _now: Time, _conn: ConnId) {}

    /// So many bytes of pieces have been handed to the network since the start; told every 250 ms
    /// while [`Peer::is_sending`].
    fn handle_upload_progress(&mut self, _now: Time, _bytes: u64) {}

    /// A connection ended without this side's doing. Unknown ones are ignored.
    fn handle_closed(&mut self, now: Time, conn: ConnId, reason: CloseReason);

    /// An [`Output::Commit`] ended.
    fn handle_committed(&mut self, now: Time, torrent: &Digest, result: Result<(), Error>);

    /// An [`Output::Discard`] ended.
    fn handle_discarded(&mut self, now: Time, torrent: &Digest, result: Result<(), Error>);

    /// The time of [`Peer::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: Time);

    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to call [`Peer::handle_timeout`]; may change after any other call.
    fn poll_timeout(&self) -> Option<Time>;

    /// Whether pieces are going out and [`Peer::handle_upload_progress`] is of use.
    fn is_sending(&self) -> bool {
        false
    }

    /// Whether messages wait behind pieces that were to be sent before them, as in uber/kraken.
    /// Else a message waits only for the piece that is going out over its connection.
    fn writes_in_order(&self) -> bool {
        false
    }

    /// Whether a piece is received into memory and written once it is whole, as in uber/kraken.
    /// Else it is written as it comes, and of two that come at once the first to begin is kept.
    fn buffers_pieces(&self) -> bool {
        false
    }

    /// Whether connections stay whose receivers take nothing for long, as in uber/kraken. Else they
    /// are closed as the node closes them.
    fn keeps_stalled(&self) -> bool {
        false
    }

    /// Whether a blob is complete only once it was verified as a whole. Else, as in uber/kraken's
    /// agents, it is when all pieces are there.
    fn verifies_blobs(&self) -> bool {
        true
    }

    /// Whether trackers are told of its zone; uber/kraken's announces have no such field.
    fn tells_zone(&self) -> bool {
        true
    }

    /// What this peer promises never to exceed; the simulator counts for itself.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// What it counted, to be compared with what the simulator did.
    fn counters(&self) -> Option<Counters> {
        None
    }
}

/// Makes the peers of a group of hosts. Pure: the same arguments make peers that behave alike.
pub trait Policy: fmt::Debug + Send + Sync {
    /// What it is called in reports.
    fn name(&self) -> String;

    /// The peer of a host that announces itself as `local`; all its randomness is from `seed`.
    fn peer(&self, local: PeerInfo, seed: u64) -> Box<dyn Peer>;
}

/// What a peer promises never to exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of one torrent.
    pub conns_per_torrent: usize,
    /// Dials of one torrent that are under way.
    pub dials_per_torrent: usize,
    /// Open connections and dials of one torrent once it has dialled.
    pub conns_once_dialed: usize,
    /// Requests open with one other peer that sent [`Handshake::capabilities`], those that were
    /// taken back not counted.
    pub requests_per_conn: usize,
    /// With an agent that did not, as uber/kraken's do not.
    pub requests_per_upstream_agent: usize,
    /// With an origin that did not.
    pub requests_per_upstream_origin: usize,
    /// Pieces handed to the network at once whose receivers take them.
    pub pieces_at_once: usize,
    /// Bytes on order with peers that are not silent, each piece counted once, shared out evenly
    /// among the torrents that have any on order…
    pub in_flight_bytes: u64,
    /// …or so many pieces, if that is more…
    pub in_flight_pieces_min: u64,
    /// …but for those no more bytes than these…
    pub in_flight_min_bytes: u64,
    /// …and so many pieces of each torrent, however many there are.
    pub in_flight_each_min: u64,
}

/// The production code, with these choices.
#[derive(Debug, Clone, PartialEq)]
pub struct SwarmPolicy {
    /// What it is called in reports.
    pub name: String,
    /// The choices.
    pub config: SwarmConfig,
}

impl Default for Limits {
    /// No limits.
    fn default() -> Self {
        Self {
            conns_per_torrent: usize::MAX,
            dials_per_torrent: usize::MAX,
            conns_once_dialed: usize::MAX,
            requests_per_conn: usize::MAX,
            requests_per_upstream_agent: usize::MAX,
            requests_per_upstream_origin: usize::MAX,
            pieces_at_once: usize::MAX,
            in_flight_bytes: u64::MAX,
            in_flight_pieces_min: 0,
            in_flight_min_bytes: 0,
            in_flight_each_min: 0,
        }
    }
}

impl Limits {
    /// Pieces of one torrent that may be on order while so many others have some too.
    pub(super) fn pieces_on_order(&self, piece_len: u64, others: u64) -> u64 {
        let least = self.in_flight_pieces_min.min(self.in_flight_min_bytes / piece_len);
        let of_all = (self.in_flight_bytes / piece_len).max(least);
        (of_all / (others + 1)).max(self.in_flight_each_min)
    }
}

impl SwarmPolicy {
    /// With a name that tells it from others in a report.
    pub fn new(name: impl Into<String>, config: SwarmConfig) -> Self {
        Self { name: name.into(), config }
    }

    /// With the choices of an origin.
    pub fn origin() -> Self {
        Self::new("kraken", SwarmConfig::origin())
    }
}

impl Default for SwarmPolicy {
    /// With those of an agent.
    fn default() -> Self {
        Self::new("kraken", SwarmConfig::default())
    }
}

impl Policy for SwarmPolicy {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn peer(&self, local: PeerInfo, seed: u64) -> Box<dyn Peer> {
        Box::new(Swarm::new(self.config.clone(), local, seed))
    }
}

impl Peer for Swarm {
    fn add_torrent(&mut self, now: Time, spec: TorrentSpec) -> Result<(), Error> {
        self.add_torrent(now, spec)
    }

    fn set_demand(
        &mut self,
        now: Time,
        torrent: &Digest,
        demand: DemandId,
        bytes: Option<Range<u64>>,
    ) {
        self.set_demand(now, torrent, demand, bytes);
    }

    fn handle_announced(&mut self, now: Time, torrent: &Digest, result: Result<Announced, Error>) {
        self.handle_announced(now, torrent, result);
    }

    fn handle_dialed(&mut self, now: Time, conn: ConnId, result: Result<Handshake, CloseReason>) {
        self.handle_dialed(now, conn, result);
    }

    fn handle_incoming(
        &mut self,
        now: Time,
        remote_ip: IpAddr,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        self.handle_incoming(now, remote_ip, handshake)
    }

    fn handle_message(&mut self, now: Time, conn: ConnId, message: Message) {
        self.handle_message(now, conn, message);
    }

    fn handle_piece(
        &mut self,
        now: Time,
        torrent: &Digest,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        self.handle_piece(now, torrent, conn, index, outcome);
    }

    fn handle_piece_progress(&mut self, now: Time, conn: ConnId, bytes: u64) {
        self.handle_piece_progress(now, conn, bytes);
    }

    fn handle_piece_sent(
        &mut self,
        now: Time,
        conn: ConnId,
        index: PieceIndex,
        result: Result<(), ()>,
    ) {
        self.handle_piece_sent(now, conn, index, result);
    }

    fn handle_stalled(&mut self, now: Time, conn: ConnId) {
        self.handle_stalled(now, conn);
    }

    fn handle_upload_progress(&mut self, now: Time, bytes: u64) {
        self.handle_upload_progress(now, bytes);
    }

    fn handle_closed(&mut self, now: Time, conn: ConnId, reason: CloseReason) {
        self.handle_closed(now, conn, reason);
    }

    fn handle_committed(&mut self, now: Time, torrent: &Digest, result: Result<(), Error>) {
        self.handle_committed(now, torrent, result);
    }

    fn handle_discarded(&mut self, now: Time, torrent: &Digest, result: Result<(), Error>) {
        self.handle_discarded(now, torrent, result);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.poll_timeout()
    }

    fn is_sending(&self) -> bool {
        self.is_sending()
    }

    fn limits(&self) -> Limits {
        let config = self.config();
        Limits {
            // Dials that were under way when the last room was taken still become connections.
            conns_per_torrent: config.accept_max.max(config.dial_max) + config.dial_max,
            dials_per_torrent: config.dial_max,
            // Of those that were accepted a third is left for those to come.
            conns_once_dialed: config.dial_max.max(config.accept_max * 2 / 3),
            requests_per_conn: config.pipeline_ours,
            requests_per_upstream_agent: config.pipeline_agent,
            requests_per_upstream_origin: config.pipeline_origin,
            pieces_at_once: config.upload_pieces_max.max(config.upload_pieces_at_once),
            in_flight_bytes: config.in_flight_bytes,
            in_flight_pieces_min: 14,
            in_flight_min_bytes: 64 << 20,
            in_flight_each_min: 4,
        }
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.counters())
    }
}
