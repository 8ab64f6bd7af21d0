//! The client of a testfs against fakes that answer as uber/kraken's does; the suite runs against
//! our own server, in that server's crate.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kraken_core::http::ClientConfig;

use super::*;
use crate::fake::{Answer, Fake, Seen, answer, broken, client, nobody, with};
use crate::source::BytesSource;
use crate::suite::{BrokenSource, StuckSource};

fn backend(addr: String, root: &str, layout: Layout) -> TestFsBackend {
    TestFsBackend::new(TestFsBackendConfig { addr, root: root.into(), layout }, client()).unwrap()
}

fn namespace() -> Namespace {
    "library/nginx".parse().unwrap()
}

fn name(name: &str) -> ObjectName {
    name.parse().unwrap()
}

/// A 200 that does not declare its length.
fn chunked(parts: &[&'static str]) -> Answer {
    let frames: Vec<_> =
        parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).collect();
    Answer::new(BodyExt::boxed_unsync(StreamBody::new(stream::iter(frames))))
}

/// A server of one file of whose size and content it says different things at will.
async fn file(size: &'static str, parts: &'static [&'static str]) -> Fake {
    Fake::serve(move |seen, _| match seen.method {
        Method::HEAD => with(answer(200, ""), "size", size),
        _ => chunked(parts),
    })
    .await
}

async fn read(backend: &TestFsBackend, range: Option<Range<u64>>) -> Result<Vec<u8>> {
    let stream = backend.download(&namespace(), &name("a"), range, None).await?;
    let parts: Vec<Bytes> = stream.try_collect().await?;
    Ok(parts.concat())
}

async fn list(backend: &TestFsBackend, prefix: &str, page: &Page) -> Result<Vec<String>> {
    let page = backend.list(&namespace(), prefix, page).await?;
    Ok(page
        .names
        .iter()
        .chain(&page.next.map(|next| name(&next)))
        .map(ToString::to_string)
        .collect())
}

#[tokio::test]
async fn requests_are_those_of_uber_krakens_client() {
    let fake = Fake::serve(|seen, _| match seen.method {
        Method::HEAD => with(answer(200, ""), "size", "0"),
        _ => answer(200, if seen.path.starts_with("/list") { "null" } else { "" }),
    })
    .await;
    let tags = backend(fake.host(), "tags", Layout::DockerTag);
    let tag = name("library/a:1");
    tags.upload(&namespace(), &tag, &BytesSource::new("some")).await.unwrap();
    tags.stat(&namespace(), &tag).await.unwrap();
    assert!(list(&tags, "/library/", &Page::first()).await.unwrap().is_empty());
    let blobs = backend(fake.host(), "/blobs//", Layout::Identity);
    blobs.upload(&namespace(), &name("a:b c"), &BytesSource::new("")).await.unwrap();
    assert!(list(&blobs, "", &Page::first()).await.unwrap().is_empty());
    let all = backend(fake.host(), "", Layout::Identity);
    assert!(list(&all, "", &Page::first()).await.unwrap().is_empty());
    let repositories = "tags/docker/registry/v2/repositories";
    let link = format!("/files/{repositories}/library/a/_manifests/tags/1/current/link");
    assert_eq!(
        fake.lines(),
        [
            &*format!("POST {link}"),
            &*format!("HEAD {link}"),
            &*format!("GET /list/{repositories}/library"),
            "POST /files/blobs/a:b%20c",
            "GET /list/blobs",
            "GET /list/",
        ]
    );
    let lengths: Vec<(String, Bytes)> = fake
        .seen()
        .into_iter()
        .filter(|seen| seen.method == Method::POST)
        .map(|seen| (seen.header("content-length").to_owned(), seen.body))
        .collect();
    assert_eq!(lengths, [("4".into(), "some".into()), ("0".into(), Bytes::new())]);
}

#[tokio::test]
async fn ranges_are_cut_out_of_a_body_of_undeclared_length() {
    let fake = file("10", &["012", "3", "45678", "9"]).await;
    let backend = backend(fake.host(), "", Layout::Identity);
    let whole = b"0123456789";
    for start in 0..=whole.len() {
        for end in start..=whole.len() {
            let part = read(&backend, Some(start as u64..end as u64)).await.unwrap();
            assert_eq!(part, whole[start..end], "{start}..{end}");
        }
    }
    assert_eq!(read(&backend, None).await.unwrap(), whole);
    for bad in [0..11, 11..11, Range { start: 4, end: 3 }] {
        assert_eq!(read(&backend, Some(bad)).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_the_size_fails_the_stream() {
    for (size, parts) in [("3", &["ab"][..]), ("3", &["abcd"]), ("3", &["abc", "d"]), ("1", &[])] {
        let fake = file(size, parts).await;
        let backend = backend(fake.host(), "", Layout::Identity);
        let error = read(&backend, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{size} {parts:?}: {error}");
    }
    // The length that comes with the bytes is the newer one.
    let fake = Fake::serve(|seen, _| match seen.method {
        Method::HEAD => with(answer(200, ""), "size", "2"),
        _ => answer(200, "abcd"),
    })
    .await;
    let backend = backend(fake.host(), "", Layout::Identity);
    assert_eq!(read(&backend, None).await.unwrap(), b"abcd");
}

#[tokio::test]
async fn sizes_that_are_none_are_refused() {
    for size in ["", "x", "-1", "18446744073709551615", "18446744073709551616"] {
        let fake = Fake::serve(move |_, _| with(answer(200, ""), "size", size)).await;
        let backend = backend(fake.host(), "", Layout::Identity);
        let error = backend.stat(&namespace(), &name("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{size}");
    }
}

#[tokio::test]
async fn a_missing_directory_is_told_from_one_that_cannot_be_read() {
    let fake = Fake::serve(|seen, _| match &*seen.path {
        "/list/" => answer(200, r#"["x", "rooted", "root/a/b", "root/ab", "root/a/c/d"]"#),
        _ => answer(500, "walk: lstat: no such file or directory"),
    })
    .await;
    let backend = backend(fake.host(), "root", Layout::Identity);
    assert!(list(&backend, "no/such", &Page::first()).await.unwrap().is_empty());
    assert_eq!(list(&backend, "a", &Page::first()).await.unwrap(), ["a/b", "a/c/d"]);
    assert_eq!(list(&backend, "a:c", &Page::first()).await.unwrap(), ["a/c/d"]);
    assert_eq!(list(&backend, "", &Page::first()).await.unwrap(), ["a/b", "a/c/d", "ab"]);

    let fake = Fake::serve(|_, _| answer(500, "walk")).await;
    for root in ["root", ""] {
        let backend = super::tests::backend(fake.host(), root, Layout::Identity);
        let error = list(&backend, "", &Page::first()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Io && status_of(&error) == Some(500), "{error}");
    }
}

#[tokio::test]
async fn listings_are_cut_and_hold_objects_only() {
    let base = "docker/registry/v2/repositories";
    let tag = |repo: &str, tag: &str| format!("{base}/{repo}/_manifests/tags/{tag}/current/link");
    let paths = [tag("b", "2"), format!("{base}/b/other"), "..".into(), tag("a/c", "1")];
    let paths = serde_json::to_string(&[&paths[..], &[tag("b", "1"), tag("b", "3")]].concat());
    let listing = paths.unwrap();
    let fake = Fake::serve(move |_, _| answer(200, listing.clone())).await;
    let backend = backend(fake.host(), "", Layout::DockerTag);
    let mut page = Page { token: None, limit: 3 };
    let first = backend.list(&namespace(), "", &page).await.unwrap();
    assert_eq!(first.names, ["a/c:1", "b:1", "b:2"].map(name));
    page = page.after(first.next.unwrap());
    let last = backend.list(&namespace(), "", &page).await.unwrap();
    assert_eq!((last.names, last.next), (vec![name("b:3")], None));
    page = page.after("/".into());
    let error = backend.list(&namespace(), "", &page).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = backend.list(&namespace(), "a/..", &Page::first()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn foreign_listings_are_bounded_and_checked() {
    for bad in ["", "{}", "[1]", "[\"a\"", "[] []", "7"] {
        let fake = Fake::serve(move |_, _| answer(200, bad)).await;
        let backend = backend(fake.host(), "", Layout::Identity);
        let error = list(&backend, "", &Page::first()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
    }
    let long = Bytes::from(vec![b' '; crate::limits::FILE_LISTING_BYTES_MAX + 1]);
    let fake = Fake::serve(move |_, _| answer(200, long.clone())).await;
    let backend = backend(fake.host(), "", Layout::Identity);
    let error = list(&backend, "", &Page::first()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn failures_have_the_kinds_of_the_contract() {
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (400, ErrorKind::Invalid),
        (500, ErrorKind::Io),
        (503, ErrorKind::Unavailable),
        (204, ErrorKind::Internal),
    ] {
        let fake = Fake::serve(move |_: &Seen, _| answer(status, "")).await;
        let backend = backend(fake.host(), "", Layout::Identity);
        let (ns, name) = (namespace(), name("a"));
        assert_eq!(backend.stat(&ns, &name).await.unwrap_err().kind(), kind, "{status}");
        assert_eq!(read(&backend, None).await.unwrap_err().kind(), kind, "{status}");
        let upload = backend.upload(&ns, &name, &BytesSource::new("a")).await;
        assert_eq!(upload.unwrap_err().kind(), kind, "{status}");
    }
    let gone = backend(nobody().await, "", Layout::Identity);
    let error = gone.stat(&namespace(), &name("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let fake = Fake::serve(|seen, _| match seen.method {
        Method::HEAD => with(answer(200, ""), "size", "10"),
        _ => broken(b"some".to_vec()),
    })
    .await;
    let breaking = backend(fake.host(), "", Layout::Identity);
    assert_eq!(read(&breaking, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let error = breaking.upload(&namespace(), &name("a"), &BrokenSource).await.unwrap_err();
    assert_eq!(error.to_string().matches("broken source").count(), 1, "{error}");
}

#[tokio::test]
async fn a_silent_upload_ends() {
    let fake = Fake::serve(|_, _| answer(200, "")).await;
    let config = ClientConfig { head_timeout: Duration::from_millis(50), ..Default::default() };
    let config_of = |addr| TestFsBackendConfig { addr, root: "".into(), layout: Layout::Identity };
    let backend = TestFsBackend::new(config_of(fake.host()), Client::new(config)).unwrap();
    let error = backend.upload(&namespace(), &name("a"), &StuckSource).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_a_testfs_never_does_is_unsupported() {
    let backend = backend(nobody().await, "", Layout::ShardedDockerBlob);
    let name = ObjectName::from(&kraken_core::Digest::sha256(b""));
    let deleted = backend.delete(&namespace(), &name).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Unsupported);
    let deleted = backend.delete(&namespace(), &super::tests::name("a")).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Invalid);
    let version = Version::new("1");
    let download = backend.download(&namespace(), &name, None, Some(&version)).await;
    assert_eq!(download.err().unwrap().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_config_without_an_address_or_a_plain_root_is_refused() {
    for (addr, root) in [("", "blobs"), ("a:1", ".."), ("a:1", "a/../../b"), ("a:1", "a:..")] {
        let config =
            TestFsBackendConfig { addr: addr.into(), root: root.into(), layout: Layout::Identity };
        let error = TestFsBackend::new(config, client()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{addr} {root}");
    }
}
