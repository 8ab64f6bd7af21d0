//! One swarm, played by hand: what it answers to each thing a peer or the driver may do.

use std::time::Duration;

use bytes::Bytes;
use kraken_core::{
    Bitfield, Digest, Error, ErrorKind, Geometry, InfoHash, MetaInfo, Namespace, PeerInfo,
    PieceIndex, PieceSums, Time,
};

use super::crowd::{ip, peer_id, spec};
use crate::limits::PIECE_REQUESTS_QUEUED_MAX;
use crate::swarm::torrent::Torrent;
use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, Swarm, SwarmConfig,
};
use crate::wire::{Capabilities, ErrorCode, Handshake, Message};

pub(super) const PIECES: u32 = 200;
pub(super) const LEN: u32 = 1 << 20;

/// A swarm with one torrent, and the hand that plays everyone else.
pub(super) struct Alone {
    pub(super) swarm: Swarm,
    pub(super) now: Time,
    pub(super) meta: MetaInfo,
}

impl Alone {
    pub(super) fn new(config: SwarmConfig) -> Self {
        let geometry = Geometry::new(u64::from(PIECES) * u64::from(LEN), u64::from(LEN)).unwrap();
        let sums = PieceSums { crc32: vec![1; PIECES as usize], blake3: None };
        let meta = MetaInfo::new(Digest::sha256(b"alone"), geometry, sums).unwrap();
        Self { swarm: Swarm::new(config, peer(100, false), 1), now: Time::from_millis(1), meta }
    }

    pub(super) fn seed() -> Self {
        let mut alone = Self::new(SwarmConfig::origin());
        alone.add(true);
        alone
    }

    pub(super) fn leecher() -> Self {
        let mut alone = Self::new(SwarmConfig::default());
        alone.add(false);
        let whole = 0..alone.meta.geometry().blob_len();
        let digest = alone.meta.digest();
        alone.swarm.set_demand(alone.now, &digest, DemandId(0), Some(whole));
        alone
    }

    pub(super) fn add(&mut self, complete: bool) {
        self.swarm.add_torrent(self.now, spec(&self.meta, complete)).unwrap();
    }

    pub(super) fn handshake(&self, at: usize, have: &Bitfield) -> Handshake {
        Handshake {
            peer_id: peer_id(at),
            info_hash: self.meta.info_hash(),
            digest: self.meta.digest(),
            namespace: "".parse::<Namespace>().unwrap(),
            bitfield: Bytes::from(have.to_wire()),
            remote_peers: Vec::new(),
            capabilities: Some(Capabilities(1)),
        }
    }

    pub(super) fn accept(&mut self, at: usize, have: &Bitfield) -> Result<ConnId, Refused> {
        let handshake = self.handshake(at, have);
        self.swarm.handle_incoming(self.now, ip(at), &handshake).map(|(conn, _)| conn)
    }

    pub(super) fn message(&mut self, conn: ConnId, message: Message) -> Vec<Output> {
        self.swarm.handle_message(self.now, conn, message);
        self.outputs()
    }

    pub(super) fn request(&mut self, conn: ConnId, index: u32) -> Vec<Output> {
        let index = PieceIndex(index);
        self.message(conn, Message::PieceRequest { index, offset: 0, length: LEN })
    }

    pub(super) fn piece(
        &mut self,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) -> Vec<Output> {
        self.swarm.handle_piece(self.now, &self.meta.digest(), conn, index, outcome);
        self.outputs()
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        let outputs = std::iter::from_fn(|| self.swarm.poll_output()).collect();
        self.swarm.check(self.now);
        self.swarm.check_limits();
        outputs
    }

    /// Announces the peers and returns the dials that follow.
    pub(super) fn introduce(&mut self, peers: Vec<PeerInfo>) -> Vec<(ConnId, PeerInfo)> {
        let digest = self.meta.digest();
        let announced = Announced { peers, ..Announced::default() };
        self.swarm.handle_announced(self.now, &digest, Ok(announced));
        self.dials()
    }

    pub(super) fn dials(&mut self) -> Vec<(ConnId, PeerInfo)> {
        self.outputs().into_iter().filter_map(dial).collect()
    }

    pub(super) fn later(&mut self, pause: Duration) -> Vec<Output> {
        let end = self.now + pause;
        let mut outputs = Vec::new();
        while let Some(at) = self.swarm.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.swarm.handle_timeout(at);
            outputs.extend(self.outputs());
        }
        self.now = end;
        outputs
    }

    pub(super) fn have(&self) -> u32 {
        self.swarm.snapshot(&self.meta.digest()).map_or(0, |snapshot| snapshot.pieces_have)
    }

    pub(super) fn has(&self, index: PieceIndex) -> bool {
        self.torrent().have.contains(index)
    }

    /// What is on order with a peer.
    pub(super) fn open(&self, conn: ConnId) -> Vec<PieceIndex> {
        self.torrent().conns[&conn].requests.keys().copied().collect()
    }

    fn torrent(&self) -> &Torrent {
        &self.swarm.torrents[&self.meta.digest()]
    }

    pub(super) fn conns(&self) -> usize {
        self.swarm.snapshot(&self.meta.digest()).map_or(0, |snapshot| snapshot.conns.len())
    }
}

fn dial(output: Output) -> Option<(ConnId, PeerInfo)> {
    match output {
        Output::Dial { conn, peer, .. } => Some((conn, peer)),
        _ => None,
    }
}

pub(super) fn peer(at: usize, origin: bool) -> PeerInfo {
    PeerInfo { peer_id: peer_id(at), ip: ip(at).to_string(), port: 80, origin, complete: origin }
}

pub(super) fn none() -> Bitfield {
    Bitfield::new(PIECES)
}

pub(super) fn full() -> Bitfield {
    Bitfield::full(PIECES)
}

pub(super) fn some(indexes: &[u32]) -> Bitfield {
    let mut bits = none();
    for index in indexes {
        bits.set(PieceIndex(*index));
    }
    bits
}

pub(super) fn requests(outputs: &[Output]) -> Vec<(ConnId, PieceIndex)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { conn, message: Message::PieceRequest { index, .. } } => {
                Some((*conn, *index))
            }
            _ => None,
        })
        .collect()
}

fn refused_with(outputs: &[Output], wanted: &str) -> bool {
    matches!(outputs, [Output::Send {
        message: Message::Error { code: ErrorCode::PieceRequestFailed, text, .. }, ..
    }] if text == wanted)
}

fn closed_for_protocol(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Close { reason: CloseReason::Protocol(_), .. }))
}

#[test]
fn requests_are_checked_before_they_are_queued() {
    let mut alone = Alone::seed();
    let conn = alone.accept(1, &none()).unwrap();
    let index = PieceIndex(0);
    let chunk = "reading / writing chunk of piece not supported";
    for (offset, length) in [(1, LEN), (0, LEN - 1), (0, 0), (u32::MAX, u32::MAX)] {
        let outputs = alone.message(conn, Message::PieceRequest { index, offset, length });
        assert!(refused_with(&outputs, chunk), "{outputs:?}");
    }
    for index in [PIECES, u32::MAX] {
        let conn = alone.accept(2, &none()).unwrap();
        assert!(closed_for_protocol(&alone.request(conn, index)));
    }
    let mut leecher = Alone::leecher();
    let conn = leecher.accept(1, &none()).unwrap();
    leecher.outputs();
    assert!(refused_with(&leecher.request(conn, 3), "piece not complete"));
}

#[test]
fn too_many_requests_close_the_connection() {
    let mut alone = Alone::seed();
    let conn = alone.accept(1, &none()).unwrap();
    for index in 0..=PIECE_REQUESTS_QUEUED_MAX as u32 {
        assert!(!closed_for_protocol(&alone.request(conn, index)));
    }
    assert!(closed_for_protocol(&alone.request(conn, PIECES - 1)));
    assert_eq!(alone.conns(), 0);
}

#[test]
fn indexes_out_of_range_close_the_connection() {
    let mut alone = Alone::leecher();
    let conn = alone.accept(1, &none()).unwrap();
    alone.outputs();
    let outputs = alone.message(conn, Message::AnnouncePiece { index: PieceIndex(u32::MAX) });
    assert!(closed_for_protocol(&outputs));
    // Of what is not to be expected nothing else comes.
    let conn = alone.accept(2, &none()).unwrap();
    for message in [
        Message::Unknown(99),
        Message::CancelPiece { index: PieceIndex(u32::MAX) },
        Message::PiecePayload { index: PieceIndex(0), offset: 0, length: 1 },
        Message::Error {
            index: PieceIndex(u32::MAX),
            code: ErrorCode::PieceRequestFailed,
            text: String::new(),
        },
    ] {
        assert!(alone.message(conn, message).is_empty());
    }
    assert!(alone.piece(conn, PieceIndex(u32::MAX), PieceOutcome::Stored).is_empty());
    alone.swarm.handle_piece_sent(alone.now, conn, PieceIndex(u32::MAX), Ok(()));
    assert!(alone.outputs().is_empty());
}

#[test]
fn handshakes_that_contradict_the_torrent_are_refused() {
    let mut alone = Alone::seed();
    let good = alone.handshake(1, &none());
    let now = alone.now;
    let mut refuse =
        |handshake: &Handshake| alone.swarm.handle_incoming(now, ip(1), handshake).unwrap_err();
    let other_hash = Handshake { info_hash: InfoHash::new([9; 20]), ..good.clone() };
    assert!(matches!(refuse(&other_hash), Refused::Invalid(_)));
    let bits = Bytes::from(Bitfield::new(PIECES + 1).to_wire());
    assert!(matches!(refuse(&Handshake { bitfield: bits, ..good.clone() }), Refused::Invalid(_)));
    let unknown = Handshake { digest: Digest::sha256(b"?"), ..good.clone() };
    assert_eq!(refuse(&unknown), Refused::UnknownTorrent);
    let myself = Handshake { peer_id: peer_id(100), ..good.clone() };
    assert_eq!(refuse(&myself), Refused::Myself);
    let complete = Handshake { bitfield: Bytes::from(full().to_wire()), ..good.clone() };
    assert_eq!(refuse(&complete), Refused::Full);
    let (_, reply) = alone.swarm.handle_incoming(now, ip(1), &good).unwrap();
    assert_eq!(reply.capabilities, Some(Capabilities(3)));
    assert_eq!(reply.namespace.as_str(), "");
    assert_eq!(reply.bitfield, full().to_wire());
    assert_eq!(
        alone.swarm.handle_incoming(now, ip(1), &good).unwrap_err(),
        Refused::AlreadyConnected
    );
    alone.swarm.set_seeding(now, false);
    let other = alone.handshake(2, &none());
    assert_eq!(alone.swarm.handle_incoming(now, ip(2), &other).unwrap_err(), Refused::NotSeeding);
    assert!(matches!(alone.outputs()[..], [Output::Close { .. }]));
}

#[test]
fn a_reply_from_someone_else_closes_the_dial() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let dials = alone.introduce(vec![peer(1, true), peer(2, true), peer(3, true)]);
    assert_eq!(dials.len(), 3);
    let at = |dials: &[(ConnId, PeerInfo)], at: usize| {
        dials.iter().find(|(_, dialed)| dialed.peer_id == peer_id(at)).unwrap().0
    };
    let mut wrong =
        [alone.handshake(9, &full()), alone.handshake(2, &full()), alone.handshake(3, &full())];
    wrong[1].digest = Digest::sha256(b"other");
    wrong[2].info_hash = InfoHash::new([9; 20]);
    for (number, handshake) in wrong.into_iter().enumerate() {
        alone.swarm.handle_dialed(alone.now, at(&dials, number + 1), Ok(handshake));
        assert!(closed_for_protocol(&alone.outputs()));
    }
    assert_eq!(alone.swarm.counters().bans, 0);
    assert_eq!(alone.conns(), 0);
}

#[test]
fn of_two_crossing_dials_that_of_the_lower_id_stands() {
    for at in [1, 2, 3, 4] {
        let mut alone = Alone::leecher();
        alone.outputs();
        let (dial, _) = alone.introduce(vec![peer(at, false)])[0];
        let answer = alone.accept(at, &none());
        if peer_id(at) < peer_id(100) {
            assert!(answer.is_ok());
            assert!(alone.outputs().iter().any(|output| matches!(
                output,
                Output::Close { conn, reason: CloseReason::Replaced } if *conn == dial
            )));
            let late = alone.handshake(at, &none());
            alone.swarm.handle_dialed(alone.now, dial, Ok(late));
        } else {
            assert_eq!(answer, Err(Refused::AlreadyConnected));
            let reply = alone.handshake(at, &none());
            alone.swarm.handle_dialed(alone.now, dial, Ok(reply));
        }
        alone.outputs();
        assert_eq!(alone.conns(), 1);
    }
    // uber/kraken's agent refuses ours while its own is under way.
    let mut alone = Alone::leecher();
    alone.outputs();
    alone.introduce((1..5).map(|at| peer(at, false)).collect());
    for at in 1..5 {
        let handshake = Handshake { capabilities: None, ..alone.handshake(at, &none()) };
        alone.swarm.handle_incoming(alone.now, ip(at), &handshake).unwrap();
    }
    alone.outputs();
    assert_eq!(alone.conns(), 4);
}

#[test]
fn pieces_are_announced_only_to_those_that_lack_them() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let source = alone.accept(1, &some(&[5])).unwrap();
    let has = alone.accept(2, &some(&[5])).unwrap();
    let lacks = alone.accept(3, &none()).unwrap();
    let asked = requests(&alone.outputs());
    assert_eq!(asked.len(), 1, "one piece is asked of one peer");
    let from = asked[0].0;
    assert!(from == source || from == has);
    let outputs = alone.piece(from, PieceIndex(5), PieceOutcome::Stored);
    assert!(
        matches!(outputs[..], [Output::Send { conn, message: Message::AnnouncePiece { .. } }]
            if conn == lacks),
        "{outputs:?}"
    );
    assert_eq!(alone.swarm.snapshot(&alone.meta.digest()).unwrap().pieces_have, 1);
}

#[test]
fn a_refused_request_goes_elsewhere() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let first = alone.accept(1, &some(&[5])).unwrap();
    assert_eq!(requests(&alone.outputs()), [(first, PieceIndex(5))]);
    let second = alone.accept(2, &some(&[5])).unwrap();
    alone.outputs();
    let error = Message::Error {
        index: PieceIndex(5),
        code: ErrorCode::PieceRequestFailed,
        text: "piece not complete".into(),
    };
    assert_eq!(requests(&alone.message(first, error)), [(second, PieceIndex(5))]);
}

#[test]
fn a_silent_peer_is_asked_no_more_and_then_let_go() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let hung = alone.accept(1, &full()).unwrap();
    assert_eq!(requests(&alone.outputs()).len(), 2);
    let outputs = alone.later(Duration::from_millis(4500));
    assert!(requests(&outputs).is_empty());
    let cancels = outputs.iter().filter(|output| {
        matches!(output, Output::Send { message: Message::CancelPiece { .. }, .. })
    });
    assert_eq!(cancels.count(), 2);
    let outputs = alone.later(Duration::from_secs(13));
    assert!(outputs.iter().any(|output| {
        matches!(output, Output::Close { conn, reason: CloseReason::Stalled } if *conn == hung)
    }));
    assert_eq!(alone.swarm.counters().requests_timed_out, 4);
}

#[test]
fn uber_krakens_pipelines_are_respected() {
    for (origin, most) in [(false, 3), (true, 5)] {
        let mut alone = Alone::leecher();
        alone.outputs();
        let (conn, _) = alone.introduce(vec![peer(1, origin)])[0];
        let reply = Handshake { capabilities: None, ..alone.handshake(1, &full()) };
        alone.swarm.handle_dialed(alone.now, conn, Ok(reply));
        let mut open = requests(&alone.outputs());
        for _ in 0..20 {
            alone.now += Duration::from_millis(10);
            let (conn, index) = open.remove(0);
            open.extend(requests(&alone.piece(conn, index, PieceOutcome::Stored)));
        }
        assert_eq!(open.len(), most);
    }
}

#[test]
fn accidents_are_forgiven_twice() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let mut open = requests(&alone.outputs());
    for _ in 0..3 {
        let (_, index) = open.remove(0);
        let outcome = PieceOutcome::Corrupt { lied: false };
        open.extend(requests(&alone.piece(conn, index, outcome)));
        open.extend(requests(&alone.later(Duration::from_millis(1100))));
    }
    assert_eq!(alone.conns(), 0);
    assert_eq!(alone.accept(1, &full()), Err(Refused::Banned));
    assert_eq!(alone.swarm.counters().bans, 1);
    // The ban is of this id at this IP, for incoming connections.
    let handshake = alone.handshake(1, &full());
    assert!(alone.swarm.handle_incoming(alone.now, ip(2), &handshake).is_ok());
}

#[test]
fn a_stalled_receiver_gives_up_its_slot() {
    let mut alone = Alone::new(SwarmConfig { upload_pieces_at_once: 1, ..SwarmConfig::origin() });
    alone.add(true);
    let stalls = alone.accept(1, &none()).unwrap();
    let waits = alone.accept(2, &none()).unwrap();
    assert_eq!(alone.request(stalls, 0).len(), 1);
    assert!(alone.request(waits, 1).is_empty());
    alone.swarm.handle_stalled(alone.now, stalls);
    assert!(matches!(alone.outputs()[..], [Output::SendPiece { conn, .. }] if conn == waits));
    alone.swarm.handle_piece_sent(alone.now, stalls, PieceIndex(0), Ok(()));
    assert!(alone.request(stalls, 2).is_empty());
    alone.swarm.handle_piece_sent(alone.now, waits, PieceIndex(1), Err(()));
    let outputs = alone.outputs();
    assert!(
        outputs.iter().any(|o| matches!(o, Output::Send { message: Message::Error { .. }, .. }))
    );
    assert!(outputs.iter().any(|o| matches!(o, Output::SendPiece { conn, .. } if *conn == stalls)));
}

#[test]
fn a_seed_tries_whether_one_piece_more_fills_its_uplink_better() {
    let config = SwarmConfig { upload_pieces_at_once: 1, ..SwarmConfig::origin() };
    let mut alone = Alone::new(SwarmConfig { upload_pieces_max: 2, ..config });
    alone.add(true);
    let (slow, waits) = (alone.accept(1, &none()).unwrap(), alone.accept(2, &none()).unwrap());
    assert!(!alone.swarm.is_sending());
    assert_eq!(alone.request(slow, 0).len(), 1);
    assert!(alone.swarm.is_sending());
    assert!(alone.request(waits, 1).is_empty());
    let mut look = |bytes| {
        alone.now += Duration::from_millis(250);
        alone.swarm.handle_upload_progress(alone.now, bytes);
        alone.outputs()
    };
    // Nothing to compare with; then nobody waited all the time.
    assert!(look(0).is_empty() && look(1000).is_empty());
    assert!(matches!(look(2000)[..], [Output::SendPiece { conn, .. }] if conn == waits));
}

#[test]
fn what_was_cancelled_is_not_sent_and_new_pieces_go_first() {
    let mut alone = Alone::new(SwarmConfig { upload_pieces_at_once: 1, ..SwarmConfig::origin() });
    alone.add(true);
    let (first, second) = (alone.accept(1, &none()).unwrap(), alone.accept(2, &none()).unwrap());
    alone.request(first, 0);
    for index in [0, 1, 2] {
        alone.request(second, index);
    }
    let outputs = alone.message(second, Message::CancelPiece { index: PieceIndex(1) });
    assert!(matches!(outputs[..], [Output::Send { conn, message: Message::Error { .. } }]
            if conn == second));
    // What is being sent is not taken back.
    assert!(alone.message(first, Message::CancelPiece { index: PieceIndex(0) }).is_empty());
    alone.swarm.handle_piece_sent(alone.now, first, PieceIndex(0), Ok(()));
    assert!(matches!(alone.outputs()[..], [Output::SendPiece { index: PieceIndex(2), .. }]));
    alone.swarm.handle_piece_sent(alone.now, second, PieceIndex(2), Ok(()));
    assert!(matches!(alone.outputs()[..], [Output::SendPiece { index: PieceIndex(0), .. }]));
}

#[test]
fn other_sums_than_those_that_are_here_are_refused() {
    let mut alone = Alone::new(SwarmConfig::default());
    alone.add(false);
    let sums = PieceSums { crc32: vec![2; PIECES as usize], blake3: None };
    let other = MetaInfo::new(alone.meta.digest(), alone.meta.geometry(), sums).unwrap();
    let error = alone.swarm.add_torrent(alone.now, spec(&other, false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn the_last_piece_leads_to_a_commit_and_to_complete() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let source = alone.accept(1, &full()).unwrap();
    let other = alone.accept(2, &none()).unwrap();
    alone.outputs();
    for index in alone.meta.geometry().indexes() {
        let outputs = alone.piece(source, index, PieceOutcome::Stored);
        let commits = outputs.iter().any(|output| matches!(output, Output::Commit { .. }));
        assert_eq!(commits, index.0 == PIECES - 1);
    }
    let digest = alone.meta.digest();
    let busy = Err(Error::new(ErrorKind::Io, "disk"));
    alone.swarm.handle_committed(alone.now, &digest, busy);
    assert!(alone.outputs().is_empty());
    let outputs = alone.later(Duration::from_secs(2));
    assert!(outputs.iter().any(|output| matches!(output, Output::Commit { .. })));
    alone.swarm.handle_announced(alone.now, &digest, Ok(Announced::default()));
    alone.swarm.handle_committed(alone.now, &digest, Ok(()));
    let outputs = alone.outputs();
    assert!(outputs.iter().any(|o| matches!(o, Output::Completed { .. })));
    assert!(outputs.iter().any(|o| matches!(o, Output::Announce { complete: true, .. })));
    assert!(outputs.iter().any(|o| matches!(
        o,
        Output::Close { conn, reason: CloseReason::BothComplete } if *conn == source
    )));
    assert!(outputs.iter().any(|o| matches!(
        o,
        Output::Send { conn, message: Message::Complete } if *conn == other
    )));
    let outputs = alone.message(other, Message::Complete);
    assert!(matches!(outputs[..], [Output::Close { reason: CloseReason::BothComplete, .. }]));
    alone.swarm.handle_announced(alone.now, &digest, Ok(Announced::default()));
    assert!(alone.later(Duration::from_secs(60)).is_empty(), "announced once, not each interval");
}

#[test]
fn a_piece_that_was_being_written_when_its_connection_closed_counts() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let (_, index) = requests(&alone.outputs())[0];
    alone.swarm.handle_closed(alone.now, conn, CloseReason::Remote("eof".into()));
    alone.piece(conn, index, PieceOutcome::Stored);
    assert_eq!(alone.have(), 1);
}

#[test]
fn shutdown_closes_everything_and_takes_nothing() {
    let mut alone = Alone::leecher();
    alone.outputs();
    alone.accept(1, &none()).unwrap();
    alone.introduce(vec![peer(2, true)]);
    alone.swarm.shutdown(alone.now);
    let outputs = alone.outputs();
    assert_eq!(outputs.len(), 2);
    assert!(
        outputs.iter().all(|output| {
            matches!(output, Output::Close { reason: CloseReason::Shutdown, .. })
        })
    );
    assert_eq!(alone.swarm.poll_timeout(), None);
    assert_eq!(alone.accept(3, &none()), Err(Refused::Full));
    let error = alone.swarm.add_torrent(alone.now, spec(&alone.meta, false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

/// The slot of the torrent that ends first is free before the other one has ended.
#[test]
fn no_piece_is_begun_at_the_shutdown() {
    let one =
        SwarmConfig { upload_pieces_at_once: 1, upload_pieces_max: 1, ..SwarmConfig::origin() };
    let mut alone = Alone::new(one);
    let sums = PieceSums { crc32: vec![2; PIECES as usize], blake3: None };
    let other = MetaInfo::new(Digest::sha256(b"other"), alone.meta.geometry(), sums).unwrap();
    let mut metas = [alone.meta.clone(), other];
    metas.sort_by_key(MetaInfo::digest);
    let mut sent = 0;
    for (at, meta) in metas.into_iter().enumerate() {
        alone.meta = meta;
        alone.add(true);
        let conn = alone.accept(at + 1, &none()).unwrap();
        let begun = |output: &&Output| matches!(output, Output::SendPiece { .. });
        sent += alone.request(conn, 0).iter().filter(begun).count();
    }
    assert_eq!(sent, 1, "the second one waits");
    alone.swarm.shutdown(alone.now);
    let outputs = alone.outputs();
    assert!(outputs.iter().all(|output| matches!(output, Output::Close { .. })), "{outputs:?}");
}

#[test]
fn the_empty_blob_is_committed_at_once() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let empty = MetaInfo::of_bytes(Digest::sha256(b""), b"", 5).unwrap();
    alone.swarm.add_torrent(alone.now, spec(&empty, false)).unwrap();
    assert!(matches!(alone.outputs()[..], [Output::Commit { .. }]));
}

#[test]
fn a_peer_that_moved_is_dialled_at_its_new_address() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let (conn, _) = alone.introduce(vec![peer(1, true)])[0];
    let refused = CloseReason::HandshakeFailed("refused".into());
    alone.swarm.handle_dialed(alone.now, conn, Err(refused));
    assert!(alone.dials().is_empty());
    assert_eq!(alone.swarm.blacklist(alone.now).len(), 1);
    let moved = PeerInfo { port: 81, ..peer(1, true) };
    let announces = alone.later(Duration::from_millis(400));
    assert!(announces.iter().any(|output| matches!(output, Output::Announce { .. })));
    let dials = alone.introduce(vec![moved]);
    assert_eq!(dials[0].1.port, 81);
}

#[test]
fn who_is_dialled_by_nobody_seeks_more_connections_but_no_origins() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let mut dials = alone.introduce((1..=20).map(|at| peer(at, false)).collect());
    assert_eq!(dials.len(), alone.swarm.config().dial_max);
    alone.introduce((30..=40).map(|at| peer(at, true)).collect());
    let (mut conns, mut outputs) = (Vec::new(), Vec::new());
    for second in 0..8 {
        assert!(dials.len() <= if second == 0 { 8 } else { 1 }, "{dials:?}");
        for (conn, dialed) in dials.drain(..) {
            assert!(!dialed.origin, "{dialed:?}");
            let reply = Handshake { peer_id: dialed.peer_id, ..alone.handshake(0, &full()) };
            alone.swarm.handle_dialed(alone.now, conn, Ok(reply));
            conns.push(conn);
        }
        for &conn in &conns {
            let index = alone.open(conn).first().copied();
            if let Some(index) = index {
                outputs.extend(alone.piece(conn, index, PieceOutcome::Stored));
            }
        }
        outputs.extend(alone.later(Duration::from_millis(1300)));
        dials = outputs.drain(..).filter_map(dial).collect();
    }
    assert_eq!(conns.len(), alone.swarm.config().conns_enough);
}
