//! The behaviour that every [`BlobBackend`] and [`TagStore`] shows: one suite for all of them.
//!
//! A suite panics at the first thing that is not as the traits' contracts say. It needs the backend
//! empty, for itself alone, and leaves it empty.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use kraken_core::{Digest, Error, ErrorKind, Namespace, Repository, Result, Tag};

use crate::backend::{BlobBackend, Page, Version};
use crate::name::ObjectName;
use crate::source::{BlobStream, BytesSource, UploadSource};
use crate::tags::{TagScope, TagStore};

/// Runs the suite on a backend whose layout takes the names of `names`, which are distinct for
/// distinct numbers.
pub async fn blob_backend(backend: &dyn BlobBackend, names: &dyn Fn(u32) -> ObjectName) {
    absent_objects(backend, &names(0)).await;
    round_trips(backend, &names(1)).await;
    versions(backend, &names(2)).await;
    failed_uploads(backend, &names(3)).await;
    listings(backend, names).await;
}

/// Runs the suite on a tag store.
pub async fn tag_store(store: &dyn TagStore) {
    let tag: Tag = "suite/app:1.0".parse().expect("a tag");
    let (one, two) = (Digest::sha256(b"one"), Digest::sha256(b"two"));
    assert_eq!(store.get(&tag).await.expect_err("no tag yet").kind(), ErrorKind::NotFound);
    store.delete(&tag).await.expect("deleting what is not there succeeds");
    store.put(&tag, &one).await.expect("put");
    assert_eq!(store.get(&tag).await.expect("get"), one);
    store.put(&tag, &two).await.expect("put again");
    assert_eq!(store.get(&tag).await.expect("get"), two, "the new digest counts at once");
    tag_listings(store, &one).await;
    store.delete(&tag).await.expect("delete");
    assert_eq!(store.get(&tag).await.expect_err("deleted").kind(), ErrorKind::NotFound);
}

/// Names for a layout that takes any.
pub fn plain_names(number: u32) -> ObjectName {
    format!("suite/{}/{number}", number % 3).parse().expect("a plain name")
}

/// Names for a layout of digests.
pub fn digest_names(number: u32) -> ObjectName {
    ObjectName::from(&Digest::sha256(&number.to_be_bytes()))
}

/// Names for a layout of tags.
pub fn tag_names(number: u32) -> ObjectName {
    format!("suite/app{}:v{number}", number % 3).parse().expect("a tag name")
}

/// A source that breaks after its first bytes.
#[derive(Debug)]
pub struct BrokenSource;

/// A source that yields some bytes and then nothing, ever.
#[derive(Debug)]
pub struct StuckSource;

#[async_trait]
impl UploadSource for BrokenSource {
    fn len(&self) -> u64 {
        100
    }

    async fn open(&self, _: Range<u64>) -> Result<BlobStream> {
        let broken = Error::new(ErrorKind::Unavailable, "read a broken source");
        Ok(stream::iter([Ok(Bytes::from_static(b"some")), Err(broken)]).boxed())
    }
}

#[async_trait]
impl UploadSource for StuckSource {
    fn len(&self) -> u64 {
        100
    }

    async fn open(&self, _: Range<u64>) -> Result<BlobStream> {
        let some = stream::iter([Ok(Bytes::from_static(b"some"))]);
        Ok(some.chain(stream::pending()).boxed())
    }
}

async fn absent_objects(backend: &dyn BlobBackend, name: &ObjectName) {
    let ns = namespace();
    assert_eq!(backend.stat(&ns, name).await.expect_err("absent").kind(), ErrorKind::NotFound);
    let download = backend.download(&ns, name, None, None).await;
    assert_eq!(download.err().expect("absent").kind(), ErrorKind::NotFound);
    backend.delete(&ns, name).await.expect("deleting what is not there succeeds");
    let page = backend.list(&ns, "", &Page::first()).await.expect("list an empty backend");
    assert!(page.names.is_empty() && page.next.is_none(), "{page:?}");
    let page = backend.list(&ns, "no/such/prefix", &Page::first()).await.expect("list no prefix");
    assert!(page.names.is_empty() && page.next.is_none(), "{page:?}");
}

async fn round_trips(backend: &dyn BlobBackend, name: &ObjectName) {
    let ns = namespace();
    for len in [0_u32, 1, 1000, 2_000_003] {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        upload(backend, name, &bytes).await;
        assert_eq!(backend.stat(&ns, name).await.expect("stat").len, u64::from(len));
        assert_eq!(read(backend, name, None, None).await.expect("download"), bytes);
        let (third, all) = (u64::from(len / 3), u64::from(len));
        for range in [0..all, third..all, third..2 * third, all..all] {
            let part = read(backend, name, Some(range.clone()), None).await.expect("a range");
            assert_eq!(part, bytes[range.start as usize..range.end as usize], "{range:?}");
        }
        let beyond = read(backend, name, Some(0..all + 1), None).await;
        assert_eq!(beyond.expect_err("beyond the end").kind(), ErrorKind::Invalid);
    }
    backend.delete(&ns, name).await.expect("delete");
    assert_eq!(backend.stat(&ns, name).await.expect_err("deleted").kind(), ErrorKind::NotFound);
}

async fn versions(backend: &dyn BlobBackend, name: &ObjectName) {
    let ns = namespace();
    upload(backend, name, b"first").await;
    let Some(version) = backend.stat(&ns, name).await.expect("stat").version else {
        backend.delete(&ns, name).await.expect("delete");
        return;
    };
    let again = backend.stat(&ns, name).await.expect("stat").version;
    assert_eq!(again.as_ref(), Some(&version), "a version stays while the object does");
    let part = read(backend, name, Some(1..3), Some(&version)).await.expect("that version");
    assert_eq!(part, b"ir");
    upload(backend, name, b"other").await;
    let old = read(backend, name, None, Some(&version)).await;
    assert_eq!(old.expect_err("replaced").kind(), ErrorKind::Mismatch);
    assert_eq!(read(backend, name, None, None).await.expect("download"), b"other");
    backend.delete(&ns, name).await.expect("delete");
}

async fn failed_uploads(backend: &dyn BlobBackend, name: &ObjectName) {
    let ns = namespace();
    backend.upload(&ns, name, &BrokenSource).await.expect_err("the source broke");
    assert_eq!(backend.stat(&ns, name).await.expect_err("absent").kind(), ErrorKind::NotFound);
    upload(backend, name, b"whole").await;
    backend.upload(&ns, name, &BrokenSource).await.expect_err("the source broke");
    assert_eq!(read(backend, name, None, None).await.expect("the old object"), b"whole");
    let uploads = (0..4_u8).map(|n| async move {
        upload(backend, name, &vec![n; 700_000]).await;
    });
    future::join_all(uploads).await;
    let bytes = read(backend, name, None, None).await.expect("one of them");
    assert!(bytes.len() == 700_000 && bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
    backend.delete(&ns, name).await.expect("delete");
}

async fn listings(backend: &dyn BlobBackend, names: &dyn Fn(u32) -> ObjectName) {
    let ns = namespace();
    let all: BTreeSet<ObjectName> = (10..33).map(names).collect();
    for name in &all {
        upload(backend, name, b"x").await;
    }
    let mut in_order = None;
    for limit in [1, 7, 23, 1000] {
        let mut found = Vec::new();
        let mut page = Page { token: None, limit };
        loop {
            let answer = backend.list(&ns, "", &page).await.expect("list");
            assert!(answer.names.len() <= limit, "{} names", answer.names.len());
            found.extend(answer.names);
            let Some(next) = answer.next else { break };
            page = page.after(next);
        }
        assert_eq!(found.len(), all.len(), "each name once");
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), all);
        assert_eq!(
            in_order.get_or_insert_with(|| found.clone()),
            &found,
            "one order for any page size"
        );
    }
    for name in &all {
        backend.delete(&ns, name).await.expect("delete");
    }
}

async fn tag_listings(store: &dyn TagStore, digest: &Digest) {
    let tags: BTreeSet<Tag> = ["suite/app:1.0", "suite/app:2.0", "suite/app/sub:1", "suite2:1"]
        .iter()
        .map(|tag| tag.parse().expect("a tag"))
        .collect();
    for tag in &tags {
        store.put(tag, digest).await.expect("put");
    }
    let repository: Repository = "suite/app".parse().expect("a repository");
    for (scope, count) in [
        (TagScope::All, 4),
        (TagScope::Under("suite"), 3),
        (TagScope::Under("/suite/app/"), 3),
        (TagScope::Under("nothing"), 0),
        (TagScope::Repository(&repository), 2),
    ] {
        let mut found = BTreeSet::new();
        let mut page = Page { token: None, limit: 2 };
        loop {
            let answer = store.list(scope, &page).await.expect("list");
            for tag in answer.tags {
                assert!(tags.contains(&tag), "{tag}");
                assert!(found.insert(tag), "each tag once");
            }
            let Some(next) = answer.next else { break };
            page = page.after(next);
        }
        assert_eq!(found.len(), count, "{scope:?}");
    }
    for tag in tags.iter().filter(|tag| tag.to_string() != "suite/app:1.0") {
        store.delete(tag).await.expect("delete");
    }
}

async fn upload(backend: &dyn BlobBackend, name: &ObjectName, bytes: &[u8]) {
    let source = BytesSource::new(bytes.to_vec());
    backend.upload(&namespace(), name, &source).await.expect("upload");
}

async fn read(
    backend: &dyn BlobBackend,
    name: &ObjectName,
    range: Option<Range<u64>>,
    version: Option<&Version>,
) -> Result<Vec<u8>> {
    let parts: Vec<Bytes> =
        backend.download(&namespace(), name, range, version).await?.try_collect().await?;
    Ok(parts.concat())
}

fn namespace() -> Namespace {
    "suite/app".parse().expect("a namespace")
}
