//! What goes when the ceiling is reached, and what stays.

use std::fs;
use std::sync::{Arc, Mutex};

use super::{Fixture, hello, put};
use crate::store::sidecar::encode_access_time;
use crate::store::{Recall, Sidecar, Store, StoreStats};
use crate::{Algorithm, Digest, ErrorKind, MetaInfo};

/// Ten bytes that differ by `seed`.
fn ten(seed: u8) -> [u8; 10] {
    [seed; 10]
}

fn there(store: &Store, seeds: &[u8]) -> Vec<bool> {
    seeds.iter().map(|seed| store.contains(&Digest::sha256(&ten(*seed)))).collect()
}

#[test]
fn the_least_recently_used_goes_first() {
    let fixture = Fixture::with_capacity(30);
    let store = fixture.open();
    let digests = [1, 2, 3].map(|seed| put(&store, &ten(seed)));
    store.blob(&digests[0]).unwrap().unwrap();
    put(&store, &ten(4));
    assert_eq!(there(&store, &[1, 2, 3, 4]), [true, false, true, true]);
    assert!(!fixture.cached(&digests[1]).exists());
    assert_eq!(store.used_bytes(), 30);
    put(&store, &[7; 20]);
    assert_eq!(there(&store, &[1, 3, 4]), [false, false, true]);
    let stats = StoreStats {
        used_bytes: 30,
        capacity_bytes: Some(30),
        complete: 2,
        arriving: 0,
        evicted_blobs: 3,
        evicted_bytes: 30,
    };
    assert_eq!(store.stats(), stats);
}

#[test]
fn what_is_pinned_open_or_not_written_back_stays() {
    let fixture = Fixture::with_capacity(40);
    let store = fixture.open();
    let digests = [1, 2, 3, 4].map(|seed| put(&store, &ten(seed)));
    let pin = store.pin(&digests[0]);
    let open = store.blob(&digests[1]).unwrap().unwrap();
    store.set_metadata(&digests[2], &Sidecar::persist()).unwrap();
    put(&store, &ten(5));
    assert_eq!(there(&store, &[1, 2, 3, 4, 5]), [true, true, true, false, true]);

    // Nothing goes where it would not be enough.
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    assert_eq!(upload.append(&[6; 11]).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(upload.len(), 0);
    assert_eq!(there(&store, &[1, 2, 3, 5]), [true; 4]);
    assert_eq!(store.used_bytes(), 40);

    drop(pin);
    assert_eq!(upload.append(&[6; 11]).unwrap(), 11);
    assert_eq!(there(&store, &[1, 2, 3, 5]), [false, true, true, false]);
    upload.cancel().unwrap();
    drop(open);
    store.remove_metadata(&digests[2], Sidecar::PERSIST).unwrap();
    assert_eq!(store.evict(5).unwrap(), 10);
    assert_eq!(store.evict(u64::MAX).unwrap(), 10);
    assert_eq!(store.used_bytes(), 0);
}

#[test]
fn downloads_take_their_room_at_once() {
    let fixture = Fixture::with_capacity(20);
    let store = fixture.open();
    put(&store, &ten(1));
    let blob = store.open_download(&hello()).unwrap();
    assert_eq!(there(&store, &[1]), [false]);
    assert_eq!(store.used_bytes(), 12);
    let other = MetaInfo::of_bytes(Digest::sha256(&ten(2)), &ten(2), 5).unwrap();
    assert_eq!(store.open_download(&other).unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(!fixture.download(&other.digest()).exists());
    assert_eq!(store.used_bytes(), 12);
    // A download that nobody has open any more is given up for one that somebody wants.
    drop(blob);
    store.open_download(&other).unwrap();
    assert!(!fixture.download(&hello().digest()).exists());
    assert_eq!(store.used_bytes(), 10);
    let large = MetaInfo::of_bytes(Digest::sha256(&[0; 21]), &[0; 21], 5).unwrap();
    assert_eq!(store.open_download(&large).unwrap_err().kind(), ErrorKind::NoSpace);
}

#[test]
fn the_order_of_use_survives_a_restart() {
    let mut fixture = Fixture::new();
    let store = fixture.open();
    let digests = [1, 2, 3].map(|seed| put(&store, &ten(seed)));
    drop(store);
    for (digest, time) in digests.iter().zip([3000, 1000, 2000]) {
        let path = fixture.cached(digest).join("_last_access_time");
        fs::write(path, encode_access_time(1_700_000_000 + time)).unwrap();
    }
    fixture.capacity_bytes = Some(20);
    let store = fixture.open();
    assert_eq!(there(&store, &[1, 2, 3]), [true, false, true], "what is too much goes at start");
    put(&store, &ten(4));
    assert_eq!(there(&store, &[1, 3, 4]), [true, false, true]);
}

#[test]
fn a_pin_may_come_before_its_blob() {
    let fixture = Fixture::with_capacity(10);
    let store = fixture.open();
    let pin = store.pin(&Digest::sha256(&ten(1)));
    put(&store, &ten(1));
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    assert_eq!(upload.append(b"x").unwrap_err().kind(), ErrorKind::NoSpace);
    drop(pin);
    upload.append(b"x").unwrap();
    assert_eq!(store.used_bytes(), 1);
    drop((upload, store));
    assert_eq!(fixture.open().used_bytes(), 0);
}

#[test]
fn many_threads_stay_below_the_ceiling() {
    let fixture = Fixture::with_capacity(200);
    let store = &fixture.open();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                for round in 0..40u8 {
                    let bytes = [thread * 40 + round; 25];
                    let digest = put(store, &bytes);
                    assert!(store.used_bytes() <= 200);
                    if let Some(blob) = store.blob(&digest).unwrap() {
                        let mut read = [0; 25];
                        blob.read_at(0, &mut read).unwrap();
                        assert_eq!(read, bytes);
                    }
                }
            });
        }
    });
    let sum: u64 = store.entries().iter().map(|entry| entry.len).sum();
    assert_eq!(store.used_bytes(), sum);
    assert_eq!(sum, 200);
}

/// Keeps blobs open until it is asked for them.
fn keeper(store: &Store, digests: &[Digest]) -> (Arc<Recall>, Arc<Mutex<Vec<Digest>>>) {
    let open = digests.iter().map(|digest| (*digest, store.blob(digest).unwrap().unwrap()));
    let open = Mutex::new(open.collect::<Vec<_>>());
    let asked: Arc<Mutex<Vec<Digest>>> = Arc::default();
    let log = Arc::clone(&asked);
    let recall: Arc<Recall> = Arc::new(move |digests| {
        log.lock().unwrap().extend(digests);
        let kept = std::mem::take(&mut *open.lock().unwrap());
        let (gone, kept) = kept.into_iter().partition(|(digest, _)| digests.contains(digest));
        *open.lock().unwrap() = kept;
        let gone: Vec<_> = gone;
        std::thread::spawn(move || drop(gone));
    });
    store.on_recall(&recall);
    (recall, asked)
}

#[test]
fn who_keeps_blobs_open_is_asked_for_the_oldest_that_are_in_the_way() {
    let fixture = Fixture::with_capacity(40);
    let store = fixture.open();
    let digests = [1, 2, 3, 4].map(|seed| put(&store, &ten(seed)));
    let (recall, asked) = keeper(&store, &digests);
    put(&store, &[5; 15]);
    assert_eq!(there(&store, &[1, 2, 3, 4]), [false, false, true, true]);
    assert!(asked.lock().unwrap().iter().all(|digest| digests[..2].contains(digest)));

    // Nobody is asked for what would not be enough, or when it is gone.
    asked.lock().unwrap().clear();
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    assert_eq!(upload.append(&[6; 41]).unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(store.evict(16).unwrap(), 25);
    assert_eq!(there(&store, &[3, 4]), [false, true]);
    assert_eq!(*asked.lock().unwrap(), digests[2..3]);
    drop(recall);
}

#[test]
fn what_does_not_come_back_is_waited_for_in_vain() {
    let fixture = Fixture::with_capacity(20);
    let store = fixture.open();
    let digests = [1, 2].map(|seed| put(&store, &ten(seed)));
    let open = store.blob(&digests[0]).unwrap().unwrap();
    let (recall, _) = keeper(&store, &digests[1..]);
    // The first is asked for first; it stays, and the other goes.
    put(&store, &ten(3));
    assert_eq!(there(&store, &[1, 2, 3]), [true, false, true]);
    let blob = store.open_download(&hello());
    assert_eq!(blob.unwrap_err().kind(), ErrorKind::NoSpace);
    drop((recall, open));
}
