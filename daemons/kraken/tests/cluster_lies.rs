//! A peer that lies: wrong bytes that have the right CRC32.

mod cluster;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::BytesMut;
use kraken_core::{Bitfield, Digest, MetaInfo, PeerContext, PeerId, PeerInfo, PieceIndex};
use kraken_p2p::tracker::AnnounceResponse;
use kraken_p2p::wire::{self, Handshake, Message};
use serde_json::json;

use cluster::content::random;
use cluster::http;
use cluster::{Cluster, PIECE_LEN, Plan, wait_for};

const PIECES: usize = 6;
const LIAR: PeerId = PeerId::new([9; 20]);

/// A cluster whose agent knows only the tracker of the test, and a blob in its origin.
struct Scene {
    cluster: Cluster,
    handout: Handout,
    blob: Vec<u8>,
    agent: usize,
}

/// What the test's tracker hands out.
type Handout = Arc<Mutex<Vec<PeerInfo>>>;

impl Scene {
    /// The metainfo that the agent sees is the origin's, `changed`.
    fn set(changed: impl FnOnce(MetaInfo) -> MetaInfo) -> Self {
        let mut cluster = Cluster::start(&Plan { agents: 0, ..Plan::default() });
        let blob = random(70, PIECES * PIECE_LEN);
        let digest = cluster.push_to("library/lies").push_blob(&blob);
        let path = format!("/internal/namespace/library%2Flies/blobs/{digest}/metainfo");
        let metainfo = MetaInfo::from_json(&http::get(cluster.origins[0].http, &path).body);
        let metainfo = changed(metainfo.unwrap());
        let liar = start_liar(metainfo.clone(), blob.clone());
        let handout: Handout = Arc::new(Mutex::new(vec![PeerInfo {
            peer_id: LIAR,
            ip: liar.ip().to_string(),
            port: liar.port(),
            origin: false,
            complete: true,
        }]));
        let tracker = start_tracker(metainfo, Arc::clone(&handout));
        let agent =
            cluster.add_agent(&json!({"tracker": {"hosts": {"static": [tracker.to_string()]}}}));
        Self { cluster, handout, blob, agent }
    }

    /// Pulls from the agent, which hears of the liar alone `until` that returns; then of the origin
    /// too.
    fn pull_while(&self, until: impl FnOnce()) {
        let registry = self.cluster.pull_from(self.agent, "library/lies");
        thread::scope(|scope| {
            let pull = scope.spawn(|| registry.blob(&Digest::sha256(&self.blob)));
            until();
            assert!(!pull.is_finished(), "something was answered with lies about");
            let origin = http::get(self.cluster.origins[0].http, "/internal/peercontext");
            let origin: PeerContext = serde_json::from_slice(&origin.body).unwrap();
            self.handout.lock().unwrap().push(PeerInfo {
                peer_id: origin.peer_id,
                ip: origin.ip,
                port: origin.port,
                origin: true,
                complete: true,
            });
            let answer = pull.join().unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.body == self.blob, "wrong bytes were served");
        });
    }
}

#[test]
fn with_piece_digests_a_lie_is_refused_and_its_teller_banned() {
    let scene = Scene::set(|metainfo| {
        assert!(metainfo.blake3_of(PieceIndex(0)).is_some());
        metainfo
    });
    let agent = &scene.cluster.agents[scene.agent];
    scene.pull_while(|| {
        wait_for("a ban", || {
            let blacklist = http::get(agent.role.http, "/x/blacklist").text();
            let id = serde_json::to_string(&LIAR).unwrap();
            blacklist.replace(char::is_whitespace, "").contains(&id).then_some(())
        });
    });
    assert!(agent.counter("corrupt_pieces") >= 1);
    assert!(agent.counter("received_from_origins") >= (PIECES * PIECE_LEN) as u64);
}

#[test]
fn without_piece_digests_the_blob_is_thrown_away_and_comes_from_the_origin() {
    let scene = Scene::set(|metainfo| metainfo.without_piece_digests());
    let agent = &scene.cluster.agents[scene.agent];
    scene.pull_while(|| {
        wait_for("all pieces, one of them wrong", || {
            let len = (PIECES * PIECE_LEN) as u64;
            (agent.counter("received_from_peers") >= len).then_some(())
        });
    });
    assert!(agent.counter("received_from_origins") >= (PIECES * PIECE_LEN) as u64);
}

/// A tracker that knows one torrent and hands out what the test says.
fn start_tracker(metainfo: MetaInfo, handout: Handout) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, metainfo, handout) = (stream.unwrap(), metainfo.clone(), handout.clone());
            thread::spawn(move || answer(stream, &metainfo, &handout));
        }
    });
    addr
}

fn answer(stream: TcpStream, metainfo: &MetaInfo, handout: &Handout) {
    let mut lines = BufReader::new(&stream);
    let (mut request, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let lower = line.to_lowercase();
        len = lower.strip_prefix("content-length:").map_or(len, |n| n.trim().parse().unwrap());
        if request.is_empty() {
            request = line;
        }
    }
    let _ = lines.read_exact(&mut vec![0; len]);
    let body = if request.contains("/announce") {
        let peers = Some(handout.lock().unwrap().clone());
        serde_json::to_vec(&AnnounceResponse { peers, interval: 100_000_000, bridge: false })
            .unwrap()
    } else if request.contains("/metainfo") {
        metainfo.to_json()
    } else {
        Vec::new()
    };
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
}

/// A peer that has every piece and changes each so that its CRC32 stays.
fn start_liar(metainfo: MetaInfo, blob: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, metainfo, blob) = (stream.unwrap(), metainfo.clone(), blob.clone());
            thread::spawn(move || tell_lies(&stream, &metainfo, &blob));
        }
    });
    addr
}

fn tell_lies(stream: &TcpStream, metainfo: &MetaInfo, blob: &[u8]) -> Option<()> {
    let mut unread = BytesMut::new();
    let mut next = || -> Option<Message> {
        loop {
            if let Some(message) = wire::decode_frame(&mut unread).ok()? {
                return Some(message);
            }
            let mut part = [0; 4096];
            match (&*stream).read(&mut part) {
                Ok(0) | Err(_) => return None,
                Ok(len) => unread.extend_from_slice(&part[..len]),
            }
        }
    };
    next()?;
    let hello = Message::Handshake(Box::new(Handshake {
        peer_id: LIAR,
        info_hash: metainfo.info_hash(),
        digest: metainfo.digest(),
        namespace: "".parse().ok()?,
        bitfield: Bitfield::full(metainfo.geometry().pieces()).to_wire().into(),
        remote_peers: Vec::new(),
        capabilities: None,
    }));
    let mut frame = BytesMut::new();
    wire::encode(&hello, &mut frame);
    (&*stream).write_all(&frame).ok()?;
    loop {
        let Message::PieceRequest { index, length, .. } = next()? else { continue };
        let range = metainfo.geometry().range(index);
        let mut piece = blob[range.start as usize..range.end as usize].to_vec();
        forge(&mut piece);
        let mut frame = BytesMut::new();
        wire::encode(&Message::PiecePayload { index, offset: 0, length }, &mut frame);
        frame.extend_from_slice(&piece);
        (&*stream).write_all(&frame).ok()?;
    }
}

/// Adds the CRC's own polynomial, which changes bytes and leaves the sum.
fn forge(bytes: &mut [u8]) {
    let polynomial = (0xEDB8_8320_u64 << 1 | 1).to_le_bytes();
    for (byte, flip) in bytes.iter_mut().zip(&polynomial[..5]) {
        *byte ^= flip;
    }
}
