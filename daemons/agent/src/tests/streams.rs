//! Blobs that are pulled while they arrive, from a peer played by hand.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use kraken_common::{Answer, RequestBody, Server, Serving, answer};
use kraken_core::{Bitfield, MetaInfo, PeerId, PeerInfo, PieceIndex};
use kraken_p2p::tracker::AnnounceResponse;
use kraken_p2p::wire::{self, Handshake, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pull::{Pull, multipart, range_header, request, soon};
use super::*;

const PIECE_LEN: usize = 64 << 10;
/// Twice what is held back of a whole blob until it is proven, and a bit.
const PIECES: usize = 17;
const LEN: usize = PIECES * PIECE_LEN - 1000;

/// An agent, a tracker that knows one blob, and a peer that has it.
struct Scene {
    dir: TempDir,
    agent: Agent,
    tracker: Serving,
    seeder: Seeder,
    digest: Digest,
    bytes: Vec<u8>,
}

/// A peer that has every piece and sends those that are not held back.
struct Seeder {
    held: watch::Sender<BTreeSet<u32>>,
    asked: Arc<Mutex<BTreeSet<u32>>>,
    task: JoinHandle<()>,
}

impl Scene {
    /// The blob's digest is that of `content`, or the right one.
    async fn set(content: Option<&[u8]>, held: impl IntoIterator<Item = u32>) -> Self {
        Self::configured(content, held, |_| ()).await
    }

    async fn configured(
        content: Option<&[u8]>,
        held: impl IntoIterator<Item = u32>,
        change: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        let bytes: Vec<u8> = (0..LEN as u32 / 4).flat_map(|n| n.to_le_bytes()).collect();
        let digest = Digest::sha256(content.unwrap_or(&bytes));
        let metainfo = MetaInfo::of_bytes(digest, &bytes, PIECE_LEN as u64).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ip = "127.0.0.1".to_owned();
        let peer = PeerInfo { peer_id: SEEDER, ip, port, origin: false, complete: true };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), "a tracker", "--port").unwrap();
        let told = metainfo.clone();
        let tracker = server.spawn(move |request| {
            let answer = track(&request, &told, &peer);
            async move { answer }
        });
        let (held, watched) = watch::channel(held.into_iter().collect());
        let asked = Arc::default();
        let seed = seed(listener, metainfo, bytes.clone(), watched, Arc::clone(&asked));
        let seeder = Seeder { held, asked, task: tokio::spawn(seed) };
        let dir = tempfile::tempdir().unwrap();
        let trackers = Hosts::fixed(vec![tracker.addr().to_string()]).unwrap();
        let mut config = AgentConfig { trackers, ..config(&dir) };
        change(&mut config);
        let agent = Agent::start(config).await.unwrap();
        Self { dir, agent, tracker, seeder, digest, bytes }
    }

    /// Asks either port for the blob, and reads the head of the answer.
    async fn pull(&self, on_registry: bool, headers: &str) -> Pull {
        let (addr, path) = match on_registry {
            true => (self.agent.registry_addr(), self.path()),
            false => (
                self.agent.server_addr(),
                format!("/namespace/library%2Fa/blobs/{}", self.digest.wire_name()),
            ),
        };
        let mut pull = Pull::connect(addr).await;
        pull.send(&request("GET", &path, headers)).await;
        pull.read_head().await;
        pull
    }

    /// The blob's path in the registry.
    fn path(&self) -> String {
        format!("/v2/library/a/blobs/{}", self.digest)
    }

    /// Whether the blob is in the agent's cache.
    fn is_here(&self) -> bool {
        self.agent.parts.store.stat(&self.digest).unwrap().is_some()
    }

    async fn downloads(&self) -> usize {
        let (_, body) = get(self.agent.server_addr(), "/x/downloads").await;
        let list = serde_json::from_slice::<Vec<Value>>(&body).unwrap();
        let ended = |download: &&Value| {
            ["complete", "failed", "left"].contains(&download["state"].as_str().unwrap())
        };
        list.iter().filter(|download| !ended(download)).count()
    }

    async fn close(self) {
        self.agent.close().await.unwrap();
        self.tracker.close().await;
        drop(self.dir);
    }
}

impl Seeder {
    fn hold(&self, held: impl IntoIterator<Item = u32>) {
        self.held.send_replace(held.into_iter().collect());
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn track(request: &http::Request<RequestBody>, metainfo: &MetaInfo, peer: &PeerInfo) -> Answer {
    if request.uri().path().ends_with("/metainfo") {
        return answer::json_bytes(metainfo.to_json());
    }
    answer::json(&AnnounceResponse {
        peers: Some(vec![peer.clone()]),
        interval: 50_000_000,
        bridge: false,
    })
    .unwrap()
}

async fn seed(
    listener: tokio::net::TcpListener,
    metainfo: MetaInfo,
    bytes: Vec<u8>,
    mut held: watch::Receiver<BTreeSet<u32>>,
    asked: Arc<Mutex<BTreeSet<u32>>>,
) {
    loop {
        let mut socket = listener.accept().await.unwrap().0;
        let (mut unread, mut out) = (BytesMut::new(), BytesMut::new());
        let mut waiting: Vec<PieceIndex> = Vec::new();
        loop {
            while let Some(message) = wire::decode_frame(&mut unread).unwrap() {
                match message {
                    Message::Handshake(_) => wire::encode(&hello(&metainfo), &mut out),
                    Message::PieceRequest { index, .. } => {
                        asked.lock().unwrap().insert(index.0);
                        waiting.push(index);
                    }
                    _ => {}
                }
            }
            let now = held.borrow_and_update().clone();
            for index in waiting.extract_if(.., |index| !now.contains(&index.0)) {
                let range = metainfo.geometry().range(index);
                let length = (range.end - range.start) as u32;
                wire::encode(&Message::PiecePayload { index, offset: 0, length }, &mut out);
                out.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
            }
            if socket.write_all(&out.split()).await.is_err() {
                break;
            }
            tokio::select! {
                read = socket.read_buf(&mut unread) => {
                    if read.unwrap_or(0) == 0 {
                        break;
                    }
                }
                _ = held.changed() => {}
            }
        }
    }
}

fn hello(metainfo: &MetaInfo) -> Message {
    Message::Handshake(Box::new(Handshake {
        peer_id: SEEDER,
        info_hash: metainfo.info_hash(),
        digest: metainfo.digest(),
        namespace: "".parse().unwrap(),
        bitfield: Bitfield::full(metainfo.geometry().pieces()).to_wire().into(),
        remote_peers: Vec::new(),
        capabilities: None,
    }))
}

#[tokio::test]
async fn a_blob_is_answered_while_it_arrives() {
    let scene = Scene::set(None, [6]).await;
    let mut pulls = [scene.pull(true, "").await, scene.pull(false, "").await];
    for pull in &mut pulls {
        assert!(pull.head.starts_with("http/1.1 200 "), "{}", pull.head);
        assert!(pull.head.contains(&format!("content-length: {LEN}\r\n")), "{}", pull.head);
        pull.read_to(6 * PIECE_LEN).await;
        assert_eq!(pull.body.len(), 6 * PIECE_LEN);
    }
    assert!(!scene.is_here());
    assert_eq!(scene.downloads().await, 1);
    scene.seeder.hold([]);
    for pull in &mut pulls {
        pull.read_to(LEN).await;
        assert!(pull.body == scene.bytes);
    }
    assert!(scene.is_here());
    assert_eq!(scene.downloads().await, 0);
    scene.close().await;
}

#[tokio::test]
async fn an_arriving_blob_is_answered_in_every_way() {
    const HELD: usize = 6 * PIECE_LEN;
    let scene = Scene::set(None, [6, 8]).await;
    let (path, here) = (scene.path(), 2 * PIECE_LEN - 5..2 * PIECE_LEN + 5);
    // What comes, does not come yet, and the end, out of their order.
    let ranges = [LEN - 7..LEN, 0..10, HELD - 3..HELD + 3];
    let mut in_order = Pull::connect(scene.agent.registry_addr()).await;
    let requests = [
        request("GET", &path, &range_header(std::slice::from_ref(&here))),
        request("GET", &path, ""),
        request("HEAD", &path, ""),
        request("GET", &path, &range_header(&ranges)),
        request("GET", &path, ""),
    ];
    in_order.send(&requests.concat()).await;
    assert!(in_order.answer().await == (206, scene.bytes[here].to_vec()));
    in_order.read_head().await;
    in_order.read_to(HELD).await;
    let mut parts = scene.pull(true, &range_header(&ranges)).await;
    let gone = [scene.pull(true, "").await, scene.pull(true, &range_header(&ranges)).await];
    let over_http2 = {
        let client = Client::new(ClientConfig { http2_only: true, ..ClientConfig::default() });
        let addr = scene.agent.registry_addr().to_string();
        let answer = client.send(Request::to(Method::GET, addr, &*path)).await.unwrap();
        tokio::spawn(answer.bytes(LEN))
    };
    for mut gone in gone {
        gone.read_to(10).await;
    }
    scene.seeder.hold([8]);
    in_order.read_to(8 * PIECE_LEN).await;
    assert!(!scene.is_here());
    scene.seeder.hold([]);
    assert!(in_order.take(LEN).await == scene.bytes);
    in_order.read_head().await;
    assert_eq!(in_order.header("content-length"), Some(&*LEN.to_string()));
    in_order.read_head().await;
    for pull in [&mut in_order, &mut parts] {
        assert_eq!(pull.status(), 206);
        let boundary = pull.header("content-type").unwrap().split_once("boundary=").unwrap().1;
        let expected = multipart(&scene.bytes, &ranges, boundary);
        assert!(pull.take(expected.len()).await == expected);
    }
    assert!(in_order.answer().await == (200, scene.bytes.clone()));
    assert!(in_order.body.is_empty() && parts.body.is_empty());
    assert!(over_http2.await.unwrap().unwrap() == scene.bytes);
    scene.close().await;
}

#[tokio::test]
async fn ranges_of_a_cold_blob_cost_the_pieces_they_touch() {
    let scene = Scene::set(None, []).await;
    let parts: [Range<usize>; 2] = [PIECE_LEN - 5..PIECE_LEN + 5, LEN - 7..LEN];
    for part in &parts {
        let mut pull = scene.pull(true, &range_header(std::slice::from_ref(part))).await;
        assert!(pull.head.starts_with("http/1.1 206 "), "{}", pull.head);
        pull.read_to(part.len()).await;
        assert!(pull.body == scene.bytes[part.clone()]);
    }
    assert!(!scene.is_here());
    assert_eq!(*scene.seeder.asked.lock().unwrap(), BTreeSet::from([0, 1, 16]));
    scene.close().await;
}

#[tokio::test]
async fn a_blob_that_fails_its_digest_is_broken_off_and_the_log_says_so() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(writer)
        .finish();
    // Of all threads: others that log the same line first would decide for this one.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let scene = Scene::set(Some(b"other"), [16]).await;
    let mut pull = scene.pull(true, "").await;
    let given = LEN - (512 << 10);
    pull.read_to(given).await;
    scene.seeder.hold([]);
    pull.read_to_end().await;
    assert!(pull.body == scene.bytes[..given]);
    assert!(!scene.is_here());
    let text = std::fs::read_to_string(log.path()).unwrap();
    let start = format!("answer broken off digest={} bytes_sent={given} ", scene.digest);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(&start)).collect();
    assert!(lines.len() == 1 && lines[0].contains("failed its digest"), "{text}");
    scene.close().await;
}

#[tokio::test]
async fn an_answer_breaks_with_its_blob_and_with_its_agent() {
    let scene = Scene::set(None, [3]).await;
    for closing in [false, true] {
        let mut pull = scene.pull(false, "").await;
        pull.read_to(3 * PIECE_LEN).await;
        if closing {
            let (registry, server) = (scene.agent.registry_addr(), scene.agent.server_addr());
            let end = async { tokio::join!(pull.read_to_end(), scene.close()) };
            soon(end).await;
            for addr in [registry, server] {
                assert!(TcpStream::connect(addr).await.is_err());
            }
            assert_eq!(pull.body.len(), 3 * PIECE_LEN);
            return;
        }
        let request = Request::to(
            Method::DELETE,
            scene.agent.server_addr().to_string(),
            format!("/blobs/{}", scene.digest.wire_name()),
        );
        Client::new(ClientConfig::default()).send(request).await.unwrap();
        pull.read_to_end().await;
        assert_eq!(pull.body.len(), 3 * PIECE_LEN);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_demand_with_it() {
    let scene = Scene::set(None, [3]).await;
    let (mut one, other) = (scene.pull(true, "").await, scene.pull(false, "").await);
    one.read_to(3 * PIECE_LEN).await;
    drop(one);
    assert_eq!(scene.downloads().await, 1);
    drop(other);
    let over = async {
        while scene.downloads().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(over).await;
    assert!(!scene.is_here());
    scene.close().await;
}

#[tokio::test]
async fn a_download_goes_on_without_its_client_if_it_is_to() {
    let scene = Scene::configured(None, [3], |config| config.finish_downloads = true).await;
    let mut one = scene.pull(true, "").await;
    one.read_to(3 * PIECE_LEN).await;
    drop(one);
    scene.seeder.hold([]);
    let here = async {
        while !scene.is_here() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(here).await;
    scene.close().await;
}

const SEEDER: PeerId = PeerId::new([9; 20]);
