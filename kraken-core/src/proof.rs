//! An origin's signature under one piece of a blob that is still arriving.
//!
//! Ed25519 (RFC 8032) over a fixed form of everything that the proof must not be moved away from:
//! the blob, how it is cut, the attempt, the piece and its sums. An extension of ours.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, VerifyingKey};

use crate::digest::{Algorithm, Digest, encode_hex};
use crate::error::{Error, ErrorKind, Result};
use crate::piece::{Geometry, PieceIndex};
use crate::provisional::{AttemptId, Provisional};

/// The public key of an origin. Any 32 bytes: one that is no key fails every check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginKey([u8; 32]);

/// The secret key of an origin. Never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// What an origin says of one piece, and its signature under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceProof {
    /// The attempt in which the origin had the piece.
    pub attempt: AttemptId,
    /// CRC32 (IEEE) of the piece.
    pub crc32: u32,
    /// BLAKE3 of the piece.
    pub blake3: [u8; 32],
    /// Who signed.
    pub key: OriginKey,
    /// Ed25519 over [`PieceProof`]'s fields, the blob, its geometry and the piece's number.
    pub signature: [u8; 64],
}

impl OriginKey {
    /// From its 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for OriginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for OriginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SigningKey {
    /// From its 32 secret bytes (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// What others know it by.
    pub fn public(&self) -> OriginKey {
        OriginKey(self.0.verifying_key().to_bytes())
    }

    /// Vouches for one piece.
    pub fn prove(
        &self,
        blob: &Provisional,
        index: PieceIndex,
        crc32: u32,
        blake3: [u8; 32],
    ) -> PieceProof {
        let mut proof = PieceProof {
            attempt: blob.attempt(),
            crc32,
            blake3,
            key: self.public(),
            signature: [0; 64],
        };
        let text = proof.signed_bytes(&blob.digest(), &blob.geometry(), index);
        proof.signature = self.0.sign(&text).to_bytes();
        proof
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl PieceProof {
    /// Checks the signature by the key that the proof names; whether that key counts is for the
    /// caller to say ([`Provisional::check`]).
    pub(crate) fn check_signature(
        &self,
        digest: &Digest,
        geometry: &Geometry,
        index: PieceIndex,
    ) -> Result<()> {
        let text = self.signed_bytes(digest, geometry, index);
        VerifyingKey::from_bytes(&self.key.0)
            .and_then(|key| key.verify_strict(&text, &Signature::from_bytes(&self.signature)))
            .map_err(|error| Error::new(ErrorKind::Mismatch, format!("false signature: {error}")))
    }

    /// What is signed: fields of fixed length in a fixed order, numbers big-endian.
    fn signed_bytes(&self, digest: &Digest, geometry: &Geometry, index: PieceIndex) -> Vec<u8> {
        let mut text = Vec::with_capacity(SIGNED_LEN_MAX);
        text.extend_from_slice(DOMAIN);
        text.push(match digest.algorithm() {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        });
        text.extend_from_slice(digest.as_bytes());
        text.extend_from_slice(&geometry.blob_len().to_be_bytes());
        text.extend_from_slice(&geometry.piece_len().to_be_bytes());
        text.extend_from_slice(&self.attempt.0);
        text.extend_from_slice(&index.0.to_be_bytes());
        text.extend_from_slice(&geometry.len_of(index).to_be_bytes());
        text.extend_from_slice(&self.crc32.to_be_bytes());
        text.extend_from_slice(&self.blake3);
        text
    }

    /// The proof as it is kept on disk and sent: its fields in order, numbers big-endian.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts: [&[u8]; 5] = [
            &self.attempt.0,
            &self.crc32.to_be_bytes(),
            &self.blake3,
            &self.key.0,
            &self.signature,
        ];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes
    }

    /// The inverse of [`PieceProof::to_bytes`]; says nothing about whether it is true.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (attempt, rest) = bytes.split_first_chunk().expect("16 of 148");
        let (crc32, rest) = rest.split_first_chunk().expect("4 of 132");
        let (blake3, rest) = rest.split_first_chunk().expect("32 of 128");
        let (key, rest) = rest.split_first_chunk().expect("32 of 96");
        Self {
            attempt: AttemptId(*attempt),
            crc32: u32::from_be_bytes(*crc32),
            blake3: *blake3,
            key: OriginKey(*key),
            signature: *rest.first_chunk().expect("64 of 64"),
        }
    }

    /// Bytes of a proof on disk and on the wire.
    pub const LEN: usize = 16 + 4 + 32 + 32 + 64;
}

/// Keeps the signature from being taken for one of anything else.
const DOMAIN: &[u8] = b"kraken piece proof 1\0";

const SIGNED_LEN_MAX: usize = DOMAIN.len() + 1 + 64 + 8 + 8 + 16 + 4 + 8 + 4 + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_goes_through_its_bytes() {
        let key = SigningKey::from_seed(&[3; 32]);
        let geometry = Geometry::new(12, 5).unwrap();
        let attempt = AttemptId([9; 16]);
        let (digest, keys) = (Digest::sha256(b"x"), vec![key.public()]);
        let blob = Provisional::new(digest, geometry, String::new(), attempt, keys).unwrap();
        let proof = key.prove(&blob, PieceIndex(2), 0x0102_0304, [5; 32]);
        assert_eq!(PieceProof::from_bytes(&proof.to_bytes()), proof);
        blob.check(PieceIndex(2), &proof).unwrap();
        for at in 0..PieceProof::LEN {
            let mut bytes = proof.to_bytes();
            bytes[at] ^= 1;
            assert!(blob.check(PieceIndex(2), &PieceProof::from_bytes(&bytes)).is_err(), "{at}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let key = SigningKey::from_seed(&[3; 32]);
        let text = format!("{key:?}");
        assert!(!text.contains(&encode_hex(&[3; 32])), "{text}");
        assert!(text.contains(&key.public().to_string()), "{text}");
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn the_key_of_the_rfc() {
        let mut seed = [0; 32];
        crate::digest::decode_hex(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            &mut seed,
        )
        .unwrap();
        assert_eq!(
            SigningKey::from_seed(&seed).public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }
}
