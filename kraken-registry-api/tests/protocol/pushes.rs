//! Pushing blobs, in the orders the conformance suite uses.

use std::sync::Arc;

use crate::memory::{Answer, Memory, get, send};
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use kraken_core::{Algorithm, Digest, DigestHasher, ErrorKind};
use kraken_registry_api::Registry;

const OTHER: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn content(len: usize) -> Bytes {
    (0..len).map(|at| (at * 13 % 251) as u8).collect()
}

fn registry() -> (Registry<Memory>, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    (Registry::from_arc(Arc::clone(&memory)), memory)
}

/// Opens a session and returns its URL.
async fn start(registry: &Registry<Memory>, repository: &str) -> String {
    let answer = send(registry, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
    started(&answer.expect(202), repository)
}

fn started(answer: &Answer, repository: &str) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("range"), "0-0");
    assert_eq!(answer.header("content-length"), "0");
    let id = answer.header("docker-upload-uuid");
    let location = answer.header("location");
    assert_eq!(location, format!("/v2/{repository}/blobs/uploads/{id}"));
    location.to_owned()
}

/// Checks a 201 and that the blob is where it says.
async fn check_blob(registry: &Registry<Memory>, answer: &Answer, digest: &Digest, bytes: &Bytes) {
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    let location = answer.header("location");
    assert!(location.ends_with(&format!("/blobs/{digest}")), "{location}");
    assert_eq!(get(registry, location).await.expect(200).body, *bytes);
}

#[tokio::test]
async fn post_then_put() {
    let (registry, memory) = registry();
    for bytes in [content(3000), Bytes::new(), Bytes::from_static(b"{}")] {
        let digest = Digest::sha256(&bytes);
        let url = start(&registry, "a/b").await;
        let url = format!("{url}?digest={digest}");
        let answer = send(&registry, "PUT", &url, &[], bytes.clone()).await;
        check_blob(&registry, &answer, &digest, &bytes).await;
        send(&registry, "PUT", &url, &[], bytes).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    assert_eq!(memory.sessions(), 0);
}

#[tokio::test]
async fn monolithic_post() {
    let (registry, memory) = registry();
    let bytes = content(3000);
    let mut hasher = DigestHasher::new(Algorithm::Sha512);
    hasher.update(&bytes);
    for digest in [Digest::sha256(&bytes), hasher.finish()] {
        let url = format!("/v2/a/blobs/uploads/?digest={digest}");
        let answer = send(&registry, "POST", &url, &[], bytes.clone()).await;
        check_blob(&registry, &answer, &digest, &bytes).await;
    }
    let url = format!("/v2/a/blobs/uploads/?digest={OTHER}");
    send(&registry, "POST", &url, &[], bytes).await.expect_error(400, "DIGEST_INVALID");
    assert_eq!(memory.sessions(), 0);
}

#[tokio::test]
async fn a_stream_without_ranges() {
    let (registry, _) = registry();
    let bytes = content(5000);
    let digest = Digest::sha256(&bytes);
    let url = start(&registry, "a").await;
    let answer = send(&registry, "PATCH", &url, &[], bytes.slice(..4000)).await.expect(202);
    assert_eq!(answer.header("range"), "0-3999");
    assert_eq!(answer.header("location"), url);
    let answer = send(&registry, "PATCH", &url, &[], bytes.slice(4000..)).await.expect(202);
    assert_eq!(answer.header("range"), "0-4999");
    let answer = send(&registry, "PUT", &format!("{url}?digest={digest}"), &[], "").await;
    check_blob(&registry, &answer, &digest, &bytes).await;
}

/// Before each right chunk a wrong one, then the state of the same URL, as the suite does.
async fn chunked(bytes: Bytes, chunk: usize, put_last: bool) {
    let (registry, memory) = registry();
    let digest = Digest::sha256(&bytes);
    let mut url = start(&registry, "a").await;
    let mut at = 0;
    loop {
        let end = bytes.len().min(at + chunk);
        let is_last = end == bytes.len();
        let wrong = if end >= bytes.len() { 0 } else { end };
        let wrong_end = bytes.len().min(wrong + chunk);
        if wrong != at {
            let (method, target) = if put_last && wrong_end == bytes.len() {
                ("PUT", format!("{url}?digest={digest}"))
            } else {
                ("PATCH", url.clone())
            };
            let range = format!("content-range: {wrong}-{}", wrong_end - 1);
            let body = bytes.slice(wrong..wrong_end);
            let answer = send(&registry, method, &target, &[&range], body).await;
            let answer = answer.expect_error(416, "BLOB_UPLOAD_INVALID");
            assert_eq!(answer.header("location"), url);
            let reached = format!("0-{}", at.saturating_sub(1));
            assert_eq!(answer.header("range"), reached);
            let status = get(&registry, &target).await.expect(204);
            assert_eq!(status.header("range"), reached);
            url = status.header("location").to_owned();
        }
        let range = format!("content-range: {at}-{}", end - 1);
        let body = bytes.slice(at..end);
        if is_last && put_last {
            let target = format!("{url}?digest={digest}");
            let answer = send(&registry, "PUT", &target, &[&range], body).await;
            check_blob(&registry, &answer, &digest, &bytes).await;
            break;
        }
        let answer = send(&registry, "PATCH", &url, &[&range], body).await.expect(202);
        assert_eq!(answer.header("range"), format!("0-{}", end - 1));
        at = end;
        if is_last {
            let answer = send(&registry, "PUT", &format!("{url}?digest={digest}"), &[], "").await;
            check_blob(&registry, &answer, &digest, &bytes).await;
            break;
        }
    }
    assert_eq!(memory.sessions(), 0);
}

#[tokio::test]
async fn chunks_out_of_order_lose_nothing() {
    for put_last in [false, true] {
        chunked(content(3 * 1024 + 5), 1024, put_last).await;
        chunked(content(2048), 1024, put_last).await;
        chunked(content(10), 1024, put_last).await;
    }
}

#[tokio::test]
async fn chunks_must_be_as_long_as_they_say() {
    let (registry, _) = registry();
    let url = start(&registry, "a").await;
    for (range, code) in [
        ("content-range: 0-4", "SIZE_INVALID"),
        ("content-range: 0-20", "SIZE_INVALID"),
        ("content-range: zero", "BLOB_UPLOAD_INVALID"),
    ] {
        let answer = send(&registry, "PATCH", &url, &[range], content(10)).await;
        answer.expect_error(400, code);
    }
    assert_eq!(get(&registry, &url).await.expect(204).header("range"), "0-0");
    // Nothing says how long this body is before it has come.
    for (range, status, reached) in
        [("0-4", 400, "0-0"), ("0-11", 400, "0-9"), ("10-19", 202, "0-19")]
    {
        let frames = [Ok::<_, std::io::Error>(Frame::data(content(10)))];
        let request = Request::patch(&url)
            .header("content-range", range)
            .body(StreamBody::new(stream::iter(frames)))
            .unwrap();
        assert_eq!(registry.answer(request).await.status().as_u16(), status);
        assert_eq!(get(&registry, &url).await.header("range"), reached);
    }
    for range in ["content-range: 20-19", "content-range: 20-20"] {
        send(&registry, "PATCH", &url, &[range], "").await.expect(202);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_what_it_sent() {
    let (registry, memory) = registry();
    let bytes = content(3000);
    let digest = Digest::sha256(&bytes);
    let url = start(&registry, "a").await;
    let frames = [
        Ok(Frame::data(bytes.slice(..1000))),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        Ok(Frame::data(bytes.slice(2000..))),
    ];
    let request = Request::patch(&url).body(StreamBody::new(stream::iter(frames))).unwrap();
    assert!(registry.answer(request).await.status().is_client_error());
    assert_eq!(get(&registry, &url).await.expect(204).header("range"), "0-999");
    let range = "content-range: 1000-2999";
    let target = format!("{url}?digest={digest}");
    let answer = send(&registry, "PUT", &target, &[range], bytes.slice(1000..)).await;
    check_blob(&registry, &answer, &digest, &bytes).await;
    assert_eq!(memory.sessions(), 0);
}

#[tokio::test]
async fn wrong_digests_are_refused_however_pushed() {
    let (registry, _) = registry();
    let bytes = content(100);
    for patch_first in [false, true] {
        let url = start(&registry, "a").await;
        let target = format!("{url}?digest={OTHER}");
        let mut last = bytes.clone();
        if patch_first {
            send(&registry, "PATCH", &url, &[], bytes.clone()).await.expect(202);
            last = Bytes::new();
        }
        send(&registry, "PUT", &target, &[], last).await.expect_error(400, "DIGEST_INVALID");
    }
    let url = start(&registry, "a").await;
    for query in ["", "?digest=", "?digest=sha256:zz", "?digest=md5:00"] {
        let target = format!("{url}{query}");
        let answer = send(&registry, "PUT", &target, &[], bytes.clone()).await;
        answer.expect_error(400, "DIGEST_INVALID");
    }
    get(&registry, &url).await.expect(204);
}

#[tokio::test]
async fn sessions_can_be_cancelled_and_are_of_one_repository() {
    let (registry, memory) = registry();
    let url = start(&registry, "a").await;
    let other = url.replace("/v2/a/", "/v2/b/");
    for method in ["GET", "DELETE", "PATCH"] {
        let answer = send(&registry, method, &other, &[], "").await;
        answer.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    send(&registry, "DELETE", &url, &[], "").await.expect(204);
    send(&registry, "DELETE", &url, &[], "").await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(memory.sessions(), 0);
}

#[tokio::test]
async fn mounts_fall_back_to_uploads() {
    let (registry, memory) = registry();
    let bytes = content(100);
    let digest = memory.put_blob("there", bytes.clone());
    let mount = |query: String| format!("/v2/here/blobs/uploads/?mount={query}");
    for query in [format!("{digest}&from=there"), format!("{digest}")] {
        let answer = send(&registry, "POST", &mount(query), &[], "").await;
        check_blob(&registry, &answer, &digest, &bytes).await;
    }
    let answer = send(&registry, "POST", &mount(format!("{OTHER}&from=there")), &[], "").await;
    let url = started(&answer, "here");
    let answer = send(&registry, "PUT", &format!("{url}?digest={OTHER}"), &[], "").await;
    check_blob(&registry, &answer, &OTHER.parse().unwrap(), &Bytes::new()).await;
    let answer = send(&registry, "POST", &mount("sha256:x".into()), &[], "").await;
    answer.expect_error(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn an_agent_takes_nothing() {
    let registry = Registry::new(Memory { read_only: true, ..Memory::default() });
    for (method, target, allow) in [
        ("POST", "/v2/a/blobs/uploads/", ""),
        ("PATCH", "/v2/a/blobs/uploads/id", ""),
        ("GET", "/v2/a/blobs/uploads/id", ""),
        ("PUT", "/v2/a/manifests/v1", "GET, HEAD"),
        ("GET", "/v2/a/tags/list", ""),
    ] {
        let answer = send(&registry, method, target, &[], "").await;
        let answer = answer.expect_error(405, "UNSUPPORTED");
        // RFC 9110 wants the header, and it is empty where no method works.
        assert_eq!(answer.headers.get("allow").unwrap(), allow, "{method} {target}");
        assert!(answer.reason.unwrap().starts_with("this registry "));
    }
}

#[tokio::test]
async fn what_a_backend_does_not_do_is_not_among_the_methods_allowed() {
    let (registry, memory) = registry();
    let url = start(&registry, "a").await;
    *memory.broken.lock().unwrap() = Some(ErrorKind::Unsupported);
    let manifest = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"OTHER","size":1},
        "mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;
    for (method, target, allow) in [
        ("PUT", format!("{url}?digest={OTHER}"), "GET, HEAD, PATCH, DELETE"),
        ("PUT", "/v2/a/manifests/v1".into(), "GET, HEAD"),
        ("POST", "/v2/a/blobs/uploads/".into(), ""),
        ("POST", format!("/v2/a/blobs/uploads/?digest={OTHER}"), ""),
        ("POST", format!("/v2/a/blobs/uploads/?mount={OTHER}"), ""),
    ] {
        let answer = send(&registry, method, &target, &[], manifest.replace("OTHER", OTHER)).await;
        let answer = answer.expect_error(405, "UNSUPPORTED");
        let allowed: Vec<_> = answer.headers.get_all("allow").iter().collect();
        assert_eq!(allowed, [allow], "{method} {target}");
    }
}
