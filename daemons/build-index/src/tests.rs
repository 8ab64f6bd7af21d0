//! A build-index over real HTTP, before an origin that holds the blobs each test gives it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request as HttpRequest, StatusCode};
use kraken_backends::build_index::ListResponse;
use kraken_backends::{
    BuildIndex as IndexClient, Layout, Page, TagScope, TagStore as _, TestFsBackendConfig,
};
use kraken_common::answer::{self, Answer};
use kraken_common::backends::{BackendConfig, BackendKind};
use kraken_common::{Hosts, RequestBody, Segments, Server, Serving};
use kraken_core::http::{Client, ClientConfig, Method, Request};
use kraken_core::{Digest, ErrorKind, Tag};

use crate::{BuildIndex, BuildIndexConfig, TagBackend, TagRule, TagType};

/// An origin that is the only one.
struct FakeOrigin {
    serving: Serving,
    blobs: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl FakeOrigin {
    fn start() -> Self {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), "fake origin", "port").unwrap();
        let addr = server.addr().to_string();
        let blobs = Arc::new(Mutex::new(BTreeMap::new()));
        let held = Arc::clone(&blobs);
        let serving = server.spawn(move |request| {
            let (addr, held) = (addr.clone(), Arc::clone(&held));
            async move { origin_answer(&addr, &held.lock().unwrap(), &request) }
        });
        Self { serving, blobs }
    }

    fn addr(&self) -> String {
        self.serving.addr().to_string()
    }

    fn hold(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        self.blobs.lock().unwrap().insert(digest.to_string(), bytes);
        digest
    }

    fn lose(&self, digest: &Digest) {
        self.blobs.lock().unwrap().remove(&digest.to_string());
    }

    /// Holds an image of one layer; returns its manifest and its layer.
    fn hold_image(&self, seed: &str) -> (Digest, Digest) {
        let config = self.hold(format!("config of {seed}"));
        let layer = self.hold(format!("layer of {seed}"));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/json","digest":"{config}","size":1}},
            "layers":[{{"mediaType":"application/octet-stream","digest":"{layer}","size":1}}]}}"#
        );
        (self.hold(manifest), layer)
    }

    fn hold_index(&self, manifests: &[Digest]) -> Digest {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let manifests: Vec<String> = manifests
            .iter()
            .map(|d| format!(r#"{{"mediaType":"{media_type}","digest":"{d}","size":1}}"#))
            .collect();
        let manifests = manifests.join(",");
        self.hold(format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{manifests}]}}"#
        ))
    }
}

fn origin_answer(
    addr: &str,
    blobs: &BTreeMap<String, Bytes>,
    request: &HttpRequest<RequestBody>,
) -> Answer {
    let segments = Segments::of(request.uri()).unwrap();
    match segments.as_strs().as_slice() {
        ["readiness"] => answer::ok(),
        ["blobs", _, "locations"] => {
            let mut answer = answer::empty(StatusCode::OK);
            answer.headers_mut().insert("Origin-Locations", addr.parse().unwrap());
            answer
        }
        ["internal", "namespace", _, "blobs", digest] | ["namespace", _, "blobs", digest] => {
            let Some(blob) = blobs.get(*digest) else {
                return answer::empty(StatusCode::NOT_FOUND);
            };
            let len = blob.len();
            let mut answer = answer::text(StatusCode::OK, blob.clone());
            answer.headers_mut().insert(CONTENT_LENGTH, len.into());
            answer
        }
        _ => answer::no_route(),
    }
}

struct Cluster {
    origin: FakeOrigin,
    index: BuildIndex,
    dir: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let (origin, dir) = (FakeOrigin::start(), tempfile::tempdir().unwrap());
        let index = index(&origin, dir.path(), |_| ()).await;
        Self { origin, index, dir }
    }

    async fn send(&self, method: Method, path: &str) -> (u16, Bytes) {
        send(Request::to(method, self.index.addr().to_string(), path)).await
    }

    async fn put(&self, tag: &str, digest: &Digest) -> (u16, Bytes) {
        let tag = tag.replace('/', "%2F");
        self.send(Method::PUT, &format!("/tags/{tag}/digest/{digest}")).await
    }

    async fn find(&self, tag: &str) -> (u16, Bytes) {
        let path = format!("/tags/{}", tag.replace('/', "%2F"));
        let (status, body) = self.send(Method::GET, &path).await;
        assert_eq!(self.send(Method::HEAD, &path).await.0, status, "HEAD agrees with GET");
        (status, body)
    }

    async fn close(self) {
        self.index.close().await.unwrap();
        self.origin.serving.close().await;
    }
}

async fn index(
    origin: &FakeOrigin,
    dir: &Path,
    change: impl FnOnce(&mut BuildIndexConfig),
) -> BuildIndex {
    let mut config = BuildIndexConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        ..BuildIndexConfig::local(dir, Hosts::fixed(vec![origin.addr()]).unwrap())
    };
    change(&mut config);
    BuildIndex::start(config).await.unwrap()
}

async fn send(request: Request) -> (u16, Bytes) {
    let response = Client::new(ClientConfig::default()).send(request.expect_any()).await.unwrap();
    let status = response.status().as_u16();
    (status, response.bytes(1 << 20).await.unwrap())
}

#[tokio::test]
async fn a_tag_names_the_digest_of_the_latest_put() {
    let cluster = Cluster::start().await;
    let (first, _) = cluster.origin.hold_image("first");
    let (second, _) = cluster.origin.hold_image("second");
    assert_eq!(cluster.find("a/b:c").await.0, 404);
    for digest in [first, second, second, first] {
        assert_eq!(cluster.put("a/b:c", &digest).await, (200, Bytes::new()));
        assert_eq!(cluster.find("a/b:c").await, (200, digest.to_string().into()));
    }
    // Escaped twice, as uber/kraken's proxy does.
    let (status, body) = cluster.send(Method::GET, "/tags/a%252Fb%253Ac").await;
    assert_eq!((status, body), (200, first.to_string().into()));
    // After a restart, too.
    let Cluster { origin, index: old, dir } = cluster;
    old.close().await.unwrap();
    let cluster = Cluster { index: index(&origin, dir.path(), |_| ()).await, origin, dir };
    assert_eq!(cluster.find("a/b:c").await, (200, first.to_string().into()));
    cluster.close().await;
}

#[tokio::test]
async fn everything_a_tag_refers_to_must_be_there() {
    let cluster = Cluster::start().await;
    let origin = &cluster.origin;
    let (amd, amd_layer) = origin.hold_image("amd64");
    let (arm, arm_layer) = origin.hold_image("arm64");
    let inner = origin.hold_index(&[amd, arm]);
    let outer = origin.hold_index(&[inner]);
    let missing = |digest: &Digest| format!("missing dependency {digest}");
    for digest in [amd, inner, outer] {
        assert_eq!(cluster.put("a:ok", &digest).await.0, 200, "{digest}");
    }
    origin.lose(&arm_layer);
    for digest in [arm, inner, outer] {
        let (status, body) = cluster.put("a:layer", &digest).await;
        assert_eq!(status, 400, "{digest}");
        assert!(String::from_utf8_lossy(&body).contains(&missing(&arm_layer)), "{body:?}");
    }
    origin.lose(&arm);
    let (status, body) = cluster.put("a:manifest", &outer).await;
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&body).contains(&missing(&arm)), "{body:?}");
    assert_eq!(cluster.put("a:ok2", &amd).await.0, 200);
    // A blob that is no manifest, a manifest of other bytes, nesting without end.
    assert_eq!(cluster.put("a:blob", &amd_layer).await.0, 400);
    let blobs = Arc::clone(&origin.blobs);
    blobs.lock().unwrap().insert(amd.to_string(), Bytes::from_static(b"{}"));
    assert_eq!(cluster.put("a:other", &amd).await.0, 500);
    let mut deep = origin.hold_index(&[]);
    for _ in 0..5 {
        deep = origin.hold_index(&[deep]);
    }
    assert_eq!(cluster.put("a:deep", &deep).await.0, 400);
    for tag in ["a:layer", "a:manifest", "a:blob", "a:other", "a:deep"] {
        assert_eq!(cluster.find(tag).await.0, 404, "{tag}");
    }
    cluster.close().await;
}

#[tokio::test]
async fn other_tags_name_any_blob() {
    let (origin, dir) = (FakeOrigin::start(), tempfile::tempdir().unwrap());
    let index = index(&origin, dir.path(), |config| {
        config.tag_rules = vec![TagRule::all(TagType::Default)];
    })
    .await;
    let cluster = Cluster { origin, index, dir };
    let blob = cluster.origin.hold("anything");
    assert_eq!(cluster.put("a:b", &blob).await.0, 200);
    assert_eq!(cluster.put("a:c", &Digest::sha256(b"nothing")).await.0, 400);
    cluster.close().await;
}

#[tokio::test]
async fn requests_and_their_statuses() {
    let cluster = Cluster::start().await;
    let (digest, _) = cluster.origin.hold_image("x");
    assert_eq!(cluster.put("a:b", &digest).await.0, 200);
    let put = |rest: &str| format!("/tags/{rest}");
    let table = [
        (Method::GET, "/health".to_owned(), 200),
        (Method::GET, "/readiness".into(), 200),
        (Method::GET, "/origin".into(), 200),
        (Method::POST, "/remotes/tags/a:b".into(), 200),
        (Method::POST, "/remotes/tags/a:none".into(), 404),
        (Method::PUT, put(&format!("a:b/digest/{digest}?replicate=true")), 200),
        (Method::PUT, put(&format!("a:b/digest/{digest}?replicate=maybe")), 400),
        (Method::PUT, put(&format!("a:b/digest/{}", digest.hex())), 400),
        (Method::PUT, put("a:b/digest/sha256:12"), 400),
        (Method::PUT, put(&format!("nocolon/digest/{digest}")), 400),
        (Method::PUT, put(&format!("/digest/{digest}")), 400),
        (Method::PUT, put(&format!("A:b/digest/{digest}")), 400),
        (Method::PUT, put(&format!("..%2Fa:b/digest/{digest}")), 400),
        (Method::GET, "/tags/nocolon".into(), 400),
        (Method::GET, "/tags/a:none".into(), 404),
        (Method::GET, "/tags/a%zz".into(), 400),
        (Method::GET, "/tags".into(), 404),
        (Method::DELETE, "/tags/a:b".into(), 405),
        (Method::POST, put(&format!("a:b/digest/{digest}")), 405),
        (Method::GET, "/repositories/a/tags?limit=0".into(), 400),
        (Method::GET, "/repositories/a/tags?n=5".into(), 400),
        (Method::GET, "/repositories/A/tags".into(), 400),
        (Method::GET, "/list".into(), 404),
        (Method::PUT, format!("/internal/duplicate/tags/a:c/digest/{digest}"), 400),
        (Method::GET, "/nowhere".into(), 404),
    ];
    for (method, path, want) in table {
        let (status, body) = cluster.send(method.clone(), &path).await;
        assert_eq!(status, want, "{method} {path} {body:?}");
    }
    let (_, origin) = cluster.send(Method::GET, "/origin").await;
    assert_eq!(origin, cluster.origin.addr());
    let duplicate = |path: &str, body: &'static str| {
        let path = format!("/internal/duplicate/{path}/digest/{digest}");
        (path, body)
    };
    for (method, (path, body)) in [
        (Method::PUT, duplicate("tags/a:dup", r#"{"delay":1200000000000}"#)),
        (Method::POST, duplicate("remotes/tags/a:dup", r#"{"dependencies":null,"delay":1}"#)),
    ] {
        let request = Request::to(method, cluster.index.addr().to_string(), path.as_str());
        assert_eq!(send(request.body(body)).await.0, 200, "{path}");
    }
    assert_eq!(cluster.find("a:dup").await.0, 200);
    cluster.close().await;
}

#[tokio::test]
async fn listings() {
    let cluster = Cluster::start().await;
    let (digest, _) = cluster.origin.hold_image("x");
    for tag in ["a/b:1", "a/b:2", "a/b:3", "a/c:1", "d:1"] {
        assert_eq!(cluster.put(tag, &digest).await.0, 200, "{tag}");
    }
    let list = async |path: &str| {
        let (status, body) = cluster.send(Method::GET, path).await;
        assert_eq!(status, 200, "{path} {body:?}");
        assert!(body.starts_with(br#"{"Links":{"next":"#), "{body:?}");
        serde_json::from_slice::<ListResponse>(&body).unwrap()
    };
    for (path, want) in [
        ("/repositories/a%2Fb/tags", &["1", "2", "3"][..]),
        ("/repositories/d/tags", &["1"]),
        ("/repositories/none/tags", &[]),
        ("/list/", &["a/b:1", "a/b:2", "a/b:3", "a/c:1", "d:1"]),
        ("/list/a", &["a/b:1", "a/b:2", "a/b:3", "a/c:1"]),
        ("/list//a/c/_manifests/tags", &["a/c:1"]),
        ("/list/none", &[]),
    ] {
        let page = list(path).await;
        let mut result = page.result.unwrap();
        result.sort_unstable();
        assert_eq!(result, want, "{path}");
        assert_eq!((page.size, page.links.this.as_str()), (want.len() as u64, path));
        assert_eq!(page.links.next, "", "{path}");
    }
    let (mut path, mut found) = ("/list/?limit=2".to_owned(), Vec::new());
    while !path.is_empty() {
        let page = list(&path).await;
        assert!(page.size <= 2);
        found.extend(page.result.unwrap());
        path = page.links.next;
    }
    found.sort_unstable();
    assert_eq!(found, ["a/b:1", "a/b:2", "a/b:3", "a/c:1", "d:1"]);
    cluster.close().await;
}

#[tokio::test]
async fn the_client_of_the_backends_crate_gets_on_with_it() {
    let cluster = Cluster::start().await;
    let (digest, _) = cluster.origin.hold_image("x");
    let client = Client::new(ClientConfig::default());
    let client = IndexClient::new(vec![cluster.index.addr().to_string()], client).unwrap();
    let tag: Tag = "a/b:c".parse().unwrap();
    client.ready().await.unwrap();
    assert_eq!(client.get(&tag).await.unwrap_err().kind(), ErrorKind::NotFound);
    client.put(&tag, &digest).await.unwrap();
    assert_eq!(client.get(&tag).await.unwrap(), digest);
    assert!(client.exists(&tag).await.unwrap());
    for scope in [TagScope::All, TagScope::Under("a"), TagScope::Repository(&tag.repository)] {
        let page = client.list(scope, &Page { token: None, limit: 1 }).await.unwrap();
        assert_eq!(page.tags, std::slice::from_ref(&tag), "{scope:?}");
    }
    assert_eq!(client.origin().await.unwrap(), cluster.origin.addr());
    client.replicate(&tag).await.unwrap();
    cluster.close().await;
}

#[tokio::test]
async fn neighbors_are_told() {
    let origin = FakeOrigin::start();
    let (digest, _) = origin.hold_image("x");
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let second = index(&origin, dirs[1].path(), |_| ()).await;
    let dead = FakeOrigin::start();
    let neighbors = vec![dead.addr(), second.addr().to_string()];
    let neighbors = Hosts::fixed(neighbors).unwrap().into();
    dead.serving.close().await;
    let first = index(&origin, dirs[0].path(), |config| config.cluster = neighbors).await;
    let path = format!("/tags/a:b/digest/{digest}");
    assert_eq!(send(Request::to(Method::PUT, first.addr().to_string(), path)).await.0, 200);
    let found = send(Request::to(Method::GET, second.addr().to_string(), "/tags/a:b")).await;
    assert_eq!(found, (200, digest.to_string().into()));
    first.close().await.unwrap();
    second.close().await.unwrap();
    origin.serving.close().await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused() {
    let hosts = |all: &[&str]| Hosts::fixed(all.iter().map(|&host| host.into()).collect()).unwrap();
    let rule = TagRule { namespace: "(".into(), tag_type: TagType::Docker };
    for config in [
        BuildIndexConfig::local(Path::new("/tmp"), hosts(&[])),
        BuildIndexConfig::local(Path::new(""), hosts(&["a:1"])),
        BuildIndexConfig {
            tag_rules: vec![rule],
            ..BuildIndexConfig::local(Path::new("/tmp"), hosts(&["a:1"]))
        },
    ] {
        let refused = BuildIndex::start(config).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn tags_go_where_their_namespace_says_and_others_are_refused() {
    let (origin, dir) = (FakeOrigin::start(), tempfile::tempdir().unwrap());
    let backend = BackendConfig {
        namespace: "^lib/".into(),
        must_ready: true,
        ..BackendConfig::local(dir.path().join("backend"))
    };
    let index = index(&origin, dir.path(), |config| {
        config.backend = TagBackend::Routed(vec![backend]);
        let rule = |namespace: &str, tag_type| TagRule { namespace: namespace.into(), tag_type };
        config.tag_rules =
            vec![rule(":blob$", TagType::Default), rule("^(lib|other)/", TagType::Docker)];
        config.write_through = true;
    })
    .await;
    let cluster = Cluster { origin, index, dir };
    let (image, layer) = cluster.origin.hold_image("x");
    assert_eq!(cluster.put("lib/a:1", &image).await, (200, Bytes::new()));
    let file = "docker/registry/v2/repositories/lib/a/_manifests/tags/1/current/link";
    let file = cluster.dir.path().join("backend").join(file);
    assert_eq!(std::fs::read_to_string(file).unwrap(), image.to_string());
    assert_eq!(cluster.put("lib/a:2", &layer).await.0, 400, "a layer is no manifest");
    assert_eq!(cluster.put("lib/a:blob", &layer).await.0, 200);
    let duplicate = format!("/internal/duplicate/tags/other%2Fa:1/digest/{image}");
    let duplicate = Request::to(Method::PUT, cluster.index.addr().to_string(), duplicate);
    for (answer, reason) in [
        (cluster.put("other/a:1", &image).await, "no backend is configured for namespace"),
        (cluster.put("third/a:1", &image).await, "no entry of tag_types is for tag"),
        (send(duplicate.body("{}")).await, "no backend is configured for namespace"),
    ] {
        assert_eq!(answer.0, 501);
        assert!(String::from_utf8_lossy(&answer.1).contains(reason), "{answer:?}");
    }
    assert_eq!(cluster.find("other/a:1").await.0, 404);
    assert_eq!(cluster.send(Method::GET, "/readiness").await.0, 200);
    cluster.close().await;
}

#[tokio::test]
async fn a_tag_that_only_a_backend_that_is_away_may_know_is_no_404() {
    let (origin, dir) = (FakeOrigin::start(), tempfile::tempdir().unwrap());
    let addr = "127.0.0.1:1".to_owned();
    let testfs = TestFsBackendConfig { addr, root: "tags".into(), layout: Layout::DockerTag };
    let backend = BackendConfig { kind: BackendKind::TestFs(testfs), ..BackendConfig::local("") };
    let change = |config: &mut BuildIndexConfig| {
        config.backend = TagBackend::Routed(vec![backend]);
    };
    let index = index(&origin, dir.path(), change).await;
    let cluster = Cluster { origin, index, dir };
    let (status, body) = cluster.find("a:unknown").await;
    let body = String::from_utf8_lossy(&body);
    assert!(status == 503 && body.starts_with("storage: "), "{status} {body}");
    assert_eq!(cluster.send(Method::POST, "/remotes/tags/a:unknown").await.0, 503);
    // What is put meanwhile is known.
    let (image, _) = cluster.origin.hold_image("x");
    assert_eq!(cluster.put("a:1", &image).await.0, 200);
    assert_eq!(cluster.find("a:1").await, (200, image.to_string().into()));
    cluster.close().await;
}
