//! What a swarm was told and has answered, kept beside it: what it should know, and what it may do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use kraken_core::{
    Bitfield, Digest, ErrorKind, Geometry, InfoHash, PeerId, PeerInfo, PieceIndex, Time,
    provisional,
};

use super::event::Event;
use crate::limits::{HANDOUT_MAX, PIECE_REQUESTS_QUEUED_MAX};
use crate::swarm::limits::{CORRUPT_MAX, ERRORS_MAX, RECEIVE_PACE_MIN};
use crate::swarm::torrent::Phase;
use crate::swarm::upload::{CANCELLED, UNPROVABLE};
use crate::swarm::{Announced, ConnId, Counters, DemandId, PieceOutcome, SwarmConfig, TorrentSpec};
use crate::wire::{Capabilities, ErrorCode, Handshake, Message};

/// A swarm as it should be.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) torrents: BTreeMap<Digest, Known>,
    /// Dials and open connections.
    pub(super) conns: BTreeMap<ConnId, Line>,
    pub(super) counters: Counters,
    /// Ids of connections from here on were never used.
    pub(super) next_conn: u64,
    pub(super) shut_down: bool,
    pub(super) step: Step,
}

/// A torrent.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) geometry: Geometry,
    pub(super) info_hash: InfoHash,
    pub(super) provisional_hash: InfoHash,
    pub(super) is_final: bool,
    /// When metainfo was last asked for.
    pub(super) refreshed_at: Option<Time>,
    pub(super) phase: Phase,
    /// The pieces on disk.
    pub(super) have: Bitfield,
    pub(super) demands: BTreeMap<DemandId, Range<u32>>,
    /// An announce is under way, under this hash.
    pub(super) announcing: Option<InfoHash>,
    /// A commit is under way.
    pub(super) committing: bool,
    /// Its blob failed its digest, and has not been fetched again.
    pub(super) origins_only: bool,
    pub(super) named: BTreeMap<PeerId, PeerInfo>,
    pub(super) bans: Vec<Ban>,
    pub(super) corrupt: BTreeMap<PeerId, u32>,
    /// When a piece last came, or somebody began to wait.
    pub(super) news_at: Time,
    /// Pieces and bytes.
    pub(super) received: (u64, u64),
    pub(super) sent: (u64, u64),
}

/// Who is barred, where, and from being dialled at which port.
#[derive(Debug)]
pub(super) struct Ban {
    pub(super) peer_id: PeerId,
    pub(super) ip: String,
    pub(super) port: Option<u16>,
}

/// A dial or an open connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) torrent: Digest,
    pub(super) peer_id: PeerId,
    /// Whom this side dialled, or from where the other side came.
    pub(super) remote: Result<PeerInfo, IpAddr>,
    /// The pieces this side said it has when it dialled.
    pub(super) claimed: Bitfield,
    pub(super) open: Option<Open>,
}

/// What goes on over an open connection.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) ours: bool,
    pub(super) answers_cancels: bool,
    pub(super) lacks_sums: bool,
    /// Pieces for which nothing vouched.
    pub(super) unproven: u32,
    /// What the other side has.
    pub(super) bits: Bitfield,
    /// What it need not be told any more that this side has; `None` when seeding was off meanwhile.
    pub(super) told: Option<Bitfield>,
    /// What is on order with it, and what ever was, with when that was asked for last.
    pub(super) requests: BTreeSet<PieceIndex>,
    pub(super) asked_at: BTreeMap<PieceIndex, Time>,
    /// Until when nothing that it was asked for can count as overdue: when a piece last came, this
    /// side paused, or the bytes since then are worth; the connection's beginning at least.
    pub(super) progress_at: Time,
    /// When a piece last was stored or sent, or the connection made.
    pub(super) active_at: Time,
    /// What a peer that knows no cancel was asked for and has not answered, in that order, as it
    /// went over the wire.
    pub(super) unanswered: Vec<PieceIndex>,
    /// What is on order and was taken back: it is not any more once the other side says so.
    pub(super) taken_back: BTreeSet<PieceIndex>,
    /// What it waits for.
    pub(super) queue: VecDeque<PieceIndex>,
    /// What is being sent, and whether that holds a slot.
    pub(super) sending: Option<(PieceIndex, bool)>,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// What is to come of one call.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) event: Option<Event>,
    /// Answers to peers that are due.
    pub(super) owed: Vec<(ConnId, PieceIndex, ErrorCode)>,
    /// Connections that are to be told that there are sums.
    pub(super) finals: BTreeSet<ConnId>,
    /// Connections that are to be closed.
    pub(super) must_close: BTreeSet<ConnId>,
    /// Those that ended while outputs were being carried out: nothing can be sent to them.
    pub(super) hung_up: BTreeSet<ConnId>,
    /// Those that were asked for pieces.
    pub(super) asked: BTreeSet<ConnId>,
    /// Torrents that are to be announced under the hash that they have got.
    pub(super) announces: BTreeSet<Digest>,
    /// Torrents that are to be told of as complete, and to be discarded.
    pub(super) completes: BTreeSet<Digest>,
    pub(super) discards: BTreeSet<Digest>,
    pub(super) outputs: usize,
    /// How many connections and dials there were before.
    pub(super) conns_before: usize,
    /// The torrents that had pieces on order before.
    pub(super) fetching_before: BTreeSet<Digest>,
    /// The torrent that took a connection in, and how many it had before.
    pub(super) accepted: Option<(Digest, usize)>,
}

impl Known {
    fn new(now: Time, spec: &TorrentSpec) -> Self {
        let (digest, geometry) = (spec.meta.digest(), spec.meta.geometry());
        let all = Bitfield::full(geometry.pieces());
        Self {
            geometry,
            info_hash: spec.meta.info_hash(),
            provisional_hash: provisional::info_hash(&digest, &geometry),
            is_final: spec.meta.as_final().is_some(),
            refreshed_at: None,
            phase: if spec.complete { Phase::Complete } else { Phase::Fetching },
            have: if spec.complete { all } else { spec.have.clone() },
            demands: BTreeMap::new(),
            announcing: None,
            committing: false,
            origins_only: false,
            named: BTreeMap::new(),
            bans: Vec::new(),
            corrupt: BTreeMap::new(),
            news_at: now,
            received: (0, 0),
            sent: (0, 0),
        }
    }

    /// How long a peer may show nothing at least.
    pub(super) fn timeout_min(&self, config: &SwarmConfig) -> Duration {
        let mib = self.geometry.piece_len() as f64 / f64::from(1 << 20);
        config.request_timeout_min.max(config.request_timeout_per_mib.mul_f64(mib))
    }

    /// Whether it announces itself because it waits for pieces.
    fn is_to_announce(&self, config: &SwarmConfig) -> bool {
        config.announce && self.phase == Phase::Fetching && !self.demands.is_empty()
    }

    /// What would be said of it in a handshake.
    pub(super) fn claimed(&self, seed: bool) -> Bitfield {
        if seed { self.have.clone() } else { Bitfield::new(self.geometry.pieces()) }
    }

    /// The pieces of a handshake that is one for this torrent.
    pub(super) fn bits_of(&self, digest: &Digest, handshake: &Handshake) -> Option<Bitfield> {
        let bits = Bitfield::from_wire(&handshake.bitfield, self.geometry.pieces()).ok()?;
        let takes = takes_provisional(handshake);
        let known = match self.is_final {
            true => {
                handshake.info_hash == self.info_hash
                    || takes && handshake.info_hash == self.provisional_hash
            }
            // Any sums may turn out to be right.
            false => takes,
        };
        (handshake.digest == *digest && known).then_some(bits)
    }

    /// Whether who says this has no sums.
    fn lacks_sums(&self, handshake: &Handshake) -> bool {
        takes_provisional(handshake) && handshake.info_hash == self.provisional_hash
    }

    /// Whether a peer may not come from there, or with a port may not be dialled there.
    pub(super) fn is_banned(&self, peer_id: &PeerId, ip: &str, port: Option<u16>) -> bool {
        self.bans.iter().any(|ban| {
            ban.peer_id == *peer_id
                && ban.ip == canonical(ip)
                && (port.is_none() || ban.port == port)
        })
    }
}

impl Line {
    pub(super) fn is_origin(&self) -> bool {
        self.remote.as_ref().is_ok_and(|peer| peer.origin)
    }

    pub(super) fn begin(
        &mut self,
        now: Time,
        known: &Known,
        handshake: &Handshake,
        bits: Bitfield,
        told: Option<Bitfield>,
    ) {
        let capabilities = handshake.capabilities;
        self.open = Some(Open {
            ours: capabilities.is_some(),
            answers_cancels: capabilities.is_some_and(|known| known.0 & 1 == 1),
            lacks_sums: known.lacks_sums(handshake),
            unproven: 0,
            bits,
            told,
            requests: BTreeSet::new(),
            asked_at: BTreeMap::new(),
            progress_at: now,
            active_at: now,
            unanswered: Vec::new(),
            taken_back: BTreeSet::new(),
            queue: VecDeque::new(),
            sending: None,
            received: 0,
            sent: 0,
        });
    }
}

impl Open {
    /// The other side has answered a request, the first one for this piece if there are several.
    /// What it was asked for before that and nobody waits for any more it will not answer.
    fn answers(&mut self, index: PieceIndex) {
        self.requests.remove(&index);
        let Some(at) = self.unanswered.iter().position(|asked| *asked == index) else { return };
        let later = self.unanswered.split_off(at + 1);
        self.unanswered.pop();
        self.unanswered.retain(|asked| self.requests.contains(asked));
        self.unanswered.extend(later);
    }

    /// So many bytes have come, or with none this side pauses.
    fn progresses(&mut self, now: Time, bytes: u64) {
        let worth = Duration::from_secs_f64(bytes as f64 / RECEIVE_PACE_MIN);
        self.progress_at = if bytes == 0 { now } else { now.min(self.progress_at + worth) };
    }
}

/// What events mean.
impl Model {
    /// Takes note of a call that is about to be made.
    pub(super) fn told(&mut self, now: Time, config: &SwarmConfig, event: &Event) {
        match event {
            Event::Added(_) | Event::Incoming(..) => {}
            Event::Removed(digest) => drop(self.torrents.remove(digest)),
            Event::Demand(digest, id, bytes) => self.demand(now, digest, *id, bytes.clone()),
            Event::Seeding(on) => self.seeding(config.seed, *on),
            Event::Config(new) => self.seeding(config.seed, new.seed),
            Event::Shutdown => {
                self.shut_down = true;
                self.torrents.clear();
            }
            Event::Announced(digest, result) => {
                self.announced(config, digest, result.as_ref().ok());
            }
            Event::Dialed(conn, result) => {
                self.dialed(now, *conn, result.as_ref().ok(), config.seed);
            }
            Event::Message(conn, message) => self.message(*conn, message, config),
            Event::Piece(digest, conn, index, outcome) => {
                self.piece(now, digest, *conn, *index, *outcome);
            }
            Event::Landed(digest, index) => self.landed(now, digest, *index),
            Event::UploadProgress(_) | Event::Timeout => {}
            Event::Progress(conn, bytes) => {
                if let Some(open) = self.open(*conn) {
                    open.progresses(now, *bytes);
                }
            }
            Event::Sent(conn, index, sent) => self.sent(now, *conn, *index, *sent),
            Event::Stalled(conn) => {
                if let Some(sending) = self.open(*conn).and_then(|open| open.sending.as_mut()) {
                    sending.1 = false;
                }
            }
            Event::Closed(conn, _) => drop(self.conns.remove(conn)),
            Event::Committed(digest, result) => self.committed(digest, *result),
            Event::Discarded(digest, result) => self.discarded(now, digest, result.is_ok()),
        }
    }

    pub(super) fn open(&mut self, conn: ConnId) -> Option<&mut Open> {
        self.conns.get_mut(&conn)?.open.as_mut()
    }

    /// A torrent was added, and that was in order.
    pub(super) fn added(&mut self, now: Time, config: &SwarmConfig, spec: &TorrentSpec) {
        let digest = spec.meta.digest();
        match self.torrents.get_mut(&digest) {
            Some(known) if !known.is_final && spec.meta.as_final().is_some() => {
                known.info_hash = spec.meta.info_hash();
                known.is_final = true;
                if known.announcing.is_none() && known.is_to_announce(config) {
                    self.step.announces.insert(digest);
                }
                let of_it = |line: &&Line| line.torrent == digest;
                for (conn, line) in self.conns.iter().filter(|(_, line)| of_it(line)) {
                    if line.open.as_ref().is_some_and(|open| open.lacks_sums) {
                        self.step.finals.insert(*conn);
                    }
                }
            }
            Some(_) => {}
            None => drop(self.torrents.insert(digest, Known::new(now, spec))),
        }
    }

    fn demand(&mut self, now: Time, digest: &Digest, id: DemandId, bytes: Option<Range<u64>>) {
        let Some(known) = self.torrents.get_mut(digest) else { return };
        let Some(bytes) = bytes else {
            known.demands.remove(&id);
            return;
        };
        if known.demands.is_empty() && known.phase == Phase::Fetching {
            known.news_at = now;
        }
        known.demands.insert(id, known.geometry.covering(bytes));
    }

    fn seeding(&mut self, before: bool, after: bool) {
        if after {
            return;
        }
        for (conn, line) in &mut self.conns {
            let (Some(known), Some(open)) = (self.torrents.get(&line.torrent), &mut line.open)
            else {
                continue;
            };
            open.told = None;
            if !before {
                continue;
            }
            if known.phase == Phase::Complete {
                self.step.must_close.insert(*conn);
            } else {
                let refused = open.queue.drain(..);
                let refused = refused.map(|index| (*conn, index, ErrorCode::PieceRequestFailed));
                self.step.owed.extend(refused);
            }
        }
    }

    fn announced(&mut self, config: &SwarmConfig, digest: &Digest, answer: Option<&Announced>) {
        let Some(known) = self.torrents.get_mut(digest) else { return };
        let (Some(info_hash), Some(answer)) = (known.announcing.take(), answer) else { return };
        if known.phase != Phase::Fetching {
            return;
        }
        if info_hash != known.info_hash && known.is_to_announce(config) {
            self.step.announces.insert(*digest);
        }
        for peer in answer.peers.iter().take(HANDOUT_MAX) {
            if !known.is_banned(&peer.peer_id, &peer.ip, Some(peer.port)) {
                known.named.insert(peer.peer_id, peer.clone());
            }
        }
    }

    fn dialed(&mut self, now: Time, conn: ConnId, handshake: Option<&Handshake>, seed: bool) {
        let Some(line) = self.conns.get_mut(&conn).filter(|line| line.open.is_none()) else {
            return;
        };
        let Some(handshake) = handshake else {
            self.conns.remove(&conn);
            return;
        };
        let known = &self.torrents[&line.torrent];
        match known.bits_of(&line.torrent, handshake) {
            Some(bits) if handshake.peer_id == line.peer_id => {
                // What came since the dial is told now, unless it has that itself.
                let mut told = line.claimed.clone();
                bits.iter().filter(|index| known.have.contains(*index)).for_each(|index| {
                    told.set(index);
                });
                let told = seed.then_some(told);
                line.begin(now, known, handshake, bits, told);
                if known.is_final && known.lacks_sums(handshake) {
                    self.step.finals.insert(conn);
                }
            }
            _ => drop(self.step.must_close.insert(conn)),
        }
    }

    fn message(&mut self, conn: ConnId, message: &Message, config: &SwarmConfig) {
        let Some(line) = self.conns.get_mut(&conn) else { return };
        let (Some(open), Some(known)) = (&mut line.open, self.torrents.get(&line.torrent)) else {
            return;
        };
        match message {
            Message::PieceRequest { index, offset, length } => {
                let whole = *offset == 0 && u64::from(*length) == known.geometry.len_of(*index);
                if !known.geometry.contains(*index) {
                    self.step.must_close.insert(conn);
                } else if !config.seed || !whole || !known.have.contains(*index) {
                    self.step.owed.push((conn, *index, ErrorCode::PieceRequestFailed));
                } else if !open.queue.contains(index) {
                    if open.queue.len() >= PIECE_REQUESTS_QUEUED_MAX {
                        self.step.must_close.insert(conn);
                    } else {
                        open.queue.push_back(*index);
                    }
                }
            }
            Message::AnnouncePiece { index } => {
                if known.geometry.contains(*index) {
                    open.bits.set(*index);
                } else {
                    self.step.must_close.insert(conn);
                }
            }
            Message::CancelPiece { index } => {
                let waited = open.queue.len();
                open.queue.retain(|queued| queued != index);
                if open.queue.len() < waited && open.answers_cancels {
                    self.step.owed.push((conn, *index, CANCELLED));
                }
            }
            Message::Error { index, code: UNPROVABLE, .. } => {
                let was_open = open.requests.contains(index);
                open.answers(*index);
                if was_open {
                    self.unproven(conn, ERRORS_MAX);
                }
            }
            Message::Error { code: CANCELLED, .. } => {}
            Message::Error { index, .. } => {
                if open.requests.contains(index) {
                    open.bits.clear(*index);
                }
                open.answers(*index);
            }
            Message::Final { .. } => open.lacks_sums = false,
            Message::Complete if known.phase == Phase::Complete => {
                self.step.must_close.insert(conn);
            }
            Message::Complete => open.bits = Bitfield::full(known.geometry.pieces()),
            Message::Handshake(_)
            | Message::PiecePayload { .. }
            | Message::PieceProof { .. }
            | Message::WantPieces { .. }
            | Message::Unknown(_) => {}
        }
    }

    fn piece(
        &mut self,
        now: Time,
        digest: &Digest,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        let Some(known) = self.torrents.get_mut(digest) else { return };
        if !known.geometry.contains(index) {
            return;
        }
        let mut line = self.conns.get_mut(&conn).filter(|line| line.torrent == *digest);
        let from_origin = line.as_ref().is_some_and(|line| line.is_origin() && line.open.is_some());
        let mut open = line.as_mut().and_then(|line| line.open.as_mut());
        if let Some(open) = &mut open {
            open.answers(index);
            open.progress_at = now;
        }
        let is_news = known.phase == Phase::Fetching && !known.have.contains(index);
        match outcome {
            PieceOutcome::Stored if !is_news => {}
            PieceOutcome::Stored | PieceOutcome::Present => {
                if let Some(open) = &mut open {
                    open.bits.set(index);
                }
                if outcome == PieceOutcome::Present {
                    self.counters.pieces_duplicate += 1;
                } else {
                    let bytes = known.geometry.len_of(index);
                    known.received = (known.received.0 + 1, known.received.1 + bytes);
                    self.counters.note_received(from_origin, bytes);
                    if let Some(open) = open {
                        open.received += 1;
                        open.active_at = now;
                        open.unproven = 0;
                    }
                }
                if is_news {
                    self.landed(now, digest, index);
                }
            }
            PieceOutcome::Unproven => self.unproven(conn, ERRORS_MAX),
            PieceOutcome::Duplicate => self.counters.pieces_duplicate += 1,
            PieceOutcome::StorageFailed => {}
            PieceOutcome::Corrupt { lied } => {
                self.counters.pieces_corrupt += 1;
                let Some(open) = open else { return };
                open.bits.clear(index);
                if known.is_final && open.lacks_sums && !lied {
                    self.unproven(conn, CORRUPT_MAX);
                } else {
                    self.corrupt(digest, conn, lied);
                }
            }
        }
    }

    /// A piece is on disk.
    fn landed(&mut self, now: Time, digest: &Digest, index: PieceIndex) {
        let Some(known) = self.torrents.get_mut(digest) else { return };
        let is_news = known.phase == Phase::Fetching && known.geometry.contains(index);
        if !is_news || !known.have.set(index) {
            return;
        }
        known.news_at = now;
        for line in self.conns.values_mut().filter(|line| line.torrent == *digest) {
            let Some(open) = &mut line.open else { continue };
            open.requests.remove(&index);
            if let Some(told) = open.told.as_mut().filter(|_| open.bits.contains(index)) {
                // It needs not be told.
                told.set(index);
            }
        }
    }

    /// Nothing vouched for a piece of an open connection, which may happen so often.
    fn unproven(&mut self, conn: ConnId, times_max: u32) {
        let Some(open) = self.open(conn) else { return };
        open.unproven += 1;
        if open.unproven >= times_max {
            self.step.must_close.insert(conn);
        }
    }

    /// An open connection brought a piece with a wrong sum.
    fn corrupt(&mut self, digest: &Digest, conn: ConnId, lied: bool) {
        let (Some(known), Some(line)) = (self.torrents.get_mut(digest), self.conns.get(&conn))
        else {
            return;
        };
        let times = known.corrupt.entry(line.peer_id).or_insert(0);
        *times += 1;
        if !lied && *times < CORRUPT_MAX {
            return;
        }
        let (ip, port) = match &line.remote {
            Ok(peer) => (canonical(&peer.ip), Some(peer.port)),
            Err(ip) => (canonical(&ip.to_string()), None),
        };
        known.bans.push(Ban { peer_id: line.peer_id, ip, port });
        self.counters.bans += 1;
        self.step.must_close.insert(conn);
    }

    fn sent(&mut self, now: Time, conn: ConnId, index: PieceIndex, sent: bool) {
        let Some(line) = self.conns.get_mut(&conn) else { return };
        let (Some(open), Some(known)) = (&mut line.open, self.torrents.get_mut(&line.torrent))
        else {
            return;
        };
        if open.sending.take_if(|(sending, _)| *sending == index).is_none() {
            return;
        }
        if !sent {
            let code = if open.lacks_sums { UNPROVABLE } else { ErrorCode::PieceRequestFailed };
            self.step.owed.push((conn, index, code));
            return;
        }
        let bytes = known.geometry.len_of(index);
        open.sent += 1;
        open.active_at = now;
        open.bits.set(index);
        known.sent = (known.sent.0 + 1, known.sent.1 + bytes);
        self.counters.pieces_sent += 1;
        self.counters.bytes_sent += bytes;
    }

    fn committed(&mut self, digest: &Digest, result: Result<(), ErrorKind>) {
        let Some(known) = self.torrents.get_mut(digest) else { return };
        if known.phase != Phase::Committing {
            return;
        }
        known.committing = false;
        match result {
            // The driver has broken its word.
            Ok(()) if !known.is_final => {}
            Ok(()) => {
                known.phase = Phase::Complete;
                known.origins_only = false;
                self.step.completes.insert(*digest);
            }
            Err(ErrorKind::Mismatch) => {
                known.phase = Phase::Discarding;
                self.counters.blobs_mismatched += 1;
                self.step.discards.insert(*digest);
            }
            Err(_) => {}
        }
    }

    fn discarded(&mut self, now: Time, digest: &Digest, is_ok: bool) {
        let Some(known) = self.torrents.get_mut(digest) else { return };
        if known.phase == Phase::Discarding && is_ok {
            known.phase = Phase::Fetching;
            known.origins_only = true;
            known.have = Bitfield::new(known.geometry.pieces());
            known.news_at = now;
        }
    }
}

impl Counters {
    fn note_received(&mut self, from_origin: bool, bytes: u64) {
        let (pieces, sum) = if from_origin {
            (&mut self.pieces_from_origins, &mut self.bytes_from_origins)
        } else {
            (&mut self.pieces_from_peers, &mut self.bytes_from_peers)
        };
        *pieces += 1;
        *sum += bytes;
    }
}

/// Whether a peer can do without sums.
pub(super) fn takes_provisional(handshake: &Handshake) -> bool {
    handshake.capabilities.is_some_and(|known| known.has(Capabilities::PROVISIONAL))
}

/// The one spelling of an IP; a name stays as it is.
fn canonical(ip: &str) -> String {
    ip.parse::<IpAddr>().map_or_else(|_| ip.to_owned(), |ip| ip.to_canonical().to_string())
}
