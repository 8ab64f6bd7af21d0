//! One swarm in the middle of its work, and the hand that plays everyone else.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use kraken_core::rng::Rng;
use kraken_core::{
    Bitfield, Digest, Geometry, MetaInfo, PeerId, PeerInfo, PieceIndex, PieceSums, Time,
    TorrentMeta,
};
use kraken_p2p::swarm::{ConnId, DemandId, Output, PieceOutcome, Swarm, SwarmConfig, TorrentSpec};
use kraken_p2p::wire::{Capabilities, ErrorCode, Handshake, Message};

/// How many others there are, and how many pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) peers: usize,
    pub(crate) pieces: u32,
}

/// A swarm with one torrent, its connections, and what the others know.
pub(crate) struct Play {
    pub(crate) swarm: Swarm,
    now: Time,
    meta: MetaInfo,
    conns: Vec<ConnId>,
    /// What each peer has told.
    told: Vec<Bitfield>,
    /// What is on order, oldest first.
    orders: VecDeque<(ConnId, PieceIndex)>,
    /// What is being sent.
    sending: VecDeque<(ConnId, PieceIndex)>,
    pub(crate) have: Bitfield,
    rng: Rng,
    next_peer: usize,
}

impl Play {
    /// A download that is half done, from peers that are half done too, each with pieces of its
    /// own: as much on order as there may be.
    pub(crate) fn download(size: Size) -> Self {
        let mut rng = Rng::new(1);
        let have = half(size.pieces, &mut rng);
        let told = (0..size.peers).map(|_| half(size.pieces, &mut rng)).collect();
        let mut play = Self::new(size, have, told, rng);
        let whole = 0..play.meta.geometry().blob_len();
        play.swarm.set_demand(play.now, &play.meta.digest(), DemandId(0), Some(whole));
        play.drain();
        for _ in 0..16 * size.peers.max(8) {
            play.later();
            let (conn, index) = play.news();
            play.announce(conn, index);
            if play.next_peer == 0 {
                play.store();
            }
        }
        play
    }

    /// A download whose peers have no more than it has: what one announces is asked of it at once.
    pub(crate) fn starved(size: Size) -> Self {
        let mut rng = Rng::new(2);
        let have = half(size.pieces, &mut rng);
        let told = vec![have.clone(); size.peers];
        let mut play = Self::new(size, have, told, rng);
        let whole = 0..play.meta.geometry().blob_len();
        play.swarm.set_demand(play.now, &play.meta.digest(), DemandId(0), Some(whole));
        play.drain();
        for _ in 0..size.peers {
            play.later();
            let (conn, index) = play.wish();
            play.announce(conn, index);
            play.store();
        }
        play
    }

    /// A seed whose peers each wait for five pieces.
    pub(crate) fn seed(size: Size) -> Self {
        let (have, told) =
            (Bitfield::full(size.pieces), vec![Bitfield::new(size.pieces); size.peers]);
        let mut play = Self::new(size, have, told, Rng::new(3));
        for _ in 0..5 * size.peers {
            let (conn, index) = play.wish();
            play.ask(conn, index);
        }
        for _ in 0..4 * size.peers {
            play.later();
            let conn = play.sent();
            let (_, index) = play.wish();
            play.ask(conn, index);
        }
        play
    }

    fn new(size: Size, have: Bitfield, told: Vec<Bitfield>, rng: Rng) -> Self {
        let pieces = size.pieces as usize;
        let geometry =
            Geometry::new(u64::from(size.pieces) * u64::from(PIECE_LEN), u64::from(PIECE_LEN))
                .unwrap();
        let sums = PieceSums { crc32: vec![1; pieces], blake3: None };
        let meta = MetaInfo::new(Digest::sha256(b"play"), geometry, sums).unwrap();
        let config = SwarmConfig { accept_max: size.peers, dial: false, ..SwarmConfig::default() };
        let local = PeerInfo {
            peer_id: PeerId::from_addr(&ip(0).to_string(), 80),
            ip: ip(0).to_string(),
            port: 80,
            origin: false,
            complete: false,
        };
        let mut play = Self {
            swarm: Swarm::new(config, local, 1),
            now: Time::from_millis(1),
            meta,
            conns: Vec::new(),
            told,
            orders: VecDeque::new(),
            sending: VecDeque::new(),
            have,
            rng,
            next_peer: 0,
        };
        play.begin();
        play
    }

    /// Adds the torrent and accepts everyone.
    fn begin(&mut self) {
        let spec = TorrentSpec {
            meta: TorrentMeta::Final(self.meta.clone()),
            namespace: "library/bench".parse().unwrap(),
            have: self.have.clone(),
            complete: self.have.is_full(),
        };
        self.swarm.add_torrent(self.now, spec).unwrap();
        for (at, told) in self.told.iter().enumerate() {
            let handshake = handshake(&self.meta, at + 1, told);
            let (conn, _) = self.swarm.handle_incoming(self.now, ip(at + 1), &handshake).unwrap();
            self.conns.push(conn);
        }
        self.drain();
    }

    /// Some time goes by: a piece at 300 MB/s takes 14 ms, in which every peer gets one too.
    pub(crate) fn later(&mut self) {
        self.now += Duration::from_millis(14) / self.conns.len() as u32;
        while self.swarm.poll_timeout().is_some_and(|at| at <= self.now) {
            self.swarm.handle_timeout(self.now);
            self.drain();
        }
    }

    /// The next peer and a piece that is news of it.
    pub(crate) fn news(&mut self) -> (ConnId, PieceIndex) {
        let peer = self.turn();
        let told = &self.told[peer];
        let index = among(told.len(), &mut self.rng, |index| !told.contains(index));
        (self.conns[peer], index)
    }

    /// The next peer and a piece that is news of it and not here.
    pub(crate) fn wish(&mut self) -> (ConnId, PieceIndex) {
        let peer = self.turn();
        let (told, have) = (&self.told[peer], &self.have);
        let seeds = have.is_full();
        let index = among(told.len(), &mut self.rng, |index| {
            !told.contains(index) && (seeds || !have.contains(index))
        });
        (self.conns[peer], index)
    }

    fn turn(&mut self) -> usize {
        let peer = self.next_peer;
        self.next_peer = (peer + 1) % self.conns.len();
        peer
    }

    /// Whether the next turn is the first peer's.
    pub(crate) fn is_round(&self) -> bool {
        self.next_peer == 0
    }

    /// A peer announces a piece.
    pub(crate) fn announce(&mut self, conn: ConnId, index: PieceIndex) {
        let peer = self.conns.binary_search(&conn).unwrap();
        self.told[peer].set(index);
        self.swarm.handle_message(self.now, conn, Message::AnnouncePiece { index });
        self.drain();
    }

    /// The oldest order, which is to be answered next.
    pub(crate) fn order(&mut self) -> Option<(ConnId, PieceIndex)> {
        self.orders.pop_front()
    }

    /// The bytes of an ordered piece have come and are stored.
    pub(crate) fn arrive(&mut self, conn: ConnId, index: PieceIndex) {
        self.have.set(index);
        let digest = self.meta.digest();
        self.swarm.handle_piece(self.now, &digest, conn, index, PieceOutcome::Stored);
        self.drain();
    }

    /// Every peer that is connected.
    pub(crate) fn conns(&self) -> Vec<ConnId> {
        self.conns.clone()
    }

    /// A peer has the whole blob.
    pub(crate) fn complete(&mut self, conn: ConnId) {
        self.swarm.handle_message(self.now, conn, Message::Complete);
        self.drain();
    }

    /// The oldest order is refused: another piece is picked.
    pub(crate) fn refuse(&mut self, conn: ConnId, index: PieceIndex) {
        let (code, text) = (ErrorCode::PieceRequestFailed, String::new());
        self.swarm.handle_message(self.now, conn, Message::Error { index, code, text });
        self.drain();
    }

    /// The piece ordered first arrives.
    pub(crate) fn store(&mut self) {
        if let Some((conn, index)) = self.order() {
            self.arrive(conn, index);
        }
    }

    /// A peer asks for a piece.
    pub(crate) fn ask(&mut self, conn: ConnId, index: PieceIndex) {
        let message = Message::PieceRequest { index, offset: 0, length: PIECE_LEN };
        self.swarm.handle_message(self.now, conn, message);
        self.drain();
    }

    /// The piece that was begun first is sent; to whom.
    pub(crate) fn sent(&mut self) -> ConnId {
        let (conn, index) = self.sending.pop_front().unwrap();
        let peer = self.conns.binary_search(&conn).unwrap();
        self.told[peer].set(index);
        self.swarm.handle_piece_sent(self.now, conn, index, Ok(()));
        self.drain();
        conn
    }

    /// Takes all outputs, as a driver does.
    fn drain(&mut self) {
        while let Some(output) = self.swarm.poll_output() {
            match output {
                Output::Send { conn, message: Message::PieceRequest { index, .. } } => {
                    self.orders.push_back((conn, index));
                }
                Output::Send { message: Message::CancelPiece { index }, .. } => {
                    self.orders.retain(|(_, ordered)| *ordered != index);
                }
                Output::SendPiece { conn, index, .. } => self.sending.push_back((conn, index)),
                other => drop(black_box(other)),
            }
        }
    }
}

/// Each piece with the same chance as not.
fn half(pieces: u32, rng: &mut Rng) -> Bitfield {
    let mut bits = Bitfield::new(pieces);
    for index in (0..pieces).filter(|_| rng.below(2) == 0) {
        bits.set(PieceIndex(index));
    }
    bits
}

/// A random piece that passes.
fn among(pieces: u32, rng: &mut Rng, passes: impl Fn(PieceIndex) -> bool) -> PieceIndex {
    loop {
        let index = PieceIndex(rng.below(pieces as usize) as u32);
        if passes(index) {
            return index;
        }
    }
}

/// What a peer of ours says first.
pub(crate) fn handshake(meta: &MetaInfo, at: usize, have: &Bitfield) -> Handshake {
    Handshake {
        peer_id: PeerId::from_addr(&ip(at).to_string(), 80),
        info_hash: meta.info_hash(),
        digest: meta.digest(),
        namespace: "library/bench".parse().unwrap(),
        bitfield: Bytes::from(have.to_wire()),
        remote_peers: Vec::new(),
        capabilities: Some(Capabilities(1)),
    }
}

fn ip(at: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, (at / 256) as u8, (at % 256) as u8).into()
}

/// 25,600 pieces of 4 MiB are 100 GiB.
pub(crate) const PIECE_LEN: u32 = 4 << 20;
