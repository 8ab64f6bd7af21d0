//! The client against scripted trackers.

use std::sync::Arc;

use kraken_core::http::status_of;
use kraken_core::{InfoHash, PeerId, PeerInfo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// A tracker that gives each connection the next of its answers and keeps the requests.
struct Scripted {
    host: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    async fn start(answers: Vec<(u16, String)>) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers)
    }

    fn serve(listener: TcpListener, answers: Vec<(u16, String)>) -> Self {
        let with_length = |(status, body): (u16, String)| {
            let length = format!("content-length: {}\r\n", body.len());
            (status, length, body)
        };
        Self::serve_with(listener, answers.into_iter().map(with_length).collect())
    }

    /// Each answer has these lines as headers.
    fn serve_with(listener: TcpListener, answers: Vec<(u16, String, String)>) -> Self {
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            for (status, headers, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read_request(&mut stream).await;
                requests.lock().unwrap().push(request);
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}\r\n");
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        Self { host, seen, task }
    }

    /// The requests, once all answers have been given.
    async fn finish(self) -> Vec<String> {
        self.task.await.unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= len.map_or(0, |len| len.parse().unwrap()) {
                return text;
            }
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert_ne!(count, 0, "the request is cut short: {text}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

/// An address nobody listens at, and will not as long as the socket lives.
fn nobody() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap().to_string(), socket)
}

fn client(trackers: Vec<String>, poll_total: Duration) -> HttpTrackerClient {
    impatient(trackers, poll_total, LONG)
}

fn impatient(
    trackers: Vec<String>,
    poll_total: Duration,
    outage_max: Duration,
) -> HttpTrackerClient {
    let poll_pause = Duration::from_millis(1);
    let config =
        HttpTrackerConfig { poll_pause, poll_total, outage_max, ..HttpTrackerConfig::default() };
    HttpTrackerClient::with_client(Client::new(ClientConfig::default()), trackers, config).unwrap()
}

fn hello() -> MetaInfo {
    MetaInfo::of_bytes(Digest::sha256(b"hello kraken"), b"hello kraken", 5).unwrap()
}

fn hello_json() -> String {
    String::from_utf8(hello().to_json()).unwrap()
}

fn announce() -> AnnounceRequest {
    let digest = Digest::sha256(b"hello kraken");
    let peer_id = PeerId::new([1; 20]);
    let peer =
        PeerInfo { peer_id, ip: "10.0.0.1".into(), port: 8080, origin: false, complete: false };
    AnnounceRequest {
        name: digest.hex(),
        digest: Some(digest),
        info_hash: InfoHash::new([2; 20]),
        peer,
        zone: String::new(),
        starved: false,
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn announces_by_post_to_the_torrent() {
    let answer = r#"{"peers":null,"interval":3000000000}"#;
    let tracker = Scripted::start(vec![(200, answer.into())]).await;
    let client = client(vec![tracker.host.clone()], LONG);
    let response = client.announce(announce()).await.unwrap();
    assert_eq!(
        response,
        AnnounceResponse { interval: 3_000_000_000, ..AnnounceResponse::default() }
    );
    let requests = tracker.finish().await;
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("POST /announce/{} HTTP/1.1\r\n", "02".repeat(20))));
    assert_eq!(AnnounceRequest::from_json(body.as_bytes()).unwrap(), announce());
}

#[tokio::test]
async fn only_silence_leads_to_the_next_tracker() {
    let digest = Digest::sha256(b"hello kraken");
    let answer = (200, r#"{"peers":[],"interval":1}"#.to_owned());
    let tracker = Scripted::start(vec![answer.clone(), (500, "no peers".into())]).await;
    // Of many dead hosts some stand before the live one in the ring.
    let client = client(vec![tracker.host.clone()], LONG);
    let mut sockets = Vec::new();
    for _ in 0..200 {
        let (dead, socket) = nobody();
        sockets.push(socket);
        let hosts = vec![dead, tracker.host.clone()];
        client.set_trackers(hosts.clone());
        if client.ring().locations(&digest, Time::ZERO)[0] == hosts[0] {
            break;
        }
    }
    assert_eq!(client.announce(announce()).await.unwrap().interval, 1);
    let error = client.announce(announce()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(tracker.finish().await.len(), 2);
    let (dead, _socket) = nobody();
    let client = HttpTrackerClient::new(vec![dead]).unwrap();
    let error = client.announce(announce()).await.unwrap_err();
    assert!(is_network_error(&error), "{error}");
}

#[tokio::test]
async fn metainfo_is_polled_while_it_is_made() {
    let answers = vec![(202, String::new()), (202, String::new()), (200, hello_json())];
    let tracker = Scripted::start(answers).await;
    let client = client(vec![tracker.host.clone()], LONG);
    let namespace = "library/alpine:latest".parse().unwrap();
    let digest = hello().digest();
    assert_eq!(client.metainfo(&namespace, &digest).await.unwrap(), hello());
    let path = format!("/namespace/library%2Falpine:latest/blobs/{digest}/metainfo");
    let requests = tracker.finish().await;
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|r| r.starts_with(&format!("GET {path} HTTP/1.1\r\n"))));
}

#[tokio::test]
async fn metainfo_that_is_not_there_is_told_from_that_which_is_not_yet() {
    let namespace = "ns".parse().unwrap();
    for (answer, blob, kind) in [
        ((404, String::new()), &b"hello kraken"[..], ErrorKind::NotFound),
        ((202, String::new()), b"hello kraken", ErrorKind::Pending),
        ((200, hello_json()), b"another", ErrorKind::Mismatch),
        ((200, "{}".into()), b"hello kraken", ErrorKind::Invalid),
    ] {
        let tracker = Scripted::start(vec![answer]).await;
        let client = client(vec![tracker.host.clone()], Duration::ZERO);
        let error = client.metainfo(&namespace, &Digest::sha256(blob)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        tracker.finish().await;
    }
}

#[tokio::test]
async fn a_pull_outlives_the_restart_of_the_only_tracker() {
    let (host, reserved) = nobody();
    let client = client(vec![host], LONG);
    let namespace = "ns".parse().unwrap();
    let digest = hello().digest();
    let restart = async {
        // Some questions have been refused by then.
        sleep(Duration::from_millis(20)).await;
        let answers = vec![(202, String::new()), (200, hello_json())];
        Scripted::serve(reserved.listen(8).unwrap(), answers).finish().await.len()
    };
    let (metainfo, asked) = tokio::join!(client.metainfo(&namespace, &digest), restart);
    assert_eq!((metainfo.unwrap(), asked), (hello(), 2));
}

#[tokio::test]
async fn who_is_away_behind_the_tracker_is_waited_for() {
    let statuses = [503, 202, 502, 504, 202];
    let answers = statuses.map(|status| (status, "origin: away".to_owned()));
    let tracker = Scripted::start([&answers[..], &[(200, hello_json())]].concat()).await;
    let patient = client(vec![tracker.host.clone()], LONG);
    let namespace = "ns".parse().unwrap();
    let digest = hello().digest();
    assert_eq!(patient.metainfo(&namespace, &digest).await.unwrap(), hello());
    assert_eq!(tracker.finish().await.len(), 6);
    // A failure that does not pass by itself is told at once; so is an outage that is too long.
    for (status, kind, outage_max) in [
        (500, ErrorKind::Internal, LONG),
        (507, ErrorKind::NoSpace, LONG),
        (503, ErrorKind::Unavailable, Duration::ZERO),
    ] {
        let tracker = Scripted::start(vec![(status, String::new())]).await;
        let client = impatient(vec![tracker.host.clone()], LONG, outage_max);
        let error = client.metainfo(&namespace, &digest).await.unwrap_err();
        assert_eq!((error.kind(), status_of(&error)), (kind, Some(status)), "{error}");
        tracker.finish().await;
    }
    let (dead, _socket) = nobody();
    let client = impatient(vec![dead], LONG, Duration::ZERO);
    let error = client.metainfo(&namespace, &digest).await.unwrap_err();
    assert!(is_network_error(&error), "{error}");
}

#[tokio::test]
async fn a_length_is_asked_for_twice_only_where_the_first_question_is_not_known() {
    let namespace = "ns".parse().unwrap();
    let (digest, json) = (hello().digest(), hello_json());
    let metainfo = (200, format!("content-length: {}\r\n", json.len()), json);
    let to_head = |status, headers: &str| (status, headers.to_owned(), String::new());
    let (known, unknown) = (Ok(12), Err(ErrorKind::NotFound));
    for (first, expected, asked) in [
        (to_head(200, "content-length: 12\r\n"), known, 1),
        (to_head(404, "content-length: 30\r\nKraken-Blob: unknown\r\n"), unknown, 1),
        (to_head(404, "content-length: 30\r\n"), known, 2),
        (to_head(404, "content-length: 30\r\nKraken-Blob: odd\r\n"), known, 2),
        (to_head(405, "content-length: 0\r\n"), known, 2),
        (to_head(500, "content-length: 0\r\n"), Err(ErrorKind::Internal), 1),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = [first.clone(), metainfo.clone()].into_iter().take(asked).collect();
        let tracker = Scripted::serve_with(listener, answers);
        let client = client(vec![tracker.host.clone()], Duration::ZERO);
        let answer = client.stat(&namespace, &digest).await;
        assert_eq!(answer.map_err(|error| error.kind()), expected, "{first:?}");
        let requests = tracker.finish().await;
        assert!(
            requests[0].starts_with(&format!("HEAD /namespace/ns/blobs/{digest} HTTP/1.1\r\n"))
        );
        assert_eq!(requests.len(), asked);
    }
}

#[test]
fn an_outage_is_counted_from_its_first_failure_since_another_answer() {
    let config = HttpTrackerConfig {
        poll_total: Duration::from_secs(100),
        outage_max: Duration::from_secs(30),
        ..HttpTrackerConfig::default()
    };
    let at = |secs| Time::ZERO + Duration::from_secs(secs);
    let mut patience = Patience::new(&config, at(0), 1);
    let mut after = |kind, asked, now| {
        let error = Error::new(kind, "ask");
        patience.pause_after(error, at(asked), at(now)).map(|pause| pause.as_secs_f64().round())
    };
    use ErrorKind::{NotFound, Pending, Unavailable};
    for secs in 0..9 {
        assert!(after(Pending, secs, secs).is_ok());
    }
    // Each outage has pauses of its own, short at first.
    assert_eq!(after(Unavailable, 50, 60).unwrap(), 1.0);
    assert!(after(Unavailable, 70, 78).is_ok());
    assert_eq!(after(Pending, 79, 79).unwrap(), 1.0);
    assert_eq!(after(Unavailable, 80, 90).unwrap(), 1.0);
    assert!(after(Unavailable, 91, 107).is_ok());
    assert_eq!(after(Unavailable, 108, 109).unwrap_err().kind(), Unavailable);
    assert_eq!(after(Pending, 98, 99).unwrap_err().kind(), Pending);
    assert_eq!(after(NotFound, 1, 1).unwrap_err().kind(), NotFound);
}

#[test]
fn pauses_grow_to_a_bound() {
    let mut pauses = Pauses::new(&HttpTrackerConfig::default(), 1);
    let got: Vec<f64> = (0..9).map(|_| pauses.next().as_secs_f64()).collect();
    let expected = [1.0, 1.3, 1.69, 2.197, 2.856, 3.713, 4.827, 5.0, 5.0];
    for (got, expected) in got.iter().zip(expected) {
        assert!((got / expected - 1.0).abs() < 0.051, "{got} {expected}");
    }
}

#[test]
fn somebody_must_be_there_to_ask() {
    assert_eq!(HttpTrackerClient::new(vec![]).unwrap_err().kind(), ErrorKind::Invalid);
}
