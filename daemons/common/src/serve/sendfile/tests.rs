//! Files over real sockets.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{Server, Serving};
use super::*;
use crate::body::{Body, RequestBody};

/// Serves `file`: `/START/LEN` is bytes of it, `/copied` some that pass through a buffer first.
fn serve(file: File) -> Serving {
    let file = Arc::new(file);
    let server = Server::bind(([127, 0, 0, 1], 0).into(), "tests", "--port").unwrap();
    server.spawn(move |request: Request<RequestBody>| {
        let file = file.try_clone().unwrap();
        async move {
            let queue = request.extensions().get::<SendfileQueue>();
            let path = request.uri().path();
            let Some((start, len)) = path[1..].split_once('/') else {
                let body = Body::file_to(queue, file, 0, 5000).collect().await.unwrap().to_bytes();
                return Response::new(Body::full(bytes::BytesMut::from(&body[..]).freeze()));
            };
            let (start, len): (u64, u64) = (start.parse().unwrap(), len.parse().unwrap());
            let mut response = Response::new(Body::file_to(queue, file, start, len));
            let lent = if queue.is_some() { "yes" } else { "no" };
            response.headers_mut().insert("lent", HeaderValue::from_static(lent));
            response
        }
    })
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i >> 16) as u8).collect()
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

/// Asks for `path`; gives the answer from the socket up to its declared end.
async fn get(socket: &mut TcpStream, path: &str) -> io::Result<(String, Vec<u8>)> {
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let len = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; len.parse().unwrap()];
    socket.read_exact(&mut body).await?;
    Ok((head, body))
}

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

#[tokio::test]
async fn a_connection_sends_ranges_of_a_file_one_after_another() {
    let content = bytes(3 * FILE_CHUNK_LEN + 77);
    let serving = serve(file(&content));
    let mut socket = connect(serving.addr()).await;
    let all = content.len();
    for (start, len) in [(0, all), (1, 1), (5, 0), (FILE_CHUNK_LEN - 3, 7), (70, 900_000), (0, all)]
    {
        let (head, body) = get(&mut socket, &format!("/{start}/{len}")).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("lent: yes"), "{head}");
        assert!(body == content[start..start + len], "{start}+{len}");
    }
    serving.close().await;
}

#[tokio::test]
async fn what_is_not_in_memory_is_sent_all_the_same() {
    let content = bytes(5 << 20);
    let file = file(&content);
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let serving = serve(file);
    let mut socket = connect(serving.addr()).await;
    let (_, body) = get(&mut socket, &format!("/0/{}", content.len())).await.unwrap();
    assert!(body == content);
    serving.close().await;
}

#[tokio::test]
async fn a_slow_client_gets_every_byte() {
    let content = bytes(8 << 20);
    let serving = serve(file(&content));
    let mut socket = connect(serving.addr()).await;
    let head = format!("GET /0/{} HTTP/1.0\r\n\r\n", content.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut got = Vec::new();
    let mut part = vec![0; 100_000];
    loop {
        match socket.read(&mut part).await.unwrap() {
            0 => break,
            n => got.extend_from_slice(&part[..n]),
        }
        tokio::task::yield_now().await;
    }
    assert!(got.ends_with(&content));
    serving.close().await;
}

#[tokio::test]
async fn a_file_that_became_shorter_breaks_the_connection() {
    let content = bytes(100_000);
    let serving = serve(file(&content));
    let mut socket = connect(serving.addr()).await;
    let error = get(&mut socket, "/90000/20000").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    serving.close().await;
}

#[tokio::test]
async fn what_stands_for_a_file_is_never_sent_itself() {
    let serving = serve(file(&bytes(100_000)));
    let mut socket = connect(serving.addr()).await;
    assert!(get(&mut socket, "/copied").await.is_err());
    // The next connection is as good as any.
    assert!(get(&mut connect(serving.addr()).await, "/0/100000").await.is_ok());
    serving.close().await;
}

#[tokio::test]
async fn an_http2_connection_lends_nothing() {
    let content = bytes(1 << 20);
    let serving = serve(file(&content));
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(connect(serving.addr()).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let driver = tokio::spawn(connection);
    let uri = format!("http://{}/10/1000000", serving.addr());
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["lent"], "no");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body == content[10..1_000_010]);
    serving.close().await;
    drop(sender);
    let _ = driver.await;
}

#[tokio::test(start_paused = true)]
async fn only_a_client_that_takes_nothing_has_stalled_and_not_the_disk() {
    let content = bytes(1000);
    let file: LentFile = Arc::new(file(&content));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut far = connect(listener.local_addr().unwrap()).await;
    let mut near = SendfileStream::new(listener.accept().await.unwrap().0, &Shared::new());
    // The disk takes longer than a client may.
    near.fetch = Some(Box::pin(async {
        tokio::time::sleep(2 * WRITE_STALL_MAX).await;
        Ok(())
    }));
    let lent = near.queue().lend(Arc::clone(&file), 0, content.len());
    near.write_all(&lent).await.unwrap();
    let mut got = vec![0; content.len()];
    far.read_exact(&mut got).await.unwrap();
    assert!(got == content);
    let error = loop {
        let lent = near.queue().lend(Arc::clone(&file), 0, content.len());
        if let Err(error) = near.write_all(&lent).await {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
