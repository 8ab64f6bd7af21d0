//! Tests of the client against a real server on the loopback.

use std::convert::Infallible;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::Response as Answer;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::*;
use crate::{Error, ErrorKind, Result};

type ServerBody = UnsyncBoxBody<Bytes, Infallible>;

/// A server on the loopback that stops when dropped.
struct Server {
    addr: SocketAddr,
    requests: Arc<AtomicUsize>,
    conns: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let (requests, conns) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counters = (Arc::clone(&requests), Arc::clone(&conns));
        let accepting = tokio::spawn(async move {
            // Dropped, and so aborted, together with this task.
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counters.1.fetch_add(1, Ordering::SeqCst);
                let requests = Arc::clone(&counters.0);
                serving.spawn(async move {
                    let service = service_fn(move |request| {
                        let n = requests.fetch_add(1, Ordering::SeqCst);
                        async move { Ok::<_, Infallible>(answer(request, n).await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // A client that goes away is part of some tests.
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { addr, requests, conns, accepting: accepting.abort_handle() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(request: ::http::Request<Incoming>, n: usize) -> Answer<ServerBody> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let (what, arg) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let number = || arg.parse::<usize>().expect("a number in the path");
    match what {
        "status" => {
            let body = format!("because of\n{}", "x".repeat(5000));
            let mut answer = Answer::new(Full::from(body).boxed_unsync());
            *answer.status_mut() = StatusCode::from_u16(number() as u16).expect("a status");
            answer
        }
        // Answers 503 to that many requests first.
        "flaky" if n < number() => {
            let mut answer = Answer::new(Full::from("not yet").boxed_unsync());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
        "flaky" => echo(request).await,
        // That many bytes, in chunks, of no declared length.
        "big" => {
            let chunk = Bytes::from(vec![7; 64 << 10]);
            let chunks = (0..number() / chunk.len())
                .map(move |_| Ok::<_, Infallible>(Frame::data(chunk.clone())));
            Answer::new(BodyExt::boxed_unsync(StreamBody::new(stream::iter(chunks))))
        }
        // One chunk every 50 ms, then silence for ever.
        "trickle" => {
            let chunks = stream::iter(0..number()).then(|_| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"drop")))
            });
            let chunks = chunks.chain(stream::pending());
            Answer::new(BodyExt::boxed_unsync(StreamBody::new(chunks)))
        }
        "silent" => std::future::pending().await,
        "echo" => echo(request).await,
        _ => Answer::new(Full::from(path).boxed_unsync()),
    }
}

async fn echo(request: ::http::Request<Incoming>) -> Answer<ServerBody> {
    let (head, body) = request.into_parts();
    let mut answer = match body.collect().await {
        Ok(body) => Answer::new(Full::from(body.to_bytes()).boxed_unsync()),
        Err(_) => Answer::new(Full::from("broken request").boxed_unsync()),
    };
    for (name, value) in &head.headers {
        let name = format!("x-{name}").parse::<HeaderName>().expect("a header name");
        answer.headers_mut().insert(name, value.clone());
    }
    let method = head.method.as_str().parse().expect("a header value");
    answer.headers_mut().insert("x-method", method);
    answer
}

/// A connector that never connects.
#[derive(Clone)]
struct Never;

impl tower_service::Service<Uri> for Never {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = std::future::Pending<std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::pending()
    }
}

fn client() -> Client {
    Client::new(ClientConfig::default())
}

fn cause(error: &Error) -> Option<NetworkCause> {
    std::error::Error::source(error)?.downcast_ref::<NetworkError>().map(NetworkError::cause)
}

/// An address where nobody listens.
async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address").to_string()
}

/// Serves raw connections one after another, each by one of `answers`: the bytes sent once a
/// request's head has come, and then the connection is closed.
async fn raw_server(answers: Vec<&'static str>) -> (String, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    let serving = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut head = vec![0; 4096];
            if stream.read(&mut head).await.is_ok_and(|len| len > 0) {
                drop(stream.write_all(answer.as_bytes()).await);
            }
        }
    });
    (url, serving.abort_handle())
}

#[tokio::test]
async fn requests_and_answers_arrive_whole_over_one_connection() {
    let (server, client) = (Server::start().await, client());
    for round in 0..3 {
        let request = Request::put(server.url("/echo")).header("a", "1").body(format!("r{round}"));
        let answer = client.send(request).await.expect("an answer");
        assert_eq!((answer.header("x-method"), answer.header("x-a")), (Some("PUT"), Some("1")));
        assert_eq!(answer.header("x-content-length"), Some("2"));
        assert!(answer.header("x-user-agent").is_some_and(|agent| agent.starts_with("kraken/")));
        assert_eq!(answer.content_length(), Some(2));
        assert_eq!(answer.bytes(100).await.expect("a body"), format!("r{round}"));
    }
    assert_eq!(server.conns.load(Ordering::SeqCst), 1);
    let answer = client.send(Request::post(server.url("/echo"))).await.expect("an answer");
    assert_eq!(answer.header("x-content-length"), Some("0"));
    let request = Request::to(Method::GET, server.addr.to_string(), "/a%2Fb?c=d");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.bytes(100).await.expect("a body"), "/a%2Fb");
    let head = client.send(Request::head(server.url("/some"))).await.expect("an answer");
    assert_eq!(head.content_length(), Some(5));
    assert!(head.bytes(0).await.expect("no body").is_empty());
}

#[tokio::test]
async fn http2_is_spoken_without_asking_if_told_so() {
    let server = Server::start().await;
    let client = Client::new(ClientConfig { http2_only: true, ..ClientConfig::default() });
    let sends = (0..8).map(|n| client.send(Request::put(server.url("/echo")).body(n.to_string())));
    for (n, answer) in futures_util::future::join_all(sends).await.into_iter().enumerate() {
        let body = answer.expect("an answer").bytes(10).await.expect("a body");
        assert_eq!(body, n.to_string());
    }
}

#[tokio::test]
async fn each_status_has_its_kind_and_stays_known() {
    let (server, client) = (Server::start().await, client());
    let cases = [
        (202, ErrorKind::Pending),
        (307, ErrorKind::Internal),
        (400, ErrorKind::Invalid),
        (403, ErrorKind::Invalid),
        (404, ErrorKind::NotFound),
        (409, ErrorKind::Conflict),
        (413, ErrorKind::TooLarge),
        (429, ErrorKind::Unavailable),
        (500, ErrorKind::Internal),
        (501, ErrorKind::Unsupported),
        (502, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (504, ErrorKind::Unavailable),
        (507, ErrorKind::NoSpace),
    ];
    for (status, kind) in cases {
        let url = server.url(&format!("/status/{status}?token=secret"));
        let error = client.send(Request::get(&url)).await.expect_err("an error");
        assert_eq!((error.kind(), status_of(&error)), (kind, Some(status)), "{error}");
        assert!(!is_network_error(&error));
        let text = error.to_string();
        assert!(text.contains("GET http://127.0.0.1:") && text.contains("because of xxx"));
        assert!(text.len() < 1200 && !text.contains(['\n']) && !text.contains("secret"), "{text}");
        let outer = Error::invalid("fetch a blob").with_source(error);
        assert_eq!(status_of(&outer), Some(status));
        let answer = client.send(Request::get(&url).expect(&[status])).await.expect("expected");
        assert_eq!(answer.status().as_u16(), status);
        assert!(client.send(Request::get(&url).expect_any()).await.is_ok());
    }
    let url = server.url("/status/200");
    let error = client.send(Request::get(url).expect(&[201])).await.expect_err("an error");
    assert_eq!(status_of(&error), Some(200));
}

#[tokio::test]
async fn a_body_beyond_its_limit_is_refused() {
    let (server, client) = (Server::start().await, client());
    for path in ["/status/200", "/big/131072"] {
        let answer = client.send(Request::get(server.url(path))).await.expect("an answer");
        let error = answer.bytes(5000).await.expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{path}");
    }
    let answer = client.send(Request::get(server.url("/big/131072"))).await.expect("an answer");
    assert_eq!(answer.bytes(131_072).await.expect("a body").len(), 131_072);
    let answer = client.send(Request::get(server.url("/nojson"))).await.expect("an answer");
    let error = answer.json::<u32>(100).await.expect_err("no json");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let answer = client.send(Request::put(server.url("/echo")).body("[1, 2]")).await;
    let numbers: Vec<u32> = answer.expect("an answer").json(100).await.expect("json");
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn big_bodies_stream_both_ways() {
    const LEN: usize = 64 << 20;
    let (server, client) = (Server::start().await, client());
    let url = server.url(&format!("/big/{LEN}"));
    let mut body = client.send(Request::get(url)).await.expect("an answer").stream();
    let mut len = 0;
    while let Some(chunk) = body.chunk().await.expect("a chunk") {
        len += chunk.len();
    }
    assert_eq!(len, LEN);
    let chunks = stream::iter((0..64).map(|_| Ok(Bytes::from(vec![1; LEN / 64]))));
    let request = Request::put(server.url("/echo")).body(Body::stream(LEN as u64, chunks));
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.bytes(LEN).await.expect("a body").len(), LEN);
    let chunks = stream::iter((0..3).map(|_| Ok(Bytes::from_static(b"abc"))));
    let request = Request::put(server.url("/echo")).body(Body::stream(None, chunks));
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.header("x-transfer-encoding"), Some("chunked"));
    assert_eq!(answer.bytes(100).await.expect("a body"), "abcabcabc");
}

#[tokio::test]
async fn only_silence_times_out() {
    let (server, client) = (Server::start().await, client());
    let request = Request::get(server.url("/silent")).head_timeout(Duration::from_millis(100));
    let error = client.send(request).await.expect_err("no head");
    assert_eq!(cause(&error), Some(NetworkCause::HeadTimeout));
    assert!(error.is_retryable() && is_network_error(&error));
    // Forty chunks take two seconds in all, each far less than the timeout.
    let request =
        Request::get(server.url("/trickle/40")).body_idle_timeout(Duration::from_millis(1500));
    let mut body = client.send(request).await.expect("an answer").stream();
    for _ in 0..40 {
        assert_eq!(body.chunk().await.expect("a chunk").as_deref(), Some(&b"drop"[..]));
        // A slow reader is not a silent sender.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let error = body.chunk().await.expect_err("silence");
    assert_eq!(cause(&error), Some(NetworkCause::BodyTimeout));
    assert!(body.chunk().await.expect("ended").is_none());
}

#[tokio::test]
async fn a_slow_upload_is_not_silence() {
    let (server, client) = (Server::start().await, client());
    let chunks = stream::iter(0..40).then(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(Bytes::from_static(b"x"))
    });
    let request = Request::put(server.url("/echo"))
        .body(Body::stream(40, chunks))
        .head_timeout(Duration::from_millis(1500));
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.bytes(100).await.expect("a body").len(), 40);
}

#[tokio::test]
async fn a_request_body_that_fails_is_no_network_error() {
    let (server, client) = (Server::start().await, client());
    let cases: [(Vec<Result<Bytes>>, ErrorKind); 3] = [
        (vec![Ok("abc".into()), Err(Error::not_found("the blob"))], ErrorKind::NotFound),
        (vec![Ok("abc".into())], ErrorKind::Mismatch),
        (vec![Ok("abc".into()), Ok("defgh".into())], ErrorKind::Mismatch),
    ];
    for (chunks, kind) in cases {
        let body = Body::stream(6, stream::iter(chunks));
        let error = client.send_retry(Request::put(server.url("/echo")).body(body)).await;
        let error = error.expect_err("an error");
        assert!(error.kind() == kind && !is_network_error(&error), "{error}");
    }
    let body =
        Body::reopen(3, || async { Err::<ByteStream, _>(Error::not_found("open the blob")) });
    let error = client.send(Request::put(server.url("/echo")).body(body)).await;
    assert_eq!(error.expect_err("an error").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn retries_open_the_body_anew_and_give_up_after_three_attempts() {
    let (server, client) = (Server::start().await, client());
    let opened = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&opened);
    let body = Body::reopen(3, move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(stream::iter([Ok(Bytes::from_static(b"abc"))])) }
    });
    let answer = client.send_retry(Request::put(server.url("/flaky/2")).body(body)).await;
    assert_eq!(answer.expect("an answer").bytes(10).await.expect("a body"), "abc");
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    let error = client.send_retry(Request::get(server.url("/status/503"))).await;
    assert_eq!(error.as_ref().err().and_then(status_of), Some(503));
    assert_eq!(server.requests(), 6);
    let once = Body::stream(1, stream::iter([Ok(Bytes::from_static(b"a"))]));
    let error = client.send_retry(Request::put(server.url("/status/503")).body(once)).await;
    assert!(error.is_err() && server.requests() == 7);
    let error = client.send_retry(Request::get(server.url("/status/500"))).await;
    assert!(error.is_err() && server.requests() == 8);
}

#[tokio::test]
async fn the_next_host_is_asked_when_one_does_not_answer() {
    let (server, client) = (Server::start().await, client());
    let hosts = [refusing().await, format!("{}/status/500", server.addr), server.addr.to_string()];
    let ask = |host: &str| {
        let (client, url) = (client.clone(), format!("http://{host}/"));
        async move { client.send(Request::get(url)).await?.bytes(100).await }
    };
    let mut failed = Vec::new();
    let body = first_answering(&hosts, |host| failed.push(host), ask).await;
    assert_eq!(body.expect("an answer"), "/");
    assert_eq!(failed, [&hosts[0]]);
    let hosts = [format!("{}/status/404", server.addr), server.addr.to_string()];
    let error = first_answering(&hosts, |host| panic!("{host} answered"), ask).await;
    assert_eq!(error.expect_err("an answer of the system").kind(), ErrorKind::NotFound);
    let error = first_answering(&[refusing().await], |_| {}, ask).await.expect_err("nobody");
    assert_eq!(cause(&error), Some(NetworkCause::Refused));
    let nobody: [&str; 0] = [];
    let error = first_answering(&nobody, |_| {}, ask).await.expect_err("nobody");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_pooled_connection_closed_meanwhile_costs_an_idempotent_request_nothing() {
    const KEPT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    let serving = tokio::spawn(async move {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut head = [0; 4096];
            assert_ne!(stream.read(&mut head).await.expect("a request"), 0);
            stream.write_all(KEPT.as_bytes()).await.expect("answer");
            // The second request on the connection is read and left without an answer.
            drop(stream.read(&mut head).await);
        }
    });
    let client = client();
    for _ in 0..2 {
        let answer = client.send(Request::get(&url)).await.expect("an answer");
        assert_eq!(answer.bytes(10).await.expect("a body"), "ok");
    }
    let error = client.send(Request::post(&url).body("x")).await.expect_err("may have happened");
    assert_eq!(cause(&error), Some(NetworkCause::Broken));
    serving.abort();
}

#[tokio::test]
async fn broken_answers_are_network_errors() {
    let client = client();
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"] {
        let (url, serving) = raw_server(vec![answer]).await;
        let result = match client.send(Request::get(url)).await {
            Ok(answer) => answer.bytes(100).await,
            Err(error) => Err(error),
        };
        let error = result.expect_err("broken");
        assert_eq!(cause(&error), Some(NetworkCause::Broken), "{answer:?}: {error}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_connect_that_hangs_times_out() {
    let config =
        ClientConfig { connect_timeout: Duration::from_millis(50), ..ClientConfig::default() };
    let client = Client::with_connector(config, Connector::new(Never));
    let error = client.send(Request::get("https://example.test/")).await.expect_err("a timeout");
    assert_eq!(cause(&error), Some(NetworkCause::ConnectTimeout), "{error}");
}

#[tokio::test]
async fn names_and_addresses_that_lead_nowhere() {
    let client = client();
    let url = format!("http://{}/", refusing().await);
    let error = client.send(Request::get(url)).await.expect_err("refused");
    assert_eq!(
        (error.kind(), cause(&error)),
        (ErrorKind::Unavailable, Some(NetworkCause::Refused))
    );
    let cases = [
        ("https://127.0.0.1/", ErrorKind::Unsupported),
        ("127.0.0.1:80", ErrorKind::Invalid),
        ("/path", ErrorKind::Invalid),
        ("http://a b/", ErrorKind::Invalid),
        ("", ErrorKind::Invalid),
    ];
    for (url, kind) in cases {
        let error = client.send(Request::get(url)).await.expect_err("no such place");
        assert_eq!(error.kind(), kind, "{url}: {error}");
    }
    let request = Request::get("http://127.0.0.1/").header("bad name", "x");
    assert_eq!(client.send(request).await.expect_err("a bad header").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn ipv6_hosts_stand_in_brackets() {
    // Some build machines have no IPv6.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
    let url = format!("http://{}/", listener.local_addr().expect("address"));
    assert!(url.starts_with("http://[::1]:"));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut head = vec![0; 4096];
        let len = stream.read(&mut head).await.expect("a request");
        assert!(String::from_utf8_lossy(&head[..len]).contains("host: [::1]:"));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("answer");
    });
    let answer = client().send(Request::get(url)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    serving.await.expect("the server saw the host");
}

#[tokio::test]
async fn futures_and_bodies_cross_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (server, client) = (Server::start().await, client());
    let send = is_send(client.send_retry(Request::get(server.url("/a"))));
    let body = is_send(send.await.expect("an answer").stream());
    assert_eq!(is_send(body.collect(10)).await.expect("a body"), "/a");
}
