//! A proxy over real sockets, before origins that say what each test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use kraken_backends::origin::OriginConfig;
use kraken_backends::{BuildIndex, OriginCluster};
use kraken_common::answer::{self, Answer};
use kraken_common::{RequestBody, Server, Serving};
use kraken_core::http::{Client, ClientConfig, Request, Response};
use kraken_core::store::{Store, StoreConfig};
use kraken_core::{Cause, Digest, ErrorKind};
use kraken_registry_api::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::parts::Parts;
use crate::registry::ProxyRegistry;
use crate::{Proxy, ProxyConfig};

/// A proxy, and where it keeps uploads.
struct Fixture {
    proxy: Proxy,
    dir: tempfile::TempDir,
    client: Client,
}

/// What a client reads of a refusal.
#[derive(Debug, serde::Deserialize)]
struct Refusal {
    errors: Vec<Entry>,
}

#[derive(Debug, serde::Deserialize)]
struct Entry {
    code: String,
    message: String,
}

fn local(what: &str) -> Server {
    Server::bind(([127, 0, 0, 1], 0).into(), what, "port").unwrap()
}

impl Fixture {
    async fn start(server: Server, origin: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (listen, hosts) = (server.addr(), vec![origin.to_string()]);
        let config = ProxyConfig::local(listen, dir.path(), hosts.clone(), hosts).unwrap();
        let proxy = Proxy::serve(vec![server], config).await.unwrap();
        Self { proxy, dir, client: Client::new(ClientConfig::default()) }
    }

    async fn send(&self, method: Method, path: &str, body: &'static str) -> Response {
        let request = Request::to(method, self.proxy.addr().to_string(), path).body(body);
        self.client.send(request.expect_any()).await.unwrap()
    }

    /// Opens a session; its path.
    async fn begin(&self) -> String {
        let begun = self.send(Method::POST, "/v2/library/a/blobs/uploads/", "").await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        begun.header("location").unwrap().to_owned()
    }

    /// How many uploads are on the disk.
    fn uploads_on_disk(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("upload")).unwrap().count()
    }
}

/// An answer and the first error in its body.
async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let mut refusal: Refusal = response.json(1 << 16).await.unwrap();
    let Entry { code, message } = refusal.errors.remove(0);
    (status, code, message)
}

/// An origin that owns everything, and answers the rest with `rest`.
fn fake_origin(rest: fn(&http::Request<RequestBody>) -> Answer) -> Serving {
    let server = local("fake origin");
    let addr = server.addr().to_string();
    server.spawn(move |request: http::Request<RequestBody>| {
        let mut answer = answer::empty(StatusCode::OK);
        if request.uri().path().ends_with("/locations") {
            answer.headers_mut().insert("origin-locations", addr.parse().unwrap());
        } else {
            answer = rest(&request);
        }
        async move { answer }
    })
}

fn unknown(_: &http::Request<RequestBody>) -> Answer {
    answer::empty(StatusCode::NOT_FOUND)
}

/// Sends the head of a `PATCH` and a part of what it announces.
async fn stall(addr: SocketAddr, path: &str, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("PATCH {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream
}

#[tokio::test]
async fn an_upload_that_stalls_holds_up_nobody_else() {
    let origin = fake_origin(unknown);
    let fixture = Fixture::start(local("proxy"), origin.addr()).await;
    let path = fixture.begin().await;
    let _stalled = stall(fixture.proxy.addr(), &path, &[7; 300_000]).await;
    // What has come is on the disk although the rest of it has not.
    let written = async {
        loop {
            let status = fixture.send(Method::GET, &path, "").await;
            assert_eq!(status.status(), StatusCode::NO_CONTENT);
            if status.header("range") == Some("0-299999") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("it waits for the rest");
    let (status, code, _) = refusal(fixture.send(Method::PATCH, &path, "more").await).await;
    assert_eq!((status, code.as_str()), (416, "BLOB_UPLOAD_INVALID"));
    let finish = format!("{path}?digest={}", Digest::sha256(&[7; 300_000]));
    let (status, code, _) = refusal(fixture.send(Method::PUT, &finish, "").await).await;
    assert_eq!((status, code.as_str()), (409, "BLOB_UPLOAD_INVALID"));
    let cancelled = fixture.send(Method::DELETE, &path, "").await;
    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
    let (status, code, _) = refusal(fixture.send(Method::GET, &path, "").await).await;
    assert_eq!((status, code.as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(fixture.uploads_on_disk(), 0);
    origin.close().await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_broken_off_and_goes_on_where_it_was() {
    let origin = fake_origin(unknown);
    let server = local("proxy").with_read_stall_max(Duration::from_millis(100));
    let fixture = Fixture::start(server, origin.addr()).await;
    let path = fixture.begin().await;
    let mut stalled = stall(fixture.proxy.addr(), &path, &[7; 300_000]).await;
    let mut answer = String::new();
    let _ = stalled.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let more = fixture.send(Method::PATCH, &path, "more").await;
    assert_eq!(more.status(), StatusCode::ACCEPTED);
    assert_eq!(more.header("range"), Some("0-300003"));
    fixture.proxy.close().await.unwrap();
    origin.close().await;
}

#[tokio::test]
async fn an_upload_that_the_origins_have_no_room_for_leaves_nothing() {
    let origin = fake_origin(|request| match *request.method() {
        Method::POST => {
            let text = "PATCH http://10.0.0.1/: No space left on device";
            answer::text(StatusCode::INSUFFICIENT_STORAGE, text)
        }
        _ => answer::empty(StatusCode::NOT_FOUND),
    });
    let fixture = Fixture::start(local("proxy"), origin.addr()).await;
    let path = fixture.begin().await;
    let digest = Digest::sha256(b"large");
    let finish = format!("{path}?digest={digest}");
    let (status, code, message) = refusal(fixture.send(Method::PUT, &finish, "large").await).await;
    assert_eq!((status, code.as_str()), (507, "UNAVAILABLE"));
    assert!(message.contains(&digest.to_string()), "{message}");
    assert!(message.contains("No space left on device"), "{message}");
    assert!(!message.contains("http://"), "{message}");
    assert_eq!(fixture.send(Method::GET, &path, "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(fixture.uploads_on_disk(), 0);
    fixture.proxy.close().await.unwrap();
    origin.close().await;
}

#[tokio::test]
async fn a_push_that_no_backend_is_for_is_refused_with_the_reason() {
    let origin = fake_origin(|request| match *request.method() {
        Method::POST => answer::text(StatusCode::NOT_IMPLEMENTED, "no backend at 10.0.0.1"),
        _ => answer::empty(StatusCode::NOT_IMPLEMENTED),
    });
    let fixture = Fixture::start(local("proxy"), origin.addr()).await;
    // Clients look before they push, and an answer to that has no room for a reason.
    let blob = format!("/v2/library/x/blobs/{}", Digest::sha256(b"x"));
    assert_eq!(fixture.send(Method::HEAD, &blob, "").await.status(), StatusCode::NOT_FOUND);
    let finish = format!("{}?digest={}", fixture.begin().await, Digest::sha256(b"x"));
    let (status, code, message) = refusal(fixture.send(Method::PUT, &finish, "x").await).await;
    assert_eq!((status, code.as_str()), (405, "UNSUPPORTED"));
    assert!(message.contains("no backend") && !message.contains("10.0.0.1"), "{message}");
    fixture.proxy.close().await.unwrap();
    origin.close().await;
}

#[tokio::test]
async fn a_tag_that_cannot_be_looked_up_keeps_nobody_from_pushing_it() {
    let origin = fake_origin(|request| match request.uri().path().starts_with("/tags/") {
        true => answer::text(StatusCode::SERVICE_UNAVAILABLE, "storage: the backend is away"),
        false => answer::empty(StatusCode::NOT_FOUND),
    });
    let fixture = Fixture::start(local("proxy"), origin.addr()).await;
    let path = "/v2/library/x/manifests/1";
    assert_eq!(fixture.send(Method::HEAD, path, "").await.status(), StatusCode::NOT_FOUND);
    // One who pulls is to try again.
    let (status, code, _) = refusal(fixture.send(Method::GET, path, "").await).await;
    assert_eq!((status, code.as_str()), (503, "UNAVAILABLE"));
    fixture.proxy.close().await.unwrap();
    origin.close().await;
}

#[tokio::test]
async fn the_log_is_told_why_a_request_was_refused() {
    let origin = fake_origin(|request| match *request.method() {
        Method::POST => answer::text(StatusCode::NOT_IMPLEMENTED, "no backend at 10.0.0.1"),
        _ if request.uri().path().starts_with("/tags/") => {
            answer::text(StatusCode::SERVICE_UNAVAILABLE, "storage: the backend is away")
        }
        _ => answer::empty(StatusCode::NOT_FOUND),
    });
    let (dir, client) = (tempfile::tempdir().unwrap(), Client::new(ClientConfig::default()));
    let hosts = vec![origin.addr().to_string()];
    let parts = Arc::new(Parts {
        store: Store::open(StoreConfig::under(dir.path())).unwrap(),
        origins: OriginCluster::new(hosts, client.clone(), OriginConfig::default()).unwrap(),
        build_index: BuildIndex::new(vec!["127.0.0.1:1".into()], client).unwrap(),
    });
    let registry = Registry::from_arc(ProxyRegistry::new(Arc::clone(&parts)));
    let ask = async |method: Method, path: &str| {
        let mut request = http::Request::new(String::from("x"));
        (*request.method_mut(), *request.uri_mut()) = (method, path.parse().unwrap());
        crate::proxy::answer(Arc::clone(&parts), registry.clone(), request).await
    };
    let begun = ask(Method::POST, "/v2/library/x/blobs/uploads/").await;
    assert!(begun.extensions().get::<Cause>().is_none());
    let path = begun.headers()["location"].to_str().unwrap().to_owned();
    let digest = Digest::sha256(b"x");
    for (method, path, status, reason) in [
        // What a client is not told: who was asked, and what it said.
        (Method::PUT, &format!("{path}?digest={digest}"), 405, "no backend at 10.0.0.1"),
        (Method::PUT, &format!("{path}?digest=md5:1"), 400, "md5"),
        (Method::PATCH, &"/v2/library/x/blobs/uploads/".into(), 405, "started by POST"),
        (Method::GET, &"/v2/library/x/tags/list".into(), 503, "127.0.0.1:1"),
        (Method::GET, &"/v2/library/x/manifests/1".into(), 503, "find tag library/x:1"),
        (Method::GET, &"/readiness".into(), 503, "127.0.0.1:1"),
    ] {
        let answer = ask(method, path).await;
        let cause = answer.extensions().get::<Cause>().expect("nothing for the log").text();
        assert_eq!(answer.status(), status, "{path}: {cause}");
        assert!(cause.contains(reason), "{path}: {cause}");
    }
    // One that a client is to take as not there is a failure all the same.
    parts.build_index.set_hosts(vec![origin.addr().to_string()]).unwrap();
    let looked = ask(Method::HEAD, "/v2/library/x/manifests/1").await;
    let cause = looked.extensions().get::<Cause>().expect("nothing for the log");
    assert_eq!(
        (looked.status(), cause.stands_for()),
        (StatusCode::NOT_FOUND, Some(ErrorKind::Unavailable))
    );
    assert!(cause.text().contains("the backend is away"), "{}", cause.text());
    origin.close().await;
}

#[tokio::test]
async fn a_client_is_told_what_is_wrong_and_not_who_was_asked() {
    let origin = fake_origin(|request| match request.uri().path() {
        path if path.starts_with("/internal/namespace/library%2Fbroken/") => {
            let text = "GET http://10.0.0.1/: no backend answers";
            answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        _ => answer::text(StatusCode::NOT_FOUND, "GET http://10.0.0.1/: status 404"),
    });
    let fixture = Fixture::start(local("proxy"), origin.addr()).await;
    let layer = Digest::sha256(b"layer");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/json","digest":"{layer}","size":1}},"layers":[]}}"#
    );
    for (repository, status, code) in
        [("library/missing", 404, "MANIFEST_BLOB_UNKNOWN"), ("library/broken", 503, "UNAVAILABLE")]
    {
        let path = format!("/v2/{repository}/manifests/{}", Digest::sha256(manifest.as_bytes()));
        let put = Request::to(Method::PUT, fixture.proxy.addr().to_string(), path)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(manifest.clone());
        let answer = fixture.client.send(put.expect_any()).await.unwrap();
        let (told, named, message) = refusal(answer).await;
        assert_eq!((told, named.as_str()), (status, code), "{message}");
        assert!(message.contains(&layer.to_string()), "{message}");
        assert!(!message.contains("http://"), "{message}");
    }
    fixture.proxy.close().await.unwrap();
    origin.close().await;
}

/// How long anything that must happen may take, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn every_port_is_served_and_a_taken_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = vec!["127.0.0.1:1".to_owned()];
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let local = |name: &str| {
        ProxyConfig::local(any, &dir.path().join(name), hosts.clone(), hosts.clone()).unwrap()
    };
    let config = ProxyConfig { listen: vec![any; 3], ..local("a") };
    let proxy = Proxy::start(config).await.unwrap();
    let addrs = proxy.addrs();
    assert_eq!((addrs.len(), addrs[0]), (3, proxy.addr()));
    let client = Client::new(ClientConfig::default());
    for addr in &addrs {
        client.send(Request::to(Method::GET, addr.to_string(), "/health")).await.unwrap();
    }
    let taken = ProxyConfig { listen: vec![any, addrs[1]], ..local("b") };
    let error = Proxy::start(taken).await.unwrap_err().to_string();
    assert!(error.contains("--port") && error.contains(&addrs[1].to_string()), "{error}");
    assert!(Proxy::start(ProxyConfig { listen: Vec::new(), ..local("c") }).await.is_err());
    proxy.close().await.unwrap();
}
