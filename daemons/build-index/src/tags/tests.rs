//! The tags before a backend in memory that can be away.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kraken_common::Hosts;
use kraken_core::http::ClientConfig;

use super::*;

/// A backend in memory that can be away.
#[derive(Debug, Default)]
struct Store {
    tags: Mutex<BTreeMap<Tag, Digest>>,
    away: AtomicBool,
    /// Whether gets are never answered.
    hangs: AtomicBool,
    /// How many gets there were.
    gets: AtomicUsize,
    /// What puts of some tags meet.
    ill: Mutex<BTreeMap<Tag, Illness>>,
}

#[derive(Debug, Clone, Copy)]
enum Illness {
    Fails,
    Hangs,
}

impl Store {
    fn check(&self) -> Result<()> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        Ok(())
    }

    fn set_ill(&self, name: &str, illness: Illness) {
        self.ill.lock().unwrap().insert(tag(name), illness);
    }

    fn heal(&self) {
        self.ill.lock().unwrap().clear();
    }

    fn set_hanging(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::Relaxed);
    }

    fn gets(&self) -> usize {
        self.gets.load(Ordering::Relaxed)
    }

    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }
}

#[async_trait]
impl TagStore for Store {
    async fn get(&self, tag: &Tag) -> Result<Digest> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.check()?;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.tags.lock().unwrap().get(tag).copied().ok_or_else(|| Error::not_found("no tag"))
    }

    async fn put(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        self.check()?;
        let illness = self.ill.lock().unwrap().get(tag).copied();
        match illness {
            Some(Illness::Fails) => return Err(Error::new(ErrorKind::Unavailable, "not this one")),
            Some(Illness::Hangs) => std::future::pending().await,
            None => {}
        }
        self.tags.lock().unwrap().insert(tag.clone(), *digest);
        Ok(())
    }

    async fn list(&self, _: TagScope<'_>, _: &Page) -> Result<TagPage> {
        self.check()?;
        Ok(TagPage { tags: self.tags.lock().unwrap().keys().cloned().collect(), next: None })
    }

    async fn delete(&self, tag: &Tag) -> Result<()> {
        self.tags.lock().unwrap().remove(tag);
        Ok(())
    }
}

async fn open(dir: &Path, store: &Arc<Store>, write_through: bool) -> (Tags, Writer) {
    let backend: Arc<dyn TagStore> = Arc::<Store>::clone(store);
    let config = BuildIndexConfig {
        backend: TagBackend::Store(backend),
        write_through,
        ..BuildIndexConfig::local(dir, Hosts::default())
    };
    let (tags, writer) = Tags::open(&config, &Client::new(ClientConfig::default())).await.unwrap();
    (tags, writer.unwrap())
}

async fn close(tags: Tags, writer: Writer) {
    drop(tags);
    writer.join().await.unwrap();
}

fn tag(name: &str) -> Tag {
    format!("repo/x:{name}").parse().unwrap()
}

fn digest(n: u8) -> Digest {
    Digest::sha256(&[n])
}

async fn settled(tags: &Tags) {
    let journal = &tags.write_back.as_ref().unwrap().journal;
    let settled = journal.settled_up_to(journal.last_number());
    timeout(Duration::from_secs(30), settled).await.unwrap();
}

#[tokio::test]
async fn puts_reach_the_backend_and_overwrite() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    for n in 0..50 {
        tags.put(&tag("a"), &digest(n)).await.unwrap();
        assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(n));
    }
    settled(&tags).await;
    assert_eq!(store.get(&tag("a")).await.unwrap(), digest(49));
    assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(49));
    assert_eq!(tags.find(&tag("b")).await.unwrap_err().kind(), ErrorKind::NotFound);
    close(tags, writer).await;
}

#[tokio::test]
async fn a_directory_is_that_of_one_build_index() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let data_dir = dir.path().join("tags");
    let local = BuildIndexConfig::local(&data_dir, Hosts::default());
    let client = Client::new(ClientConfig::default());
    for backend in [TagBackend::Store(store), TagBackend::Embedded] {
        let config = BuildIndexConfig { backend, ..local.clone() };
        let (tags, writer) = Tags::open(&config, &client).await.unwrap();
        let refused = Tags::open(&config, &client).await.unwrap_err();
        let expected =
            format!("store.cache_dir: lock {}: another process has it", data_dir.display());
        assert!(refused.to_string().starts_with(&expected), "{refused}");
        tags.stop();
        drop(tags);
        if let Some(writer) = writer {
            writer.join().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_put_survives_the_process_while_the_backend_is_away() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    tags.put(&tag("old"), &digest(1)).await.unwrap();
    settled(&tags).await;
    store.set_away(true);
    tags.put(&tag("new"), &digest(2)).await.unwrap();
    close(tags, writer).await;

    let (tags, writer) = open(dir.path(), &store, false).await;
    assert_eq!(tags.find(&tag("new")).await.unwrap(), digest(2));
    // The copy of what the backend has; of what it never had there is none.
    assert_eq!(tags.find(&tag("old")).await.unwrap(), digest(1));
    assert_eq!(tags.find(&tag("none")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.set_away(false);
    settled(&tags).await;
    assert_eq!(store.get(&tag("new")).await.unwrap(), digest(2));
    close(tags, writer).await;
}

#[tokio::test]
async fn the_backend_has_the_last_word_over_copies() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    tags.put(&tag("a"), &digest(1)).await.unwrap();
    settled(&tags).await;
    // Another build-index on the same backend.
    store.put(&tag("a"), &digest(2)).await.unwrap();
    assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(2));
    close(tags, writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_waited_for_once_and_not_long() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    tags.put(&tag("a"), &digest(1)).await.unwrap();
    settled(&tags).await;
    store.set_hanging(true);
    let short = Duration::from_millis(50);
    let started = tokio::time::Instant::now();
    assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(1));
    assert!(started.elapsed() < limits::FIND_MAX + short);
    for _ in 0..100 {
        let started = tokio::time::Instant::now();
        assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(1));
        assert!(started.elapsed() < short, "nobody waits who has a copy");
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
    // Nor who has none: a probe finds out when it is back.
    let refused = timeout(short, tags.find(&tag("none"))).await.unwrap();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    // Another build-index puts it, and the backend comes back.
    store.put(&tag("a"), &digest(2)).await.unwrap();
    store.set_hanging(false);
    tokio::time::sleep(limits::FIND_MAX + limits::PROBE_PAUSE + short).await;
    assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(2));
    assert_eq!(tags.find(&tag("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
    close(tags, writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_away_is_asked_by_one_probe_at_a_time() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    tags.put(&tag("a"), &digest(1)).await.unwrap();
    settled(&tags).await;
    store.set_away(true);
    let before = store.gets();
    let started = tokio::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let probes = started.elapsed().div_duration_f64(limits::PROBE_PAUSE) as usize;
    let gets = store.gets() - before;
    assert!((2..=probes + 2).contains(&gets), "{gets} questions, {probes} probes");
    // A write that it takes is as good as an answer.
    store.set_away(false);
    tags.put(&tag("b"), &digest(3)).await.unwrap();
    settled(&tags).await;
    let asked = store.gets();
    assert_eq!(tags.find(&tag("a")).await.unwrap(), digest(1));
    assert_eq!(store.gets(), asked + 1);
    close(tags, writer).await;
}

#[tokio::test]
async fn written_through_means_written() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, true).await;
    tags.put(&tag("a"), &digest(1)).await.unwrap();
    assert_eq!(store.get(&tag("a")).await.unwrap(), digest(1));
    close(tags, writer).await;
}

#[tokio::test]
async fn a_listing_has_the_puts_before_it() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    for n in 0..40 {
        tags.put(&tag(&n.to_string()), &digest(n)).await.unwrap();
        let page = tags.list(TagScope::All, &Page::first()).await.unwrap();
        assert_eq!(page.tags.len(), usize::from(n) + 1);
    }
    close(tags, writer).await;
}

/// Puts tags beside one that is ill, at moments all over its pauses; each must be written through
/// before time, which stands still while anything runs, goes on.
async fn others_are_put_promptly(illness: Illness) {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, true).await;
    store.set_ill("ill", illness);
    let puts = async {
        for n in 0..40 {
            tokio::time::sleep(Duration::from_millis(770)).await;
            let started = tokio::time::Instant::now();
            tags.put(&tag(&n.to_string()), &digest(n)).await.unwrap();
            assert!(started.elapsed() < Duration::from_millis(50), "put {n}");
        }
    };
    let (ill, last) = (tag("ill"), digest(99));
    let (refused, ()) = tokio::join!(tags.put(&ill, &last), puts);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(tags.unwritten(), 1);
    store.heal();
    settled(&tags).await;
    assert_eq!(store.get(&tag("ill")).await.unwrap(), digest(99));
    close(tags, writer).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_fails_holds_up_no_other() {
    others_are_put_promptly(Illness::Fails).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_hangs_holds_up_no_other() {
    others_are_put_promptly(Illness::Hangs).await;
}

#[tokio::test(start_paused = true)]
async fn a_put_of_a_tag_that_failed_is_tried_at_once() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Store::default()));
    let (tags, writer) = open(dir.path(), &store, false).await;
    for name in ["a", "b", "c", "d"] {
        store.set_ill(name, Illness::Fails);
        tags.put(&tag(name), &digest(1)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    store.heal();
    let started = tokio::time::Instant::now();
    let number = tags.write_back.as_ref().unwrap().journal.append(&tag("c"), &digest(2)).await;
    tags.write_back.as_ref().unwrap().journal.settled(number.unwrap()).await;
    assert!(started.elapsed() < Duration::from_millis(50));
    assert_eq!(store.get(&tag("c")).await.unwrap(), digest(2));
    settled(&tags).await;
    assert_eq!(store.get(&tag("a")).await.unwrap(), digest(1));
    close(tags, writer).await;
}
