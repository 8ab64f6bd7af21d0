//! An origin over real HTTP.

mod arriving;

use std::time::Duration;

use kraken_common::backends::BackendConfig;
use kraken_core::http::{Client, ClientConfig, Method, Request};
use kraken_core::store::StoreConfig;
use kraken_core::{Digest, MetaInfo, TorrentMeta};
use tempfile::TempDir;

use crate::{Origin, OriginConfig};

/// An origin alone, and where it keeps its files.
struct Fixture {
    origin: Origin,
    client: Client,
    dir: TempDir,
}

impl Fixture {
    async fn start(store: impl FnOnce(&mut StoreConfig)) -> Self {
        Self::configured(|config| store(&mut config.store)).await
    }

    async fn configured(change: impl FnOnce(&mut OriginConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = OriginConfig::local(any, any, dir.path());
        change(&mut config);
        let origin = Origin::start(config).await.unwrap();
        Self { origin, client: Client::new(ClientConfig::default()), dir }
    }

    /// All that was pushed is at the backend.
    async fn written_back(&self) {
        while !self.send(self.to(Method::GET, "/x/stats")).await.1.contains("pending\":0") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Another one on the same backend, where all that was pushed has come by now.
    async fn cold(&self, stream: bool) -> Self {
        self.written_back().await;
        let backend = BackendConfig::local(self.dir.path().join("backend"));
        Self::configured(|config| {
            config.backends = vec![backend];
            config.stream = stream;
        })
        .await
    }

    /// The metainfo of a blob, as a peer is told that can do without sums.
    async fn torrent_meta(&self, digest: &Digest) -> Result<TorrentMeta, u16> {
        let path = format!("/internal/namespace/library%2Fa/blobs/{digest}/metainfo");
        let request = self.to(Method::GET, &path).header("kraken-provisional", "1");
        match self.send(request).await {
            (200, text) => Ok(TorrentMeta::from_json(text.as_bytes()).unwrap()),
            (status, _) => Err(status),
        }
    }

    /// The final metainfo, once it is there.
    async fn final_meta(&self, digest: &Digest) -> MetaInfo {
        loop {
            if let Ok(TorrentMeta::Final(meta)) = self.torrent_meta(digest).await {
                return meta;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Status and body.
    async fn send(&self, request: Request) -> (u16, String) {
        let response = self.client.send(request.expect_any()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes(1 << 16).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn to(&self, method: Method, path: &str) -> Request {
        Request::to(method, self.origin.addr().to_string(), path)
    }

    /// Begins an upload of `digest`; its path, or the status of the refusal.
    async fn begin(&self, digest: &Digest) -> Result<String, u16> {
        let path = format!("/namespace/library%2Fa/blobs/{digest}/uploads");
        let response = self.client.send(self.to(Method::POST, &path).expect_any()).await.unwrap();
        match response.header("location") {
            Some(id) => Ok(format!("{path}/{id}")),
            None => Err(response.status().as_u16()),
        }
    }

    async fn patch(&self, upload: &str, start: u64, bytes: &'static str) -> u16 {
        let range = format!("{start}-{}", start + bytes.len() as u64);
        let request = self.to(Method::PATCH, upload).header("content-range", range).body(bytes);
        self.send(request).await.0
    }

    /// Pushes `bytes` as one chunk; the path of the blob.
    async fn push(&self, bytes: &'static str) -> String {
        let digest = Digest::sha256(bytes.as_bytes());
        let upload = self.begin(&digest).await.unwrap();
        assert_eq!(self.patch(&upload, 0, bytes).await, 200);
        assert_eq!(self.send(self.to(Method::PUT, &upload)).await, (200, String::new()));
        format!("/namespace/library%2Fa/blobs/{digest}")
    }

    async fn used_bytes(&self) -> u64 {
        let (_, metrics) = self.send(self.to(Method::GET, "/metrics")).await;
        let line = metrics.lines().find(|line| line.starts_with("kraken_store_used_bytes"));
        line.and_then(|line| line.rsplit_once(' ')).unwrap().1.parse().unwrap()
    }
}

#[tokio::test]
async fn one_byte_far_out_neither_evicts_nor_is_made_a_blob() {
    let fixture = Fixture::start(|store| store.capacity_bytes = Some(20_000_000)).await;
    let blob = fixture.push("blob").await;
    let digest = Digest::sha256(b"\0x");
    let upload = fixture.begin(&digest).await.unwrap();
    for start in [20_000_000, 100_000_000_000] {
        assert_eq!(fixture.patch(&upload, start, "x").await, 200);
    }
    assert_eq!(fixture.used_bytes().await, 6);
    assert_eq!(fixture.send(fixture.to(Method::GET, &blob)).await, (200, "blob".into()));
    let (status, text) = fixture.send(fixture.to(Method::PUT, &upload)).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("the bytes 0-19999999 of 100000000001 were never written"), "{text}");
    fixture.origin.close().await.unwrap();
}

#[tokio::test]
async fn chunks_may_come_at_once_and_in_any_order() {
    let fixture = Fixture::start(|_| ()).await;
    let digest = Digest::sha256(b"one two three");
    let upload = fixture.begin(&digest).await.unwrap();
    let statuses = tokio::join!(
        fixture.patch(&upload, 8, "three"),
        fixture.patch(&upload, 4, "two "),
        fixture.patch(&upload, 0, "one "),
    );
    assert_eq!(statuses, (200, 200, 200));
    assert_eq!(fixture.send(fixture.to(Method::PUT, &upload)).await.0, 200);
    assert_eq!(fixture.used_bytes().await, 13);
    fixture.origin.close().await.unwrap();
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_keep_no_push_out() {
    let fixture = Fixture::start(|store| store.uploads_max = 2).await;
    let digest = Digest::sha256(b"one two");
    let upload = fixture.begin(&digest).await.unwrap();
    assert_eq!(fixture.patch(&upload, 0, "one ").await, 200);
    let idle = fixture.begin(&digest).await.unwrap();
    for _ in 0..5 {
        fixture.begin(&digest).await.unwrap();
    }
    assert_eq!(fixture.patch(&idle, 0, "one ").await, 404);
    assert_eq!(fixture.patch(&upload, 4, "two").await, 200);
    // With bytes in all of them there is no room.
    let last = fixture.begin(&digest).await.unwrap();
    assert_eq!(fixture.patch(&last, 0, "one ").await, 200);
    assert_eq!(fixture.begin(&digest).await, Err(507));
    assert_eq!(fixture.send(fixture.to(Method::PUT, &upload)).await.0, 200);
    fixture.origin.close().await.unwrap();
}

/// What could never be kept does not cost the blobs that are here.
#[tokio::test]
async fn a_blob_larger_than_all_room_is_refused_before_it_comes() {
    let origin = Fixture::start(|store| store.capacity_bytes = Some(100)).await;
    let kept = origin.push("kept").await;
    let digest = Digest::sha256(b"large");
    for (size, status) in [("101", 507), ("100", 200), ("many", 200)] {
        let path = format!("/namespace/library%2Fa/blobs/{digest}/uploads?size={size}");
        assert_eq!(origin.send(origin.to(Method::POST, &path)).await.0, status, "{size}");
    }
    assert_eq!(origin.send(origin.to(Method::GET, &kept)).await, (200, "kept".to_owned()));
}

#[tokio::test]
async fn a_cold_blob_is_told_of_before_it_is_here() {
    let first = Fixture::start(|_| ()).await;
    let blob = first.push("a cold blob").await;
    let digest = Digest::sha256(b"a cold blob");
    let cold = first.cold(true).await;
    match cold.torrent_meta(&digest).await.unwrap() {
        TorrentMeta::Provisional(meta) => {
            assert_eq!((meta.digest(), meta.geometry().blob_len()), (digest, 11));
            assert_eq!(meta.keys().len(), 1);
        }
        // It was quicker.
        TorrentMeta::Final(meta) => assert_eq!(meta.digest(), digest),
    }
    let meta = cold.final_meta(&digest).await;
    assert_eq!(meta, first.final_meta(&digest).await, "sums of its proofs");
    assert_eq!(cold.send(cold.to(Method::GET, &blob)).await, (200, "a cold blob".to_owned()));
    let unknown = Digest::sha256(b"never pushed");
    assert_eq!(cold.torrent_meta(&unknown).await.unwrap_err(), 404);
    // Who streams nothing says 202 until all is there.
    let whole = first.cold(false).await;
    assert!(matches!(whole.torrent_meta(&digest).await, Err(202) | Ok(TorrentMeta::Final(_))));
    whole.final_meta(&digest).await;
    for fixture in [first, cold, whole] {
        fixture.origin.close().await.unwrap();
    }
}
