//! A blob that is still arriving at its origin: how long it is and how it is cut are known, its
//! sums are not. Until they are, trust travels with each piece, as a [`PieceProof`] that its origin
//! signed.
//!
//! An extension of ours: uber/kraken has none of it, and its peers meet none of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, decode_hex, encode_hex};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::InfoHash;
use crate::limits;
use crate::metainfo::{self, MetaInfo, PieceSums};
use crate::piece::{Geometry, PieceIndex};
use crate::proof::{OriginKey, PieceProof};

/// The header of who can do without sums when it asks for metainfo, and without a whole when it
/// asks an origin for a blob; its value is `1`. uber/kraken's programs do not send it.
pub const PROVISIONAL_HEADER: &str = "kraken-provisional";

/// The header's value by which an origin asks another one for no more than it knows: whether it has
/// a blob or brings it, but not to begin.
pub const PROVISIONAL_KNOWN: &str = "known";

/// One attempt to bring a blob from its backend: drawn at random when it begins, and kept by
/// whoever goes on with it. What was signed in one attempt says nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub [u8; 16]);

/// What is known of a blob that is still arriving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisional {
    digest: Digest,
    geometry: Geometry,
    version: String,
    attempt: AttemptId,
    keys: Vec<OriginKey>,
}

/// What is known of a blob: all, or what an origin can say while it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TorrentMeta {
    /// Without sums.
    Provisional(Provisional),
    /// With all sums.
    Final(MetaInfo),
}

impl Provisional {
    /// `version` is the backend's of the object that arrives, empty where it has none; `keys` are
    /// those of the origins whose proofs count.
    pub fn new(
        digest: Digest,
        geometry: Geometry,
        version: String,
        attempt: AttemptId,
        keys: Vec<OriginKey>,
    ) -> Result<Self> {
        if version.len() > limits::VERSION_LEN_MAX {
            return Err(Error::invalid(format!(
                "provisional metainfo of {digest}: a version of {} bytes, more than {}",
                version.len(),
                limits::VERSION_LEN_MAX
            )));
        }
        if keys.is_empty() || keys.len() > limits::ORIGIN_KEYS_MAX {
            return Err(Error::invalid(format!(
                "provisional metainfo of {digest}: {} keys, not 1 to {}",
                keys.len(),
                limits::ORIGIN_KEYS_MAX
            )));
        }
        Ok(Self { digest, geometry, version, attempt, keys })
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The blob's length and how it is cut.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The backend's version of the object that arrives; empty where it has none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The attempt that brings it.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// The keys of those whose proofs count.
    pub fn keys(&self) -> &[OriginKey] {
        &self.keys
    }

    /// The torrent's id on the wire while there are no sums: the hash of the same `Info` without
    /// them. The same for every attempt.
    pub fn info_hash(&self) -> InfoHash {
        info_hash(&self.digest, &self.geometry)
    }

    /// Checks that an origin of this attempt vouches for the piece with these sums.
    /// `ErrorKind::Unsupported` when its key or attempt is not known here, which may be nobody's
    /// fault; `ErrorKind::Mismatch` when the signature is false: the sender made it up.
    pub fn check(&self, index: PieceIndex, proof: &PieceProof) -> Result<()> {
        let about = || format!("proof of piece {index} of {}", self.digest);
        if !self.geometry.contains(index) {
            return Err(Error::invalid(format!("{}: no such piece", about())));
        }
        if proof.attempt != self.attempt {
            return Err(Error::new(ErrorKind::Unsupported, format!("{}: other attempt", about())));
        }
        if !self.keys.contains(&proof.key) {
            return Err(Error::new(ErrorKind::Unsupported, format!("{}: unknown key", about())));
        }
        proof.check_signature(&self.digest, &self.geometry, index).map_err(|e| e.context(about()))
    }

    /// The same with the keys of both, if both are of one attempt: an origin that goes on where
    /// another one has failed signs with its own key.
    pub fn united_with(&self, other: &Self) -> Option<Self> {
        let same = (self.digest, self.geometry, self.attempt, &self.version)
            == (other.digest, other.geometry, other.attempt, &other.version);
        let mut both = self.clone();
        both.keys.extend(other.keys.iter().filter(|key| !self.keys.contains(key)));
        both.keys.truncate(limits::ORIGIN_KEYS_MAX);
        same.then_some(both)
    }

    /// The metainfo, once every piece is vouched for.
    pub fn finish(&self, proofs: &[PieceProof]) -> Result<MetaInfo> {
        let sums = PieceSums {
            crc32: proofs.iter().map(|proof| proof.crc32).collect(),
            blake3: Some(proofs.iter().map(|proof| proof.blake3).collect()),
        };
        MetaInfo::new(self.digest, self.geometry, sums)
    }
}

/// The info hash under which a blob goes while its sums are not known.
pub fn info_hash(digest: &Digest, geometry: &Geometry) -> InfoHash {
    metainfo::info_hash(digest, geometry, &[])
}

impl TorrentMeta {
    /// Parses either JSON form.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        // Final ones are large and most: they are parsed once.
        let final_error = match MetaInfo::from_json(json) {
            Ok(meta) => return Ok(Self::Final(meta)),
            Err(error) => error,
        };
        if json.len() > limits::PROVISIONAL_BYTES_MAX {
            return Err(final_error);
        }
        let Ok(form) = serde_json::from_slice::<JsonForm>(json) else { return Err(final_error) };
        form.provisional.parse().map(Self::Provisional)
    }

    /// The JSON form: of final metainfo uber/kraken's, else one that it refuses.
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Final(meta) => meta.to_json(),
            Self::Provisional(provisional) => {
                let form = JsonForm { provisional: ProvisionalForm::of(provisional) };
                serde_json::to_vec(&form).expect("a struct of strings and numbers is always JSON")
            }
        }
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Provisional(provisional) => provisional.digest(),
            Self::Final(meta) => meta.digest(),
        }
    }

    /// The blob's length and how it is cut.
    pub fn geometry(&self) -> Geometry {
        match self {
            Self::Provisional(provisional) => provisional.geometry(),
            Self::Final(meta) => meta.geometry(),
        }
    }

    /// The torrent's id on the wire.
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Provisional(provisional) => provisional.info_hash(),
            Self::Final(meta) => meta.info_hash(),
        }
    }

    /// The metainfo, if there are sums.
    pub fn as_final(&self) -> Option<&MetaInfo> {
        match self {
            Self::Provisional(_) => None,
            Self::Final(meta) => Some(meta),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct JsonForm {
    #[serde(rename = "Provisional")]
    provisional: ProvisionalForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProvisionalForm {
    name: String,
    length: u64,
    piece_length: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    version: String,
    /// 32 hex characters.
    attempt: String,
    /// 32 bytes each, in base64.
    keys: Vec<String>,
}

impl ProvisionalForm {
    fn of(provisional: &Provisional) -> Self {
        Self {
            name: provisional.digest.wire_name(),
            length: provisional.geometry.blob_len(),
            piece_length: provisional.geometry.piece_len(),
            version: provisional.version.clone(),
            attempt: encode_hex(&provisional.attempt.0),
            keys: provisional.keys.iter().map(|key| BASE64.encode(key.as_bytes())).collect(),
        }
    }

    fn parse(self) -> Result<Provisional> {
        let about = |field: &str| format!("parse provisional metainfo: {field}");
        let digest =
            Digest::parse_wire_name(&self.name).map_err(|error| error.context(about("Name")))?;
        let geometry = Geometry::new(self.length, self.piece_length)
            .map_err(|error| error.context(about("Length")))?;
        let mut attempt = AttemptId([0; 16]);
        decode_hex(&self.attempt, &mut attempt.0)
            .map_err(|reason| Error::invalid(format!("{}: {reason}", about("Attempt"))))?;
        let key = |text: &String| {
            let bytes = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.map(OriginKey::new).ok_or_else(|| Error::invalid(about("Keys")))
        };
        let keys = self.keys.iter().map(key).collect::<Result<_>>()?;
        Provisional::new(digest, geometry, self.version, attempt, keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::SigningKey;

    const BYTES: &[u8] = b"hello kraken";

    fn provisional(key: &SigningKey, attempt: u8) -> Provisional {
        let geometry = Geometry::new(BYTES.len() as u64, 5).unwrap();
        let keys = vec![key.public()];
        let attempt = AttemptId([attempt; 16]);
        Provisional::new(Digest::sha256(BYTES), geometry, "v1".into(), attempt, keys).unwrap()
    }

    fn proofs(key: &SigningKey, of: &Provisional) -> Vec<PieceProof> {
        let prove = |(index, piece): (usize, &[u8])| {
            let (crc32, blake3) = (crc32fast::hash(piece), *blake3::hash(piece).as_bytes());
            key.prove(of, PieceIndex(index as u32), crc32, blake3)
        };
        BYTES.chunks(5).enumerate().map(prove).collect()
    }

    #[test]
    fn a_blob_that_arrived_has_the_metainfo_of_its_bytes() {
        let key = SigningKey::from_seed(&[1; 32]);
        let provisional = provisional(&key, 7);
        let proofs = proofs(&key, &provisional);
        for (index, proof) in proofs.iter().enumerate() {
            provisional.check(PieceIndex(index as u32), proof).unwrap();
        }
        let meta = provisional.finish(&proofs).unwrap();
        assert_eq!(meta, MetaInfo::of_bytes(Digest::sha256(BYTES), BYTES, 5).unwrap());
        assert_ne!(meta.info_hash(), provisional.info_hash());
        assert!(provisional.finish(&proofs[1..]).is_err());
    }

    #[test]
    fn a_proof_holds_for_one_piece_of_one_blob_in_one_attempt() {
        let key = SigningKey::from_seed(&[1; 32]);
        let here = provisional(&key, 7);
        let proofs = proofs(&key, &here);
        let kind = |of: &Provisional, index, proof: &PieceProof| {
            of.check(PieceIndex(index), proof).unwrap_err().kind()
        };
        assert_eq!(kind(&here, 1, &proofs[0]), ErrorKind::Mismatch, "replayed for another piece");
        assert_eq!(kind(&here, 3, &proofs[0]), ErrorKind::Invalid, "no such piece");
        assert_eq!(kind(&provisional(&key, 8), 0, &proofs[0]), ErrorKind::Unsupported);
        let stranger = SigningKey::from_seed(&[2; 32]);
        assert_eq!(kind(&provisional(&stranger, 7), 0, &proofs[0]), ErrorKind::Unsupported);
        let forged = PieceProof { attempt: AttemptId([8; 16]), ..proofs[0].clone() };
        assert_eq!(kind(&provisional(&key, 8), 0, &forged), ErrorKind::Mismatch);
        let forged = PieceProof { blake3: [0; 32], ..proofs[0].clone() };
        assert_eq!(kind(&here, 0, &forged), ErrorKind::Mismatch, "other bytes");
        let other = Geometry::new(BYTES.len() as u64, 6).unwrap();
        let other = Provisional { geometry: other, ..here.clone() };
        assert_eq!(kind(&other, 0, &proofs[0]), ErrorKind::Mismatch, "cut otherwise");
    }

    #[test]
    fn both_forms_go_through_json() {
        let key = SigningKey::from_seed(&[1; 32]);
        let provisional = provisional(&key, 7);
        let json = TorrentMeta::Provisional(provisional.clone()).to_json();
        assert_eq!(
            TorrentMeta::from_json(&json).unwrap(),
            TorrentMeta::Provisional(provisional.clone())
        );
        assert!(MetaInfo::from_json(&json).is_err(), "uber/kraken's peers must not take it");
        let meta = MetaInfo::of_bytes(Digest::sha256(BYTES), BYTES, 5).unwrap();
        assert_eq!(TorrentMeta::from_json(&meta.to_json()).unwrap(), TorrentMeta::Final(meta));
        let text = String::from_utf8(json).unwrap();
        for (from, to) in [
            ("\"Length\":12", "\"Length\":-1"),
            ("\"PieceLength\":5", "\"PieceLength\":0"),
            ("0707", "07"),
            ("\"Keys\":[\"", "\"Keys\":[\"AAAA\",\""),
            ("Provisional", "Provisory"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            assert!(TorrentMeta::from_json(broken.as_bytes()).is_err(), "{broken}");
        }
        let keyless = text.split("\"Keys\"").next().unwrap().to_owned() + "\"Keys\":[]}}";
        assert!(TorrentMeta::from_json(keyless.as_bytes()).is_err());
    }
}
