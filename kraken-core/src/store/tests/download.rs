//! Blobs that arrive piece by piece, and those who wait for them.

use std::fs;
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Counter, Fixture, HELLO, give, hello, names, put};
use crate::store::{Blob, Sidecar};
use crate::{Algorithm, Bitfield, Digest, ErrorKind, MetaInfo, PieceIndex};

fn marked(blob: &Blob) -> Vec<u32> {
    blob.pieces().iter().map(|index| index.0).collect()
}

#[test]
fn a_download_in_the_layout_of_uber_kraken() {
    let fixture = Fixture { durable: true, ..Fixture::new() };
    let store = fixture.open();
    let (meta, digest) = (hello(), hello().digest());
    let blob = store.open_download(&meta).unwrap();
    let dir = fixture.download(&digest);
    assert_eq!(names(&dir), ["_status", "_torrentmeta", "data"]);
    assert_eq!(fs::metadata(dir.join("data")).unwrap().len(), 12);
    assert_eq!(fs::read(dir.join("_status")).unwrap(), [0, 0, 0]);
    assert_eq!(fs::read(dir.join("_torrentmeta")).unwrap(), meta.to_json());
    give(&blob, 2, true);
    assert_eq!(fs::read(dir.join("_status")).unwrap(), [0, 0, 1]);
    assert_eq!(store.used_bytes(), 12);
    assert!(!store.contains(&digest) && store.blob(&digest).unwrap().is_none());
    assert!(Arc::ptr_eq(&blob, &store.find(&digest).unwrap().unwrap()));
    assert!(Arc::ptr_eq(&blob, &store.open_download(&meta).unwrap()));
    assert_eq!(blob.commit().unwrap_err().kind(), ErrorKind::Invalid, "pieces are missing");
    give(&blob, 0, true);
    give(&blob, 1, true);
    blob.commit_with(&[Sidecar::persist()]).unwrap();
    blob.commit().unwrap();
    assert!(blob.is_complete() && !dir.exists());
    assert!(Arc::ptr_eq(&blob, &store.blob(&digest).unwrap().unwrap()));
    let expected =
        ["_last_access_time", "_persist", "_status", "_torrentmeta", "_verified", "data"];
    assert_eq!(names(&fixture.cached(&digest)), expected);
    assert_eq!(store.persist_pending(), [digest]);
    assert_eq!(store.used_bytes(), 12);
    assert_eq!(blob.write_at(0, b"X").unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(blob.discard().unwrap_err().kind(), ErrorKind::Conflict);
    drop((blob, store));
    let store = fixture.open();
    let blob = store.open_download(&meta).unwrap();
    assert!(blob.is_complete() && blob.pieces().is_full());
}

#[test]
fn a_download_goes_on_after_a_restart_without_its_bad_pieces() {
    let fixture = Fixture::new();
    let (meta, digest) = (hello(), hello().digest());
    let blob = fixture.open().open_download(&meta).unwrap();
    give(&blob, 0, true);
    give(&blob, 1, false);
    give(&blob, 2, true);
    drop(blob);
    let data = fixture.download(&digest).join("data");
    fs::write(&data, b"hellO kraken").unwrap();
    let store = fixture.open();
    assert_eq!(store.used_bytes(), 12);
    let blob = store.arriving(&digest).unwrap().unwrap();
    assert_eq!(marked(&blob), [1, 2]);
    assert_eq!(fs::read(fixture.download(&digest).join("_status")).unwrap(), [0, 1, 1]);
    let mut byte = [0];
    assert_eq!(blob.read_at(4, &mut byte).unwrap_err().kind(), ErrorKind::Pending);
    blob.read_at(5, &mut byte).unwrap();
    give(&blob, 0, true);
    blob.commit().unwrap();
    assert_eq!(fs::read(fixture.cached(&digest).join("data")).unwrap(), HELLO);
}

#[test]
fn after_a_restart_a_crc_does_not_make_bytes_readable() {
    let fixture = Fixture::new();
    let meta = hello().without_piece_digests();
    let blob = fixture.open().open_download(&meta).unwrap();
    give(&blob, 0, true);
    drop(blob);
    let store = fixture.open();
    let blob = store.open_download(&meta).unwrap();
    assert_eq!(marked(&blob), [0]);
    assert_eq!(blob.readable_to(0), 0);
    blob.read_marked_at(0, &mut [0; 5]).unwrap();
    assert_eq!(blob.read_marked_at(0, &mut [0; 6]).unwrap_err().kind(), ErrorKind::Pending);
    assert_eq!(blob.read_at(0, &mut [0; 5]).unwrap_err().kind(), ErrorKind::Pending);
    blob.write_at(5, b"wrong").unwrap();
    blob.mark(PieceIndex(1), false).unwrap();
    // Metainfo with piece digests of the same sums takes over, and says which marks are right.
    let joined = store.open_download(&hello()).unwrap();
    assert!(Arc::ptr_eq(&blob, &joined));
    assert_eq!(blob.metainfo(), Some(hello()));
    assert_eq!((marked(&blob), blob.readable_to(0)), (vec![0], 5));
    drop((blob, joined, store));
    let blob = fixture.open().arriving(&meta.digest()).unwrap().unwrap();
    assert_eq!(blob.readable_to(0), 5);
}

#[test]
fn another_geometry_begins_anew() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = Digest::sha256(HELLO);
    let blob = store.open_download(&hello()).unwrap();
    give(&blob, 0, true);
    let other = MetaInfo::of_bytes(digest, HELLO, 4).unwrap();
    let refused = store.open_download(&other).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "somebody has it open");
    drop(blob);
    let blob = store.open_download(&other).unwrap();
    assert_eq!(blob.pieces(), Bitfield::new(3));
    assert_eq!(blob.metainfo(), Some(other));
    assert_eq!(store.used_bytes(), 12);
}

#[test]
fn files_that_do_not_fit_begin_anew() {
    let fixture = Fixture::new();
    let dir = fixture.download(&hello().digest());
    for (name, content) in [("_status", &b"\x01"[..]), ("data", b"hello"), ("_torrentmeta", b"{")] {
        let blob = fixture.open().open_download(&hello()).unwrap();
        give(&blob, 0, true);
        drop(blob);
        fs::write(dir.join(name), content).unwrap();
        let store = fixture.open();
        let blob = store.open_download(&hello()).unwrap();
        assert!(marked(&blob).is_empty(), "{name}");
        blob.discard().unwrap();
        assert_eq!(store.used_bytes(), 0);
    }
}

#[test]
#[cfg(not(feature = "bench-unverified"))]
fn a_blob_that_does_not_match_is_not_committed() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let lie = MetaInfo::of_bytes(Digest::sha256(b"another one!"), HELLO, 5).unwrap();
    let blob = store.open_download(&lie).unwrap();
    for index in [0, 1, 2] {
        give(&blob, index, index > 0);
    }
    for _ in 0..2 {
        assert_eq!(blob.commit().unwrap_err().kind(), ErrorKind::Mismatch);
    }
    assert!(!blob.is_complete() && !store.contains(&lie.digest()));
    assert!(names(&fixture.dir.path().join("cache")).is_empty());
    blob.discard().unwrap();
    blob.discard().unwrap();
    assert!(!fixture.download(&lie.digest()).exists());
    assert_eq!(store.used_bytes(), 0);
    for error in [
        blob.read_at(5, &mut [0]).unwrap_err(),
        blob.write_at(0, b"x").unwrap_err(),
        blob.mark(PieceIndex(0), true).unwrap_err(),
        blob.commit().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
    let again = store.open_download(&lie).unwrap();
    assert!(!Arc::ptr_eq(&blob, &again) && marked(&again).is_empty());
}

#[test]
fn the_whole_hash_does_not_depend_on_the_order_of_pieces() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let fixture = Fixture::new();
        let blob = fixture.open().open_download(&hello()).unwrap();
        order.into_iter().for_each(|index| give(&blob, index, false));
        assert_eq!(blob.readable_to(0), 0);
        blob.commit().unwrap();
        assert_eq!(blob.readable_to(0), 12);
    }
}

#[test]
fn the_empty_blob_has_no_pieces() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let meta = MetaInfo::of_bytes(Digest::sha256(b""), b"", 5).unwrap();
    let blob = store.open_download(&meta).unwrap();
    blob.commit().unwrap();
    assert_eq!(store.stat(&meta.digest()).unwrap(), Some(0));
    drop((blob, store));
    assert!(fixture.open().blob(&meta.digest()).unwrap().unwrap().is_empty());
}

#[test]
fn marked_pieces_are_not_written_again() {
    let fixture = Fixture::new();
    let blob = fixture.open().open_download(&hello()).unwrap();
    give(&blob, 1, true);
    for (offset, len) in [(5, 5), (0, 6), (9, 3)] {
        let refused = blob.write_at(offset, &HELLO[..len]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
    assert_eq!(blob.write_at(10, b"xyz").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(blob.mark(PieceIndex(3), true).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn an_upload_may_overtake_a_download() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (meta, digest) = (hello(), hello().digest());
    let arriving = store.open_download(&meta).unwrap();
    give(&arriving, 0, true);
    put(&store, HELLO);
    assert!(!arriving.is_complete() && store.contains(&digest));
    assert!(store.find(&digest).unwrap().unwrap().is_complete());
    give(&arriving, 1, true);
    give(&arriving, 2, true);
    arriving.commit().unwrap();
    assert!(arriving.is_complete() && !fixture.download(&digest).exists());
    let mut bytes = [0; 12];
    arriving.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, HELLO);
    assert_eq!(store.used_bytes(), 12);
}

#[test]
fn a_complete_blob_takes_only_metainfo_that_is_true_of_it() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = put(&store, HELLO);
    let plain = hello().without_piece_digests();
    let blob = store.open_download(&plain).unwrap();
    assert_eq!(blob.metainfo(), Some(hello()), "the piece digests come of themselves");
    let other = MetaInfo::of_bytes(digest, HELLO, 4).unwrap();
    store.open_download(&other).unwrap();
    assert_eq!(store.metainfo(&digest).unwrap(), Some(other));
    for lie in [&b"hello krakeN"[..], b"hello"] {
        let lie = MetaInfo::of_bytes(digest, lie, 5).unwrap();
        assert_eq!(store.open_download(&lie).unwrap_err().kind(), ErrorKind::Mismatch);
    }
}

#[test]
fn readers_are_woken_when_their_bytes_are_readable() {
    let fixture = Fixture::new();
    let blob = fixture.open().open_download(&hello()).unwrap();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut cx = Context::from_waker(&waker);
    let mut reader = blob.readable(3..7);
    let mut whole = pin!(blob.completed());
    for _ in 0..10 {
        assert!(reader.poll_readable(3..7, &mut cx).is_pending());
        assert!(whole.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(blob.waiting(), 2, "polling again takes no second place");
    give(&blob, 0, true);
    give(&blob, 1, false);
    assert_eq!(counter.count(), 0, "a piece of which only the CRC is known is not readable");
    assert!(reader.poll_readable(0..5, &mut cx).is_ready());
    assert_eq!(blob.waiting(), 1);
    assert!(reader.poll_readable(3..7, &mut cx).is_pending());
    blob.mark(PieceIndex(1), true).unwrap();
    assert_eq!(counter.count(), 1);
    assert!(matches!(reader.poll_readable(3..7, &mut cx), Poll::Ready(Ok(()))));
    assert!(reader.poll_readable(7..12, &mut cx).is_pending());
    drop(reader);
    assert_eq!(blob.waiting(), 1, "who is dropped waits no more");
    give(&blob, 2, false);
    blob.commit().unwrap();
    assert_eq!(counter.count(), 2);
    assert!(matches!(whole.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    assert!(blob.readable(0..12).poll_readable(0..12, &mut cx).is_ready());
    let Poll::Ready(Err(error)) = blob.readable(0..13).poll_readable(0..13, &mut cx) else {
        panic!("there are only 12 bytes");
    };
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn readers_of_a_discarded_blob_get_an_error() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let blob = store.open_download(&hello()).unwrap();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut cx = Context::from_waker(&waker);
    let mut reader = pin!(blob.readable(0..12));
    assert!(reader.as_mut().poll(&mut cx).is_pending());
    assert!(store.delete(&hello().digest(), false).unwrap());
    assert_eq!(counter.count(), 1);
    let Poll::Ready(Err(error)) = reader.as_mut().poll(&mut cx) else { panic!("it is gone") };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(store.find(&hello().digest()).unwrap().is_none());
}

#[test]
fn without_a_download_directory_there_are_no_downloads() {
    let fixture = Fixture::new();
    let config = crate::store::StoreConfig { download_dir: None, ..fixture.config() };
    let store = crate::store::Store::open(config).unwrap();
    assert_eq!(store.open_download(&hello()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(store.find(&hello().digest()).unwrap().is_none());
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    upload.append(HELLO).unwrap();
    upload.commit(&hello().digest(), &[]).unwrap();
    assert!(store.open_download(&hello()).unwrap().is_complete());
}

#[test]
fn many_write_and_read_one_blob_at_once() {
    let bytes: Vec<u8> = (0..256 * 1024u32).map(|at| ((at * 31) >> 3) as u8).collect();
    let meta = MetaInfo::of_bytes(Digest::sha256(&bytes), &bytes, 4096).unwrap();
    let fixture = Fixture::new();
    let store = fixture.open();
    let blob = store.open_download(&meta).unwrap();
    let (blob, bytes, meta) = (&blob, &bytes, &meta);
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                for index in meta.geometry().indexes().rev().filter(|one| one.0 % 4 == part) {
                    let range = meta.geometry().range(index);
                    let piece = &bytes[range.start as usize..range.end as usize];
                    blob.write_at(range.start, piece).unwrap();
                    blob.mark(index, index.0 % 3 > 0).unwrap();
                    blob.mark(index, true).unwrap();
                }
            });
        }
        scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(blob.readable(0..bytes.len() as u64)).unwrap();
            let mut read = vec![0; bytes.len()];
            blob.read_at(0, &mut read).unwrap();
            assert!(read == *bytes);
        });
    });
    assert_eq!(blob.waiting(), 0);
    blob.commit().unwrap();
}
