//! Fakes of uber/kraken's servers for the tests of the clients.
//!
//! They are fakes because the real ones are Go programs, and our own servers live in crates that
//! depend on this one. What they answer (statuses, headers, bodies) is what uber/kraken's answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kraken_core::http::{Client, ClientConfig};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query, as escaped on the wire.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server on a free port of the loopback, stopped when dropped.
pub(crate) struct Fake {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Seen {
    /// Method and path in one line.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Fake {
    /// Serves what `answer` says, given the request and the server's own address.
    pub(crate) async fn serve(
        answer: impl Fn(&Seen, &str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, record) = (Arc::new(answer), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            // Ends, with the connections in it, when this task does.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, record) = (Arc::clone(&answer), Arc::clone(&record));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, record) = (Arc::clone(&answer), Arc::clone(&record));
                    async move {
                        let seen = read(request).await;
                        record.lock().unwrap().push(seen.clone());
                        Ok::<_, std::convert::Infallible>(answer(&seen, &addr.to_string()))
                    }
                });
                connections.spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { addr, seen, task }
    }

    pub(crate) fn host(&self) -> String {
        self.addr.to_string()
    }

    /// The requests so far, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Method and path of the requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client for tests.
pub(crate) fn client() -> Client {
    Client::new(ClientConfig::default())
}

/// An answer with a body.
pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

/// The answer with a header more.
pub(crate) fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

/// A 200 whose chunked body breaks off after `body`.
pub(crate) fn broken(body: Vec<u8>) -> Answer {
    let chunk = stream::iter([Ok(Frame::data(Bytes::from(body)))]);
    let failure = stream::once(async {
        // hyper sends what it has while the body is not ready.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("the fake breaks off here"))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(chunk.chain(failure))))
}

/// An address of the loopback where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn read(request: Request<Incoming>) -> Seen {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Seen { method: head.method, path, headers: head.headers, body }
}
