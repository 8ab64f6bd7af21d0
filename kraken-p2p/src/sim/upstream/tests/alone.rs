//! One host, played by hand: what it answers to each thing a peer or the engine may do.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use kraken_core::{
    Bitfield, Digest, Geometry, MetaInfo, PeerId, PeerInfo, PieceIndex, PieceSums, Time,
    TorrentMeta,
};

use super::super::{PieceRequestPolicy, Upstream, UpstreamConfig};
use crate::sim::Peer;
use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, TorrentSpec,
};
use crate::wire::{ErrorCode, Handshake, Message};

const PIECES: u32 = 100;
const LEN: u32 = 1 << 20;

/// A host with torrents, and the hand that plays everyone else.
struct Alone {
    host: Upstream,
    now: Time,
    metas: Vec<MetaInfo>,
}

impl Alone {
    fn leecher(config: UpstreamConfig) -> Self {
        Self::of(config, 1, false)
    }

    fn origin() -> Self {
        Self::of(UpstreamConfig::default(), 1, true)
    }

    /// The announces that follow at once are answered by nobody.
    fn of(config: UpstreamConfig, torrents: u32, origin: bool) -> Self {
        Self::with_metas(config, (0..torrents).map(|number| meta(number, PIECES)).collect(), origin)
    }

    fn with_metas(config: UpstreamConfig, metas: Vec<MetaInfo>, origin: bool) -> Self {
        let mut host = Upstream::new(config, peer(1000, origin), 7);
        let now = Time::from_millis(1000);
        for meta in &metas {
            host.add_torrent(now, spec(meta, origin)).unwrap();
            let whole = 0..meta.geometry().blob_len();
            host.set_demand(now, &meta.digest(), DemandId(1), Some(whole));
        }
        Self { host, now, metas }
    }

    fn digest(&self) -> Digest {
        self.metas[0].digest()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.host.poll_output()).collect()
    }

    /// Lets time pass, and the timers go off.
    fn later(&mut self, secs: u64) -> Vec<Output> {
        let until = self.now + Duration::from_secs(secs);
        let mut outputs = self.outputs();
        while let Some(at) = self.host.poll_timeout().filter(|at| *at <= until) {
            assert!(at > self.now || outputs.is_empty());
            self.now = at;
            self.host.handle_timeout(at);
            outputs.append(&mut self.outputs());
        }
        self.now = until;
        outputs
    }

    /// The tracker's answer, and whom it makes the host dial.
    fn introduce(&mut self, peers: impl IntoIterator<Item = PeerInfo>) -> Vec<(ConnId, PeerId)> {
        let interval = Duration::from_secs(3);
        let announced = Announced { peers: peers.into_iter().collect(), interval, bridge: false };
        let digest = self.digest();
        self.outputs();
        self.host.handle_announced(self.now, &digest, Ok(announced));
        let dial = |output| match output {
            Output::Dial { conn, peer, .. } => (conn, peer.peer_id),
            other => panic!("{other:?}"),
        };
        self.outputs().into_iter().map(dial).collect()
    }

    /// A dialled peer answers; the requests that follow.
    fn connect(&mut self, peer: PeerInfo, have: &Bitfield) -> (ConnId, Vec<u32>) {
        let dials = self.introduce([peer.clone()]);
        let [(conn, _)] = dials[..] else { panic!("{dials:?}") };
        let reply = self.handshake(peer.peer_id, have);
        self.host.handle_dialed(self.now, conn, Ok(reply));
        let outputs = self.outputs();
        (conn, requests(&outputs, conn))
    }

    fn incoming(&mut self, number: u8, have: &Bitfield) -> Result<ConnId, Refused> {
        let handshake = self.handshake(peer(number.into(), false).peer_id, have);
        let ip = IpAddr::from(Ipv4Addr::new(10, 0, 0, number));
        self.host.handle_incoming(self.now, ip, &handshake).map(|(conn, _)| conn)
    }

    fn handshake(&self, peer_id: PeerId, have: &Bitfield) -> Handshake {
        Handshake {
            peer_id,
            info_hash: self.metas[0].info_hash(),
            digest: self.digest(),
            namespace: "".parse().unwrap(),
            bitfield: Bytes::from(have.to_wire()),
            remote_peers: Vec::new(),
            capabilities: None,
        }
    }

    fn message(&mut self, conn: ConnId, message: Message) -> Vec<Output> {
        self.host.handle_message(self.now, conn, message);
        self.outputs()
    }

    fn piece(&mut self, conn: ConnId, index: u32, outcome: PieceOutcome) -> Vec<Output> {
        let digest = self.digest();
        self.host.handle_piece(self.now, &digest, conn, PieceIndex(index), outcome);
        self.outputs()
    }
}

fn meta(number: u32, pieces: u32) -> MetaInfo {
    let geometry = Geometry::new(u64::from(pieces) * u64::from(LEN), u64::from(LEN)).unwrap();
    let sums = PieceSums { crc32: vec![number; pieces as usize], blake3: None };
    MetaInfo::new(Digest::sha256(&number.to_be_bytes()), geometry, sums).unwrap()
}

fn spec(meta: &MetaInfo, complete: bool) -> TorrentSpec {
    let pieces = meta.geometry().pieces();
    TorrentSpec {
        meta: TorrentMeta::Final(meta.clone()),
        namespace: "library".parse().unwrap(),
        have: if complete { Bitfield::full(pieces) } else { Bitfield::new(pieces) },
        complete,
    }
}

fn peer(number: u32, origin: bool) -> PeerInfo {
    let ip = Ipv4Addr::from(0x0a00_0000 + number).to_string();
    PeerInfo { peer_id: PeerId::from_addr(&ip, 1), ip, port: 1, origin, complete: origin }
}

fn full() -> Bitfield {
    Bitfield::full(PIECES)
}

fn with(pieces: &[u32]) -> Bitfield {
    let mut bits = Bitfield::new(PIECES);
    pieces.iter().for_each(|piece| assert!(bits.set(PieceIndex(*piece))));
    bits
}

/// The pieces asked of a connection, in order.
fn requests(outputs: &[Output], of: ConnId) -> Vec<u32> {
    let request = |output: &Output| match output {
        Output::Send { conn, message: Message::PieceRequest { index, offset: 0, length: LEN } } => {
            (*conn == of).then_some(index.0)
        }
        _ => None,
    };
    outputs.iter().filter_map(request).collect()
}

fn announces(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Announce { .. })).count()
}

#[test]
fn it_dials_in_the_order_of_the_handout_until_it_is_full() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let peers = || (990..1020).map(|number| peer(number, false));
    let dials = alone.introduce(peers());
    let expected: Vec<_> =
        peers().map(|peer| peer.peer_id).filter(|id| *id != peer(1000, false).peer_id).collect();
    let dialled: Vec<_> = dials.iter().map(|(_, peer)| *peer).collect();
    assert_eq!(dialled, expected[..10]);
    assert_eq!(alone.introduce(peers()), []);
    // Dials take room from those who would come in.
    assert_eq!(alone.incoming(1, &full()), Err(Refused::Full));
    let reason = CloseReason::HandshakeFailed(String::new());
    alone.host.handle_dialed(alone.now, dials[0].0, Err(reason));
    let again: Vec<_> = alone.introduce(peers()).iter().map(|(_, peer)| *peer).collect();
    assert_eq!(again, [expected[10]]);
}

#[test]
fn an_origin_takes_ten() {
    let mut alone = Alone::origin();
    for number in 1..=10 {
        alone.incoming(number, &Bitfield::new(PIECES)).unwrap();
    }
    assert_eq!(alone.incoming(11, &full()), Err(Refused::Full));
    assert_eq!(alone.host.counters().unwrap().refused, 1);
    let mut more = Alone::of(UpstreamConfig::reconfigured(true), 1, true);
    assert!((1..=100).all(|number| more.incoming(number, &with(&[])).is_ok()));
    assert_eq!(more.incoming(101, &with(&[])), Err(Refused::Full));
    assert_eq!(announces(&more.later(30)), 0);
}

#[test]
fn two_that_dial_each_other_both_lose() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let dials = alone.introduce([peer(5, false)]);
    assert_eq!(alone.incoming(5, &full()), Err(Refused::AlreadyConnected));
    let reason = CloseReason::HandshakeFailed(String::new());
    alone.host.handle_dialed(alone.now, dials[0].0, Err(reason));
    alone.later(29);
    assert_eq!(alone.introduce([peer(5, false)]), []);
    alone.later(1);
    assert_eq!(alone.introduce([peer(5, false)]).len(), 1);
}

#[test]
fn whoever_hangs_up_is_not_dialled_for_a_while() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let (conn, _) = alone.connect(peer(5, false), &full());
    let reason = CloseReason::Remote(String::new());
    alone.host.handle_closed(alone.now, conn, reason);
    assert_eq!(alone.introduce([peer(5, false)]), []);
    // But may dial.
    alone.incoming(5, &full()).unwrap();
    let other = alone.handshake(peer(6, false).peer_id, &full());
    let dials = alone.introduce([peer(7, false)]);
    alone.host.handle_dialed(alone.now, dials[0].0, Ok(other));
    assert!(matches!(alone.outputs()[..], [Output::Close { .. }]));
}

#[test]
fn pipelines_are_of_three_and_with_origins_of_five() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let (origin, asked) = alone.connect(peer(1, true), &full());
    assert_eq!(asked, [0, 99, 98, 97, 96]);
    let (agent, asked) = alone.connect(peer(2, false), &full());
    assert_eq!(asked, [95, 94, 93]);
    // A new one takes the place of one that came, and all others are told.
    let outputs = alone.piece(origin, 0, PieceOutcome::Stored);
    assert_eq!(requests(&outputs, origin).len(), 1);
    let Output::Send { conn, message: Message::AnnouncePiece { index: PieceIndex(0) } } =
        outputs[1]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((conn, outputs.len()), (agent, 2));
    // One that is here already makes nobody ask for more.
    assert!(alone.piece(origin, 0, PieceOutcome::Present).is_empty());
    let mut reconfigured = Alone::leecher(UpstreamConfig::reconfigured(false));
    assert_eq!(reconfigured.connect(peer(1, true), &full()).1.len(), 5);
    assert_eq!(reconfigured.connect(peer(2, false), &full()).1.len(), 1);
}

#[test]
fn a_lost_request_is_noticed_at_the_next_look() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let (hung, asked) = alone.connect(peer(1, false), &with(&[7, 8, 9]));
    assert_eq!(asked, [7, 9, 8]);
    let (other, asked) = alone.connect(peer(2, false), &with(&[8]));
    assert!(asked.is_empty());
    // A request of 1 MiB has 4 s, and is looked at each 2 s: at 4 s it is just in time.
    assert!(requests(&alone.later(5), other).is_empty());
    let outputs = alone.later(1);
    assert_eq!(requests(&outputs, other), [8]);
    assert!(requests(&outputs, hung).is_empty());
    // Those that nobody else has are asked of the same one again once it says something.
    let outputs = alone.message(hung, Message::AnnouncePiece { index: PieceIndex(7) });
    assert_eq!(requests(&outputs, hung), [9, 7]);
}

#[test]
fn a_request_that_is_refused_goes_to_another_peer_at_the_next_look() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let (refuses, _) = alone.connect(peer(1, false), &with(&[7]));
    let (other, _) = alone.connect(peer(2, false), &with(&[7]));
    let (index, code) = (PieceIndex(7), ErrorCode::PieceRequestFailed);
    assert!(alone.message(refuses, Message::Error { index, code, text: String::new() }).is_empty());
    assert_eq!(requests(&alone.later(2), other), [7]);
}

#[test]
fn the_last_three_pieces_are_asked_of_everyone() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let (first, mut asked) = alone.connect(peer(1, false), &full());
    for _ in 0..97 {
        let outputs = alone.piece(first, asked.remove(0), PieceOutcome::Stored);
        asked.extend(requests(&outputs, first));
    }
    let (second, both) = alone.connect(peer(2, false), &full());
    asked.sort_unstable();
    let mut sorted = both.clone();
    sorted.sort_unstable();
    assert_eq!((sorted.len(), &sorted), (3, &asked));
    // The last one: who has everything is left, who has not is told.
    alone.piece(second, both[0], PieceOutcome::Stored);
    alone.piece(first, both[1], PieceOutcome::Stored);
    let third = alone.incoming(3, &with(&[4])).unwrap();
    alone.outputs();
    let outputs = alone.piece(second, both[2], PieceOutcome::Stored);
    let closed = |output: &Output| match output {
        Output::Close { conn, reason: CloseReason::BothComplete } => Some(*conn),
        _ => None,
    };
    assert_eq!(outputs.iter().filter_map(closed).collect::<Vec<_>>(), [first, second]);
    let told = |output: &&Output| match output {
        Output::Send { conn, message: Message::Complete } => *conn == third,
        _ => false,
    };
    assert_eq!(outputs.iter().filter(told).count(), 1);
    assert!(outputs.iter().any(|output| matches!(output, Output::Completed { .. })));
    assert!(outputs.iter().any(|output| matches!(output, Output::Announce { complete: true, .. })));
    assert_eq!(announces(&alone.later(20)), 0);
    let outputs = alone.message(third, Message::Complete);
    assert!(matches!(outputs[..], [Output::Close { .. }]));
}

#[test]
fn idle_connections_end_when_they_are_looked_for() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let (idle, _) = alone.connect(peer(1, false), &with(&[]));
    let busy = alone.incoming(2, &with(&[])).unwrap();
    let mut closed = Vec::new();
    for second in 0..70 {
        let index = PieceIndex(1);
        alone.host.handle_message(
            alone.now,
            busy,
            Message::PieceRequest { index, offset: 0, length: LEN },
        );
        if second == 5 {
            alone.piece(busy, 1, PieceOutcome::Stored);
        }
        for output in alone.later(1) {
            if let Output::Close { conn, reason: CloseReason::Idle } = output {
                closed.push((second, conn));
            }
        }
    }
    let [(second, conn)] = closed[..] else { panic!("{closed:?}") };
    assert_eq!(conn, idle);
    assert!((30..61).contains(&second));
    assert_eq!(alone.introduce([peer(1, false)]), []);
}

#[test]
fn one_torrent_is_announced_at_a_tick() {
    let mut alone = Alone::of(UpstreamConfig::default(), 2, false);
    assert_eq!(announces(&alone.outputs()), 2);
    let digests: Vec<_> = alone.metas.iter().map(MetaInfo::digest).collect();
    let mut announced = Vec::new();
    for _ in 0..40 {
        let outputs = alone.later(1);
        for output in outputs {
            let Output::Announce { torrent, .. } = output else { continue };
            announced.push(torrent);
            let answer = Announced { interval: Duration::from_secs(3), ..Announced::default() };
            alone.host.handle_announced(alone.now, &torrent, Ok(answer));
        }
    }
    // One at 5 s or before, one 3 s after it (5 s, had nobody answered), and so on.
    assert!((12..=14).contains(&announced.len()), "{}", announced.len());
    assert!(announced.chunks_exact(2).all(|two| two == digests));
}

#[test]
fn a_torrent_with_ten_connections_is_not_announced() {
    let mut alone = Alone::leecher(UpstreamConfig::default());
    let conns: Vec<_> = (1..=10).map(|number| alone.incoming(number, &full()).unwrap()).collect();
    alone.outputs();
    assert_eq!(announces(&alone.later(12)), 0);
    let reason = CloseReason::Remote(String::new());
    alone.host.handle_closed(alone.now, conns[0], reason);
    assert_eq!(announces(&alone.later(5)), 1);
}

#[test]
fn it_sends_whatever_it_is_asked_for_at_once() {
    let mut alone = Alone::origin();
    let conn = alone.incoming(1, &with(&[])).unwrap();
    for index in (0..20).map(PieceIndex) {
        let request = Message::PieceRequest { index, offset: 0, length: LEN };
        let outputs = alone.message(conn, request);
        assert!(matches!(outputs[..], [Output::SendPiece { .. }]));
    }
    let (index, offset) = (PieceIndex(1), 0);
    for odd in [
        Message::PieceRequest { index, offset, length: 5 },
        Message::PieceRequest { index, offset: 1, length: LEN },
        Message::PieceRequest { index: PieceIndex(PIECES), offset, length: LEN },
    ] {
        let outputs = alone.message(conn, odd);
        let [Output::Send { message: Message::Error { .. }, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
    }
    assert!(alone.message(conn, Message::CancelPiece { index }).is_empty());
}

#[test]
fn a_torrent_that_gets_nothing_is_thrown_away_and_a_seed_put_aside() {
    let config = UpstreamConfig {
        piece_request_policy: PieceRequestPolicy::Default,
        ..UpstreamConfig::default()
    };
    let mut alone = Alone::leecher(config);
    let outputs = alone.later(331);
    assert!(outputs.iter().any(|output| matches!(output, Output::Dropped { .. })));
    assert_eq!(announces(&alone.later(20)), 0);
    assert_eq!(alone.incoming(1, &with(&[])), Err(Refused::UnknownTorrent));
    let mut origin = Alone::origin();
    origin.incoming(1, &with(&[])).unwrap();
    origin.later(290);
    let late = origin.incoming(2, &with(&[])).unwrap();
    let outputs = origin.later(75);
    let closed = |output: &Output| matches!(output, Output::Close { conn, .. } if *conn == late);
    assert!(outputs.iter().any(closed));
    origin.incoming(3, &with(&[])).unwrap();
}

/// At 4 MiB a piece this is a blob of a little more than 100 GiB.
#[test]
fn handshakes_carry_the_neighbours_until_they_are_too_long() {
    let pieces = 26_000;
    let metas = vec![meta(0, pieces)];
    let mut alone = Alone::with_metas(UpstreamConfig::default(), metas, false);
    let none = Bitfield::new(pieces);
    for number in 1..=9 {
        alone.incoming(number, &none).unwrap();
    }
    let dial = |alone: &mut Alone, number| {
        let peers = vec![peer(number, false)];
        let announced = Announced { peers, ..Announced::default() };
        let digest = alone.digest();
        alone.outputs();
        alone.host.handle_announced(alone.now, &digest, Ok(announced));
        alone.outputs().pop()
    };
    assert!(dial(&mut alone, 10).is_none());
    let reason = CloseReason::Remote(String::new());
    alone.host.handle_closed(alone.now, ConnId(0), reason);
    let Some(Output::Dial { handshake, .. }) = dial(&mut alone, 11) else { panic!("no dial") };
    let neighbours: Vec<_> = (2..=9).map(|number| peer(number, false).peer_id).collect();
    assert_eq!(handshake.remote_peers, neighbours);
    assert_eq!(handshake.capabilities, None);
}
