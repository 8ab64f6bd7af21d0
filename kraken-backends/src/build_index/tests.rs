//! The client of a build-index against fakes that answer as uber/kraken does.

use std::collections::BTreeMap;
use std::sync::Mutex;

use percent_encoding::percent_decode_str;

use super::*;
use crate::fake::{Answer, Fake, Seen, answer, client, nobody};
use crate::suite;

fn index(hosts: &[String]) -> BuildIndex {
    BuildIndex::new(hosts.to_vec(), client()).unwrap()
}

fn tag() -> Tag {
    "library/nginx:1.0".parse().unwrap()
}

/// How a fake build-index lists.
#[derive(Clone, Copy, PartialEq)]
enum Paging {
    /// By pages, as over S3.
    Pages,
    /// Never by pages, and 500 when asked to, as over testfs and HDFS.
    Refused,
    /// Never by pages, whatever is asked, as over SQL.
    Ignored,
}

/// A build-index that keeps its tags in a map. Unlike uber/kraken's it deletes tags and lets a tag
/// name another digest, as ours do: what the suite asks for.
async fn build_index(paging: Paging) -> Fake {
    let tags = Mutex::new(BTreeMap::<String, String>::new());
    Fake::serve(move |seen, _| {
        let mut tags = tags.lock().unwrap();
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        if let Some(prefix) = path.strip_prefix("/list/") {
            let prefix = prefix.trim_matches('/');
            let inside = |tag: &&String| {
                let path = tag.replace(':', "/_manifests/tags/");
                prefix.is_empty() || path.starts_with(&format!("{prefix}/"))
            };
            return list(seen, query, paging, tags.keys().filter(inside).cloned().collect());
        }
        if let Some(repository) = path.strip_prefix("/repositories/") {
            let repository = decoded(repository.trim_end_matches("/tags"));
            let names = tags.keys().filter_map(|tag| {
                tag.strip_prefix(&repository)?.strip_prefix(':').map(str::to_owned)
            });
            return list(seen, query, paging, names.collect());
        }
        let rest = path.strip_prefix("/tags/").unwrap();
        let (tag, digest) = rest.split_once("/digest/").unwrap_or((rest, ""));
        match (seen.method.as_str(), tags.get(&decoded(tag)).cloned()) {
            ("PUT", _) => {
                tags.insert(decoded(tag), digest.to_owned());
                answer(200, "")
            }
            ("DELETE", _) => {
                tags.remove(&decoded(tag));
                answer(200, "")
            }
            (_, Some(digest)) => answer(200, digest),
            (_, None) => answer(404, ""),
        }
    })
    .await
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8().unwrap().into_owned()
}

fn list(seen: &Seen, query: &str, paging: Paging, names: Vec<String>) -> Answer {
    let value = |key: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).map(decoded)
    };
    let page = match (paging, query) {
        (Paging::Refused, query) if !query.is_empty() => {
            return answer(500, "list: pagination not supported");
        }
        (Paging::Refused | Paging::Ignored, _) => (names.clone(), String::new()),
        (Paging::Pages, _) => {
            let start: usize =
                value("offset").map_or(0, |at| at.trim_matches('/').parse().unwrap());
            let limit = value("limit").map_or(2, |limit| limit.parse().unwrap());
            let end = names.len().min(start + limit);
            let path = seen.path.split('?').next().unwrap();
            let next = format!("{path}?limit={limit}&offset=%2F{end}%2F");
            (names[start..end].to_vec(), if end < names.len() { next } else { String::new() })
        }
    };
    let (result, next) = page;
    let response = ListResponse {
        size: result.len() as u64,
        result: (!result.is_empty()).then_some(result),
        links: Links { next, this: seen.path.clone() },
    };
    answer(200, serde_json::to_vec(&response).unwrap())
}

#[tokio::test]
async fn passes_the_suite_however_the_server_lists() {
    for paging in [Paging::Pages, Paging::Refused, Paging::Ignored] {
        let fake = build_index(paging).await;
        suite::tag_store(&index(&[fake.host()])).await;
    }
}

#[tokio::test]
async fn requests_are_those_of_uber_krakens_client() {
    let fake = Fake::serve(|seen, _| match seen.path.as_str() {
        "/origin" => answer(200, "kraken-origin:9003"),
        _ => answer(200, ""),
    })
    .await;
    let index = index(&[fake.host()]);
    let digest = Digest::sha256(b"x");
    index.put(&tag(), &digest).await.unwrap();
    index.put_and_replicate(&tag(), &digest).await.unwrap();
    assert!(index.exists(&tag()).await.unwrap());
    index.replicate(&tag()).await.unwrap();
    assert_eq!(index.origin().await.unwrap(), "kraken-origin:9003");
    index.ready().await.unwrap();
    let delay = Duration::from_secs(1);
    index.duplicate_put(&fake.host(), &tag(), &digest, delay).await.unwrap();
    index.duplicate_replicate(&fake.host(), &tag(), &digest, &[digest], delay).await.unwrap();
    let escaped = "library%2Fnginx:1.0";
    assert_eq!(
        fake.lines(),
        [
            format!("PUT /tags/{escaped}/digest/{digest}"),
            format!("PUT /tags/{escaped}/digest/{digest}?replicate=true"),
            format!("HEAD /tags/{escaped}"),
            format!("POST /remotes/tags/{escaped}"),
            "GET /origin".to_owned(),
            "GET /readiness".to_owned(),
            format!("PUT /internal/duplicate/tags/{escaped}/digest/{digest}"),
            format!("POST /internal/duplicate/remotes/tags/{escaped}/digest/{digest}"),
        ]
    );
    let seen = fake.seen();
    assert_eq!(seen[6].body, r#"{"delay":1000000000}"#);
    assert_eq!(seen[7].body, format!(r#"{{"dependencies":["{digest}"],"delay":1000000000}}"#));
}

#[tokio::test]
async fn a_digest_is_what_it_is_and_a_tag_what_it_names() {
    let (named, other) = (Digest::sha256(b"x"), Digest::sha256(b"y"));
    let fake = Fake::serve(move |_, _| answer(200, named.to_string())).await;
    let (index, tag) = (index(&[fake.host()]), tag());
    for (reference, digest) in
        [(Reference::Digest(other), other), (Reference::Tag(tag.name.clone()), named)]
    {
        assert_eq!(index.resolve(&tag.repository, &reference).await.unwrap(), digest);
    }
    assert_eq!(fake.lines(), ["GET /tags/library%2Fnginx:1.0"], "a digest needs nobody");
}

#[tokio::test]
async fn a_host_that_is_down_is_passed_over_and_then_asked_last() {
    let digest = Digest::sha256(b"x");
    let good = Fake::serve(move |_, _| answer(200, digest.to_string())).await;
    let index = index(&[nobody().await, good.host()]);
    for _ in 0..3 {
        assert_eq!(index.get(&tag()).await.unwrap(), digest);
    }
    assert_eq!(good.seen().len(), 3);
}

#[tokio::test]
async fn a_host_that_cannot_know_is_passed_over_and_heard_before_one_that_is_down() {
    let digest = Digest::sha256(b"x");
    let good = Fake::serve(move |_, _| answer(200, digest.to_string())).await;
    let unsure = Fake::serve(|_, _| answer(503, "storage: the backend is away")).await;
    let both = index(&[unsure.host(), good.host()]);
    for _ in 0..4 {
        assert_eq!(both.get(&tag()).await.unwrap(), digest);
        assert!(both.exists(&tag()).await.unwrap());
    }
    assert!(!unsure.seen().is_empty());
    let neither = index(&[unsure.host(), nobody().await]);
    for _ in 0..4 {
        let error = neither.get(&tag()).await.unwrap_err();
        assert_eq!((error.kind(), status_of(&error)), (ErrorKind::Unavailable, Some(503)));
    }
}

#[tokio::test]
async fn answers_are_kept_apart_from_failures() {
    let cases = [
        (404, "", ErrorKind::NotFound),
        (500, "no matches for namespace", ErrorKind::Internal),
        (503, "", ErrorKind::Unavailable),
        (200, "not a digest", ErrorKind::Invalid),
    ];
    for (status, body, kind) in cases {
        let fake = Fake::serve(move |_, _| answer(status, body)).await;
        assert_eq!(index(&[fake.host()]).get(&tag()).await.unwrap_err().kind(), kind);
    }
    let fake = Fake::serve(|_, _| answer(404, "")).await;
    assert!(!index(&[fake.host()]).exists(&tag()).await.unwrap());
    // chi's answer to a method that no route has.
    let fake = Fake::serve(|_, _| answer(405, "")).await;
    let error = index(&[fake.host()]).delete(&tag()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = index(&[nobody().await]).get(&tag()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn list_responses_are_those_of_go() {
    let links = r#"{"next":"/list/a?limit=1&offset=x%2By","self":"/list/a?limit=1"}"#;
    let json = format!(r#"{{"Links":{links},"size":1,"result":["a:1"]}}"#);
    let response: ListResponse = serde_json::from_str(&json).unwrap();
    assert_eq!(response.next_offset().unwrap().unwrap(), "x+y");
    assert_eq!(serde_json::to_string(&response).unwrap(), json);
    let last = r#"{"Links":{"next":"","self":"/list/"},"size":0,"result":null}"#;
    let response: ListResponse = serde_json::from_str(last).unwrap();
    assert_eq!((response.next_offset().unwrap(), &response.result), (None, &None));
    assert_eq!(serde_json::to_string(&response).unwrap(), last);
    let odd = ListResponse {
        links: Links { next: "/list/a?limit=1".into(), ..Links::default() },
        ..ListResponse::default()
    };
    assert!(odd.next_offset().is_err());
}
