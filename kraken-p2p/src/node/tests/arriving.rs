//! Blobs that are fetched while they still arrive at their origin.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kraken_core::store::{Store, StoreConfig};
use kraken_core::{
    AttemptId, Bitfield, Digest, ErrorKind, MetaInfo, PeerId, PeerInfo, PieceIndex, PieceProof,
    Provisional, SigningKey, TorrentMeta,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::BLOB_LEN;
use super::support::{Played, Tracker, blob, handshake, loopback, namespace, soon};
use crate::node::{Download, Node, NodeConfig};
use crate::storage::StoreStorage;
use crate::swarm::SwarmConfig;
use crate::wire::{self, Capabilities, Handshake, Message};

/// A node on a real store.
struct Host {
    node: Node,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Host {
    async fn start(tracker: &Arc<Tracker>, config: NodeConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreConfig { durable: false, ..StoreConfig::under(dir.path()) };
        let store = Store::open(store).unwrap();
        let storage = Arc::new(StoreStorage::new(store.clone()));
        let node = Node::builder(storage, Arc::clone(tracker) as _).config(config);
        Self { node: node.start().await.unwrap(), store, _dir: dir }
    }

    async fn origin(tracker: &Arc<Tracker>) -> Self {
        let config = NodeConfig { origin: true, swarm: SwarmConfig::origin(), ..loopback() };
        Self::start(tracker, config).await
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn provisional(meta: &MetaInfo, attempt: u8, keys: &[SigningKey]) -> Provisional {
    let keys = keys.iter().map(SigningKey::public).collect();
    let attempt = AttemptId([attempt; 16]);
    Provisional::new(meta.digest(), meta.geometry(), String::new(), attempt, keys).unwrap()
}

/// What an origin does with a piece from its backend.
async fn land(download: &Download, of: &Provisional, key: &[u8; 32], bytes: &[u8], index: u32) {
    let index = PieceIndex(index);
    let range = of.geometry().range(index);
    let piece = &bytes[range.start as usize..range.end as usize];
    let mut landing = download.begin_piece(index).unwrap();
    assert!(download.begin_piece(index).is_none(), "one writer at a time");
    let (first, second) = piece.split_at(piece.len() / 2);
    landing.write(Bytes::copy_from_slice(first)).await.unwrap();
    landing.write(Bytes::copy_from_slice(second)).await.unwrap();
    let (of, key) = (of.clone(), SigningKey::from_seed(key));
    landing.finish(move |crc32, blake3| key.prove(&of, index, crc32, blake3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_get_pieces_as_they_land_at_the_origin() {
    let (bytes, meta) = blob(BLOB_LEN, 81);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker).await;
    let agents = [Host::start(&tracker, loopback()).await, Host::start(&tracker, loopback()).await];
    let of = provisional(&meta, 1, &[key(1)]);
    let mut arriving = origin.node.begin(of.clone(), &namespace()).await.unwrap();
    tracker.arrives(&of, origin.node.peer_info().clone());
    let mut streams = Vec::new();
    for agent in &agents {
        let download = soon(agent.node.open(&namespace(), &meta.digest())).await.unwrap();
        assert_eq!(download.metainfo().info_hash(), of.info_hash());
        streams.push((download.stream(0..BLOB_LEN as u64), Vec::new()));
    }
    for index in of.geometry().indexes() {
        land(&arriving, &of, &[1; 32], &bytes, index.0).await;
        // Before anybody knows the digest to be right; but for the end.
        let end = of.geometry().range(index).end as usize;
        let readable = end.min(BLOB_LEN - (512 << 10));
        for (stream, read) in &mut streams {
            while read.len() < readable {
                let chunk = soon(stream.chunk()).await.unwrap().unwrap();
                read.extend_from_slice(&chunk);
            }
            assert!(bytes.starts_with(read), "other bytes");
        }
    }
    soon(arriving.finished()).await.unwrap();
    assert_eq!(arriving.metainfo().as_final(), Some(&meta));
    for (mut stream, mut read) in streams {
        while let Some(chunk) = soon(stream.chunk()).await.unwrap() {
            read.extend_from_slice(&chunk);
        }
        assert!(read == bytes, "other bytes");
    }
    for host in agents.iter().chain([&origin]) {
        let blob = host.store.blob(&meta.digest()).unwrap().unwrap();
        assert_eq!(blob.metainfo(), Some(meta.clone()), "the sums of its proofs");
        host.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_and_who_was_early_end_in_one_swarm() {
    let (bytes, meta) = blob(BLOB_LEN, 82);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker).await;
    let (early, late) =
        (Host::start(&tracker, loopback()).await, Host::start(&tracker, loopback()).await);
    let of = provisional(&meta, 1, &[key(1)]);
    let mut arriving = origin.node.begin(of.clone(), &namespace()).await.unwrap();
    tracker.arrives(&of, origin.node.peer_info().clone());
    let mut first = soon(early.node.download(&namespace(), &meta.digest())).await.unwrap();
    // One that takes nothing without sums waits until there are some.
    let patient = tokio::spawn({
        let (to, meta) = (origin.node.local_addr(), meta.clone());
        async move {
            let mut peer = Played::dial(to).await;
            let have = kraken_core::Bitfield::new(meta.geometry().pieces());
            peer.send(handshake(&meta, PeerId::new([7; 20]), &have)).await;
            peer.receive().await
        }
    });
    for index in 0..of.geometry().pieces() {
        land(&arriving, &of, &[1; 32], &bytes, index).await;
    }
    soon(arriving.finished()).await.unwrap();
    let reply = soon(patient).await.unwrap();
    assert!(
        matches!(reply, Some(Message::Handshake(reply)) if reply.info_hash == meta.info_hash())
    );
    tracker.add(&meta, PeerInfo { complete: true, ..origin.node.peer_info().clone() });
    let mut second = soon(late.node.download(&namespace(), &meta.digest())).await.unwrap();
    assert_eq!(second.metainfo().as_final(), Some(&meta));
    soon(first.finished()).await.unwrap();
    soon(second.finished()).await.unwrap();
    for host in [origin, early, late] {
        host.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_known_is_asked_for_and_a_blob_that_is_another_ends() {
    let (bytes, meta) = blob(BLOB_LEN, 83);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker).await;
    let agent = Host::start(&tracker, loopback()).await;
    let mut wrong = bytes.clone();
    wrong[BLOB_LEN - 1] ^= 1;
    // The agent is told of one key; half-way another origin goes on.
    let of = provisional(&meta, 1, &[key(1)]);
    let both = provisional(&meta, 1, &[key(1), key(2)]);
    let mut arriving = origin.node.begin(both.clone(), &namespace()).await.unwrap();
    tracker.arrives(&of, origin.node.peer_info().clone());
    let mut download = soon(agent.node.open(&namespace(), &meta.digest())).await.unwrap();
    let mut stream = download.stream(0..BLOB_LEN as u64);
    let (reads, mut has_read) = tokio::sync::watch::channel(0);
    let reader = tokio::spawn(async move {
        let mut read = Vec::new();
        loop {
            match stream.chunk().await {
                Ok(chunk) => read.extend_from_slice(&chunk.expect("never all of it")),
                Err(error) => return (read, error),
            }
            reads.send_replace(read.len());
        }
    });
    for index in 0..4 {
        land(&arriving, &both, &[1; 32], &wrong, index).await;
    }
    tracker.arrives(&both, origin.node.peer_info().clone());
    for index in 4..7 {
        land(&arriving, &both, &[2; 32], &wrong, index).await;
    }
    while download.progress().pieces < 7 {
        soon(download.progressed()).await.unwrap();
    }
    soon(has_read.wait_for(|read| *read >= 6 << 20)).await.unwrap();
    land(&arriving, &both, &[2; 32], &wrong, 7).await;
    let error = soon(arriving.finished()).await.unwrap_err();
    assert!(error.to_string().contains("failed its digest"), "{error}");
    tracker.forget(&meta.digest());
    let (read, error) = soon(reader).await.unwrap();
    // Its own digest may tell it, its tracker, or a read under way when it is thrown away.
    use ErrorKind::{Cancelled, Mismatch, NotFound, Unavailable};
    let kinds = [Mismatch, Unavailable, NotFound, Cancelled];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(wrong.starts_with(&read) && read.len() >= 6 << 20, "{} bytes", read.len());
    let rests = agent.node.blacklist().await.unwrap();
    assert!(rests.iter().all(|peer| peer.remaining.is_some()), "nobody is banned");
    for host in [origin, agent] {
        // An origin may begin anew.
        let is_empty = || {
            let blob = host.store.find(&meta.digest()).unwrap();
            blob.is_none_or(|blob| blob.pieces().count() == 0)
        };
        let gone = async {
            while !is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(gone).await;
        host.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_goes_before_it_says_why_leaves_nobody_waiting() {
    let (bytes, meta) = blob(BLOB_LEN, 86);
    let tracker = Arc::new(Tracker::default());
    let (origin, agent) = (Host::origin(&tracker).await, Host::start(&tracker, loopback()).await);
    let of = provisional(&meta, 1, &[key(1)]);
    let arriving = origin.node.begin(of.clone(), &namespace()).await.unwrap();
    tracker.arrives(&of, origin.node.peer_info().clone());
    let download = soon(agent.node.open(&namespace(), &meta.digest())).await.unwrap();
    let mut stream = download.stream(0..BLOB_LEN as u64);
    land(&arriving, &of, &[1; 32], &bytes, 0).await;
    soon(stream.chunk()).await.unwrap();
    let asked = tracker.asked();
    origin.node.remove(&meta.digest()).await.unwrap();
    let looked = async {
        while tracker.asked() == asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(looked).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    tracker.forget(&meta.digest());
    let (told, error) = (
        Instant::now(),
        loop {
            if let Err(error) = soon(stream.chunk()).await {
                break error;
            }
        },
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    for host in [origin, agent] {
        host.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_followed_an_origin_and_takes_over_tells_its_own_key() {
    let (bytes, meta) = blob(BLOB_LEN, 85);
    let tracker = Arc::new(Tracker::default());
    let of = provisional(&meta, 1, &[key(1)]);
    let (first, second) = (Host::origin(&tracker).await, Host::origin(&tracker).await);
    let arriving = first.node.begin(of.clone(), &namespace()).await.unwrap();
    tracker.arrives(&of, first.node.peer_info().clone());
    let follows = soon(second.node.open(&namespace(), &meta.digest())).await.unwrap();
    land(&arriving, &of, &[1; 32], &bytes, 0).await;
    first.node.close().await;
    let both = provisional(&meta, 1, &[key(1), key(2)]);
    let mut download = second.node.begin(both.clone(), &namespace()).await.unwrap();
    assert_eq!(download.metainfo(), TorrentMeta::Provisional(both.clone()));
    assert_eq!(follows.metainfo(), download.metainfo(), "one torrent");
    for index in download.geometry().indexes() {
        if !download.file().pieces().contains(index) {
            land(&download, &both, &[2; 32], &bytes, index.0).await;
        }
    }
    soon(download.finished()).await.unwrap();
    assert_eq!(download.metainfo().as_final(), Some(&meta));
    second.node.close().await;
}

/// What a peer sends in place of a piece: bytes, and what vouches for them.
type Lie = fn(&Provisional, PieceIndex, &[u8]) -> (Vec<u8>, PieceProof);

fn proof(of: &Provisional, key: &SigningKey, index: PieceIndex, piece: &[u8]) -> PieceProof {
    key.prove(of, index, crc32fast::hash(piece), *blake3::hash(piece).as_bytes())
}

/// Has every piece, and sends what `lie` makes of those that it is asked for.
async fn serve(listener: TcpListener, of: Provisional, bytes: Vec<u8>, lie: Lie) {
    let pieces = Bitfield::full(of.geometry().pieces());
    loop {
        let mut peer = Played::new(listener.accept().await.unwrap().0);
        let Some(Message::Handshake(_)) = peer.receive().await else { continue };
        let hello = Handshake {
            peer_id: LIAR,
            info_hash: of.info_hash(),
            digest: of.digest(),
            namespace: namespace(),
            bitfield: pieces.to_wire().into(),
            remote_peers: Vec::new(),
            capabilities: Some(Capabilities(Capabilities::PROVISIONAL)),
        };
        peer.send(Message::Handshake(Box::new(hello))).await;
        while let Some(message) = peer.receive().await {
            let Message::PieceRequest { index, length, .. } = message else { continue };
            let range = of.geometry().range(index);
            let piece = &bytes[range.start as usize..range.end as usize];
            let (piece, proof) = lie(&of, index, piece);
            let mut frames = BytesMut::new();
            wire::encode(&Message::PieceProof { index, proof: Box::new(proof) }, &mut frames);
            wire::encode(&Message::PiecePayload { index, offset: 0, length }, &mut frames);
            frames.extend_from_slice(&piece);
            if peer.socket.write_all(&frames).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_makes_proofs_up_is_banned_and_who_may_know_no_better_is_not() {
    let replayed: Lie = |of, index, piece| {
        (
            piece.to_vec(),
            proof(of, &key(1), PieceIndex((index.0 + 1) % of.geometry().pieces()), piece),
        )
    };
    let altered: Lie = |of, index, piece| {
        let mut other = piece.to_vec();
        other[0] ^= 1;
        (other, proof(of, &key(1), index, piece))
    };
    let false_signature: Lie = |of, index, piece| {
        let mut proof = proof(of, &key(1), index, piece);
        proof.blake3[0] ^= 1;
        (piece.to_vec(), proof)
    };
    let other_blob: Lie = |of, index, piece| {
        let (attempt, keys) = (of.attempt(), of.keys().to_vec());
        let other = Digest::sha256(b"another blob");
        let other = Provisional::new(other, of.geometry(), String::new(), attempt, keys);
        (piece.to_vec(), proof(&other.unwrap(), &key(1), index, piece))
    };
    let other_attempt: Lie = |of, index, piece| {
        let (digest, keys) = (of.digest(), of.keys().to_vec());
        let attempt = AttemptId([9; 16]);
        let other = Provisional::new(digest, of.geometry(), String::new(), attempt, keys);
        (piece.to_vec(), proof(&other.unwrap(), &key(1), index, piece))
    };
    let unknown_key: Lie = |of, index, piece| (piece.to_vec(), proof(of, &key(2), index, piece));
    for (name, lie, is_banned) in [
        ("replayed for another piece", replayed, true),
        ("an altered piece", altered, true),
        ("a false signature", false_signature, true),
        ("replayed for another blob", other_blob, true),
        ("replayed for another attempt", other_attempt, false),
        ("an unknown key", unknown_key, false),
    ] {
        let (bytes, meta) = blob(BLOB_LEN, 84);
        let tracker = Arc::new(Tracker::default());
        let agent = Host::start(&tracker, loopback()).await;
        let of = provisional(&meta, 1, &[key(1)]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ip = "127.0.0.1".to_owned();
        let liar = PeerInfo { peer_id: LIAR, ip, port, origin: false, complete: true };
        let serving = tokio::spawn(serve(listener, of.clone(), bytes.clone(), lie));
        tracker.arrives(&of, liar);
        let mut download = soon(agent.node.open(&namespace(), &meta.digest())).await.unwrap();
        download.set_demand(0..BLOB_LEN as u64);
        let asked = tracker.asked();
        let refused = async {
            loop {
                let banned = agent.node.blacklist().await.unwrap();
                if is_banned && !banned.is_empty() || !is_banned && tracker.asked() > asked {
                    break banned.len();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert_eq!(soon(refused).await, usize::from(is_banned), "{name}");
        assert_eq!(download.progress().pieces, 0, "{name}: none of its pieces is taken");
        // From an origin it comes all the same.
        let origin = Host::origin(&tracker).await;
        let mut arriving = origin.node.begin(of.clone(), &namespace()).await.unwrap();
        tracker.arrives(&of, origin.node.peer_info().clone());
        for index in of.geometry().indexes() {
            land(&arriving, &of, &[1; 32], &bytes, index.0).await;
        }
        soon(arriving.finished()).await.unwrap();
        soon(download.finished()).await.unwrap();
        serving.abort();
        for host in [origin, agent] {
            host.node.close().await;
        }
    }
}

const LIAR: PeerId = PeerId::new([7; 20]);
