//! Metainfo documents: any bytes, and one that is valid with a part of it replaced.

use kraken_core::{Digest, MetaInfo};

/// Checks what is made of `data` as a document, and as a change to a valid one: where, how many
/// bytes go, and what comes instead.
pub fn check(data: &[u8]) {
    document(data);
    let [place, cut, inserted @ ..] = data else { return };
    let blob = b"hello kraken";
    let metainfo = MetaInfo::of_bytes(Digest::sha256(blob), blob, 5).unwrap();
    let mut json = metainfo.to_json();
    let start = usize::from(*place) % json.len();
    let end = (start + usize::from(*cut)).min(json.len());
    json.splice(start..end, inserted.iter().copied());
    document(&json);
}

fn document(json: &[u8]) {
    let Ok(metainfo) = MetaInfo::from_json(json) else { return };
    let again = MetaInfo::from_json(&metainfo.to_json()).unwrap();
    assert_eq!(again, metainfo);
    assert_eq!(again.info_hash(), metainfo.info_hash());
    let geometry = metainfo.geometry();
    let sum: u64 = geometry.indexes().map(|index| geometry.len_of(index)).sum();
    assert_eq!(sum, geometry.blob_len());
    for index in geometry.indexes() {
        assert!(metainfo.crc32_of(index).is_some());
    }
}
