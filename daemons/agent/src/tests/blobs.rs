//! Blobs that are here, byte for byte as clients of every kind get them.

use std::ops::Range;

use http_body_util::BodyExt as _;
use kraken_core::{MetaInfo, SendfileQueue};
use tokio::net::TcpSocket;

use super::pull::{Pull, multipart, range_header, request};
use super::*;

/// Round the pieces' length, round what is read of a file at once, and so much that no socket takes
/// it all.
const LENS: [usize; 8] =
    [0, 1, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, CHUNK_LEN, CHUNK_LEN + 1, LARGE_LEN];
const PIECE_LEN: usize = 64 << 10;
const CHUNK_LEN: usize = 512 << 10;
const LARGE_LEN: usize = (5 << 20) + 123;

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// An agent that has some blobs.
struct Scene {
    agent: Agent,
    _dir: TempDir,
}

struct Blob {
    digest: Digest,
    bytes: Vec<u8>,
}

/// What is asked of a blob.
enum Ask {
    Whole,
    Head,
    /// By the header's own words.
    Range(String, Range<usize>),
    Ranges(Vec<Range<usize>>),
    /// Past the end.
    Outside,
}

impl Scene {
    async fn set(blobs: &[&Blob]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::start(config(&dir)).await.unwrap();
        let store = &agent.parts.store;
        for Blob { digest, bytes } in blobs {
            let upload = store.create_upload(digest.algorithm()).unwrap();
            upload.append(bytes).unwrap();
            upload.commit(digest, &[]).unwrap();
            let metainfo = MetaInfo::of_bytes(*digest, bytes, PIECE_LEN as u64).unwrap();
            store.put_metainfo(&metainfo).unwrap();
        }
        Self { agent, _dir: dir }
    }

    async fn connect(&self) -> Pull {
        Pull::connect(self.agent.registry_addr()).await
    }
}

impl Blob {
    fn of(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::sha256(&bytes), bytes }
    }

    /// Of which no two stretches are the same.
    fn new(len: usize) -> Self {
        let mut bytes: Vec<u8> =
            (0..len as u32 / 4 + 1).flat_map(|n| (n ^ len as u32).to_le_bytes()).collect();
        bytes.truncate(len);
        Self::of(bytes)
    }

    fn path(&self) -> String {
        format!("/v2/library/a/blobs/{}", self.digest)
    }

    /// The path on the agent's own server.
    fn server_path(&self) -> String {
        format!("/namespace/library%2Fa/blobs/{}", self.digest.wire_name())
    }

    fn request(&self, ask: &Ask) -> String {
        let len = self.bytes.len();
        let (method, headers) = match ask {
            Ask::Whole => ("GET", String::new()),
            Ask::Head => ("HEAD", String::new()),
            Ask::Range(text, _) => ("GET", format!("range: bytes={text}\r\n")),
            Ask::Ranges(ranges) => ("GET", range_header(ranges)),
            Ask::Outside => ("GET", format!("range: bytes={len}-\r\n")),
        };
        request(method, &self.path(), &headers)
    }

    /// Takes the next answer, which must be the one to `ask`.
    async fn expect(&self, ask: &Ask, pull: &mut Pull) {
        if matches!(ask, Ask::Head) {
            pull.read_head().await;
            assert_eq!(pull.status(), 200, "{}", pull.head);
            let len = self.bytes.len().to_string();
            assert_eq!(pull.header("content-length"), Some(&*len));
            return;
        }
        let (status, body) = pull.answer().await;
        let len = self.bytes.len();
        let (expected, shown, bytes) = match ask {
            Ask::Whole | Ask::Head => (200, None, self.bytes.clone()),
            Ask::Range(_, range) => {
                let shown = format!("bytes {}-{}/{len}", range.start, range.end - 1);
                (206, Some(shown), self.bytes[range.clone()].to_vec())
            }
            Ask::Ranges(ranges) => {
                let boundary = pull.header("content-type").unwrap();
                let boundary = boundary.strip_prefix("multipart/byteranges; boundary=").unwrap();
                (206, None, multipart(&self.bytes, ranges, boundary))
            }
            Ask::Outside => (416, Some(format!("bytes */{len}")), body.clone()),
        };
        assert_eq!((status, pull.header("content-range")), (expected, shown.as_deref()));
        assert!(body == bytes, "other bytes than asked for, of {len}: {}", pull.head);
    }

    /// One request after another, each when the last has been answered.
    async fn ask_all(&self, pull: &mut Pull) {
        for ask in self.asks() {
            pull.send(&self.request(&ask)).await;
            self.expect(&ask, pull).await;
            assert!(pull.body.is_empty(), "more than was asked for");
        }
    }

    /// Everything that can be asked of it.
    fn asks(&self) -> Vec<Ask> {
        let len = self.bytes.len();
        let mut asks = vec![Ask::Whole, Ask::Head];
        if len == 0 {
            return asks;
        }
        let (third, half) = (len / 3, len / 2);
        for (text, range) in [
            (format!("{third}-{half}"), third..half + 1),
            (format!("{half}-"), half..len),
            (format!("-{}", len - third), third..len),
            (format!("{}-{}", len - 1, len + 9), len - 1..len),
            (format!("0-{}", len - 1), 0..len),
        ] {
            asks.push(Ask::Range(text, range));
        }
        asks.push(Ask::Outside);
        if len > 1000 {
            let cut = PIECE_LEN.min(half);
            asks.push(Ask::Ranges(vec![len - 5..len, 0..1, cut - 3..cut + 3]));
            asks.push(Ask::Ranges(vec![half..len, 0..half]));
            asks.push(Ask::Ranges((0..1000).map(|n| n * 53 % len).map(|at| at..at + 1).collect()));
        }
        asks.push(Ask::Whole);
        asks
    }
}

#[tokio::test]
async fn blobs_of_every_length_and_their_ranges_go_over_one_connection() {
    let blobs = LENS.map(Blob::new);
    let scene = Scene::set(&blobs.each_ref()).await;
    let mut on_registry = scene.connect().await;
    let mut on_server = Pull::connect(scene.agent.server_addr()).await;
    for blob in &blobs {
        blob.ask_all(&mut on_registry).await;
        on_server.send(&request("GET", &blob.server_path(), "")).await;
        blob.expect(&Ask::Whole, &mut on_server).await;
        assert!(on_server.body.is_empty());
    }
    scene.agent.close().await.unwrap();
}

#[tokio::test]
async fn requests_that_do_not_wait_for_answers_are_answered_in_order() {
    let (large, small) = (Blob::new(LARGE_LEN), Blob::new(PIECE_LEN + 1));
    let manifest = Blob::of(MANIFEST.into());
    let scene = Scene::set(&[&large, &small, &manifest]).await;
    let manifest_path = format!("/v2/library/a/manifests/{}", manifest.digest);
    let end = Ask::Range("-70".into(), PIECE_LEN - 69..PIECE_LEN + 1);
    let mut pull = scene.connect().await;
    for _ in 0..2 {
        let mut requests = String::new();
        for ask in &large.asks() {
            requests += &large.request(ask);
            requests += &small.request(&Ask::Head);
            requests += &request("GET", &manifest_path, "");
            requests += &small.request(&end);
        }
        pull.send(&requests).await;
        for ask in &large.asks() {
            large.expect(ask, &mut pull).await;
            small.expect(&Ask::Head, &mut pull).await;
            manifest.expect(&Ask::Whole, &mut pull).await;
            small.expect(&end, &mut pull).await;
        }
        assert!(pull.body.is_empty(), "more than was asked for");
    }
    scene.agent.close().await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_harms_no_other() {
    let (large, small) = (Blob::new(LARGE_LEN), Blob::new(PIECE_LEN - 1));
    let scene = Scene::set(&[&large, &small]).await;
    let halves = Ask::Ranges(vec![LARGE_LEN / 2..LARGE_LEN, 0..LARGE_LEN / 2]);
    let mut slow = scene.connect().await;
    slow.send(&(large.request(&Ask::Whole) + &large.request(&halves))).await;
    slow.read_head().await;
    slow.read_to(CHUNK_LEN / 2).await;
    for gone_after in [0, 1, CHUNK_LEN - 1, 3 * CHUNK_LEN] {
        for ask in [&Ask::Whole, &halves] {
            // It takes so little at once that the answer is under way when it goes.
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let socket = socket.connect(scene.agent.registry_addr()).await.unwrap();
            let mut gone = Pull::over(socket);
            gone.send(&(large.request(ask) + &small.request(&Ask::Whole))).await;
            gone.read_head().await;
            gone.read_to(gone_after).await;
        }
        small.ask_all(&mut scene.connect().await).await;
    }
    let body = slow.take(LARGE_LEN).await;
    assert!(body == large.bytes);
    large.expect(&halves, &mut slow).await;
    large.ask_all(&mut slow).await;
    scene.agent.close().await.unwrap();
}

#[tokio::test]
async fn many_clients_at_once_get_what_each_asked_for() {
    let blobs = LENS.map(Blob::new);
    let scene = Scene::set(&blobs.each_ref()).await;
    let blobs = Arc::new(blobs);
    let clients = (0..LENS.len()).map(|first| {
        let (addr, blobs) = (scene.agent.registry_addr(), Arc::clone(&blobs));
        tokio::spawn(async move {
            let mut pull = Pull::connect(addr).await;
            for blob in blobs.iter().cycle().skip(first).take(LENS.len()) {
                blob.ask_all(&mut pull).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    scene.agent.close().await.unwrap();
}

#[tokio::test]
async fn clients_of_http2_get_the_same_bytes() {
    let blobs = LENS.map(Blob::new);
    let scene = Scene::set(&blobs.each_ref()).await;
    let client = Client::new(ClientConfig { http2_only: true, ..ClientConfig::default() });
    let addr = scene.agent.registry_addr().to_string();
    for blob in &blobs {
        let answer = client.send(Request::to(Method::GET, &*addr, blob.path())).await.unwrap();
        let body = answer.bytes(LARGE_LEN).await.unwrap();
        assert!(body == blob.bytes, "{} bytes", blob.bytes.len());
        let (half, len) = (blob.bytes.len() / 2, blob.bytes.len());
        if half == 0 {
            continue;
        }
        let ranges = [half..len, 0..half];
        let header = range_header(&ranges);
        let (_, value) = header.trim_end().split_once(": ").unwrap();
        let request = Request::to(Method::GET, &*addr, blob.path()).header("range", value);
        let answer = client.send(request.expect(&[206])).await.unwrap();
        let boundary = answer.header("content-type").unwrap().split_once("boundary=").unwrap().1;
        let expected = multipart(&blob.bytes, &ranges, boundary);
        assert!(answer.bytes(LARGE_LEN + 1000).await.unwrap() == expected, "{len} bytes");
    }
    scene.agent.close().await.unwrap();
}

/// The tests beside this one would not see that copies are sent.
#[tokio::test]
async fn connections_that_send_files_themselves_are_lent_them() {
    let blob = Blob::new(LARGE_LEN);
    let scene = Scene::set(&[&blob]).await;
    let registry = Registry::new(AgentRegistry::new(Arc::clone(&scene.agent.parts)));
    for range in ["", "bytes=5-", "bytes=5-6,0-1"] {
        let queue = SendfileQueue::new(vec![0; CHUNK_LEN].into());
        let mut request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        *request.uri_mut() = blob.path().parse().unwrap();
        request.headers_mut().insert("range", range.parse().unwrap());
        request.extensions_mut().insert(queue.clone());
        let mut body = registry.answer(request).await.into_body();
        let mut lent = 0;
        while let Some(frame) = body.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            if queue.is_stand_in(&bytes) {
                lent += bytes.len();
                queue.sent(bytes.len());
            }
        }
        let expected = match range {
            "" => LARGE_LEN,
            "bytes=5-" => LARGE_LEN - 5,
            _ => 4,
        };
        assert_eq!(lent, expected, "{range:?}");
        queue.ensure_whole().unwrap();
    }
    scene.agent.close().await.unwrap();
}
