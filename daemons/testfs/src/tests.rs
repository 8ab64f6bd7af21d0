//! A file server over real HTTP.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use kraken_core::ErrorKind;
use kraken_core::http::{Body, Client, ClientConfig, Method, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::name::UPLOADS_DIR;
use crate::{TestFs, TestFsConfig};

async fn fresh() -> TestFs {
    TestFs::start(TestFsConfig::default()).await.unwrap()
}

async fn over(root: &Path) -> TestFs {
    let config = TestFsConfig { root: Some(root.to_owned()), ..TestFsConfig::default() };
    TestFs::start(config).await.unwrap()
}

async fn ask(fs: &TestFs, method: Method, path: &str, body: impl Into<Body>) -> Response {
    let request = Request::to(method, fs.addr().to_string(), path).body(body).expect_any();
    Client::new(ClientConfig::default()).send(request).await.unwrap()
}

/// Status and body.
async fn send(fs: &TestFs, method: Method, path: &str, body: impl Into<Body>) -> (u16, Bytes) {
    let response = ask(fs, method, path, body).await;
    (response.status().as_u16(), response.bytes(1 << 26).await.unwrap())
}

async fn put(fs: &TestFs, path: &str, body: impl Into<Body>) {
    assert_eq!(send(fs, Method::POST, path, body).await, (200, Bytes::new()), "{path}");
}

async fn read(fs: &TestFs, path: &str) -> (u16, Bytes) {
    send(fs, Method::GET, path, Body::empty()).await
}

async fn list(fs: &TestFs, prefix: &str) -> Option<Vec<String>> {
    let response = ask(fs, Method::GET, &format!("/list/{prefix}"), Body::empty()).await;
    assert_eq!(response.status(), 200, "{prefix}");
    response.json(1 << 20).await.unwrap()
}

/// Sends bytes as they are; status and all that follows.
async fn raw(fs: &TestFs, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(fs.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn below(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until the number of uploads under way is `count`.
async fn uploads(fs: &TestFs, count: usize) {
    let dir = fs.root().join(UPLOADS_DIR);
    while below(&dir).len() != count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn files_are_put_read_sized_and_replaced() {
    let fs = fresh().await;
    assert_eq!(read(&fs, "/health").await, (200, Bytes::from("OK")));
    assert_eq!(read(&fs, "/files/a/b").await, (404, Bytes::new()));
    assert_eq!(send(&fs, Method::HEAD, "/files/a/b", "").await.0, 404);
    let large = Bytes::from_iter((0..5_000_000_u32).map(|i| (i % 251) as u8));
    for content in [Bytes::from("one"), Bytes::new(), large] {
        put(&fs, "/files/a/b", content.clone()).await;
        let (status, read) = read(&fs, "/files/a/b").await;
        assert!(status == 200 && read == content, "{} bytes", content.len());
        let stat = ask(&fs, Method::HEAD, "/files/a/b", Body::empty()).await;
        let size = content.len().to_string();
        assert_eq!((stat.status().as_u16(), stat.header("Size")), (200, Some(size.as_str())));
        assert_eq!(stat.content_length(), Some(content.len() as u64));
    }
    fs.close().await.unwrap();
}

#[tokio::test]
async fn a_body_of_unknown_length_is_taken() {
    let fs = fresh().await;
    let chunks = stream::iter(["some", "", "thing"].map(|chunk| Ok(Bytes::from(chunk))));
    put(&fs, "/files/a", Body::stream(None, chunks)).await;
    assert_eq!(read(&fs, "/files/a").await, (200, Bytes::from("something")));
    fs.close().await.unwrap();
}

#[tokio::test]
async fn names_are_read_as_uber_krakens_clients_write_them() {
    let fs = fresh().await;
    put(&fs, "/files/tags/library%2Falpine:3", "3").await;
    assert_eq!(read(&fs, "/files//tags/library/alpine/3").await.1, "3");
    assert_eq!(read(&fs, "/files/tags%2Flibrary%2Falpine%3A3").await.1, "3");
    assert_eq!(list(&fs, "tags/library/alpine").await.unwrap(), ["tags/library/alpine/3"]);
    fs.close().await.unwrap();
}

#[tokio::test]
async fn listings_are_in_order_and_of_whole_files() {
    let fs = fresh().await;
    assert_eq!(list(&fs, "").await, None);
    for name in ["b/z", "b/a/x", "a", "b.c", "b/a.d"] {
        put(&fs, &format!("/files/{name}"), name).await;
    }
    fs::create_dir(fs.root().join("empty")).unwrap();
    assert_eq!(list(&fs, "").await.unwrap(), ["a", "b/a/x", "b/a.d", "b/z", "b.c"]);
    for prefix in ["b", "b/", "/b"] {
        assert_eq!(list(&fs, prefix).await.unwrap(), ["b/a/x", "b/a.d", "b/z"], "{prefix}");
    }
    assert_eq!(list(&fs, "b/a").await.unwrap(), ["b/a/x"]);
    assert_eq!(list(&fs, "a").await, None, "a file has none below it");
    assert_eq!(list(&fs, "empty").await, None);
    for missing in ["/list/c", "/list/a/b"] {
        let (status, why) = read(&fs, missing).await;
        assert!(status == 500 && why.starts_with(b"list files "), "{missing}: {why:?}");
    }
    fs.close().await.unwrap();
}

#[tokio::test]
async fn a_file_and_a_directory_do_not_replace_one_another() {
    let fs = fresh().await;
    put(&fs, "/files/a/b", "b").await;
    for name in ["/files/a", "/files/a/b/c"] {
        assert_eq!(send(&fs, Method::POST, name, "new").await.0, 409, "{name}");
        assert_eq!(read(&fs, name).await.0, 404, "{name}");
        assert_eq!(send(&fs, Method::HEAD, name, "").await.0, 404, "{name}");
    }
    assert_eq!(list(&fs, "").await.unwrap(), ["a/b"]);
    fs.close().await.unwrap();
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let fs = fresh().await;
    for path in ["/", "/files", "/list", "/readiness", "/health/x", "/file/a"] {
        assert_eq!(read(&fs, path).await.0, 404, "{path}");
    }
    for (method, path, allowed) in [
        (Method::PUT, "/files/a", "GET, HEAD, POST"),
        (Method::DELETE, "/files/a/b", "GET, HEAD, POST"),
        (Method::POST, "/list/a", "GET"),
        (Method::POST, "/health", "GET"),
    ] {
        let answer = ask(&fs, method, path, Body::empty()).await;
        assert_eq!((answer.status().as_u16(), answer.header("allow")), (405, Some(allowed)));
    }
    fs.close().await.unwrap();
}

#[tokio::test]
async fn no_name_leads_out_of_the_root() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    let fs = over(&outer.path().join("root")).await;
    fs::write(fs.root().join("kept"), "kept").unwrap();
    for name in [
        "../secret",
        "a/../../secret",
        "..%2Fsecret",
        "%2e%2e/secret",
        "%252e%252e%252fsecret",
        "a:..:..:secret",
        "./kept",
        "a%00b",
        "",
        "/",
        UPLOADS_DIR,
        &format!("/{UPLOADS_DIR}:x"),
        &"a".repeat(256),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let request = format!(
                "{method} /files/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Content-Length: 3\r\n\r\nnew"
            );
            let (status, answer) = raw(&fs, &request).await;
            assert_eq!(status, 400, "{method} {name}");
            assert!(method == "HEAD" || answer.contains("\r\n\r\nfile name"), "{answer}");
        }
    }
    for prefix in ["..", "a/..", "%2e%2e", "..:", UPLOADS_DIR] {
        let head = format!("GET /list/{prefix} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(&fs, &head).await.0, 400, "{prefix}");
    }
    // A slash too many does not make a path absolute.
    let secret = outer.path().join("secret");
    assert_eq!(read(&fs, &format!("/files/{}", secret.display())).await.0, 404);
    fs.close().await.unwrap();
    assert_eq!(below(outer.path()), ["root", "secret"]);
    assert_eq!(below(&outer.path().join("root")), ["kept"]);
    assert_eq!(fs::read(secret).unwrap(), b"secret");
}

#[tokio::test]
async fn links_out_of_the_root_count_as_missing() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    let fs = over(&outer.path().join("root")).await;
    symlink("..", fs.root().join("up")).unwrap();
    symlink("../secret", fs.root().join("it")).unwrap();
    for name in ["/files/up/secret", "/files/it"] {
        assert_eq!(read(&fs, name).await.0, 404, "{name}");
        assert_eq!(send(&fs, Method::HEAD, name, "").await.0, 404, "{name}");
    }
    assert_eq!(list(&fs, "").await, None);
    assert_eq!(read(&fs, "/list/up").await.0, 500);
    assert_eq!(send(&fs, Method::POST, "/files/up/new", "new").await.0, 409);
    put(&fs, "/files/it", "ours").await;
    assert_eq!(read(&fs, "/files/it").await.1, "ours");
    fs.close().await.unwrap();
    assert_eq!(below(outer.path()), ["root", "secret"]);
    assert_eq!(fs::read(outer.path().join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn an_upload_shows_only_when_whole() {
    let fs = fresh().await;
    put(&fs, "/files/a", "old").await;
    for header in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(fs.addr()).await.unwrap();
        let head = format!("POST /files/a HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n3\r\nnew\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        uploads(&fs, 1).await;
        assert_eq!(read(&fs, "/files/a").await.1, "old", "{header}");
        assert_eq!(list(&fs, "").await.unwrap(), ["a"]);
        drop(stream);
        uploads(&fs, 0).await;
        assert_eq!(read(&fs, "/files/a").await.1, "old", "{header}");
    }
    fs.close().await.unwrap();
}

#[tokio::test]
async fn a_download_is_of_one_upload() {
    let fs = fresh().await;
    let len = 8 << 20;
    put(&fs, "/files/a", vec![1; len]).await;
    let mut download = ask(&fs, Method::GET, "/files/a", Body::empty()).await.stream();
    let mut read = download.chunk().await.unwrap().unwrap().to_vec();
    put(&fs, "/files/a", "short").await;
    while let Some(chunk) = download.chunk().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert!(read == vec![1; len]);
    fs.close().await.unwrap();
}

#[tokio::test]
async fn uploads_to_one_name_at_once_leave_one_of_them() {
    let fs = fresh().await;
    let contents: Vec<Bytes> = (0..8).map(|i| Bytes::from(vec![i; 300_000])).collect();
    let puts = contents.iter().map(|content| put(&fs, "/files/new/a", content.clone()));
    futures_util::future::join_all(puts).await;
    assert!(contents.contains(&read(&fs, "/files/new/a").await.1));
    uploads(&fs, 0).await;
    fs.close().await.unwrap();
}

#[tokio::test]
async fn a_refused_upload_says_why_however_large() {
    let fs = fresh().await;
    let (status, why) = send(&fs, Method::POST, "/files/..", vec![0; 20 << 20]).await;
    assert!(status == 400 && why.starts_with(b"file name"), "{status} {why:?}");
    fs.close().await.unwrap();
}

#[tokio::test]
async fn a_fresh_root_goes_away() {
    let fs = fresh().await;
    let root = fs.root().to_owned();
    let name = root.file_name().unwrap().to_str().unwrap();
    assert!(root.is_absolute() && name.starts_with("kraken-testfs"), "{name}");
    put(&fs, "/files/a/b", "b").await;
    fs.close().await.unwrap();
    assert!(!root.exists());
}

#[tokio::test]
async fn a_given_root_keeps_the_files_and_nothing_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/root");
    let fs = over(&root).await;
    put(&fs, "/files/a/b", "b").await;
    let config = TestFsConfig { root: Some(root.clone()), ..TestFsConfig::default() };
    let second = TestFs::start(config).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    // Ends without order, as in a crash.
    fs::write(root.join(UPLOADS_DIR).join("left"), "").unwrap();
    drop(fs);
    let fs = loop {
        // The lock goes with the last request's task.
        let config = TestFsConfig { root: Some(root.clone()), ..TestFsConfig::default() };
        match TestFs::start(config).await {
            Ok(fs) => break fs,
            Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict),
        }
    };
    uploads(&fs, 0).await;
    assert_eq!(read(&fs, "/files/a/b").await.1, "b");
    fs.close().await.unwrap();
    assert_eq!(below(&root), ["a"]);
    assert_eq!(fs::read(root.join("a/b")).unwrap(), b"b");
}

#[tokio::test]
async fn a_range_alone_is_sent() {
    let fs = fresh().await;
    put(&fs, "/files/a", "0123456789").await;
    let client = Client::new(ClientConfig::default());
    let range = |range: &'static str| {
        let request = Request::to(Method::GET, fs.addr().to_string(), "/files/a");
        client.send(request.header("range", range).expect_any())
    };
    let part = range("bytes=3-5").await.unwrap();
    assert_eq!((part.status().as_u16(), part.header("content-range")), (206, Some("bytes 3-5/10")));
    assert_eq!(part.bytes(10).await.unwrap(), "345");
    let whole = range("bytes=10-").await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.bytes(10).await.unwrap(), "0123456789");
    let stats = read(&fs, "/x/stats").await;
    assert_eq!(stats, (200, "{\"sent\":13}".into()));
}

/// What is bounded from below cannot fail on a slow machine.
#[tokio::test]
async fn a_slow_link_takes_its_time() {
    let config = TestFsConfig {
        egress_bytes_per_sec: 10_000_000,
        latency: Duration::from_millis(20),
        ..TestFsConfig::default()
    };
    let fs = TestFs::start(config).await.unwrap();
    put(&fs, "/files/a", vec![7; 2_000_000]).await;
    let begun = std::time::Instant::now();
    let (one, other) = tokio::join!(read(&fs, "/files/a"), read(&fs, "/files/a"));
    assert_eq!((one.1.len(), other.1.len()), (2_000_000, 2_000_000));
    // 4 MB, of which 1 MB may go out at once.
    assert!(begun.elapsed() >= Duration::from_millis(320), "{:?}", begun.elapsed());
}
