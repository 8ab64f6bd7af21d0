//! The service behind real servers: what goes over the wire, and when a connection breaks.

use std::net::SocketAddr;

use crate::memory::Memory;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kraken_core::Digest;
use kraken_registry_api::{Body, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One connection to a server of `registry`; both ends are joined by `close`.
struct Connection {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Connection {
    async fn open(registry: Registry<Memory>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr: SocketAddr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let http = hyper::server::conn::http1::Builder::new();
            // A body that fails is an error of the connection, which is what is tested.
            let _ = http.serve_connection(TokioIo::new(socket), registry).await;
        });
        let socket = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        let client = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { sender, tasks: vec![server, client] }
    }

    async fn send(&mut self, request: http::request::Builder, body: Bytes) -> Response<Incoming> {
        let request = request.header("host", "localhost").body(Full::new(body)).unwrap();
        self.sender.send_request(request).await.unwrap()
    }

    async fn close(self) {
        drop(self.sender);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_connection_pushes_and_pulls() {
    let mut connection = Connection::open(Registry::new(Memory::default())).await;
    let bytes = Bytes::from(vec![7; 300_000]);
    let digest = Digest::sha256(&bytes);
    let start = Request::post("/v2/a/blobs/uploads/");
    let answer = connection.send(start, Bytes::new()).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let finish = Request::put(format!("{location}?digest={digest}"));
    assert_eq!(connection.send(finish, bytes.clone()).await.status(), StatusCode::CREATED);
    let url = format!("/v2/a/blobs/{digest}");
    for url in [&url, &url.replace("sha256:", "sha256:0")] {
        let answer = connection.send(Request::head(url), Bytes::new()).await;
        let len: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert!(len > 0 && (answer.status() != StatusCode::OK || len == bytes.len()));
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    let ranges = Request::get(&url).header("range", "bytes=0-9,20-29");
    let answer = connection.send(ranges, Bytes::new()).await;
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    let len: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), len);
    let held = Request::get(&url).header("if-none-match", format!("\"{digest}\""));
    assert_eq!(connection.send(held, Bytes::new()).await.status(), StatusCode::NOT_MODIFIED);
    let answer = connection.send(Request::get(&url), Bytes::new()).await;
    assert_eq!(answer.headers()["content-length"], "300000");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), bytes);
    connection.close().await;
}

#[tokio::test]
async fn a_blob_that_breaks_off_breaks_the_connection() {
    let memory = Memory { chunk: Some(1 << 16), break_after: Some(3 << 20), ..Memory::default() };
    let digest = memory.put_blob("a", vec![1; 4 << 20]);
    let mut connection = Connection::open(Registry::new(memory)).await;
    let get = Request::get(format!("/v2/a/blobs/{digest}"));
    let answer = connection.send(get, Bytes::new()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.is_err());
    connection.close().await;
}

/// The service fits where axum and hyper-util ask for one.
#[tokio::test]
async fn it_is_a_tower_service() {
    async fn ping<S>(mut service: S) -> Response<Body>
    where
        S: tower_service::Service<
                Request<Empty<Bytes>>,
                Response = Response<Body>,
                Error = std::convert::Infallible,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        service.call(Request::get("/v2/").body(Empty::new()).unwrap()).await.unwrap()
    }
    assert_eq!(ping(Registry::new(Memory::default())).await.status(), StatusCode::OK);
}
