//! Events out of bytes: each record of a few bytes is one move, so that bytes which are changed,
//! left out or put in change one move and leave the others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use kraken_core::rng::Rng;
use kraken_core::{
    AttemptId, Bitfield, Digest, Geometry, InfoHash, MetaInfo, Namespace, OriginKey, PeerId,
    PeerInfo, PieceSums, Provisional, TorrentMeta, provisional,
};

use crate::swarm::{SwarmConfig, TorrentSpec};
use crate::wire::{Capabilities, Handshake};

/// Bytes read as numbers and choices; zeros once there are no more.
#[derive(Debug)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The bytes of the next move.
    pub(super) fn record(&mut self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let (record, rest) = self.0.split_at(RECORD_LEN.min(self.0.len()));
        self.0 = rest;
        Some(Self(record))
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    /// One of so many; zero when there are none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()).checked_rem(bound).unwrap_or(0)
    }

    pub(super) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// The torrents that are played with: several words of pieces, one, a part of one, none.
pub(super) fn metas() -> Vec<MetaInfo> {
    const MIB: u64 = 1 << 20;
    let cuts = [(5 * MIB - 3, MIB), (70 * MIB, MIB), (0, MIB), (1, 1), (200 * MIB + 1, 4 * MIB)];
    let meta = |(at, (blob_len, piece_len)): (u8, (u64, u64))| {
        let geometry = Geometry::new(blob_len, piece_len).expect("within bounds");
        let crc32 = vec![1; geometry.pieces() as usize];
        MetaInfo::new(Digest::sha256(&[at]), geometry, PieceSums { crc32, blake3: None })
            .expect("as many sums as pieces")
    };
    (0..).zip(cuts).map(meta).collect()
}

/// The peer that is played; others have lower and higher ids.
pub(super) const LOCAL: u8 = 20;

pub(super) fn peer_id(at: u8) -> PeerId {
    PeerId::new([at; 20])
}

pub(super) fn ip(at: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, at).into()
}

pub(super) fn peer(at: u8, origin: bool) -> PeerInfo {
    PeerInfo { peer_id: peer_id(at), ip: ip(at).to_string(), port: 80, origin, complete: origin }
}

/// One of 48 peers, and this side itself among them.
pub(super) fn any_peer(input: &mut Input<'_>) -> u8 {
    input.byte() % 48
}

/// What a tracker may say: some peers, as they are or with a part of them replaced; or very many.
pub(super) fn handout(input: &mut Input<'_>) -> Vec<PeerInfo> {
    let (first, count, odd) = (any_peer(input), input.byte(), input.byte());
    if count >= 250 {
        let mut id = [255; 20];
        let crowd = (0..1200u16).map(|at| {
            [id[0], id[1]] = at.to_be_bytes();
            PeerInfo { peer_id: PeerId::new(id), port: at, ..peer(1, at % 7 == 0) }
        });
        return crowd.collect();
    }
    let named = (0..count % 12).map(|at| {
        let at = first.wrapping_add(at) % 48;
        let known = peer(at, at % 3 == 0);
        match odd.wrapping_add(at) {
            200.. => known,
            190..200 => PeerInfo { ip: String::new(), port: 0, ..known },
            180..190 => PeerInfo { ip: format!("::ffff:{}", known.ip), ..known },
            170..180 => PeerInfo { ip: "a.host".into(), ..known },
            160..170 => PeerInfo { port: 81, ..known },
            150..160 => PeerInfo { origin: !known.origin, ..known },
            140..150 => PeerInfo { ip: ip(1).to_string(), ..known },
            _ => known,
        }
    });
    named.collect()
}

/// Some pieces of so many.
pub(super) fn bits(pieces: u32, choice: u8) -> Bitfield {
    let mut bits = match choice % 4 {
        0 => Bitfield::new(pieces),
        1 | 2 => return Bitfield::full(pieces),
        _ => Bitfield::new(pieces),
    };
    if choice % 4 == 3 {
        let mut rng = Rng::new(choice.into());
        let count = rng.below(pieces as usize + 1);
        for at in rng.distinct_below(pieces as usize, count) {
            bits.set(kraken_core::PieceIndex(at as u32));
        }
    }
    bits
}

/// A handshake for a torrent, which is known by this hash: mostly in order, now and then with a
/// part of it replaced.
pub(super) fn handshake(
    (meta, info_hash): (&MetaInfo, InfoHash),
    at: u8,
    input: &mut Input<'_>,
) -> Handshake {
    let (have, capabilities, odd) = (input.byte(), input.byte(), input.byte());
    let (digest, geometry) = (meta.digest(), meta.geometry());
    let pieces = geometry.pieces();
    let mut handshake = Handshake {
        peer_id: peer_id(at),
        info_hash,
        digest,
        namespace: namespace(""),
        bitfield: Bytes::from(bits(pieces, have).to_wire()),
        remote_peers: vec![peer_id(1); usize::from(odd % 3)],
        capabilities: match capabilities % 6 {
            0 => None,
            1 => Some(Capabilities(0)),
            2 => Some(Capabilities(u64::MAX)),
            3 => Some(Capabilities(1)),
            _ => Some(Capabilities(3)),
        },
    };
    match odd {
        250.. => handshake.info_hash = InfoHash::new([9; 20]),
        245..250 => handshake.digest = Digest::sha256(b"another"),
        240..245 => handshake.bitfield = Bytes::from(bits(pieces + 1, have).to_wire()),
        235..240 => handshake.bitfield = Bytes::from_static(&[255; 7]),
        230..235 => handshake.bitfield = Bytes::from_static(&[255; 24]),
        225..230 => handshake.peer_id = peer_id(LOCAL),
        220..225 => handshake.peer_id = peer_id(at + 1),
        190..220 => handshake.info_hash = provisional::info_hash(&digest, &geometry),
        180..190 => handshake.info_hash = meta.info_hash(),
        _ => {}
    }
    handshake
}

/// A torrent to add, in one of its states; one in some has parts that do not fit together.
pub(super) fn spec(metas: &[MetaInfo], which: usize, input: &mut Input<'_>) -> TorrentSpec {
    let meta = &metas[which % metas.len()];
    let (state, have, odd) = (input.byte(), input.byte(), input.byte());
    let pieces = meta.geometry().pieces();
    let mut spec = TorrentSpec {
        meta: TorrentMeta::Final(meta.clone()),
        namespace: namespace("library/test"),
        // Mostly empty: what is here is not fetched.
        have: bits(pieces, if have < 128 { 0 } else { have }),
        complete: state % 4 == 1,
    };
    if state % 8 == 2 {
        spec.meta = without_sums(meta);
    }
    match odd {
        240.. => spec.have = Bitfield::new(pieces + 1),
        // Complete as it may be.
        235..240 => spec.meta = without_sums(meta),
        230..235 => {
            let crc32 = vec![2; pieces as usize];
            let sums = PieceSums { crc32, blake3: None };
            let other = MetaInfo::new(meta.digest(), meta.geometry(), sums);
            spec.meta = TorrentMeta::Final(other.expect("as many sums as pieces"));
        }
        _ => {}
    }
    spec
}

/// What is known of a blob without its sums.
fn without_sums(meta: &MetaInfo) -> TorrentMeta {
    let keys = vec![OriginKey::new([1; 32])];
    let attempt = AttemptId([1; 16]);
    let provisional =
        Provisional::new(meta.digest(), meta.geometry(), String::new(), attempt, keys);
    TorrentMeta::Provisional(provisional.expect("it has a key"))
}

fn namespace(text: &str) -> Namespace {
    text.parse().expect("short enough")
}

/// An agent's choices, an origin's, or some others: every fourth of them is odd.
pub(super) fn config(choice: u8) -> SwarmConfig {
    match choice {
        0..64 => return SwarmConfig::default(),
        64..80 => return SwarmConfig::origin(),
        _ => {}
    }
    let mut rng = Rng::new(choice.into());
    let mut odd = |usual: usize, choices: &[usize]| {
        if rng.below(4) == 0 { choices[rng.below(choices.len())] } else { usual }
    };
    let second = Duration::from_secs(1);
    SwarmConfig {
        announce: odd(1, &[0]) == 1,
        dial: odd(1, &[0]) == 1,
        seed: odd(1, &[0]) == 1,
        dial_max: odd(8, &[0, 1, 2]),
        conns_enough: odd(12, &[0, 1, 100]),
        accept_max: odd(24, &[0, 1, 2, 5]),
        upload_pieces_at_once: odd(4, &[0, 1, 2]),
        upload_pieces_max: odd(16, &[0, 1, 2]),
        in_flight_bytes: odd(30 << 20, &[0, 1 << 24, usize::MAX]) as u64,
        pipeline_agent: odd(3, &[0, 1, 1000]),
        pipeline_origin: odd(5, &[0, 1, 1000]),
        pipeline_ours: odd(16, &[0, 1, 1000]),
        queue_wait_max: second * odd(1, &[0, 60]) as u32,
        request_timeout_min: second * odd(4, &[1, 3600]) as u32,
        request_timeout_per_mib: second * odd(4, &[0, 1]) as u32,
        duplicate_after: second * odd(1, &[0, 10]) as u32,
        announce_interval: second * odd(3, &[1, 60]) as u32,
        announce_retry: Duration::from_millis(odd(200, &[1, 5000]) as u64),
        conns_few: odd(4, &[0, 100]),
        announce_complete_interval: second * odd(1800, &[1, 10]) as u32,
        conn_idle: second * odd(30, &[0, 1]) as u32,
        leecher_tti: second * odd(300, &[0, 10]) as u32,
        seeder_tti: second * odd(300, &[0, 10]) as u32,
        blacklist_duration: second * odd(30, &[0, 1]) as u32,
        discard_attempts: odd(2, &[0, 1]) as u32,
    }
}

/// How much time passes.
pub(super) fn pause(input: &mut Input<'_>) -> Duration {
    let (unit, count) = (input.below(8), u32::from(input.byte()) + 1);
    let unit = match unit {
        0 => Duration::ZERO,
        1 => Duration::from_nanos(1),
        2 | 3 => Duration::from_millis(1),
        4 | 5 => Duration::from_millis(25),
        6 => Duration::from_millis(500),
        // Up to four hours and a half: the machine slept.
        _ => Duration::from_secs(64),
    };
    unit * count
}

/// What a move is made of: its kind and up to five choices.
const RECORD_LEN: usize = 6;
