//! A tracker over real HTTP, before origins that say what each test wants.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request as HttpRequest, StatusCode};
use kraken_common::answer::{self, Answer};
use kraken_common::watch::Checks;
use kraken_common::{HealthConfig, HostSource, Hosts, RequestBody, Server, Serving, WatchedHosts};
use kraken_core::http::{Client, ClientConfig, Method, Request};
use kraken_core::{Digest, InfoHash, MetaInfo, PeerContext, PeerId, PeerInfo};
use kraken_p2p::tracker::{AnnounceRequest, AnnounceResponse};
use tokio::net::TcpSocket;

use crate::{CacheConfig, Policy, Tracker, TrackerConfig};

/// An origin that owns everything, with what it says of metainfo.
struct FakeOrigin {
    serving: Serving,
    asked: Arc<AtomicUsize>,
}

/// From this id on an origin answers, but says that it is ill.
const ILL: u8 = 200;

/// Answers by namespace: status, `no-store`, body.
type Script = Arc<Mutex<BTreeMap<&'static str, (u16, bool, Bytes)>>>;

fn local(what: &str) -> Server {
    Server::bind(([127, 0, 0, 1], 0).into(), what, "port").unwrap()
}

impl FakeOrigin {
    /// With `owners` in its locations after itself.
    fn start(id: u8, script: Script, owners: &[String]) -> Self {
        let server = local("fake origin");
        let asked = Arc::new(AtomicUsize::new(0));
        let mut owners = owners.to_vec();
        owners.insert(0, server.addr().to_string());
        let (owners, count) = (owners.join(","), Arc::clone(&asked));
        let serving = server.spawn(move |request| {
            let (script, owners, count) = (script.clone(), owners.clone(), count.clone());
            async move { fake_answer(id, &script, &owners, &count, &request) }
        });
        Self { serving, asked }
    }

    fn addr(&self) -> String {
        self.serving.addr().to_string()
    }
}

fn fake_answer(
    id: u8,
    script: &Script,
    owners: &str,
    asked: &AtomicUsize,
    request: &HttpRequest<RequestBody>,
) -> Answer {
    let path = request.uri().path();
    if path.ends_with("/locations") {
        let mut answer = answer::empty(StatusCode::OK);
        answer.headers_mut().insert("Origin-Locations", owners.parse().unwrap());
        return answer;
    }
    if path == "/internal/peercontext" {
        let context = PeerContext {
            ip: format!("10.0.0.{id}"),
            port: 6000,
            peer_id: PeerId::new([id; 20]),
            zone: "home".into(),
            cluster: String::new(),
            origin: true,
        };
        return answer::json(&context).unwrap();
    }
    if path == "/readiness" || path == "/health" && id < ILL {
        return answer::ok();
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let script = script.lock().unwrap();
    let said = script.iter().find(|(namespace, _)| path.contains(&format!("/{namespace}/")));
    let Some((_, (status, no_store, body))) = said else {
        return answer::empty(StatusCode::NOT_FOUND);
    };
    let mut answer = answer::json_bytes(body.clone());
    *answer.status_mut() = StatusCode::from_u16(*status).unwrap();
    if *no_store {
        answer.headers_mut().insert("cache-control", "no-store".parse().unwrap());
    }
    answer
}

async fn tracker(origins: Vec<String>) -> Tracker {
    let config = TrackerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        cache: CacheConfig { origin_unavailable_ttl: Duration::ZERO, ..CacheConfig::default() },
        ..TrackerConfig::new(origins).unwrap()
    };
    Tracker::start(config).await.unwrap()
}

/// Status and body.
async fn send(request: Request) -> (u16, Bytes) {
    let response = Client::new(ClientConfig::default()).send(request.expect_any()).await.unwrap();
    let status = response.status().as_u16();
    (status, response.bytes(1 << 20).await.unwrap())
}

fn to(tracker: &Tracker, method: Method, path: &str) -> Request {
    Request::to(method, tracker.addr().to_string(), path)
}

fn announce_of(id: u8, complete: bool, torrent: u8) -> AnnounceRequest {
    let digest = Digest::sha256(b"blob");
    AnnounceRequest {
        name: digest.hex(),
        digest: Some(digest),
        info_hash: InfoHash::new([torrent; 20]),
        peer: PeerInfo {
            peer_id: PeerId::new([id; 20]),
            ip: format!("10.0.1.{id}"),
            port: 7000,
            origin: false,
            complete,
        },
        zone: String::new(),
        starved: false,
    }
}

async fn announce(tracker: &Tracker, announce: &AnnounceRequest) -> AnnounceResponse {
    let path = format!("/announce/{}", announce.info_hash);
    let body = serde_json::to_vec(announce).unwrap();
    let (status, body) = send(to(tracker, Method::POST, &path).body(body)).await;
    assert_eq!(status, 200, "{body:?}");
    serde_json::from_slice(&body).unwrap()
}

fn ids(response: &AnnounceResponse) -> Vec<u8> {
    response.peers.iter().flatten().map(|peer| peer.peer_id.as_bytes()[0]).collect()
}

#[tokio::test]
async fn peers_learn_of_each_other_complete_ones_first() {
    let origin = FakeOrigin::start(100, Script::default(), &[]);
    let tracker = tracker(vec![origin.addr()]).await;
    let first = announce(&tracker, &announce_of(1, false, 9)).await;
    assert_eq!(ids(&first), [100]);
    assert_eq!(first.interval, 3_000_000_000);
    let seeder = announce(&tracker, &announce_of(2, true, 9)).await;
    assert_eq!(seeder.peers, None);
    let third = announce(&tracker, &announce_of(3, false, 9)).await;
    assert_eq!(ids(&third), [2, 100, 1]);
    let origin_peer = &third.peers.as_ref().unwrap()[1];
    assert!(origin_peer.origin && origin_peer.complete);
    // Another torrent is another swarm.
    assert_eq!(ids(&announce(&tracker, &announce_of(3, false, 8)).await), [100]);
    tracker.close().await.unwrap();
    origin.serving.close().await;
}

#[tokio::test]
async fn few_of_a_zone_without_origins_learn_of_them() {
    let origin = FakeOrigin::start(100, Script::default(), &[]);
    let config = TrackerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        zone_bridges: 1,
        ..TrackerConfig::new(vec![origin.addr()]).unwrap()
    };
    let tracker = Tracker::start(config).await.unwrap();
    let of_zone =
        |id, zone: &str| AnnounceRequest { zone: zone.to_owned(), ..announce_of(id, false, 9) };
    let first = announce(&tracker, &of_zone(1, "far")).await;
    assert_eq!((ids(&first), first.bridge), (vec![100], true));
    let second = announce(&tracker, &of_zone(2, "far")).await;
    assert_eq!((ids(&second), second.bridge), (vec![1], false));
    let at_home = announce(&tracker, &of_zone(3, "home")).await;
    assert_eq!((ids(&at_home), at_home.bridge), (vec![100], false));
    let body = serde_json::to_vec(&of_zone(4, &"z".repeat(1000))).unwrap();
    let path = format!("/announce/{}", "09".repeat(20));
    let (status, said) = send(to(&tracker, Method::POST, &path).body(body)).await;
    assert_eq!(status, 400, "{said:?}");
    tracker.close().await.unwrap();
    origin.serving.close().await;
}

#[tokio::test]
async fn announces_of_both_versions() {
    let origin = FakeOrigin::start(100, Script::default(), &[]);
    let tracker = tracker(vec![origin.addr()]).await;
    let body = serde_json::to_string(&announce_of(1, false, 9)).unwrap();
    let old = body.replace(&format!("\"sha256:{}\"", Digest::sha256(b"blob").hex()), "null");
    assert_ne!(body, old);
    let good = format!("/announce/{}", "ab".repeat(20));
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(1 << 20));
    let table = [
        (Method::GET, "/announce", body.as_str(), 200),
        (Method::GET, "/announce", &old, 200),
        (Method::POST, &good, &body, 200),
        (Method::POST, &good, &old, 200),
        (Method::GET, "/announce", "", 400),
        (Method::GET, "/announce", "{}", 400),
        (Method::POST, &good, "[1]", 400),
        (Method::POST, &good, &long, 413),
        (Method::POST, "/announce/xyz", &body, 400),
        (Method::POST, "/announce/", &body, 400),
        (Method::POST, "/announce", &body, 405),
        (Method::GET, &good, &body, 405),
        (Method::GET, "/announcement", "", 404),
        (Method::GET, "/health", "", 200),
        (Method::GET, "/readiness", "", 200),
        (Method::DELETE, "/health", "", 405),
        (Method::GET, "/%zz", "", 400),
    ];
    for (method, path, body, want) in table {
        let request = to(&tracker, method.clone(), path).body(body.to_owned());
        let (status, said) = send(request).await;
        assert_eq!(status, want, "{method} {path} {said:?}");
    }
    // The info hash in the path won: a peer of that torrent meets the ones above.
    let mut other = announce_of(5, false, 0);
    other.info_hash = InfoHash::new([0xab; 20]);
    assert_eq!(ids(&announce(&tracker, &other).await), [100, 1]);
    tracker.close().await.unwrap();
    origin.serving.close().await;
}

#[tokio::test]
async fn without_origins_peers_still_meet() {
    let origin = FakeOrigin::start(100, Script::default(), &[]);
    let config = TrackerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        policy: Policy::Default,
        cache: CacheConfig { locations_error_ttl: Duration::ZERO, ..CacheConfig::default() },
        ..TrackerConfig::new(vec![origin.addr()]).unwrap()
    };
    origin.serving.close().await;
    let tracker = Tracker::start(config).await.unwrap();
    let alone = announce_of(1, false, 9);
    let path = format!("/announce/{}", alone.info_hash);
    let body = serde_json::to_vec(&alone).unwrap();
    let (status, said) = send(to(&tracker, Method::POST, &path).body(body)).await;
    assert_eq!(status, 500);
    assert!(said.starts_with(b"no peers available: "), "{said:?}");
    assert_eq!(ids(&announce(&tracker, &announce_of(2, false, 9)).await), [1]);
    assert_eq!(send(to(&tracker, Method::GET, "/readiness")).await.0, 503);
    // An agent takes this for an outage and asks again.
    let path = format!("/namespace/ns/blobs/{}/metainfo", Digest::sha256(b"blob"));
    assert_eq!(send(to(&tracker, Method::GET, &path)).await.0, 503);
    tracker.close().await.unwrap();
}

#[tokio::test]
async fn metainfo_is_relayed_as_it_is() {
    let blob = b"some bytes";
    let digest = Digest::sha256(blob);
    // Unknown keys and odd spaces survive.
    let mut json = MetaInfo::of_bytes(digest, blob, 4).unwrap().to_json();
    assert_eq!(json.pop(), Some(b'}'));
    json.extend_from_slice(br#" ,"Later":[1, 2]}"#);
    let json = Bytes::from(json);
    let other = Bytes::from(MetaInfo::of_bytes(Digest::sha256(b"x"), b"x", 4).unwrap().to_json());
    let script = Script::default();
    script.lock().unwrap().extend([
        ("good", (200, false, json.clone())),
        ("pending", (202, false, Bytes::new())),
        ("broken", (500, false, Bytes::from_static(b"disk on fire"))),
        ("liar", (200, false, other)),
        ("early", (200, true, Bytes::from_static(b"{provisional}"))),
    ]);
    let origin = FakeOrigin::start(100, script, &[]);
    let tracker = tracker(vec![origin.addr()]).await;
    let path = |namespace: &str| format!("/namespace/{namespace}/blobs/{digest}/metainfo");
    for (path, want, text) in [
        (path("good"), 200, &json[..]),
        (path("good"), 200, &json[..]),
        (path("pending"), 202, b"origin: "),
        (path("broken"), 500, b"origin: "),
        (path("none"), 404, b"origin: "),
        (path("liar"), 500, b"metainfo from origin"),
        (path("early"), 200, b"{provisional}"),
        (format!("/namespace/good/blobs/{}/metainfo", digest.hex()), 400, b"parse digest"),
        (format!("/namespace//blobs/{digest}/metainfo"), 400, b"param namespace is required"),
    ] {
        let (status, body) = send(to(&tracker, Method::GET, &path)).await;
        assert_eq!(status, want, "{path} {body:?}");
        assert!(body.starts_with(text), "{path} {body:?}");
    }
    // Twice asked for, once fetched.
    assert_eq!(origin.asked.load(Ordering::Relaxed), 6);
    tracker.close().await.unwrap();
    origin.serving.close().await;
}

#[tokio::test]
async fn a_length_is_told_and_a_blob_that_nobody_knows_is_told_from_a_path_that_nobody_knows() {
    let digest = Digest::sha256(b"some bytes");
    let script = Script::default();
    script.lock().unwrap().extend([
        ("good", (200, false, Bytes::from_static(b"some bytes"))),
        ("broken", (500, false, Bytes::from_static(b"disk on fire"))),
    ]);
    let origin = FakeOrigin::start(100, script, &[]);
    let tracker = tracker(vec![origin.addr()]).await;
    for (path, status, len, about_blob) in [
        (format!("/namespace/good/blobs/{digest}"), 200, Some(10), None),
        (format!("/namespace/none/blobs/{digest}"), 404, None, Some("unknown")),
        (format!("/namespace/broken/blobs/{digest}"), 500, None, None),
        (format!("/namespace/none/blob/{digest}"), 404, None, None),
        (format!("/namespace/none/blobs/{digest}/metainfo"), 405, None, None),
    ] {
        let request = to(&tracker, Method::HEAD, &path).expect_any();
        let answer = Client::new(ClientConfig::default()).send(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.header("kraken-blob"), about_blob, "{path}");
        assert!(len.is_none() || answer.content_length() == len, "{path}");
    }
    tracker.close().await.unwrap();
    origin.serving.close().await;
}

#[tokio::test]
async fn the_next_owner_is_asked_for_metainfo() {
    let blob = b"some bytes";
    let digest = Digest::sha256(blob);
    let json = Bytes::from(MetaInfo::of_bytes(digest, blob, 4).unwrap().to_json());
    let has = Script::default();
    has.lock().unwrap().insert("ns", (200, false, json.clone()));
    let second = FakeOrigin::start(101, has, &[]);
    let dead = FakeOrigin::start(102, Script::default(), &[]);
    let dead_addr = dead.addr();
    dead.serving.close().await;
    let first = FakeOrigin::start(100, Script::default(), &[dead_addr, second.addr()]);
    let tracker = tracker(vec![first.addr()]).await;
    let path = format!("/namespace/ns/blobs/{digest}/metainfo");
    let (status, body) = send(to(&tracker, Method::GET, &path)).await;
    assert_eq!((status, body), (200, json));
    // The dead owner is left out of handouts, too.
    assert_eq!(ids(&announce(&tracker, &announce_of(1, false, 9)).await).len(), 2);
    tracker.close().await.unwrap();
    first.serving.close().await;
    second.serving.close().await;
}

#[tokio::test]
async fn an_owner_that_hangs_keeps_nobody_from_what_the_next_one_says() {
    let blob = b"some bytes";
    let digest = Digest::sha256(blob);
    let json = Bytes::from(MetaInfo::of_bytes(digest, blob, 4).unwrap().to_json());
    let has = Script::default();
    has.lock().unwrap().insert("ns", (200, false, json.clone()));
    let second = FakeOrigin::start(101, has, &[]);
    // The kernel accepts for it.
    let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hung_addr = hung.local_addr().unwrap().to_string();
    let first = FakeOrigin::start(100, Script::default(), &[hung_addr, second.addr()]);
    let tracker = tracker(vec![first.addr()]).await;
    let path = format!("/namespace/ns/blobs/{digest}/metainfo");
    let started = std::time::Instant::now();
    assert_eq!(send(to(&tracker, Method::GET, &path)).await, (200, json));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    tracker.close().await.unwrap();
    first.serving.close().await;
    second.serving.close().await;
}

#[tokio::test]
async fn an_ill_origin_is_asked_no_more() {
    let (well, ill) = (
        FakeOrigin::start(7, Script::default(), &[]),
        FakeOrigin::start(ILL, Script::default(), &[]),
    );
    let health = HealthConfig { fails: 1, ..HealthConfig::default() };
    let origins = WatchedHosts {
        hosts: Hosts::fixed(vec![well.addr(), ill.addr()]).unwrap(),
        checks: Some(Checks { interval: Duration::ZERO, health }),
    };
    let config = TrackerConfig { listen: LISTEN, origins, ..TrackerConfig::default() };
    let tracker = Tracker::start(config).await.unwrap();
    let mut blobs = 0_u64..;
    // Each origin names itself as the owner, so who is asked for an owner is asked for metainfo.
    let mut of_ill_in_a_round = async || {
        let before = ill.asked.load(Ordering::Relaxed);
        for blob in blobs.by_ref().take(2) {
            let digest = Digest::sha256(&blob.to_be_bytes());
            let path = format!("/namespace/ns/blobs/{digest}/metainfo");
            send(to(&tracker, Method::GET, &path)).await;
        }
        ill.asked.load(Ordering::Relaxed) - before
    };
    while of_ill_in_a_round().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(well.asked.load(Ordering::Relaxed) > 0);
    tracker.close().await.unwrap();
    well.serving.close().await;
    ill.serving.close().await;
}

#[tokio::test]
async fn an_origin_that_is_back_is_handed_out_at_once() {
    // Keeps the port of who is away from others without listening.
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.set_reuseaddr(true).unwrap();
    reserved.bind(LISTEN).unwrap();
    let addr = reserved.local_addr().unwrap();
    let first = FakeOrigin::start(100, Script::default(), &[addr.to_string()]);
    let names = [first.addr(), addr.to_string()];
    // A check it passes is a sign of life, and so is any answer.
    let health = HealthConfig { fails: u32::MAX, ..HealthConfig::default() };
    let checks = Checks { interval: Duration::from_millis(1), health };
    let seen_by = [(&names[..], Some(checks)), (&names[..1], None)];
    for (known, checks) in seen_by {
        let hosts = Hosts::fixed(known.to_vec()).unwrap();
        // Only who gives a sign of life is asked again before the test is over.
        let long = Duration::from_secs(3600);
        let cache = CacheConfig {
            origin_unavailable_ttl: long,
            metainfo_ttl: long,
            locations_ttl: long,
            origin_context_ttl: long,
            ..CacheConfig::default()
        };
        let origins = WatchedHosts { hosts, checks };
        let config = TrackerConfig { listen: LISTEN, origins, cache, ..TrackerConfig::default() };
        let tracker = Tracker::start(config).await.unwrap();
        let blob = announce_of(1, false, 9);
        assert_eq!(ids(&announce(&tracker, &blob).await), [100]);
        let server = Server::bind(addr, "an origin that is back", "port").unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let back = server.spawn(move |request| {
            let count = Arc::clone(&count);
            async move { fake_answer(102, &Script::default(), "", &count, &request) }
        });
        if checks.is_none() {
            // Nobody has the metainfo: every owner is asked, and says so.
            let path = format!("/namespace/ns/blobs/{}/metainfo", Digest::sha256(b"blob"));
            assert_eq!(send(to(&tracker, Method::GET, &path)).await.0, 404);
        }
        while !ids(&announce(&tracker, &blob).await).contains(&102) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tracker.close().await.unwrap();
        back.close().await;
    }
    first.serving.close().await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused() {
    assert!(TrackerConfig::new(vec!["nonsense".to_owned()]).is_err());
    let config = TrackerConfig { listen: LISTEN, ..TrackerConfig::default() };
    let error = Tracker::start(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("origin.hosts"), "{error}");
    let unknown = HostSource::Dns("origins.invalid:15002".into());
    let hosts = Hosts { source: unknown, ttl: Duration::ZERO };
    let error = Tracker::start(TrackerConfig { origins: hosts.into(), ..config.clone() }).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("origin.hosts") && error.contains("origins.invalid"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (listen, origins) = (taken.local_addr().unwrap(), vec!["127.0.0.1:1".into()]);
    let config = TrackerConfig { listen, ..TrackerConfig::new(origins).unwrap() };
    let error = Tracker::start(config).await.unwrap_err().to_string();
    assert!(error.contains("--port") && error.contains(&listen.to_string()), "{error}");
}

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
