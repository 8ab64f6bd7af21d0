//! Blobs that come from a backend which does not always do what it should.

use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use kraken_backends::layers::ThrottleConfig;
use kraken_backends::{Layout, ObjectName, Pather, TestFsBackendConfig};
use kraken_common::answer;
use kraken_common::backends::BackendKind;
use kraken_common::{RequestBody, Server, Serving};
use kraken_core::piece::PieceLengths;
use kraken_core::store::Store;
use kraken_core::{AttemptId, Error, ErrorKind, Geometry, PieceIndex, Provisional, SigningKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::fetches::Fetches;

impl Fixture {
    /// What becomes of a blob, once that is known.
    async fn settled(&self, digest: &Digest) -> (u16, String) {
        let path = format!("/namespace/library%2Fa/blobs/{digest}");
        loop {
            match self.send(self.to(Method::GET, &path)).await {
                (202, _) => tokio::time::sleep(Duration::from_millis(10)).await,
                answer => break answer,
            }
        }
    }
}

/// A file of the backend directory `dir`, the only one there.
fn only_file(dir: PathBuf) -> PathBuf {
    let mut dirs = vec![dir];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.path().is_dir() {
                true => dirs.push(entry.path()),
                false => return entry.path(),
            }
        }
    }
    panic!("there is no file")
}

#[tokio::test]
async fn a_blob_that_is_another_at_the_backend_is_refused_with_both_names() {
    let first = Fixture::start(|_| ()).await;
    first.push("a cold blob").await;
    let digest = Digest::sha256(b"a cold blob");
    let cold = first.cold(true).await;
    let file = only_file(first.dir.path().join("backend"));
    std::fs::write(file, b"a c0ld blob").unwrap();
    let (status, text) = cold.settled(&digest).await;
    assert!(status >= 400, "{status} {text}");
    assert!(text.contains("library/a") && text.contains(&digest.to_string()), "{text}");
    assert_eq!(cold.used_bytes().await, 0, "nothing is kept");
    for fixture in [first, cold] {
        fixture.origin.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_comes_is_begun_anew() {
    // Of the same length only its version tells.
    for older in ["an older object", "a c0ld blob"] {
        begins_anew(older).await;
    }
}

async fn begins_anew(older: &str) {
    let first = Fixture::start(|_| ()).await;
    let blob = first.push("a cold blob").await;
    let digest = Digest::sha256(b"a cold blob");
    first.written_back().await;
    let backend = first.dir.path().join("backend");
    let file = only_file(backend.clone());
    std::fs::write(&file, older).unwrap();
    let slow = ThrottleConfig { ingress_bytes_per_sec: 10, egress_bytes_per_sec: 10 };
    let backend = BackendConfig { bandwidth: slow, ..BackendConfig::local(backend) };
    let cold = Fixture::configured(|config| config.backends = vec![backend]).await;
    match cold.torrent_meta(&digest).await.unwrap() {
        TorrentMeta::Provisional(meta) => {
            assert_eq!(meta.geometry().blob_len(), older.len() as u64);
        }
        TorrentMeta::Final(_) => panic!("it is slow"),
    }
    // As a backend does: who reads the old one goes on reading it.
    let newer = file.with_extension("new");
    std::fs::write(&newer, b"a cold blob").unwrap();
    std::fs::rename(newer, &file).unwrap();
    assert_eq!(cold.final_meta(&digest).await, first.final_meta(&digest).await);
    assert_eq!(cold.send(cold.to(Method::GET, &blob)).await, (200, "a cold blob".to_owned()));
    for fixture in [first, cold] {
        fixture.origin.close().await.unwrap();
    }
}

/// A local backend that has these bytes for a blob.
fn backend_of(digest: &Digest, bytes: &[u8]) -> (TempDir, Vec<BackendConfig>) {
    let dir = tempfile::tempdir().unwrap();
    let name = ObjectName::from(digest);
    let path = Pather::new(Layout::ShardedDockerBlob, "").path(&name).unwrap();
    let object = dir.path().join(path);
    std::fs::create_dir_all(object.parent().unwrap()).unwrap();
    std::fs::write(object, bytes).unwrap();
    let config = BackendConfig::local(dir.path().to_owned());
    (dir, vec![config])
}

/// Leaves a blob without sums in the store, of an object of that version, with its first piece.
fn leave_first_piece(
    store: &Store,
    digest: Digest,
    geometry: Geometry,
    version: &str,
    piece: &[u8],
) {
    let key = SigningKey::from_seed(&[1; 32]);
    let (attempt, keys) = (AttemptId([1; 16]), vec![key.public()]);
    let of = Provisional::new(digest, geometry, version.to_owned(), attempt, keys).unwrap();
    let blob = store.open_torrent(&TorrentMeta::Provisional(of.clone())).unwrap();
    blob.write_at(0, piece).unwrap();
    let meta = MetaInfo::of_bytes(Digest::sha256(piece), piece, 1 << 20).unwrap();
    let (crc32, blake3) = (meta.sums().crc32[0], meta.sums().blake3.as_ref().unwrap()[0]);
    blob.mark_proven(PieceIndex(0), &key.prove(&of, PieceIndex(0), crc32, blake3)).unwrap();
}

/// What came whole, and fitted together, before the origin was killed.
#[tokio::test]
async fn what_was_not_verified_before_a_kill_is_not_fetched_again() {
    const BYTES: &[u8] = b"a cold blob";
    let meta = MetaInfo::of_bytes(Digest::sha256(BYTES), BYTES, 1 << 20).unwrap();
    // Fetched again it would be refused.
    let (_dir, backends) = backend_of(&meta.digest(), b"a c0ld blob");
    let before = |config: &mut OriginConfig| {
        let store = Store::open(config.store.clone()).unwrap();
        leave_first_piece(&store, meta.digest(), meta.geometry(), "", BYTES);
        store.open_torrent(&TorrentMeta::Final(meta.clone())).unwrap();
        config.backends = backends;
    };
    let origin = Fixture::configured(before).await;
    assert_eq!(origin.final_meta(&meta.digest()).await, meta);
    let answer = origin.settled(&meta.digest()).await;
    assert_eq!(answer, (200, "a cold blob".to_owned()));
    origin.origin.close().await.unwrap();
}

/// A piece of an object that has been replaced since the origin was killed.
#[tokio::test]
async fn what_came_of_another_version_is_not_gone_on_with() {
    const BYTES: &[u8] = b"a cold blob";
    let (digest, geometry) = (Digest::sha256(BYTES), Geometry::new(11, 10).unwrap());
    let (_dir, backends) = backend_of(&digest, BYTES);
    let before = |config: &mut OriginConfig| {
        let store = Store::open(config.store.clone()).unwrap();
        leave_first_piece(&store, digest, geometry, "older", b"a c0ld blo");
        config.backends = backends;
        config.piece_lengths = PieceLengths::new(vec![(0, 10)]).unwrap();
    };
    let origin = Fixture::configured(before).await;
    assert_eq!(origin.settled(&digest).await, (200, "a cold blob".to_owned()));
    origin.origin.close().await.unwrap();
}

/// An origin in front of a testfs, with pieces of ten bytes.
async fn before_testfs(addr: String) -> Fixture {
    let (layout, any) = (Layout::ShardedDockerBlob, BackendConfig::local(PathBuf::new()));
    let kind = BackendKind::TestFs(TestFsBackendConfig { addr, root: String::new(), layout });
    Fixture::configured(|config| {
        config.backends = vec![BackendConfig { kind, ..any }];
        config.piece_lengths = PieceLengths::new(vec![(0, 10)]).unwrap();
    })
    .await
}

/// Plays a testfs that says 11 bytes and sends `bytes`.
fn backend_that_sends(bytes: &'static str) -> Serving {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), "a backend", "--port").unwrap();
    server.spawn(move |request: http::Request<RequestBody>| async move {
        let mut answer = match request.method().as_str() {
            "GET" => answer::text(StatusCode::OK, bytes),
            _ => answer::ok(),
        };
        answer.headers_mut().insert("size", 11.into());
        answer
    })
}

#[tokio::test]
async fn a_backend_that_says_nothing_once_is_asked_again() {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), "a backend", "--port").unwrap();
    let heads = Arc::<AtomicU32>::default();
    let backend = server.spawn(move |request: http::Request<RequestBody>| {
        // The first is before the fetch, the second in it.
        let fails = request.method() == "HEAD" && heads.fetch_add(1, Relaxed) == 1;
        async move {
            if fails {
                return answer::text(StatusCode::INTERNAL_SERVER_ERROR, "not now");
            }
            let mut answer = answer::text(StatusCode::OK, "a cold blob");
            answer.headers_mut().insert("size", 11.into());
            answer
        }
    });
    let cold = before_testfs(backend.addr().to_string()).await;
    let answer = cold.settled(&Digest::sha256(b"a cold blob")).await;
    assert_eq!(answer, (200, "a cold blob".to_owned()));
    cold.origin.close().await.unwrap();
    backend.close().await;
}

/// Two owners that passed on to each other what they have heard would never forget it.
#[tokio::test]
async fn what_another_owner_has_found_is_not_passed_on() {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), "an owner", "--port").unwrap();
    let owner = server.spawn(|_: http::Request<RequestBody>| async {
        answer::failure(&Error::new(ErrorKind::Mismatch, "other bytes"))
    });
    let client = Client::new(ClientConfig::default());
    let request = Request::to(Method::GET, owner.addr().to_string(), "/");
    let heard = client.send(request).await.unwrap_err();
    let (namespace, digest) = ("a".parse().unwrap(), Digest::sha256(b"x"));
    let told = |failure: Option<Error>| failure.map(|failure| failure.kind());
    for (error, own) in
        [(Error::new(ErrorKind::Mismatch, "other bytes"), Some(ErrorKind::Mismatch)), (heard, None)]
    {
        let fetches = Arc::<Fetches>::default();
        Fetches::enter(&fetches, &namespace, &digest).unwrap().end(Err(error));
        assert_eq!(told(fetches.failure(&namespace, &digest)), Some(ErrorKind::Mismatch));
        assert_eq!(told(fetches.own_failure(&namespace, &digest)), own);
    }
    owner.close().await;
}

#[tokio::test]
async fn a_backend_that_sends_another_length_is_named_and_nothing_is_kept() {
    for sent in ["a cold", "a cold blob and more"] {
        let backend = backend_that_sends(sent);
        let cold = before_testfs(backend.addr().to_string()).await;
        let digest = Digest::sha256(b"a cold blob");
        let (status, text) = cold.settled(&digest).await;
        assert!(status >= 400, "{status} {text}");
        assert!(text.contains("library/a") && text.contains(&digest.to_string()), "{text}");
        assert_eq!(cold.used_bytes().await, 0, "nothing is kept");
        cold.origin.close().await.unwrap();
        backend.close().await;
    }
}

/// Plays a testfs whose every answer with bytes breaks off after `each` of them; from where on it
/// was asked each time. With none of `each` left it sends no bytes.
async fn backend_that_breaks_off(each: Vec<usize>) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, asked) =
        (listener.local_addr().unwrap().to_string(), Arc::<Mutex<Vec<usize>>>::default());
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut each = each.into_iter();
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let len = peer.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..len]).to_lowercase();
            let answer = if head.starts_with("head") {
                format!("HTTP/1.1 200 OK\r\nsize: {}\r\nconnection: close\r\n\r\n", BROKEN.len())
            } else {
                let range = head.split("range: bytes=").nth(1);
                let start = range.and_then(|range| range.split('-').next());
                let start = start.map_or(0, |start| start.parse().unwrap());
                seen.lock().unwrap().push(start);
                let (rest, all) = (&BROKEN[start..], BROKEN.len());
                let sent = &rest[..each.next().unwrap_or(0).min(rest.len())];
                let (last, len) = (all - 1, rest.len());
                format!(
                    "HTTP/1.1 206 Partial Content\r\ncontent-length: {len}\r\n\
                     content-range: bytes {start}-{last}/{all}\r\n\r\n{sent}"
                )
            };
            peer.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (addr, asked)
}

const BROKEN: &str = "four pieces of ten bytes, one by another";

/// Its HEAD says all the while that the blob is there.
#[tokio::test]
async fn a_backend_that_breaks_off_is_asked_for_the_rest_only() {
    let (addr, asked) = backend_that_breaks_off(vec![14, 25, 100]).await;
    let cold = before_testfs(addr).await;
    let answer = cold.settled(&Digest::sha256(BROKEN.as_bytes())).await;
    assert_eq!(answer, (200, BROKEN.to_owned()));
    assert_eq!(*asked.lock().unwrap(), [0, 10, 30]);
    cold.origin.close().await.unwrap();
}

#[tokio::test]
async fn a_backend_that_sends_no_more_breaks_readers_off_and_what_came_is_kept() {
    let (addr, asked) = backend_that_breaks_off(vec![14]).await;
    let cold = before_testfs(addr).await;
    let digest = Digest::sha256(BROKEN.as_bytes());
    let path = format!("/namespace/library%2Fa/blobs/{digest}");
    // Of a whole blob the last bytes wait until it is proven, and of this one that is all.
    let reader = cold.to(Method::GET, &path).header("kraken-provisional", "1");
    let reader = reader.header("range", "bytes=0-38").expect(&[206]);
    let answer = cold.client.send(reader).await.unwrap();
    assert_eq!(answer.content_length(), Some(39));
    let mut body = answer.stream();
    let mut read = Vec::new();
    let broken = loop {
        match body.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => panic!("a short body that looks whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(read, BROKEN.as_bytes()[..10], "{broken}");
    assert_eq!(*asked.lock().unwrap(), [0, 10, 10, 10]);
    assert!(cold.used_bytes().await >= 10, "what came is kept");
    cold.origin.close().await.unwrap();
}
