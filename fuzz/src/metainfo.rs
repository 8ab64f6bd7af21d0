//! Metainfo documents, with sums and without: any bytes, and ones that are valid with a part of
//! them replaced.

use kraken_core::{AttemptId, Digest, MetaInfo, Provisional, SigningKey, TorrentMeta};

/// Checks what is made of `data` as a document, and as a change to a valid one: where, how many
/// bytes go, and what comes instead.
pub fn check(data: &[u8]) {
    document(data);
    let [place, cut, inserted @ ..] = data else { return };
    let blob = b"hello kraken";
    let metainfo = MetaInfo::of_bytes(Digest::sha256(blob), blob, 5).unwrap();
    let keys = vec![SigningKey::from_seed(&[1; 32]).public()];
    let attempt = AttemptId([2; 16]);
    let (digest, geometry) = (metainfo.digest(), metainfo.geometry());
    let provisional = Provisional::new(digest, geometry, "v1".into(), attempt, keys).unwrap();
    for mut json in [metainfo.to_json(), TorrentMeta::Provisional(provisional).to_json()] {
        let start = usize::from(*place) % json.len();
        let end = (start + usize::from(*cut)).min(json.len());
        json.splice(start..end, inserted.iter().copied());
        document(&json);
    }
}

fn document(json: &[u8]) {
    match TorrentMeta::from_json(json) {
        Ok(meta @ TorrentMeta::Provisional(_)) => {
            assert_eq!(TorrentMeta::from_json(&meta.to_json()).unwrap(), meta);
            assert!(MetaInfo::from_json(json).is_err(), "nobody takes one for the other");
        }
        Ok(TorrentMeta::Final(meta)) => assert_eq!(MetaInfo::from_json(json).unwrap(), meta),
        Err(_) => assert!(MetaInfo::from_json(json).is_err()),
    }
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
