//! Blobs that come from a backend which does not always do what it should.

use std::path::{Path, PathBuf};

use http::StatusCode;
use kraken_backends::layers::ThrottleConfig;
use kraken_backends::{Layout, ObjectName, Pather, TestFsBackendConfig};
use kraken_common::answer;
use kraken_common::backends::BackendKind;
use kraken_common::{RequestBody, Server, Serving};
use kraken_core::store::Store;
use kraken_core::{AttemptId, PieceIndex, Provisional, SigningKey};

use super::*;

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
    let first = Fixture::start(|_| ()).await;
    let blob = first.push("a cold blob").await;
    let digest = Digest::sha256(b"a cold blob");
    first.written_back().await;
    let backend = first.dir.path().join("backend");
    let file = only_file(backend.clone());
    std::fs::write(&file, b"an older object").unwrap();
    let slow = ThrottleConfig { ingress_bytes_per_sec: 10, egress_bytes_per_sec: 10 };
    let backend = BackendConfig { bandwidth: slow, ..BackendConfig::local(backend) };
    let cold = Fixture::configured(|config| config.backends = vec![backend]).await;
    match cold.torrent_meta(&digest).await.unwrap() {
        TorrentMeta::Provisional(meta) => assert_eq!(meta.geometry().blob_len(), 15),
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

/// Where a local backend in `dir` keeps a blob.
fn sharded(dir: &Path, digest: &Digest) -> PathBuf {
    let name = ObjectName::from(digest);
    dir.join(Pather::new(Layout::ShardedDockerBlob, "").path(&name).unwrap())
}

/// What came whole, and fitted together, before the origin was killed.
#[tokio::test]
async fn what_was_not_verified_before_a_kill_is_not_fetched_again() {
    const BYTES: &[u8] = b"a cold blob";
    let backend = tempfile::tempdir().unwrap();
    let object = sharded(backend.path(), &Digest::sha256(BYTES));
    std::fs::create_dir_all(object.parent().unwrap()).unwrap();
    // Fetched again it would be refused.
    std::fs::write(object, b"a c0ld blob").unwrap();
    let meta = MetaInfo::of_bytes(Digest::sha256(BYTES), BYTES, 1 << 20).unwrap();
    let before = |config: &mut OriginConfig| {
        let store = Store::open(config.store.clone()).unwrap();
        let (key, geometry) = (SigningKey::from_seed(&[1; 32]), meta.geometry());
        let of = Provisional::new(
            meta.digest(),
            geometry,
            String::new(),
            AttemptId([1; 16]),
            vec![key.public()],
        );
        let of = of.unwrap();
        let blob = store.open_torrent(&TorrentMeta::Provisional(of.clone())).unwrap();
        blob.write_at(0, BYTES).unwrap();
        let sums = (meta.sums().crc32[0], meta.sums().blake3.as_ref().unwrap()[0]);
        blob.mark_proven(PieceIndex(0), &key.prove(&of, PieceIndex(0), sums.0, sums.1)).unwrap();
        store.open_torrent(&TorrentMeta::Final(meta.clone())).unwrap();
        config.backends = vec![BackendConfig::local(backend.path().to_owned())];
    };
    let origin = Fixture::configured(before).await;
    assert_eq!(origin.final_meta(&meta.digest()).await, meta);
    let answer = origin.settled(&meta.digest()).await;
    assert_eq!(answer, (200, "a cold blob".to_owned()));
    origin.origin.close().await.unwrap();
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
async fn a_backend_that_sends_another_length_is_named_and_nothing_is_kept() {
    for sent in ["a cold", "a cold blob and more"] {
        let backend = backend_that_sends(sent);
        let (addr, layout) = (backend.addr().to_string(), Layout::ShardedDockerBlob);
        let kind = TestFsBackendConfig { addr, root: String::new(), layout };
        let kind = BackendKind::TestFs(kind);
        let any = BackendConfig::local(PathBuf::new());
        let cold = Fixture::configured(|config| {
            config.backends = vec![BackendConfig { kind, ..any }];
        })
        .await;
        let digest = Digest::sha256(b"a cold blob");
        let (status, text) = cold.settled(&digest).await;
        assert!(status >= 400, "{status} {text}");
        assert!(text.contains("library/a") && text.contains(&digest.to_string()), "{text}");
        assert_eq!(cold.used_bytes().await, 0, "nothing is kept");
        cold.origin.close().await.unwrap();
        backend.close().await;
    }
}
