//! The server over real sockets.

use std::sync::Mutex;

use http::StatusCode;
use http_body_util::BodyExt as _;
use kraken_core::{Error, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::answer::{self, Answer};
use crate::body::{Body, RequestBody, read_bounded};

/// What is logged by this thread, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps what this thread logs from `level` on.
    fn start(level: tracing::Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn server() -> Server {
    Server::bind(([127, 0, 0, 1], 0).into(), "tests", "--port").unwrap()
}

async fn echo(request: Request<RequestBody>) -> Answer {
    assert!(request.extensions().get::<ClientAddr>().is_some());
    let path = request.uri().path().to_owned();
    match read_bounded(request.into_body(), 16).await {
        Ok(body) => answer::text(StatusCode::OK, format!("{path} {}", body.len())),
        Err(e) => answer::failure(&e),
    }
}

async fn talk(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = String::new();
    // A server that closes on unread bytes resets; what came before counts.
    let _ = stream.read_to_string(&mut text).await;
    text
}

#[tokio::test]
async fn http1_and_its_bounds() {
    let serving = server().spawn(echo);
    let addr = serving.addr();
    let ok = talk(addr, b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(ok.starts_with("HTTP/1.1 200") && ok.ends_with("/x 0"), "{ok}");
    let body = "POST /y HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 17\r\n\r\n\
        12345678901234567";
    let large = talk(addr, body.as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    let field = "a".repeat(limits::HEAD_BYTES_MAX);
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {field}\r\n\r\n");
    let refused = talk(addr, head.as_bytes()).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    // A TLS client on a plain port is told so at once.
    let tls = talk(addr, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(tls.is_empty() || tls.starts_with("HTTP/1.1 400"), "{tls}");
    serving.close().await;
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let serving = server().spawn(echo);
    let stream = TcpStream::connect(serving.addr()).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request =
        Request::post(format!("http://{}/z", serving.addr())).body(Body::full("12345")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "/z 5");
    serving.close().await;
    drop(sender);
    let _ = driver.await;
}

#[tokio::test]
async fn a_taken_port_is_explained() {
    let first = server();
    let error = Server::bind(first.addr(), "the tracker", "--port").unwrap_err().to_string();
    assert!(error.contains(&first.addr().to_string()), "{error}");
    assert!(error.contains("in use") && error.contains("--port"), "{error}");
}

#[tokio::test]
async fn a_silent_client_is_let_go() {
    let serving = server().with_head_wait_max(Duration::from_millis(50)).spawn(echo);
    for sent in [&b""[..], b"PRI * HT", b"GET / HT"] {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut text = Vec::new();
        let end = tokio::time::timeout(10 * SECOND, stream.read_to_end(&mut text)).await;
        assert!(end.is_ok(), "{sent:?}");
    }
    serving.close().await;
}

#[tokio::test]
async fn a_connection_over_http2_ends_once_nobody_asks_and_not_before() {
    let idle_max = Duration::from_millis(50);
    let slow = move |_request: Request<RequestBody>| async move {
        tokio::time::sleep(5 * idle_max).await;
        answer::ok()
    };
    let serving = server().with_head_wait_max(idle_max).spawn(slow);
    let stream = TcpStream::connect(serving.addr()).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/", serving.addr())).body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "OK\n");
    // The client would keep it open for good.
    tokio::time::timeout(60 * SECOND, driver).await.expect("it stays open").unwrap().unwrap();
    drop(sender);
    serving.close().await;
}

#[tokio::test]
async fn closing_lets_requests_end() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let release = CancellationToken::new();
    let handler = {
        let release = release.clone();
        move |_request: Request<RequestBody>| {
            let (entered, release) = (entered.clone(), release.clone());
            async move {
                entered.send(()).await.unwrap();
                release.cancelled().await;
                answer::ok()
            }
        }
    };
    let serving = server().spawn(handler);
    let addr = serving.addr();
    let client =
        tokio::spawn(async move { talk(addr, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await });
    has_entered.recv().await.unwrap();
    let closing = tokio::spawn(serving.close());
    // The port is free while the last request still runs.
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished());
    release.cancel();
    assert!(client.await.unwrap().ends_with("OK\n"));
    closing.await.unwrap();
}

#[tokio::test]
async fn the_drain_deadline_breaks_off_what_hangs() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let handler = move |_request: Request<RequestBody>| {
        let entered = entered.clone();
        async move {
            entered.send(()).await.unwrap();
            std::future::pending::<Answer>().await
        }
    };
    let serving = server().with_drain_max(Duration::from_millis(50)).spawn(handler);
    let addr = serving.addr();
    let client =
        tokio::spawn(async move { talk(addr, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await });
    has_entered.recv().await.unwrap();
    tokio::time::timeout(10 * SECOND, serving.close()).await.unwrap();
    assert_eq!(client.await.unwrap(), "");
}

#[tokio::test]
async fn a_body_that_stalls_is_broken_off_and_its_client_told() {
    let serving = server().with_read_stall_max(Duration::from_millis(50)).spawn(echo);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345";
    let answer = tokio::time::timeout(60 * SECOND, talk(serving.addr(), head.as_bytes())).await;
    let answer = answer.expect("the body stays open");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("the client has sent less than 1024 bytes in 50ms"), "{answer}");
    serving.close().await;
}

#[tokio::test]
async fn requests_are_counted_and_told_where_metrics_are_exposed() {
    let metrics = Metrics::new("tests", async || crate::Figures::new());
    let counting = server().with_metrics(&metrics, &["/{x}"]).spawn(echo);
    let exposing = server().with_metrics(&metrics, &[]).exposing(metrics).spawn(echo);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(talk(counting.addr(), get("/metrics").as_bytes()).await.ends_with("/metrics 0"));
    assert!(talk(counting.addr(), get("/x?y").as_bytes()).await.ends_with("/x 0"));
    let told = talk(exposing.addr(), get("/metrics").as_bytes()).await;
    for route in ["/metrics", "/{x}"] {
        let line = format!(
            "kraken_http_requests_total{{role=\"tests\",method=\"GET\",route=\"{route}\",\
             status=\"200\"}} 1"
        );
        assert!(told.contains(&line), "{line} is not in\n{told}");
    }
    counting.close().await;
    exposing.close().await;
}

#[tokio::test]
async fn a_refused_request_is_one_line_with_its_reason_and_its_client() {
    let (log, _guard) = Log::start(tracing::Level::INFO);
    let refuse = async |request: Request<RequestBody>| {
        let unavailable = Error::new(ErrorKind::Unavailable, "a reason");
        match request.uri().path() {
            "/failed" => answer::failure(&unavailable),
            "/readiness" => answer::not_ready(&unavailable),
            "/disguised" => answer::disguised(&Error::new(ErrorKind::Unsupported, "a reason")),
            "/unknown" => answer::failure(&Error::not_found("x").with_source(unavailable)),
            "/method" => answer::method_not_allowed("PUT"),
            "/gone" => answer::failure(&Error::not_found("a reason")),
            _ => answer::ok(),
        }
    };
    // One socket for both families, where this machine has them.
    let both = Server::bind("[::]:0".parse().unwrap(), "tests", "--port");
    let serving = both.unwrap_or_else(|_| server()).spawn(refuse);
    let addr = SocketAddr::from(([127, 0, 0, 1], serving.addr().port()));
    let ask = async |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        talk(addr, head.as_bytes()).await
    };
    for (path, status, level, reason) in [
        ("/failed", 503, "WARN", "a reason"),
        ("/readiness", 503, "WARN", "not ready to serve traffic: a reason"),
        ("/disguised", 404, "INFO", "a reason"),
        ("/unknown", 404, "WARN", "x: a reason"),
        ("/method", 405, "INFO", "this path has only PUT"),
    ] {
        let before = log.lines().len();
        let answer = ask(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let lines = log.lines();
        assert_eq!(lines.len(), before + 1, "{lines:?}");
        for part in [level, reason, &format!("status={status}"), "client=127.0.0.1:"] {
            assert!(lines[before].contains(part), "{part} is not in {lines:?}");
        }
    }
    let before = log.lines();
    ask("/gone").await;
    ask("/").await;
    assert_eq!(log.lines(), before, "what is not there is no failure");
    serving.close().await;
}
