//! Uploads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{Fixture, HELLO, hello, names};
use crate::store::{Sidecar, Store, StoreConfig, UploadId};
use crate::{Algorithm, Digest, DigestHasher, ErrorKind};

#[test]
fn an_upload_becomes_a_blob_in_the_layout_of_uber_kraken() {
    let fixture = Fixture { durable: true, ..Fixture::new() };
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    assert_eq!(upload.append(&HELLO[..5]).unwrap(), 5);
    assert_eq!(store.upload(upload.id()).unwrap().append(&HELLO[5..]).unwrap(), 12);
    let dir = fixture.dir.path().join("upload").join(upload.id().as_str());
    assert_eq!(fs::read(dir.join("data")).unwrap(), HELLO);
    let digest = Digest::sha256(HELLO);
    upload.verify(&digest).unwrap();
    let namespace = "library/nginx".parse().unwrap();
    let sidecars = [
        Sidecar::persist(),
        Sidecar::namespace(&namespace),
        Sidecar::torrent_meta(&hello()),
        Sidecar::new("_startedat", b"x".to_vec()).unwrap(),
    ];
    let blob = upload.commit(&digest, &sidecars).unwrap();
    assert!(blob.is_complete() && blob.metainfo() == Some(hello()) && blob.len() == 12);
    assert!(!dir.exists());
    let hex = "23dd464417d01f15d97d48244dbe893ef8d30dc77ba2f0178bc0a5b7838650a4";
    let entry = fixture.dir.path().join("cache/23/dd").join(hex);
    assert_eq!(fs::read(entry.join("data")).unwrap(), HELLO);
    let expected = [
        "_last_access_time",
        "_namespace",
        "_persist",
        "_startedat",
        "_torrentmeta",
        "_verified",
        "data",
    ];
    assert_eq!(names(&entry), expected);
    assert_eq!(fs::read(entry.join("_last_access_time")).unwrap().len(), 8);
    let mode = fs::metadata(&entry).unwrap().permissions().mode();
    assert_eq!(mode & 0o700, 0o700);
    assert_eq!(store.persist_pending(), [digest]);
    assert_eq!(upload.append(b"x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.upload(upload.id()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn writes_may_come_in_any_order() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for order in [[0, 5, 10], [10, 5, 0], [5, 0, 10], [0, 10, 5]] {
        let upload = store.create_upload(Algorithm::Sha256).unwrap();
        upload.write_at(0, b"XXXXX").unwrap();
        for start in order {
            upload.write_at(start as u64, &HELLO[start..(start + 5).min(12)]).unwrap();
        }
        assert_eq!(upload.len(), 12);
        let digest = Digest::sha256(HELLO);
        let blob = upload.commit(&digest, &[]).unwrap();
        let mut bytes = [0; 12];
        blob.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, HELLO);
        assert_eq!(store.used_bytes(), 12);
        drop(blob);
        store.delete(&digest, false).unwrap();
        assert_eq!(store.used_bytes(), 0);
    }
}

#[test]
fn an_upload_with_a_hole_is_refused_until_it_is_filled() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    upload.write_at(2, b"x").unwrap();
    let digest = Digest::sha256(b"\0\0x");
    for refused in [
        upload.verify(&digest).unwrap_err(),
        upload.compute_metainfo(&digest, 5).unwrap_err(),
        upload.commit(&digest, &[]).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().ends_with("the bytes 0-1 of 3 were never written"));
    }
    upload.write_at(0, b"\0\0").unwrap();
    upload.commit(&digest, &[]).unwrap();
    assert_eq!(store.used_bytes(), 3);
}

#[test]
fn only_what_is_written_takes_room() {
    let fixture = Fixture::with_capacity(1000);
    let store = fixture.open();
    let held = super::put(&store, &[1; 900]);
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    for far in [999, 1_000_000, 100_000_000_000] {
        assert_eq!(upload.write_at(far, b"x").unwrap(), far + 1);
    }
    upload.write_at(999, b"yy").unwrap();
    assert_eq!(upload.write_at(1 << 43, b"").unwrap(), 100_000_000_001, "of no bytes none is last");
    assert_eq!(store.used_bytes(), 904);
    assert!(store.contains(&held), "one byte leaves the rest of the cache alone");
    upload.cancel().unwrap();
    assert_eq!(store.used_bytes(), 900);

    // What does not fit is not counted, and what was there before may be written over.
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    let _pinned = store.pin(&held);
    upload.write_at(50, &[2; 50]).unwrap();
    assert_eq!(upload.write_at(0, &[2; 101]).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(store.used_bytes(), 950);
    upload.write_at(0, &[2; 100]).unwrap();
    assert_eq!((store.used_bytes(), upload.len()), (1000, 100));
    upload.commit(&Digest::sha256(&[2; 100]), &[]).unwrap();
    assert_eq!(store.used_bytes(), 1000);
}

#[test]
fn an_upload_is_in_so_many_parts_at_most() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    let parts_max = crate::store::limits::UPLOAD_PARTS_MAX as u64;
    for part in 0..parts_max {
        upload.write_at(part * 2, b"x").unwrap();
    }
    let refused = upload.write_at(parts_max * 2, b"x").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!((upload.len(), store.used_bytes()), (parts_max * 2 - 1, parts_max));
    // One that closes a hole makes them fewer.
    upload.write_at(1, b"x").unwrap();
    upload.write_at(parts_max * 2, b"x").unwrap();
}

#[test]
fn a_wrong_digest_drops_the_upload() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    upload.append(HELLO).unwrap();
    let wrong = Digest::sha256(b"another");
    assert_eq!(upload.verify(&wrong).unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(upload.len(), 12);
    assert_eq!(upload.commit(&wrong, &[]).unwrap_err().kind(), ErrorKind::Mismatch);
    assert!(!store.contains(&wrong) && store.blob(&wrong).unwrap().is_none());
    assert!(names(&fixture.dir.path().join("upload")).is_empty());
    assert!(names(&fixture.dir.path().join("cache")).is_empty());
    assert_eq!(store.used_bytes(), 0);
    assert_eq!(upload.commit(&wrong, &[]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_second_upload_of_a_blob_is_as_good() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = Digest::sha256(HELLO);
    let uploads = [0, 1].map(|_| store.create_upload(Algorithm::Sha256).unwrap());
    for upload in &uploads {
        upload.append(HELLO).unwrap();
    }
    assert_eq!(store.used_bytes(), 24);
    let first = uploads[0].commit(&digest, &[]).unwrap();
    let second = uploads[1].commit(&digest, &[Sidecar::persist()]).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &second));
    assert_eq!(store.persist_pending(), [digest], "the second came with sidecars");
    assert_eq!(store.used_bytes(), 12);
    assert!(names(&fixture.dir.path().join("upload")).is_empty());
}

#[test]
fn sha512_has_a_directory_of_its_own() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let mut hasher = DigestHasher::new(Algorithm::Sha512);
    hasher.update(HELLO);
    let digest = hasher.finish();
    // Begun under one algorithm, finished under the other: both are right.
    for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
        let upload = store.create_upload(algorithm).unwrap();
        upload.append(HELLO).unwrap();
        upload.commit(&digest, &[]).unwrap();
        let entry = super::entry(&fixture.dir.path().join("cache/sha512"), &digest);
        assert_eq!(fs::read(entry.join("data")).unwrap(), HELLO);
        store.delete(&digest, false).unwrap();
    }
    let upload = store.create_upload(Algorithm::Sha512).unwrap();
    upload.append(HELLO).unwrap();
    upload.commit(&digest, &[]).unwrap();
    drop((store, upload));
    let store = fixture.open();
    assert_eq!(store.list(), [digest]);
    assert!(store.blob(&digest).unwrap().is_some());
}

#[test]
fn uploads_do_not_outlive_the_store() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    upload.append(HELLO).unwrap();
    let id = upload.id().clone();
    drop((store, upload));
    fs::write(fixture.dir.path().join("upload/stray"), b"x").unwrap();
    let store = fixture.open();
    assert!(names(&fixture.dir.path().join("upload")).is_empty());
    assert_eq!(store.upload(&id).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn open_uploads_are_bounded_and_given_up() {
    let fixture = Fixture::new();
    let config = StoreConfig { uploads_max: 2, ..fixture.config() };
    let store = Store::open(config).unwrap();
    let first = store.create_upload(Algorithm::Sha256).unwrap();
    first.append(HELLO).unwrap();
    store.create_upload(Algorithm::Sha256).unwrap().append(HELLO).unwrap();
    let refused = store.create_upload(Algorithm::Sha256).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    first.cancel().unwrap();
    first.cancel().unwrap();
    assert_eq!(store.used_bytes(), 12);
    store.create_upload(Algorithm::Sha256).unwrap();
    assert_eq!(store.cancel_idle_uploads(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(store.cancel_idle_uploads(Duration::ZERO).unwrap(), 2);
    assert!(names(&fixture.dir.path().join("upload")).is_empty());
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn at_the_bound_the_longest_idle_without_a_byte_gives_way() {
    let fixture = Fixture::new();
    let config = StoreConfig { uploads_max: 4, ..fixture.config() };
    let store = Store::open(config).unwrap();
    let begin = || store.create_upload(Algorithm::Sha256);
    let with_bytes = begin().unwrap().id().clone();
    store.upload(&with_bytes).unwrap().append(b"x").unwrap();
    let held = begin().unwrap();
    let idle = [(); 2].map(|()| begin().unwrap().id().clone());
    for _ in 0..10 {
        begin().unwrap();
    }
    assert_eq!(store.upload_count(), 4);
    assert_eq!(names(&fixture.dir.path().join("upload")).len(), 4);
    for gone in &idle {
        assert_eq!(store.upload(gone).unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(store.upload(&with_bytes).unwrap().len(), 1);
    held.append(HELLO).unwrap();
    held.commit(&Digest::sha256(HELLO), &[]).unwrap();

    // Of two that have stood still equally long the first goes, and none that is held.
    let kept: Vec<_> = (0..3).map(|_| begin().unwrap()).collect();
    assert_eq!(begin().unwrap_err().kind(), ErrorKind::NoSpace);
    let last = kept[2].id().clone();
    drop(kept);
    begin().unwrap();
    begin().unwrap();
    assert!(store.upload(&last).is_ok());
    begin().unwrap();
    assert!(store.upload(&last).is_err());
}

#[test]
fn an_upload_has_a_file_once_it_has_a_byte() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    let dir = fixture.dir.path().join("upload").join(upload.id().as_str());
    assert_eq!(upload.append(b"").unwrap(), 0);
    assert!(names(&dir).is_empty());
    upload.append(b"x").unwrap();
    assert_eq!(names(&dir), ["data"]);
    upload.commit(&Digest::sha256(b"x"), &[]).unwrap();
    // The empty blob is a blob too.
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    let blob = upload.commit(&Digest::sha256(b""), &[]).unwrap();
    assert_eq!((blob.len(), store.used_bytes()), (0, 1));
}

#[test]
fn writers_take_turns() {
    let fixture = Fixture::new();
    let upload = fixture.open().create_upload(Algorithm::Sha256).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    upload.append(b"ab").unwrap();
                }
            });
        }
    });
    upload.commit(&Digest::sha256(&b"ab".repeat(200)), &[]).unwrap();
}

#[test]
fn names_of_uploads_are_no_paths() {
    let good = "123e4567-e89b-42d3-a456-426614174000";
    assert_eq!(good.parse::<UploadId>().unwrap().as_str(), good);
    for bad in ["", ".", "..", "../../../etc/passwd", &good.to_uppercase(), &good[1..]] {
        assert!(bad.parse::<UploadId>().is_err(), "{bad}");
    }
    assert!(good.replace('-', "/").parse::<UploadId>().is_err());
}

#[test]
fn a_length_beyond_the_limit_is_refused() {
    let fixture = Fixture::new();
    let upload = fixture.open().create_upload(Algorithm::Sha256).unwrap();
    for offset in [1 << 44, u64::MAX] {
        assert_eq!(upload.write_at(offset, b"x").unwrap_err().kind(), ErrorKind::TooLarge);
    }
    assert!(upload.is_empty());
}
