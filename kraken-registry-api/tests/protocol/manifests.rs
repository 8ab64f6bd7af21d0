//! Manifests and tags.

use std::sync::Arc;

use crate::memory::{Memory, get, send};
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use kraken_core::{Algorithm, Digest, DigestHasher};
use kraken_registry_api::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use kraken_registry_api::{Registry, limits};
use serde_json::json;

fn registry() -> (Registry<Memory>, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    (Registry::from_arc(Arc::clone(&memory)), memory)
}

/// An image of one layer in repository `a`; odd spacing, so that rewriting it would show.
fn image(memory: &Memory, media_type: &str) -> Bytes {
    let config = memory.put_blob("a", "config");
    let layer = memory.put_blob("a", "layer");
    Bytes::from(format!(
        r#"{{ "schemaVersion":2,  "mediaType": "{media_type}",
            "config": {{"mediaType":"application/x","digest":"{config}","size":6}},
            "layers": [{{"mediaType":"application/x","digest":"{layer}","size":5}}],
            "x-custom": [1.0, 1e3, "ü"] }}"#
    ))
}

async fn put(
    registry: &Registry<Memory>,
    reference: &str,
    media_type: &str,
    bytes: impl Into<Bytes>,
) -> crate::memory::Answer {
    let header = format!("content-type: {media_type}");
    send(registry, "PUT", &format!("/v2/a/manifests/{reference}"), &[&header], bytes).await
}

#[tokio::test]
async fn manifests_come_back_as_they_were_pushed() {
    let (registry, memory) = registry();
    let bytes = image(&memory, OCI_MANIFEST);
    let child = Digest::sha256(&bytes);
    put(&registry, "child", OCI_MANIFEST, bytes).await.expect(201);
    let index = |media_type: &str| {
        let child = json!({ "mediaType": OCI_MANIFEST, "digest": child, "size": 1 });
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [child] });
        Bytes::from(index.to_string())
    };
    for (media_type, bytes) in [
        (OCI_MANIFEST, image(&memory, OCI_MANIFEST)),
        (DOCKER_MANIFEST, image(&memory, DOCKER_MANIFEST)),
        (OCI_INDEX, index(OCI_INDEX)),
        (DOCKER_LIST, index(DOCKER_LIST)),
        ("application/vnd.example.thing+json", Bytes::from_static(b"{\"any\": 1}")),
    ] {
        let digest = Digest::sha256(&bytes);
        let by_digest = format!("/v2/a/manifests/{digest}");
        for reference in ["v1".to_owned(), digest.to_string()] {
            let answer = put(&registry, &reference, media_type, bytes.clone()).await.expect(201);
            assert_eq!(answer.header("location"), by_digest);
            assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        }
        for target in ["/v2/a/manifests/v1", &by_digest] {
            for (method, headers) in [("GET", &["range: bytes=0-"][..]), ("HEAD", &[])] {
                let answer = send(&registry, method, target, headers, "").await.expect(200);
                assert_eq!(answer.header("content-type"), media_type);
                assert_eq!(answer.header("content-length"), bytes.len().to_string());
                assert_eq!(answer.header("docker-content-digest"), digest.to_string());
                assert_eq!(answer.header("etag"), format!("\"{digest}\""));
            }
            assert_eq!(get(&registry, target).await.body, bytes);
            let held = format!("if-none-match: \"{digest}\"");
            send(&registry, "GET", target, &[&held], "").await.expect(304);
        }
    }
}

#[tokio::test]
async fn sha512_manifests_are_pushed_by_digest() {
    let (registry, memory) = registry();
    let bytes = image(&memory, OCI_MANIFEST);
    let mut hasher = DigestHasher::new(Algorithm::Sha512);
    hasher.update(&bytes);
    let digest = hasher.finish();
    put(&registry, &digest.to_string(), OCI_MANIFEST, bytes.clone()).await.expect(201);
    assert_eq!(get(&registry, &format!("/v2/a/manifests/{digest}")).await.body, bytes);
}

#[tokio::test]
async fn a_digest_is_pushed_with_its_tags() {
    let (registry, memory) = registry();
    let bytes = image(&memory, OCI_MANIFEST);
    let reference = format!("{}?tag=1.2&tag=latest", Digest::sha256(&bytes));
    let answer = put(&registry, &reference, OCI_MANIFEST, bytes.clone()).await.expect(201);
    let tags: Vec<_> = answer.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["1.2", "latest"]);
    assert_eq!(get(&registry, "/v2/a/manifests/latest").await.expect(200).body, bytes);
}

#[tokio::test]
async fn bad_manifests_are_refused() {
    let (registry, memory) = registry();
    let bytes = image(&memory, OCI_MANIFEST);
    let other = Digest::sha256(b"other");
    let answer = put(&registry, &other.to_string(), OCI_MANIFEST, bytes.clone()).await;
    answer.expect_error(400, "DIGEST_INVALID");
    let answer = put(&registry, "sha256:baddigeststring", OCI_MANIFEST, bytes.clone()).await;
    answer.expect_error(400, "DIGEST_INVALID");
    for (media_type, bytes) in [
        (DOCKER_MANIFEST, bytes.clone()),
        (OCI_INDEX, bytes),
        (OCI_MANIFEST, Bytes::from_static(b"[]")),
        (OCI_MANIFEST, Bytes::new()),
        (OCI_MANIFEST, Bytes::from_static(b"{\"schemaVersion\":2}")),
    ] {
        let answer = put(&registry, "v1", media_type, bytes).await;
        answer.expect_error(400, "MANIFEST_INVALID");
    }
    let lost = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/x", "digest": other, "size": 1 },
        "layers": [],
    });
    let answer = put(&registry, "v1", OCI_MANIFEST, lost.to_string()).await;
    answer.expect_error(404, "MANIFEST_BLOB_UNKNOWN");
    get(&registry, "/v2/a/manifests/v1").await.expect_error(404, "MANIFEST_UNKNOWN");
    let answer = send(&registry, "HEAD", "/v2/a/manifests/v1", &[], "").await.expect(404);
    assert!(answer.body.is_empty());
    send(&registry, "DELETE", "/v2/a/manifests/v1", &[], "").await.expect_error(405, "UNSUPPORTED");
}

#[tokio::test]
async fn manifests_have_a_largest_size() {
    let (registry, _) = registry();
    let manifest = |len: usize| {
        let frame = r#"{"pad":""}"#.len();
        Bytes::from(format!(r#"{{"pad":"{}"}}"#, "x".repeat(len - frame)))
    };
    let media_type = "application/vnd.example+json";
    let largest = manifest(limits::MANIFEST_BYTES_MAX);
    put(&registry, "v1", media_type, largest.clone()).await.expect(201);
    assert_eq!(get(&registry, "/v2/a/manifests/v1").await.body, largest);
    let larger = manifest(limits::MANIFEST_BYTES_MAX + 1);
    let answer = put(&registry, "v1", media_type, larger.clone()).await;
    answer.expect_error(413, "SIZE_INVALID");
    for (bytes, status) in [(largest, 201), (larger, 413)] {
        let frames: Vec<_> = bytes.chunks(1 << 20).map(Bytes::copy_from_slice).collect();
        let frames = frames.into_iter().map(|bytes| Ok::<_, std::io::Error>(Frame::data(bytes)));
        let request = Request::put("/v2/a/manifests/v2")
            .header("content-type", media_type)
            .body(StreamBody::new(stream::iter(frames)))
            .unwrap();
        assert_eq!(registry.answer(request).await.status().as_u16(), status);
    }
}

#[tokio::test]
async fn tags_come_sorted_and_by_page() {
    let (registry, memory) = registry();
    get(&registry, "/v2/a/tags/list").await.expect_error(404, "NAME_UNKNOWN");
    let bytes = image(&memory, OCI_MANIFEST);
    for tag in ["b", "B", "a1", "a10", "a2", "_"] {
        put(&registry, tag, OCI_MANIFEST, bytes.clone()).await.expect(201);
    }
    let sorted = ["B", "_", "a1", "a10", "a2", "b"];
    let answer = get(&registry, "/v2/a/tags/list").await.expect(200);
    assert_eq!(answer.json(), json!({ "name": "a", "tags": sorted }));
    assert_eq!(answer.header("link"), "");
    let mut seen = Vec::new();
    let mut next = "/v2/a/tags/list?n=4".to_owned();
    while !next.is_empty() {
        let answer = get(&registry, &next).await.expect(200);
        for tag in answer.json()["tags"].as_array().unwrap() {
            seen.push(tag.as_str().unwrap().to_owned());
        }
        let link = answer.header("link");
        next = link
            .strip_prefix('<')
            .map_or("", |link| {
                link.strip_suffix(">; rel=\"next\"").expect("a link to the next page")
            })
            .to_owned();
    }
    assert_eq!(seen, sorted);
    for (query, expected) in [
        ("last=a10", &["a2", "b"][..]),
        ("last=a11", &["a2", "b"]),
        ("last=zzz", &[]),
        ("n=0", &[]),
        ("n=99999999999999999999999999", &sorted),
        ("n=1&last=_", &["a1"]),
    ] {
        let answer = get(&registry, &format!("/v2/a/tags/list?{query}")).await.expect(200);
        assert_eq!(answer.json()["tags"], json!(expected), "{query}");
        assert_eq!(answer.headers.contains_key("link"), query.starts_with("n=1"), "{query}");
    }
    get(&registry, "/v2/a/tags/list?n=-1").await.expect_error(400, "UNSUPPORTED");
}
