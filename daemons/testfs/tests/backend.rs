//! The backend that keeps blobs and tags in a testfs, against this server.

use std::fs;
use std::io::ErrorKind::NotFound;
use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use kraken_backends::{
    BackendTags, BlobBackend, BlobStat, BlobStream, BytesSource, Layout, ListPage, ObjectName,
    Page, Pather, TagStore as _, TestFsBackend, TestFsBackendConfig, UploadSource, Version, suite,
};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::{Algorithm, Digest, ErrorKind, Namespace, Result, Tag};
use kraken_testfs::{TestFs, TestFsConfig};

/// The backend, but for deletes: a testfs has none, so they happen in its directory, as an
/// operator's would.
#[derive(Debug)]
struct Erasing {
    backend: TestFsBackend,
    files: PathBuf,
    pather: Pather,
}

#[async_trait]
impl BlobBackend for Erasing {
    async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        self.backend.stat(namespace, name).await
    }

    async fn download(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        self.backend.download(namespace, name, range, version).await
    }

    async fn upload(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        self.backend.upload(namespace, name, source).await
    }

    async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        self.backend.list(namespace, prefix, page).await
    }

    async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()> {
        let deleted = self.backend.delete(namespace, name).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unsupported);
        match fs::remove_file(self.files.join(self.pather.path(name)?)) {
            Err(error) if error.kind() != NotFound => panic!("delete {name}: {error}"),
            _ => Ok(()),
        }
    }
}

async fn fresh() -> TestFs {
    TestFs::start(TestFsConfig::default()).await.unwrap()
}

fn backend(server: &TestFs, root: &str, layout: Layout) -> TestFsBackend {
    let config = TestFsBackendConfig { addr: server.addr().to_string(), root: root.into(), layout };
    TestFsBackend::new(config, Client::new(ClientConfig::default())).unwrap()
}

fn erasing(server: &TestFs, root: &str, layout: Layout) -> Erasing {
    Erasing {
        backend: backend(server, root, layout),
        files: server.root().to_owned(),
        pather: Pather::new(layout, root),
    }
}

fn namespace() -> Namespace {
    "library/alpine".parse().unwrap()
}

async fn read(backend: &TestFsBackend, name: &ObjectName) -> Result<Vec<u8>> {
    let stream = backend.download(&namespace(), name, None, None).await?;
    let parts: Vec<Bytes> = stream.try_collect().await?;
    Ok(parts.concat())
}

#[tokio::test]
async fn passes_the_suite_in_every_layout() {
    let server = fresh().await;
    for root in ["", "blobs", "a/b"] {
        let plain = erasing(&server, root, Layout::Identity);
        suite::blob_backend(&plain, &suite::plain_names).await;
        let digests = erasing(&server, root, Layout::ShardedDockerBlob);
        suite::blob_backend(&digests, &suite::digest_names).await;
        let tags = erasing(&server, root, Layout::DockerTag);
        suite::blob_backend(&tags, &suite::tag_names).await;
    }
    server.close().await.unwrap();
}

#[tokio::test]
async fn tags_pass_the_suite() {
    let server = fresh().await;
    suite::tag_store(&BackendTags::new(erasing(&server, "tags", Layout::DockerTag))).await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn content_and_places_are_those_of_uber_kraken() {
    let server = fresh().await;
    let digest = Digest::sha256(b"");
    let hex = digest.hex();
    let blobs = backend(&server, "blobs", Layout::Identity);
    let name = ObjectName::from(&digest);
    blobs.upload(&namespace(), &name, &BytesSource::new("content")).await.unwrap();
    let tags = BackendTags::new(backend(&server, "tags", Layout::DockerTag));
    let tag: Tag = "library/alpine:3".parse().unwrap();
    tags.put(&tag, &digest).await.unwrap();
    let file = |path: &str| fs::read_to_string(server.root().join(path)).unwrap();
    assert_eq!(file(&format!("blobs/{hex}")), "content");
    let link = "docker/registry/v2/repositories/library/alpine/_manifests/tags/3/current/link";
    assert_eq!(file(&format!("tags/{link}")), digest.to_string());
    // One server keeps both, and neither shows in the other's listings.
    let page = blobs.list(&namespace(), "", &Page::first()).await.unwrap();
    assert_eq!((page.names, page.next), (vec![name], None));
    assert_eq!(tags.get(&tag).await.unwrap(), digest);
    let deleted = tags.delete(&tag).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unsupported);
    server.close().await.unwrap();
}

#[tokio::test]
async fn a_colon_is_a_slash_where_the_layout_keeps_it() {
    let server = fresh().await;
    let blobs = backend(&server, "blobs", Layout::Identity);
    let digest = Digest::from_bytes(Algorithm::Sha512, &[7; 64]).unwrap();
    let (name, slashed) = (ObjectName::from(&digest), digest.to_string().replace(':', "/"));
    blobs.upload(&namespace(), &name, &BytesSource::new("content")).await.unwrap();
    assert_eq!(read(&blobs, &name).await.unwrap(), b"content");
    assert_eq!(blobs.stat(&namespace(), &name).await.unwrap().len, 7);
    for prefix in ["", "sha512", "sha512:"] {
        let page = blobs.list(&namespace(), prefix, &Page::first()).await.unwrap();
        assert_eq!(page.names, [slashed.parse().unwrap()], "{prefix}");
    }
    server.close().await.unwrap();
}

#[tokio::test]
async fn names_with_characters_that_urls_escape_are_kept_apart() {
    let server = fresh().await;
    let blobs = backend(&server, "a root", Layout::Identity);
    let mut names = ["a b", "a+b", "a?b", "a#b", "é/ü", "a\\b", "\"", "..."]
        .map(|name| name.parse::<ObjectName>().unwrap());
    for name in &names {
        blobs.upload(&namespace(), name, &BytesSource::new(name.to_string())).await.unwrap();
    }
    for name in &names {
        assert_eq!(read(&blobs, name).await.unwrap(), name.to_string().as_bytes());
    }
    let page = blobs.list(&namespace(), "", &Page::first()).await.unwrap();
    names.sort();
    assert_eq!(page.names, names);
    server.close().await.unwrap();
}

#[tokio::test]
async fn a_download_is_of_one_upload() {
    let server = fresh().await;
    let blobs = backend(&server, "", Layout::Identity);
    let name = "a".parse().unwrap();
    let old = vec![1; 8 << 20];
    blobs.upload(&namespace(), &name, &BytesSource::new(old.clone())).await.unwrap();
    let mut stream = blobs.download(&namespace(), &name, None, None).await.unwrap();
    let first = stream.try_next().await.unwrap().unwrap();
    blobs.upload(&namespace(), &name, &BytesSource::new("short")).await.unwrap();
    let rest: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!([first.to_vec(), rest.concat()].concat() == old);
    assert_eq!(read(&blobs, &name).await.unwrap(), b"short");
    server.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_server_is_unavailable() {
    let server = fresh().await;
    let blobs = backend(&server, "", Layout::Identity);
    let name: ObjectName = "a".parse().unwrap();
    blobs.upload(&namespace(), &name, &BytesSource::new("a")).await.unwrap();
    server.close().await.unwrap();
    let (ns, source) = (namespace(), BytesSource::new("b"));
    assert_eq!(blobs.stat(&ns, &name).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(read(&blobs, &name).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let upload = blobs.upload(&ns, &name, &source).await;
    assert_eq!(upload.unwrap_err().kind(), ErrorKind::Unavailable);
    let listed = blobs.list(&ns, "", &Page::first()).await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::Unavailable);
}
