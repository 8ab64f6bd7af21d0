//! Metainfo: a blob's geometry and the sums of its pieces.
//!
//! The JSON form is uber/kraken's (`core/metainfo.go`), with one sibling key of ours,
//! `PieceDigests`, beside `Info`; the info hash is SHA-1 over the bencoded `Info`, so the sibling
//! does not touch it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha1::Digest as _;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::InfoHash;
use crate::limits;
use crate::piece::{Geometry, PieceIndex};

/// What is known of a blob's pieces. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaInfo(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    digest: Digest,
    geometry: Geometry,
    sums: PieceSums,
    info_hash: InfoHash,
}

/// The sums of all pieces of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PieceSums {
    /// CRC32 (IEEE) of each piece: finds accidents, not lies.
    pub crc32: Vec<u32>,
    /// BLAKE3 of each piece, if the metainfo came with it.
    pub blake3: Option<Vec<[u8; 32]>>,
}

impl MetaInfo {
    /// Refuses sums whose number is not that of the geometry's pieces.
    pub fn new(digest: Digest, geometry: Geometry, sums: PieceSums) -> Result<Self> {
        let pieces = geometry.pieces() as usize;
        let digests = sums.blake3.as_ref().map_or(pieces, Vec::len);
        if sums.crc32.len() != pieces || digests != pieces {
            return Err(Error::invalid(format!(
                "metainfo of {digest}: {} sums and {digests} piece digests for {pieces} pieces",
                sums.crc32.len()
            )));
        }
        let info_hash = info_hash(&digest, &geometry, &sums.crc32);
        Ok(Self(Arc::new(Inner { digest, geometry, sums, info_hash })))
    }

    /// Computes all sums of a blob held in memory.
    pub fn of_bytes(digest: Digest, bytes: &[u8], piece_len: u64) -> Result<Self> {
        let geometry = Geometry::new(bytes.len() as u64, piece_len)?;
        let mut hasher = PieceHasher::new(geometry);
        hasher.update(bytes);
        hasher.finish(digest)
    }

    /// Parses the JSON form. Unknown keys are ignored; a `PieceDigests` of an unknown algorithm
    /// too.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() > limits::METAINFO_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("metainfo of {} bytes", json.len()),
            ));
        }
        let form: JsonForm = serde_json::from_slice(json)
            .map_err(|error| Error::invalid("parse metainfo").with_source(error))?;
        let digest = Digest::parse_wire_name(&form.info.name)
            .map_err(|error| error.context("parse metainfo: Name"))?;
        let geometry = Geometry::new(form.info.length, form.info.piece_length)
            .map_err(|error| error.context(format!("metainfo of {digest}")))?;
        let blake3 = match form.piece_digests {
            Some(digests) if digests.algorithm == "blake3" => {
                Some(decode_sums(&digests.sums, geometry.pieces())?)
            }
            _ => None,
        };
        let crc32 = form.info.piece_sums.unwrap_or_default();
        Self::new(digest, geometry, PieceSums { crc32, blake3 })
    }

    /// The JSON form, byte for byte what uber/kraken writes where there are no piece digests.
    pub fn to_json(&self) -> Vec<u8> {
        let inner = &*self.0;
        let form = JsonForm {
            info: InfoForm {
                piece_length: inner.geometry.piece_len(),
                // Go writes an empty slice that was never made as null.
                piece_sums: Some(inner.sums.crc32.clone()).filter(|sums| !sums.is_empty()),
                name: inner.digest.wire_name(),
                length: inner.geometry.blob_len(),
            },
            piece_digests: inner.sums.blake3.as_ref().map(|sums| DigestsForm {
                algorithm: "blake3".into(),
                sums: BASE64.encode(sums.as_flattened()),
            }),
        };
        serde_json::to_vec(&form).expect("a struct of strings and numbers is always JSON")
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The blob's length and how it is cut.
    pub fn geometry(&self) -> Geometry {
        self.0.geometry
    }

    /// The sums of all pieces.
    pub fn sums(&self) -> &PieceSums {
        &self.0.sums
    }

    /// The torrent's id on the wire.
    pub fn info_hash(&self) -> InfoHash {
        self.0.info_hash
    }

    /// CRC32 of one piece, if there is such a piece.
    pub fn crc32_of(&self, index: PieceIndex) -> Option<u32> {
        self.0.sums.crc32.get(index.as_usize()).copied()
    }

    /// BLAKE3 of one piece, if there is such a piece and the metainfo has piece digests.
    pub fn blake3_of(&self, index: PieceIndex) -> Option<[u8; 32]> {
        self.0.sums.blake3.as_ref()?.get(index.as_usize()).copied()
    }

    /// The same metainfo as an uber/kraken tracker would hand it on: without piece digests.
    #[must_use]
    pub fn without_piece_digests(&self) -> Self {
        let inner = &*self.0;
        Self(Arc::new(Inner {
            digest: inner.digest,
            geometry: inner.geometry,
            sums: PieceSums { crc32: inner.sums.crc32.clone(), blake3: None },
            info_hash: inner.info_hash,
        }))
    }
}

/// Computes both sums of each piece from a blob's bytes in order.
#[derive(Debug, Clone)]
pub struct PieceHasher {
    geometry: Geometry,
    offset: u64,
    crc32: crc32fast::Hasher,
    blake3: blake3::Hasher,
    sums: Vec<u32>,
    digests: Vec<[u8; 32]>,
}

impl PieceHasher {
    /// A hasher that has seen no bytes.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            offset: 0,
            crc32: crc32fast::Hasher::new(),
            blake3: blake3::Hasher::new(),
            sums: Vec::new(),
            digests: Vec::new(),
        }
    }

    /// Takes the next bytes; bytes past the blob's length are counted and make `finish` fail.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let (piece_len, blob_len) = (self.geometry.piece_len(), self.geometry.blob_len());
        while !bytes.is_empty() {
            let room = (piece_len - self.offset % piece_len)
                .min(blob_len.saturating_sub(self.offset).max(1));
            let (now, rest) = bytes.split_at(room.min(bytes.len() as u64) as usize);
            self.crc32.update(now);
            self.blake3.update(now);
            self.offset += now.len() as u64;
            if self.offset.is_multiple_of(piece_len) || self.offset == blob_len {
                self.end_piece();
            }
            if self.offset > blob_len {
                return;
            }
            bytes = rest;
        }
    }

    /// The metainfo; refused when the bytes taken were not the blob's length.
    pub fn finish(self, digest: Digest) -> Result<MetaInfo> {
        if self.offset != self.geometry.blob_len() {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{digest} is not of {} bytes", self.geometry.blob_len()),
            ));
        }
        let sums = PieceSums { crc32: self.sums, blake3: Some(self.digests) };
        MetaInfo::new(digest, self.geometry, sums)
    }

    fn end_piece(&mut self) {
        let crc32 = std::mem::replace(&mut self.crc32, crc32fast::Hasher::new());
        self.sums.push(crc32.finalize());
        self.digests.push(*self.blake3.finalize().as_bytes());
        self.blake3.reset();
    }
}

#[derive(Serialize, Deserialize)]
struct JsonForm {
    #[serde(rename = "Info")]
    info: InfoForm,
    #[serde(rename = "PieceDigests", default, skip_serializing_if = "Option::is_none")]
    piece_digests: Option<DigestsForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InfoForm {
    piece_length: u64,
    piece_sums: Option<Vec<u32>>,
    name: String,
    length: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DigestsForm {
    algorithm: String,
    sums: String,
}

fn decode_sums(text: &str, pieces: u32) -> Result<Vec<[u8; 32]>> {
    let bytes = BASE64
        .decode(text)
        .map_err(|error| Error::invalid("parse metainfo: PieceDigests").with_source(error))?;
    let (sums, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || sums.len() != pieces as usize {
        return Err(Error::invalid(format!(
            "parse metainfo: PieceDigests of {} bytes for {pieces} pieces",
            bytes.len()
        )));
    }
    Ok(sums.to_vec())
}

/// SHA-1 over the bencoded `Info`: a dictionary of four keys in bytewise order.
pub(crate) fn info_hash(digest: &Digest, geometry: &Geometry, sums: &[u32]) -> InfoHash {
    InfoHash::new(sha1::Sha1::digest(bencode_info(digest, geometry, sums).as_bytes()).into())
}

fn bencode_info(digest: &Digest, geometry: &Geometry, sums: &[u32]) -> String {
    use std::fmt::Write as _;

    let name = digest.wire_name();
    let mut text = format!(
        "d6:Lengthi{}e4:Name{}:{name}11:PieceLengthi{}e9:PieceSumsl",
        geometry.blob_len(),
        name.len(),
        geometry.piece_len()
    );
    for sum in sums {
        write!(text, "i{sum}e").expect("writing to a string does not fail");
    }
    text.push_str("ee");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{"Info":{"PieceLength":5,"PieceSums":[907060870,439875091,4082745666],"Name":"23dd464417d01f15d97d48244dbe893ef8d30dc77ba2f0178bc0a5b7838650a4","Length":12}}"#;

    fn hello() -> MetaInfo {
        MetaInfo::of_bytes(Digest::sha256(b"hello kraken"), b"hello kraken", 5).unwrap()
    }

    #[test]
    fn json_and_info_hash_vectors() {
        let plain = hello().without_piece_digests();
        assert_eq!(String::from_utf8(plain.to_json()).unwrap(), JSON);
        assert_eq!(plain.info_hash().to_string(), "9c51c05e23292bbb5b84259161d306d167499a30");
        assert_eq!(MetaInfo::from_json(JSON.as_bytes()).unwrap(), plain);
        assert_eq!(
            bencode_info(&plain.digest(), &plain.geometry(), &plain.sums().crc32),
            "d6:Lengthi12e4:Name64:23dd464417d01f15d97d48244dbe893ef8d30dc77ba2f0178bc0a5b7838650a411:PieceLengthi5e9:PieceSumsli907060870ei439875091ei4082745666eee"
        );
    }

    #[test]
    fn the_empty_blob_has_null_sums() {
        let empty = MetaInfo::of_bytes(Digest::sha256(b""), b"", 5).unwrap();
        assert_eq!(empty.info_hash().to_string(), "46b4ef98ae207272c827796a8c85fcee7b307a42");
        let json = String::from_utf8(empty.without_piece_digests().to_json()).unwrap();
        assert!(json.contains(r#""PieceSums":null"#), "{json}");
        assert_eq!(MetaInfo::from_json(&empty.to_json()).unwrap(), empty);
    }

    #[test]
    fn piece_digests_travel_beside_info() {
        let meta = hello();
        let json = String::from_utf8(meta.to_json()).unwrap();
        assert!(json.contains(r#"},"PieceDigests":{"Algorithm":"blake3","Sums":""#), "{json}");
        let back = MetaInfo::from_json(json.as_bytes()).unwrap();
        assert_eq!(back, meta);
        assert_eq!(back.info_hash(), meta.without_piece_digests().info_hash());
        assert_eq!(back.blake3_of(PieceIndex(2)), Some(*blake3::hash(b"en").as_bytes()));
        let other = json.replace("blake3", "later");
        assert_eq!(MetaInfo::from_json(other.as_bytes()).unwrap().blake3_of(PieceIndex(0)), None);
    }

    #[test]
    fn bad_metainfo_is_refused() {
        for (from, to) in [
            (r#""PieceLength":5"#, r#""PieceLength":0"#),
            (r#""PieceLength":5"#, r#""PieceLength":-5"#),
            (r#""PieceLength":5"#, r#""PieceLength":3"#),
            (r#""Length":12"#, r#""Length":16"#),
            (r#""Length":12"#, r#""Length":99999999999999999"#),
            ("23dd", "23DD"),
            ("907060870,", ""),
        ] {
            assert!(MetaInfo::from_json(JSON.replace(from, to).as_bytes()).is_err(), "{from} {to}");
        }
        assert!(MetaInfo::from_json(b"").is_err());
        let digests = String::from_utf8(hello().to_json()).unwrap();
        for bad in ["AAAA", "?"] {
            let start = digests.find("Sums\":\"").unwrap() + 7;
            let end = digests.rfind('"').unwrap();
            let broken = format!("{}{bad}{}", &digests[..start], &digests[end..]);
            let _ = MetaInfo::from_json(broken.as_bytes());
        }
    }

    #[test]
    fn a_hasher_refuses_another_length() {
        let geometry = Geometry::new(12, 5).unwrap();
        for bytes in [&b"hello krake"[..], b"hello krakens", b""] {
            let mut hasher = PieceHasher::new(geometry);
            hasher.update(bytes);
            assert!(hasher.finish(Digest::sha256(bytes)).is_err());
        }
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_how_bytes_arrive(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            piece_len in 1u64..40,
            step in 1usize..50,
        ) {
            let digest = Digest::sha256(&bytes);
            let whole = MetaInfo::of_bytes(digest, &bytes, piece_len).unwrap();
            let geometry = Geometry::new(bytes.len() as u64, piece_len).unwrap();
            let mut hasher = PieceHasher::new(geometry);
            for chunk in bytes.chunks(step) {
                hasher.update(chunk);
            }
            let stepped = hasher.finish(digest).unwrap();
            prop_assert_eq!(&stepped, &whole);
            for (index, piece) in bytes.chunks(piece_len as usize).enumerate() {
                let index = PieceIndex(index as u32);
                prop_assert_eq!(whole.crc32_of(index), Some(crc32fast::hash(piece)));
                prop_assert_eq!(whole.blake3_of(index), Some(*blake3::hash(piece).as_bytes()));
            }
        }
    }
}
