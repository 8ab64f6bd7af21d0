//! Instructions of the wire codec and of single steps of a swarm at work.
//!
//! `cargo bench -p kraken-p2p --bench instructions`, with valgrind and gungraun-runner installed
//! (see docs/BENCHMARKS.md). A count says what an optimisation or a careless loop did, on any
//! machine and however busy it is; how long it takes `--bench messages` says.

#![allow(missing_docs, reason = "the macros make items that nobody can document")]

#[allow(dead_code, reason = "two benches share it, and each uses its part")]
mod download;

use std::hint::black_box;

use bytes::BytesMut;
use gungraun::{library_benchmark, library_benchmark_group, main};
use kraken_core::rng::Rng;
use kraken_core::{Bitfield, Digest, Geometry, MetaInfo, PieceIndex, PieceSums};
use kraken_p2p::swarm::ConnId;
use kraken_p2p::wire::{Message, decode_frame, encode};

use download::{PIECE_LEN, Play, Size};

const TEN_SMALL: Size = Size { peers: 10, pieces: 384 };
const SIXTY_SMALL: Size = Size { peers: 60, pieces: 384 };
const TEN_LARGE: Size = Size { peers: 10, pieces: 25_600 };
const SIXTY_LARGE: Size = Size { peers: 60, pieces: 25_600 };

/// A swarm, and what is to happen next.
struct Step {
    play: Play,
    conn: ConnId,
    index: PieceIndex,
}

/// Full on both ends: an announce of a piece that is not here yet, while as much is on order as
/// may be.
fn announced(size: Size) -> Step {
    let mut play = Play::download(size);
    let (conn, index) = play.wish();
    Step { play, conn, index }
}

fn wished(size: Size) -> Step {
    let mut play = Play::starved(size);
    let (conn, index) = play.wish();
    Step { play, conn, index }
}

fn ordered(size: Size) -> Step {
    let mut play = Play::download(size);
    let (conn, index) = play.order().unwrap();
    Step { play, conn, index }
}

fn seeding(size: Size) -> Step {
    let mut play = Play::seed(size);
    let (conn, index) = play.wish();
    Step { play, conn, index }
}

#[library_benchmark(setup = announced)]
#[bench::peers_10_pieces_384(TEN_SMALL)]
#[bench::peers_60_pieces_384(SIXTY_SMALL)]
#[bench::peers_10_pieces_25600(TEN_LARGE)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn announced_piece(mut step: Step) -> Step {
    step.play.announce(step.conn, step.index);
    step
}

#[library_benchmark(setup = wished)]
#[bench::peers_10_pieces_384(TEN_SMALL)]
#[bench::peers_60_pieces_384(SIXTY_SMALL)]
#[bench::peers_10_pieces_25600(TEN_LARGE)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn announced_piece_asked_for(mut step: Step) -> Step {
    step.play.announce(step.conn, step.index);
    step
}

#[library_benchmark(setup = ordered)]
#[bench::peers_10_pieces_384(TEN_SMALL)]
#[bench::peers_60_pieces_384(SIXTY_SMALL)]
#[bench::peers_10_pieces_25600(TEN_LARGE)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn stored_piece(mut step: Step) -> Step {
    step.play.arrive(step.conn, step.index);
    step
}

// What is left of a refusal besides picking the next piece is little.
#[library_benchmark(setup = ordered)]
#[bench::peers_10_pieces_384(TEN_SMALL)]
#[bench::peers_60_pieces_384(SIXTY_SMALL)]
#[bench::peers_10_pieces_25600(TEN_LARGE)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn selection(mut step: Step) -> Step {
    step.play.refuse(step.conn, step.index);
    step
}

#[library_benchmark(setup = announced)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn completed_peer(mut step: Step) -> Step {
    step.play.complete(step.conn);
    step
}

#[library_benchmark(setup = seeding)]
#[bench::peers_10_pieces_25600(TEN_LARGE)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn asked_seed(mut step: Step) -> Step {
    step.play.ask(step.conn, step.index);
    step
}

#[library_benchmark(setup = seeding)]
#[bench::peers_10_pieces_25600(TEN_LARGE)]
#[bench::peers_60_pieces_25600(SIXTY_LARGE)]
fn sent_piece(mut step: Step) -> Step {
    step.play.sent();
    step
}

fn announce() -> Message {
    Message::AnnouncePiece { index: PieceIndex(12_345) }
}

fn request() -> Message {
    Message::PieceRequest { index: PieceIndex(12_345), offset: 0, length: PIECE_LEN }
}

fn handshake(pieces: u32) -> Message {
    let len = u64::from(PIECE_LEN);
    let geometry = Geometry::new(u64::from(pieces) * len, len).unwrap();
    let sums = PieceSums { crc32: vec![1; pieces as usize], blake3: None };
    let meta = MetaInfo::new(Digest::sha256(b"wire"), geometry, sums).unwrap();
    let mut rng = Rng::new(1);
    let mut have = Bitfield::new(pieces);
    for index in (0..pieces).filter(|_| rng.below(2) == 0) {
        have.set(PieceIndex(index));
    }
    Message::Handshake(Box::new(download::handshake(&meta, 1, &have)))
}

/// With room for the frame, as a connection's buffer has.
fn to_encode(message: Message) -> (Message, BytesMut) {
    (message, BytesMut::with_capacity(64 << 10))
}

fn frame(message: Message) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&message, &mut out);
    out
}

#[library_benchmark(setup = to_encode)]
#[bench::announce_piece(announce())]
#[bench::piece_request(request())]
#[bench::handshake_384(handshake(384))]
#[bench::handshake_25600(handshake(25_600))]
fn wire_encode((message, mut out): (Message, BytesMut)) -> (Message, BytesMut) {
    encode(black_box(&message), &mut out);
    (message, out)
}

#[library_benchmark(setup = frame)]
#[bench::announce_piece(announce())]
#[bench::piece_request(request())]
#[bench::handshake_384(handshake(384))]
#[bench::handshake_25600(handshake(25_600))]
fn wire_decode(mut buffer: BytesMut) -> (Option<Message>, BytesMut) {
    (decode_frame(black_box(&mut buffer)).unwrap(), buffer)
}

library_benchmark_group!(name = wire, benchmarks = [wire_encode, wire_decode]);
library_benchmark_group!(
    name = swarm,
    benchmarks = [
        announced_piece,
        announced_piece_asked_for,
        stored_piece,
        selection,
        completed_peer,
        asked_seed,
        sent_piece
    ]
);
main!(library_benchmark_groups = [wire, swarm]);
