//! Complete blobs: sidecars, what a change of the file does, and what a crash leaves.

use std::fs;

use super::{Fixture, HELLO, hello, names, put};
use crate::store::sidecar::{decode_access_time, encode_access_time};
use crate::store::{Sidecar, Store, StoreConfig};
use crate::{Digest, ErrorKind};

#[test]
fn access_time_is_a_go_varint_in_eight_bytes() {
    // What `binary.PutVarint(make([]byte, 8), 1700000000)` writes.
    assert_eq!(encode_access_time(1_700_000_000), [0x80, 0xc4, 0x9f, 0xd5, 0x0c, 0, 0, 0]);
    assert_eq!(encode_access_time(0), [0; 8]);
    for secs in [0, 63, 64, 1_700_000_000, 1 << 40] {
        assert_eq!(decode_access_time(&encode_access_time(secs)), Some(secs));
    }
    assert_eq!(decode_access_time(&[1]), None, "minus one");
    assert_eq!(decode_access_time(&[0x80; 8]), None);
    assert_eq!(decode_access_time(&[0xff; 40]), None);
    assert_eq!(decode_access_time(&[]), None);
}

#[test]
fn access_time_is_written_now_and_then() {
    let fixture = Fixture::new();
    let digest = put(&fixture.open(), HELLO);
    let path = fixture.cached(&digest).join("_last_access_time");
    fs::write(&path, encode_access_time(1_700_000_000)).unwrap();
    let store = fixture.open();
    assert_eq!(store.entries()[0].accessed, at(1_700_000_000));
    let blob = store.blob(&digest).unwrap().unwrap();
    let written = fs::read(&path).unwrap();
    assert!(decode_access_time(&written).unwrap() > 1_700_000_000);
    fs::remove_file(&path).unwrap();
    drop(blob);
    store.blob(&digest).unwrap().unwrap();
    assert!(!path.exists(), "it was written less than five minutes ago");
}

fn at(secs: u64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs)
}

#[test]
fn sidecars_are_files_beside_data() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let dir = fixture.cached(&digest);
    let blob = store.blob(&digest).unwrap().unwrap();
    assert!(blob.metainfo().is_none() && blob.pieces().is_empty());
    store.put_metainfo(&hello()).unwrap();
    assert!(blob.pieces().is_full() && blob.pieces().len() == 3);
    store.set_metadata(&digest, &Sidecar::persist()).unwrap();
    let namespace = "library/nginx".parse().unwrap();
    store.set_metadata(&digest, &Sidecar::namespace(&namespace)).unwrap();
    assert_eq!(fs::read(dir.join("_torrentmeta")).unwrap(), hello().to_json());
    assert_eq!(fs::read(dir.join("_persist")).unwrap(), b"true");
    assert_eq!(store.write_backs(&digest).unwrap(), [namespace]);
    assert_eq!(store.metainfo(&digest).unwrap(), Some(hello()));
    assert_eq!(store.metadata(&digest, "_persist").unwrap().unwrap(), b"true");
    assert_eq!(store.metadata(&digest, "_other").unwrap(), None);
    let names = names(&dir);
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
    assert!(store.remove_metadata(&digest, "_torrentmeta").unwrap());
    assert!(blob.metainfo().is_none());
}

#[test]
fn names_of_sidecars_are_checked() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let long = format!("_{}", "a".repeat(64));
    for name in ["", "_", "data", "_a/b", "_..", "../_a", "_status", "_verified", &long] {
        assert!(Sidecar::new(name.to_owned(), vec![]).is_err(), "{name}");
        assert!(store.metadata(&digest, name).is_err(), "{name}");
        assert!(store.remove_metadata(&digest, name).is_err(), "{name}");
    }
    let large = Sidecar::new("_large", vec![0; (64 << 10) + 1]).unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    let missing = store.set_metadata(&Digest::sha256(b""), &Sidecar::persist()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_not_written_back_is_not_deleted() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    store.set_metadata(&digest, &Sidecar::persist()).unwrap();
    assert_eq!(store.persist_pending(), [digest]);
    assert_eq!(store.delete(&digest, false).unwrap_err().kind(), ErrorKind::Conflict);
    drop(store);
    let store = fixture.open();
    assert_eq!(store.persist_pending(), [digest]);
    store.remove_metadata(&digest, Sidecar::PERSIST).unwrap();
    assert!(store.persist_pending().is_empty());
    let blob = store.blob(&digest).unwrap().unwrap();
    assert!(store.delete(&digest, false).unwrap());
    assert!(!store.delete(&digest, false).unwrap());
    assert!(!store.contains(&digest) && store.blob(&digest).unwrap().is_none());
    assert!(!fixture.cached(&digest).exists());
    assert_eq!(store.used_bytes(), 0);
    let mut bytes = [0; 12];
    blob.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, HELLO, "who has it open reads on");
}

#[test]
fn a_forced_delete_takes_what_is_not_written_back() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    store.set_metadata(&digest, &Sidecar::persist()).unwrap();
    assert!(store.delete(&digest, true).unwrap());
    assert!(store.persist_pending().is_empty() && store.list().is_empty());
}

#[test]
fn a_changed_file_is_hashed_before_it_is_served() {
    let fixture = Fixture::new();
    let digest = put(&fixture.open(), HELLO);
    let data = fixture.cached(&digest).join("data");
    let verified = fixture.cached(&digest).join("_verified");
    let stamp = fs::read(&verified).unwrap();

    // The same bytes in another file: sound, and stamped anew.
    fs::remove_file(&data).unwrap();
    fs::write(&data, HELLO).unwrap();
    let store = fixture.open();
    assert!(store.blob(&digest).unwrap().is_some());
    assert_ne!(fs::read(&verified).unwrap(), stamp);
    drop(store);

    // Without a stamp, as uber/kraken leaves it.
    fs::remove_file(&verified).unwrap();
    let store = fixture.open();
    assert!(store.blob(&digest).unwrap().is_some());
    assert!(verified.exists());
    drop(store);

    // Other bytes of the same length.
    fs::write(&data, b"hello krakeN").unwrap();
    let store = fixture.open();
    assert!(store.contains(&digest), "it is not read before it is asked for");
    assert!(store.blob(&digest).unwrap().is_none());
    assert!(!store.contains(&digest) && !fixture.cached(&digest).exists());
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn a_file_that_has_vanished_is_forgotten() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    fs::remove_dir_all(fixture.cached(&digest)).unwrap();
    assert!(store.blob(&digest).unwrap().is_none());
    assert!(!store.contains(&digest));
    assert_eq!(put(&store, HELLO), digest);
    assert!(store.blob(&digest).unwrap().is_some());
}

#[test]
fn what_a_crash_left_is_cleaned() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let (no_data, no_meta) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
    drop(store);
    fs::write(fixture.cached(&digest).join("_persist.tmp"), b"tr").unwrap();
    fs::create_dir_all(fixture.cached(&no_data)).unwrap();
    fs::write(fixture.cached(&no_data).join("_persist"), b"true").unwrap();
    fs::create_dir_all(fixture.download(&no_meta)).unwrap();
    fs::write(fixture.download(&no_meta).join("data"), b"2").unwrap();
    let stranger = fixture.dir.path().join("cache/lost+found");
    fs::create_dir_all(&stranger).unwrap();
    let store = fixture.open();
    assert_eq!(store.list(), [digest]);
    assert_eq!(store.used_bytes(), 12);
    assert_eq!(names(&fixture.cached(&digest)), ["_last_access_time", "_verified", "data"]);
    assert!(!fixture.cached(&no_data).exists() && !fixture.download(&no_meta).exists());
    assert!(stranger.exists(), "what is not ours stays");
}

#[test]
fn an_unreadable_metainfo_is_as_good_as_none() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    fs::write(fixture.cached(&digest).join("_torrentmeta"), b"{").unwrap();
    let blob = store.blob(&digest).unwrap().unwrap();
    assert!(blob.metainfo().is_none());
    assert_eq!(blob.compute_metainfo(5).unwrap(), hello());
}

#[test]
fn one_process_has_the_store_open() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(crate::Algorithm::Sha256).unwrap();
    assert_eq!(Store::open(fixture.config()).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(fixture.dir.path().join("upload").join(upload.id().as_str()).exists());
    drop((store, upload));
    fixture.open();
}

#[test]
fn directories_that_would_be_wiped_are_refused() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path();
    let inside = StoreConfig { cache_dir: dir.join("upload/cache"), ..fixture.config() };
    assert_eq!(Store::open(inside).unwrap_err().kind(), ErrorKind::Invalid);
    std::os::unix::fs::symlink(dir, dir.join("link")).unwrap();
    let linked = StoreConfig { upload_dir: dir.join("link"), ..fixture.config() };
    assert_eq!(Store::open(linked).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(Store::open(StoreConfig::default()).is_err());
    let same = StoreConfig { download_dir: Some(dir.join("cache")), ..fixture.config() };
    assert!(Store::open(same).is_err());
}

#[test]
fn entries_tell_what_cleanup_needs() {
    let fixture = Fixture { durable: true, ..Fixture::new() };
    let store = fixture.open();
    let mut digests = [put(&store, HELLO), put(&store, b"")];
    digests.sort();
    assert_eq!(store.list(), digests);
    let entries = store.entries();
    let len: u64 = entries.iter().map(|entry| entry.len).sum();
    assert_eq!((len, entries.len()), (12, 2));
    assert!(entries.iter().all(|entry| !entry.persist));
    assert_eq!(store.stat(&Digest::sha256(HELLO)).unwrap(), Some(12));
    assert_eq!(store.stat(&Digest::sha256(b"x")).unwrap(), None);
}
