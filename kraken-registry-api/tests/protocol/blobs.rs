//! Reading blobs: whole, in ranges, conditionally, and broken off.

use std::sync::Arc;

use crate::memory::{Memory, get, send};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use kraken_core::{Digest, ErrorKind};
use kraken_registry_api::Registry;

fn content() -> Bytes {
    (0..2048u32).map(|at| (at * 7 % 251) as u8).collect()
}

fn registry() -> (Registry<Memory>, String) {
    let memory = Memory { chunk: Some(100), ..Memory::default() };
    let digest = memory.put_blob("library/nginx", content());
    (Registry::new(memory), format!("/v2/library/nginx/blobs/{digest}"))
}

#[tokio::test]
async fn ping_says_which_protocol_this_is() {
    let (registry, _) = registry();
    for path in ["/v2/", "/v2"] {
        let answer = get(&registry, path).await.expect(200);
        assert_eq!(answer.body, "{}");
        assert_eq!(send(&registry, "HEAD", path, &[], "").await.header("content-length"), "2");
    }
}

#[tokio::test]
async fn a_whole_blob_has_all_headers() {
    let (registry, url) = registry();
    let digest = Digest::sha256(&content());
    for method in ["GET", "HEAD"] {
        let answer = send(&registry, method, &url, &["accept-encoding: zstd, gzip"], "").await;
        let answer = answer.expect(200);
        assert_eq!(answer.header("content-length"), "2048");
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        assert_eq!(answer.header("content-encoding"), "");
    }
    assert_eq!(get(&registry, &url).await.body, content());
    assert_eq!(get(&registry, &format!("{url}?ns=docker.io")).await.body, content());
}

#[tokio::test]
async fn head_never_opens_the_blob() {
    let memory = Arc::new(Memory::default());
    let digest = memory.put_blob("a", content());
    let registry = Registry::from_arc(Arc::clone(&memory));
    let url = format!("/v2/a/blobs/{digest}");
    send(&registry, "HEAD", &url, &[], "").await.expect(200);
    send(&registry, "HEAD", &url, &["range: bytes=0-1"], "").await.expect(206);
    send(&registry, "GET", &url, &["if-none-match: *"], "").await.expect(304);
    assert_eq!(*memory.opened.lock().unwrap(), 0);
    get(&registry, &url).await.expect(200);
    assert_eq!(*memory.opened.lock().unwrap(), 1);
}

#[tokio::test]
async fn single_ranges_are_exact() {
    let (registry, url) = registry();
    for (range, start, end) in [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=2000-5000", 2000, 2048),
        ("bytes=0-", 0, 2048),
    ] {
        let range = format!("range: {range}");
        for method in ["GET", "HEAD"] {
            let answer = send(&registry, method, &url, &[&range], "").await.expect(206);
            assert_eq!(answer.header("content-length"), (end - start).to_string());
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            let shown = format!("bytes {start}-{}/2048", end - 1);
            assert_eq!(answer.header("content-range"), shown);
            if method == "GET" {
                assert_eq!(answer.body, content().slice(start..end));
            }
        }
    }
    for range in ["range: bytes=500-0", "range: bytes=5000-10000"] {
        let answer = send(&registry, "GET", &url, &[range], "").await;
        let answer = answer.expect_error(416, "RANGE_INVALID");
        assert_eq!(answer.header("content-range"), "bytes */2048");
    }
    send(&registry, "GET", &url, &["range: lines=1-2"], "").await.expect(200);
}

/// Takes a multipart body apart as a client does: `Content-Range` and bytes of each part.
fn parts(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let delimiter = format!("\r\n--{boundary}");
    let find = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
    };
    let mut found = Vec::new();
    let mut at = 0;
    assert_eq!(find(0, delimiter.as_bytes()), Some(0));
    loop {
        at += delimiter.len();
        if body[at..].starts_with(b"--\r\n") {
            assert_eq!(at + 4, body.len());
            return found;
        }
        let data = find(at, b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(body[at..data].to_vec()).unwrap();
        let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        let end = find(data, delimiter.as_bytes()).unwrap();
        found.push((range.to_owned(), body[data..end].to_vec()));
        at = end;
    }
}

#[tokio::test]
async fn multi_ranges_come_as_asked() {
    let (registry, url) = registry();
    // Out of order and touching one another: neither sorted nor merged.
    let ranges = "range: bytes=1000-1099,0-9,10-19,-48";
    let answer = send(&registry, "GET", &url, &[ranges], "").await.expect(206);
    assert_eq!(answer.header("content-range"), "");
    let found = parts(answer.header("content-type"), &answer.body);
    let expected: Vec<(String, Vec<u8>)> = [1000..1100, 0..10, 10..20, 2000..2048]
        .into_iter()
        .map(|r| (format!("bytes {}-{}/2048", r.start, r.end - 1), content()[r].to_vec()))
        .collect();
    assert_eq!(found, expected);
    let ranges = "range: bytes=0-9,5000-";
    send(&registry, "GET", &url, &[ranges], "").await.expect_error(416, "RANGE_INVALID");
    send(&registry, "GET", &url, &["range: bytes=0-,0-"], "").await.expect(200);
}

#[tokio::test]
async fn conditions_are_decided_by_the_digest() {
    let (registry, url) = registry();
    let digest = Digest::sha256(&content());
    for tag in [format!("\"{digest}\""), format!("\"x\", W/\"{digest}\""), digest.to_string()] {
        for method in ["GET", "HEAD"] {
            let header = format!("if-none-match: {tag}");
            let answer = send(&registry, method, &url, &[&header], "").await.expect(304);
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
            assert!(answer.body.is_empty());
        }
    }
    send(&registry, "GET", &url, &["if-none-match: \"x\""], "").await.expect(200);
    let held = format!("if-range: \"{digest}\"");
    send(&registry, "GET", &url, &["range: bytes=0-1", &held], "").await.expect(206);
    send(&registry, "GET", &url, &["range: bytes=0-1", "if-range: \"x\""], "").await.expect(200);
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let memory = Memory::default();
    let digest = memory.put_blob("a", "");
    let registry = Registry::new(memory);
    let url = format!("/v2/a/blobs/{digest}");
    for method in ["GET", "HEAD"] {
        for headers in [&[][..], &["range: bytes=0-"]] {
            let answer = send(&registry, method, &url, headers, "").await.expect(200);
            assert_eq!(answer.header("content-length"), "0");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_unknown() {
    let (registry, url) = registry();
    let other = url.replace("library/nginx", "other");
    get(&registry, &other).await.expect_error(404, "BLOB_UNKNOWN");
    let answer = send(&registry, "HEAD", &other, &[], "").await.expect(404);
    assert!(answer.body.is_empty());
    get(&registry, "/v2/a/blobs/sha256:x").await.expect_error(400, "DIGEST_INVALID");
    send(&registry, "DELETE", &url, &[], "").await.expect_error(405, "UNSUPPORTED");
    get(&registry, "/v2/_catalog").await.expect_error(404, "UNSUPPORTED");
}

#[tokio::test]
async fn kinds_of_errors_become_statuses() {
    let memory = Arc::new(Memory::default());
    let registry = Registry::from_arc(Arc::clone(&memory));
    let digest = Digest::sha256(b"");
    for (kind, status, code) in [
        (ErrorKind::NotFound, 404, "BLOB_UNKNOWN"),
        (ErrorKind::Invalid, 400, "DIGEST_INVALID"),
        (ErrorKind::Mismatch, 500, "UNKNOWN"),
        (ErrorKind::TooLarge, 413, "SIZE_INVALID"),
        (ErrorKind::NoSpace, 507, "UNAVAILABLE"),
        (ErrorKind::Unavailable, 503, "UNAVAILABLE"),
        (ErrorKind::Pending, 503, "UNAVAILABLE"),
        (ErrorKind::Unsupported, 405, "UNSUPPORTED"),
        (ErrorKind::Conflict, 500, "UNKNOWN"),
        (ErrorKind::Io, 500, "UNKNOWN"),
        (ErrorKind::Internal, 500, "UNKNOWN"),
    ] {
        *memory.broken.lock().unwrap() = Some(kind);
        let answer = get(&registry, &format!("/v2/a/blobs/{digest}")).await;
        let answer = answer.expect_error(status, code);
        let told = String::from_utf8_lossy(&answer.body);
        let leaks = told.contains("/secret/path");
        // What is unknown is told in docker/distribution's words, not in those of whom it asked.
        assert_eq!(leaks, ![404, 500].contains(&status), "{answer:?}");
        assert!(!told.contains("inner.host"), "{answer:?}");
        let reason = answer.reason.as_deref();
        assert_eq!(reason, Some("break on purpose at /secret/path: http://inner.host"));
    }
}

#[tokio::test]
async fn a_blob_that_breaks_off_is_an_error_of_the_body() {
    for (break_after, ranges) in [(0, ""), (150, ""), (150, "bytes=0-999"), (5, "bytes=0-9,20-29")]
    {
        let memory =
            Memory { chunk: Some(100), break_after: Some(break_after), ..Memory::default() };
        let digest = memory.put_blob("a", content());
        let request = Request::get(format!("/v2/a/blobs/{digest}"))
            .header("range", ranges)
            .body(Empty::new())
            .unwrap();
        let response = Registry::new(memory).answer(request).await;
        assert!(response.status().is_success());
        let error = response.into_body().collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
