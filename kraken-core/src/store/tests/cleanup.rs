//! What goes by age, and what stays.

use std::fs::{self, File};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Fixture, HELLO, give, hello, put};
use crate::store::cleanup::Disk;
use crate::store::sidecar::encode_access_time;
use crate::store::{Area, Cleaned, CleanupConfig, Recall, Sidecar, Store};
use crate::{Algorithm, Digest};

const HOUR: Duration = Duration::from_secs(3600);

fn after(hours: u32) -> SystemTime {
    SystemTime::now() + HOUR * hours
}

fn removed(removed: u64, bytes: u64) -> Cleaned {
    Cleaned { removed, bytes, ..Cleaned::default() }
}

fn kept(kept: u64) -> Cleaned {
    Cleaned { kept, ..Cleaned::default() }
}

fn clean(store: &Store, area: Area, config: CleanupConfig, hours: u32) -> Cleaned {
    store.clean(area, &config, after(hours)).unwrap()
}

fn ttl(hours: u32) -> CleanupConfig {
    CleanupConfig { ttl: Some(HOUR * hours), tti: HOUR * 1000, ..CleanupConfig::default() }
}

/// Dates what is in the cache so many hours back: the bytes, and the last access.
fn date(fixture: &Fixture, digest: &Digest, modified: u32, accessed: Option<u32>) {
    let dir = fixture.cached(digest);
    let file = File::options().write(true).open(dir.join("data")).unwrap();
    file.set_modified(SystemTime::now() - HOUR * modified).unwrap();
    let path = dir.join("_last_access_time");
    match accessed {
        Some(hours) => {
            let time = SystemTime::now() - HOUR * hours;
            let secs = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
            fs::write(path, encode_access_time(secs)).unwrap();
        }
        None => fs::remove_file(path).unwrap(),
    }
}

#[test]
fn what_was_not_used_for_long_goes() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digests = [b"aa", b"bb", b"cc"].map(|bytes| put(&store, bytes));
    drop(store);
    date(&fixture, &digests[0], 9, Some(1));
    date(&fixture, &digests[1], 9, Some(7));
    // One that uber/kraken never read, or somebody put there by hand, goes by its own age.
    date(&fixture, &digests[2], 7, None);
    let store = fixture.open();
    let config = CleanupConfig::default();
    assert_eq!(clean(&store, Area::Cache, config, 0), removed(2, 4));
    assert_eq!(store.list(), digests[..1]);
    assert!(!fixture.cached(&digests[1]).exists());
    assert_eq!(store.used_bytes(), 2);
    assert_eq!(store.stats().evicted_blobs, 0, "it did not make room");
    // The first was used an hour before; reading it once more keeps it for six.
    drop(store.blob(&digests[0]).unwrap().unwrap());
    assert_eq!(clean(&store, Area::Cache, config, 5), Cleaned::default());
    assert_eq!(clean(&store, Area::Cache, config, 7), removed(1, 2));
}

#[test]
fn what_is_old_goes_although_it_is_used() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, b"aa");
    drop(store);
    date(&fixture, &digest, 25, Some(0));
    let store = fixture.open();
    assert_eq!(clean(&store, Area::Cache, CleanupConfig::default(), 0), Cleaned::default());
    assert_eq!(clean(&store, Area::Cache, ttl(26), 0), Cleaned::default());
    let disabled = CleanupConfig { disabled: true, ..ttl(24) };
    assert_eq!(clean(&store, Area::Cache, disabled, 0), Cleaned::default());
    assert_eq!(clean(&store, Area::Downloads, ttl(24), 0), Cleaned::default());
    assert_eq!(clean(&store, Area::Uploads, ttl(24), 0), Cleaned::default());
    assert_eq!(clean(&store, Area::Cache, ttl(24), 0), removed(1, 2));
}

#[test]
fn what_is_not_written_back_or_pinned_stays() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digests = [b"aa", b"bb"].map(|bytes| put(&store, bytes));
    store.set_metadata(&digests[0], &Sidecar::persist()).unwrap();
    let pin = store.pin(&digests[1]);
    assert_eq!(clean(&store, Area::Cache, ttl(1), 9), kept(2));
    store.remove_metadata(&digests[0], Sidecar::PERSIST).unwrap();
    drop(pin);
    assert_eq!(clean(&store, Area::Cache, ttl(1), 9), removed(2, 4));
}

#[test]
fn what_is_open_is_in_use_and_asked_for_when_it_is_old() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, b"aa");
    let open = store.blob(&digest).unwrap().unwrap();
    assert_eq!(clean(&store, Area::Cache, CleanupConfig::default(), 9), Cleaned::default());
    drop(open);
    assert_eq!(clean(&store, Area::Cache, CleanupConfig::default(), 14), Cleaned::default());
    // That it was in use is known after a restart too.
    drop(store);
    let store = fixture.open();
    assert_eq!(clean(&store, Area::Cache, CleanupConfig::default(), 14), Cleaned::default());

    let held = Mutex::new(store.blob(&digest).unwrap());
    assert_eq!(clean(&store, Area::Cache, ttl(1), 9), kept(1), "nobody can be asked");
    let asked: Arc<Mutex<Vec<Digest>>> = Arc::default();
    let log = Arc::clone(&asked);
    let recall: Arc<Recall> = Arc::new(move |digests| {
        log.lock().unwrap().extend(digests);
        let blob = held.lock().unwrap().take();
        std::thread::spawn(move || drop(blob));
    });
    store.on_recall(&recall);
    assert_eq!(clean(&store, Area::Cache, ttl(1), 9), removed(1, 2));
    assert_eq!(*asked.lock().unwrap(), [digest]);
}

#[test]
fn downloads_that_stand_still_go() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = hello().digest();
    let blob = store.open_download(&hello()).unwrap();
    give(&blob, 0, true);
    let config = CleanupConfig::default();
    assert_eq!(clean(&store, Area::Downloads, config, 5), Cleaned::default());
    assert_eq!(clean(&store, Area::Downloads, config, 7), kept(1), "it is open");
    assert_eq!(blob.pieces().count(), 1);
    drop(blob);
    assert_eq!(clean(&store, Area::Cache, config, 7), Cleaned::default());
    let pin = store.pin(&digest);
    assert_eq!(clean(&store, Area::Downloads, config, 7), kept(1));
    drop(pin);
    assert_eq!(clean(&store, Area::Downloads, config, 7), removed(1, HELLO.len() as u64));
    assert!(!fixture.download(&digest).exists());
    assert_eq!(store.used_bytes(), 0);
    store.open_download(&hello()).unwrap();
}

#[test]
fn uploads_that_were_given_up_go() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    upload.append(b"aaa").unwrap();
    assert_eq!(clean(&store, Area::Uploads, CleanupConfig::default(), 5), Cleaned::default());
    assert_eq!(clean(&store, Area::Uploads, CleanupConfig::default(), 7), removed(1, 3));
    assert!(upload.append(b"b").is_err());
    assert_eq!(store.used_bytes(), 0);
    store.create_upload(Algorithm::Sha256).unwrap();
    assert_eq!(clean(&store, Area::Uploads, ttl(1), 2), removed(1, 0));
}

#[test]
fn a_full_disk_is_cleaned_of_more() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digests = [b"aa", b"bb", b"cc"].map(|bytes| put(&store, bytes));
    let full = |used: u64| Some(Disk { total: 10, used });
    let config = CleanupConfig { aggressive_threshold: Some(80), ..CleanupConfig::default() };
    let run = |config: &CleanupConfig, hours: u32, used: u64| {
        store.clean_on(Area::Cache, config, after(hours), full(used)).unwrap()
    };
    assert_eq!(run(&config, 2, 7), Cleaned::default());
    // Down to a bound, the least recently used go whatever their age.
    let bounded = CleanupConfig { aggressive_lower_threshold: Some(60), ..config };
    assert_eq!(run(&bounded, 0, 7), Cleaned::default());
    drop(store.blob(&digests[0]).unwrap());
    let aggressive = |cleaned: Cleaned| Cleaned { aggressive: true, ..cleaned };
    assert_eq!(run(&bounded, 0, 8), aggressive(removed(1, 2)));
    let there = digests.map(|digest| store.contains(&digest));
    assert_eq!(there, [true, false, true]);
    // Uploads are not blobs that one can do without: they go by age.
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    let uploads = |hours| store.clean_on(Area::Uploads, &bounded, after(hours), full(10)).unwrap();
    assert_eq!(uploads(0), aggressive(Cleaned::default()));
    assert_eq!(uploads(2), aggressive(removed(1, 0)));
    drop(upload);
    // Without a bound, the other ttl holds.
    let hasty = CleanupConfig { aggressive_ttl: HOUR * 3, ..config };
    assert_eq!(run(&hasty, 2, 9), aggressive(Cleaned::default()));
    assert_eq!(run(&hasty, 4, 9), aggressive(removed(2, 4)));
}

#[test]
fn the_disk_of_the_store_is_looked_at() {
    let fixture = Fixture::new();
    let store = fixture.open();
    put(&store, b"aa");
    // Every disk is that full.
    let config = CleanupConfig { aggressive_threshold: Some(0), ..CleanupConfig::default() };
    assert!(clean(&store, Area::Cache, config, 0).aggressive);
    assert!(!clean(&store, Area::Cache, CleanupConfig::default(), 0).aggressive);
}
