//! Paths and queries, good, bad and random.

use proptest::prelude::*;

use super::*;

const HEX: &str = "23dd464417d01f15d97d48244dbe893ef8d30dc77ba2f0178bc0a5b7838650a4";

fn route(method: &str, target: &str) -> Result<Route, Failure> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    parse(&Method::from_bytes(method.as_bytes()).unwrap(), path, query)
}

fn refused(method: &str, target: &str) -> (u16, &'static str) {
    let failure = route(method, target).unwrap_err();
    (failure.status().as_u16(), failure.code().as_str())
}

fn digest() -> Digest {
    format!("sha256:{HEX}").parse().unwrap()
}

fn name(text: &str) -> Repository {
    text.parse().unwrap()
}

#[test]
fn names_hold_slashes_and_reserved_words() {
    for repository in ["a", "library/nginx", "blobs/uploads", "a/manifests", "a/tags", "v2/tags"] {
        let repository = name(repository);
        assert_eq!(
            route("GET", &format!("/v2/{repository}/blobs/sha256:{HEX}")).unwrap(),
            Route::ReadBlob { repository: repository.clone(), digest: digest() }
        );
        assert_eq!(
            route("HEAD", &format!("/v2/{repository}/manifests/v1?ns=docker.io")).unwrap(),
            Route::ReadManifest {
                repository: repository.clone(),
                reference: "v1".parse().unwrap()
            }
        );
        assert_eq!(
            route("PATCH", &format!("/v2/{repository}/blobs/uploads/an-id")).unwrap(),
            Route::AppendUpload { repository: repository.clone(), id: "an-id".parse().unwrap() }
        );
        assert_eq!(
            route("GET", &format!("/v2/{repository}/tags/list?n=5&last=a")).unwrap(),
            Route::ListTags { repository, limit: Some(5), last: Some("a".into()) }
        );
    }
}

#[test]
fn percent_encoding_is_undone() {
    assert_eq!(
        route("GET", &format!("/v2/library%2Fnginx/blobs/sha256%3A{HEX}")).unwrap(),
        Route::ReadBlob { repository: name("library/nginx"), digest: digest() }
    );
    assert_eq!(
        route("POST", &format!("/v2/a/blobs/uploads/?%6Dount=sha256%3a{HEX}&from=b%2Fc")).unwrap(),
        Route::Mount { repository: name("a"), digest: digest(), from: Some(name("b/c")) }
    );
}

#[test]
fn uploads_start_in_four_ways() {
    let start = |algorithm| Route::StartUpload { repository: name("a/b"), algorithm };
    for target in ["/v2/a/b/blobs/uploads/", "/v2/a/b/blobs/uploads", "/v2/a/b/blobs/uploads/?x"] {
        assert_eq!(route("POST", target).unwrap(), start(Algorithm::Sha256));
    }
    assert_eq!(
        route("POST", "/v2/a/b/blobs/uploads/?digest-algorithm=sha512").unwrap(),
        start(Algorithm::Sha512)
    );
    assert_eq!(
        route("POST", &format!("/v2/a/b/blobs/uploads/?digest=sha256:{HEX}")).unwrap(),
        Route::UploadWhole { repository: name("a/b"), digest: digest() }
    );
    assert_eq!(
        route("POST", &format!("/v2/a/b/blobs/uploads/?mount=sha256:{HEX}")).unwrap(),
        Route::Mount { repository: name("a/b"), digest: digest(), from: None }
    );
}

#[test]
fn a_digest_may_be_put_with_tags() {
    assert_eq!(
        route("PUT", &format!("/v2/a/manifests/sha256:{HEX}?tag=x&tag=y")).unwrap(),
        Route::WriteManifest {
            repository: name("a"),
            reference: Reference::Digest(digest()),
            tags: vec!["x".parse().unwrap(), "y".parse().unwrap()],
        }
    );
    let many = vec!["tag=a"; limits::TAGS_PER_PUT_MAX + 1].join("&");
    let refusal = refused("PUT", &format!("/v2/a/manifests/sha256:{HEX}?{many}"));
    assert_eq!(refusal, (400, "MANIFEST_INVALID"));
}

#[test]
fn refusals_have_the_codes_of_the_spec() {
    let long = "a".repeat(256);
    for (method, target, expected) in [
        ("GET", "/v2/A/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/a//b/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/a/../b/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/%ff/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/a/tags/list?n=x", (400, "UNSUPPORTED")),
        ("GET", &format!("/v2/{long}/tags/list"), (400, "NAME_INVALID")),
        ("GET", &format!("/v2/{}/tags/list", long.repeat(8)), (414, "UNSUPPORTED")),
        ("GET", &format!("/v2/a/tags/list?{}", long.repeat(33)), (414, "UNSUPPORTED")),
        ("GET", "/v2/a/blobs/sha256:bad", (400, "DIGEST_INVALID")),
        ("GET", "/v2/a/blobs/", (400, "DIGEST_INVALID")),
        ("PUT", "/v2/a/manifests/sha256:baddigeststring", (400, "DIGEST_INVALID")),
        ("PUT", "/v2/a/manifests/.tag", (400, "MANIFEST_INVALID")),
        ("POST", "/v2/a/blobs/uploads/?digest=sha256:bad", (400, "DIGEST_INVALID")),
        ("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", (400, "DIGEST_INVALID")),
        ("PUT", "/v2/a/blobs/uploads/id", (400, "DIGEST_INVALID")),
        ("GET", "/v2/a/blobs/uploads/%20", (404, "BLOB_UPLOAD_UNKNOWN")),
        ("GET", "/v2/a/blobs/uploads/..", (404, "BLOB_UPLOAD_UNKNOWN")),
        ("GET", "/v2/a/blobs/uploads/", (405, "UNSUPPORTED")),
        ("POST", "/v2/a/blobs/uploads/id", (405, "UNSUPPORTED")),
        ("DELETE", "/v2/a/manifests/v1", (405, "UNSUPPORTED")),
        ("DELETE", &format!("/v2/a/blobs/sha256:{HEX}"), (405, "UNSUPPORTED")),
        ("PUT", "/v2/", (405, "UNSUPPORTED")),
        ("GET", "/v2/_catalog", (404, "UNSUPPORTED")),
        ("GET", "/v1/", (404, "UNSUPPORTED")),
        ("GET", "/v22", (404, "UNSUPPORTED")),
        ("GET", "", (404, "UNSUPPORTED")),
        ("GET", &format!("/v2/a/referrers/sha256:{HEX}"), (404, "UNSUPPORTED")),
    ] {
        assert_eq!(refused(method, target), expected, "{method} {target}");
    }
}

proptest! {
    #[test]
    fn any_text_is_routed_or_refused(
        method in prop::sample::select(vec!["GET", "PUT", "POST", "PATCH", "DELETE", "X"]),
        path in "(/v2/)?\\PC{0,40}(/blobs/|/blobs/uploads/|/manifests/|/tags/list)?\\PC{0,20}",
        query in prop::option::of("((n|last|digest|mount|from|tag)=)?[%0-9a-f&=\\PC]{0,30}"),
    ) {
        let _ = parse(&Method::from_bytes(method.as_bytes()).unwrap(), &path, query.as_deref());
    }

    #[test]
    fn what_is_written_is_parsed(
        repository in "[a-z0-9]{1,8}(/[a-z0-9]{1,8}(-[a-z0-9]{1,4})?){0,4}",
        tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}",
    ) {
        prop_assert_eq!(
            route("GET", &format!("/v2/{repository}/manifests/{tag}")),
            Ok(Route::ReadManifest {
                repository: name(&repository),
                reference: tag.parse().unwrap(),
            })
        );
    }
}
