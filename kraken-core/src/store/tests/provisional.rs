//! Blobs that arrive before there are sums.

use std::fs;
use std::sync::Arc;

use super::{Fixture, HELLO, hello, names};
use crate::store::Blob;
use crate::{
    AttemptId, Digest, ErrorKind, Geometry, MetaInfo, PieceIndex, PieceProof, Provisional,
    SigningKey, TorrentMeta,
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn provisional(attempt: u8) -> Provisional {
    let geometry = Geometry::new(HELLO.len() as u64, 5).unwrap();
    let (digest, attempt) = (Digest::sha256(HELLO), AttemptId([attempt; 16]));
    Provisional::new(digest, geometry, String::new(), attempt, vec![key().public()]).unwrap()
}

fn meta(attempt: u8) -> TorrentMeta {
    TorrentMeta::Provisional(provisional(attempt))
}

/// Writes a piece and marks it with its proof.
fn land(blob: &Blob, index: u32, bytes: &[u8]) -> PieceProof {
    let of = provisional(7);
    let index = PieceIndex(index);
    let range = of.geometry().range(index);
    let piece = &bytes[range.start as usize..range.end as usize];
    let proof = key().prove(&of, index, crc32fast::hash(piece), *blake3::hash(piece).as_bytes());
    blob.write_at(range.start, piece).unwrap();
    blob.mark_proven(index, &proof).unwrap();
    proof
}

#[test]
fn a_blob_without_sums_becomes_one_with_the_sums_of_its_proofs() {
    let fixture = Fixture { durable: true, ..Fixture::new() };
    let store = fixture.open();
    let blob = store.open_torrent(&meta(7)).unwrap();
    let dir = fixture.download(&blob.digest());
    assert_eq!(names(&dir), ["_proofs", "_provisional", "_status", "data"]);
    assert_eq!((blob.metainfo(), blob.torrent_meta()), (None, Some(meta(7))));
    let proof = land(&blob, 1, HELLO);
    assert_eq!(blob.proof(PieceIndex(1)).unwrap(), Some(proof.clone()));
    assert_eq!(blob.proof(PieceIndex(0)).unwrap(), None);
    let mut piece = [0; 5];
    blob.read_at(5, &mut piece).unwrap();
    assert_eq!(piece, HELLO[5..10]);
    assert!(Arc::ptr_eq(&blob, &store.open_torrent(&meta(7)).unwrap()));
    assert_eq!(store.open_torrent(&meta(8)).unwrap_err().kind(), ErrorKind::Conflict);
    land(&blob, 0, HELLO);
    land(&blob, 2, HELLO);
    blob.commit().unwrap();
    assert_eq!(blob.metainfo(), Some(hello()));
    let expected = ["_last_access_time", "_status", "_torrentmeta", "_verified", "data"];
    assert_eq!(names(&fixture.cached(&blob.digest())), expected);
    assert_eq!(blob.proof(PieceIndex(1)).unwrap(), Some(proof), "others may still need it");
    assert!(store.open_torrent(&meta(9)).unwrap().is_complete());
}

#[test]
fn an_attempt_goes_on_after_a_restart_without_its_bad_pieces() {
    let fixture = Fixture::new();
    let blob = fixture.open().open_torrent(&meta(7)).unwrap();
    land(&blob, 0, HELLO);
    land(&blob, 2, HELLO);
    drop(blob);
    let dir = fixture.download(&Digest::sha256(HELLO));
    fs::write(dir.join("data"), b"hellO kraken").unwrap();
    let blob = fixture.open().arriving(&Digest::sha256(HELLO)).unwrap().unwrap();
    assert_eq!(blob.torrent_meta(), Some(meta(7)));
    assert_eq!(blob.pieces().iter().collect::<Vec<_>>(), [PieceIndex(2)]);
    assert_eq!(blob.readable_to(10), 12);
    drop(blob);
    let blob = fixture.open().open_torrent(&meta(8)).unwrap();
    assert!(blob.pieces().iter().next().is_none(), "another attempt begins anew");
    assert_eq!(blob.torrent_meta(), Some(meta(8)));
    drop(blob);
    fs::remove_file(dir.join("_proofs")).unwrap();
    let blob = fixture.open().open_torrent(&meta(8)).unwrap();
    assert_eq!(names(&dir), ["_proofs", "_provisional", "_status", "data"]);
    drop(blob);
}

#[test]
fn final_metainfo_takes_over_if_it_says_the_same() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let blob = store.open_torrent(&meta(7)).unwrap();
    land(&blob, 1, b"hello kr4ken");
    assert_eq!(store.open_download(&hello()).unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(blob.torrent_meta(), Some(meta(7)));
    blob.discard().unwrap();
    drop(blob);
    let blob = store.open_torrent(&meta(7)).unwrap();
    land(&blob, 0, HELLO);
    let other = MetaInfo::of_bytes(blob.digest(), HELLO, 4).unwrap();
    assert_eq!(store.open_download(&other).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(Arc::ptr_eq(&blob, &store.open_download(&hello()).unwrap()));
    assert_eq!(blob.metainfo(), Some(hello()));
    assert_eq!(blob.pieces().iter().collect::<Vec<_>>(), [PieceIndex(0)]);
    assert_eq!(
        names(&fixture.download(&blob.digest())),
        ["_proofs", "_status", "_torrentmeta", "data"]
    );
    assert!(Arc::ptr_eq(&blob, &store.open_torrent(&meta(8)).unwrap()), "it says no less");
    drop((blob, store));
    let store = fixture.open();
    let blob = store.open_torrent(&meta(8)).unwrap();
    assert_eq!(blob.metainfo(), Some(hello()));
    super::give(&blob, 1, true);
    super::give(&blob, 2, true);
    blob.commit().unwrap();
    assert_eq!(names(&fixture.cached(&blob.digest())).len(), 5, "no proofs");
}

#[test]
#[cfg(not(feature = "bench-unverified"))]
fn proofs_of_wrong_bytes_do_not_make_a_blob() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let blob = store.open_torrent(&meta(7)).unwrap();
    for index in 0..3 {
        land(&blob, index, b"hello kr4ken");
    }
    assert_eq!(blob.commit().unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(blob.torrent_meta(), Some(meta(7)));
    blob.discard().unwrap();
    assert!(names(&fixture.download(&blob.digest())).is_empty());
}
