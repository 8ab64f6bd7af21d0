//! Content digests, agnostic of the algorithm (OCI image-spec, "Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::{Error, Result};

/// A digest algorithm that OCI registers and this project computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the digest in bytes.
    pub const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Always false; digests have bytes.
    pub const fn is_empty(self) -> bool {
        false
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(Error::invalid(format!("unknown digest algorithm {:?}", clip(s)))),
        }
    }
}

/// The digest of a blob: the name it has everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// Bytes past the algorithm's length are zero.
    bytes: [u8; 64],
}

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// A digest from its raw bytes, whose number must be the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self> {
        if bytes.len() != algorithm.len() {
            return Err(Error::invalid(format!(
                "a {} digest has {} bytes, not {}",
                algorithm.name(),
                algorithm.len(),
                bytes.len()
            )));
        }
        let mut all = [0; 64];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { algorithm, bytes: all })
    }

    /// Parses bare lower-case hex as SHA-256, or the full `algorithm:hex` form: what uber/kraken's
    /// agents take in URLs, and its wire `name` and metainfo `Name`.
    pub fn parse_wire_name(s: &str) -> Result<Self> {
        if s.contains(':') { s.parse() } else { Self::from_hex(Algorithm::Sha256, s) }
    }

    fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self> {
        let mut bytes = [0; 64];
        decode_hex(hex, &mut bytes[..algorithm.len()])
            .map_err(|reason| Error::invalid(format!("digest {:?}: {reason}", clip(hex))))?;
        Ok(Self { algorithm, bytes })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes: 32 or 64.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }

    /// Lower-case hex without the algorithm.
    pub fn hex(&self) -> String {
        encode_hex(self.as_bytes())
    }

    /// Its name on the peer wire and in metainfo: bare hex for SHA-256, as in uber/kraken;
    /// `sha512:<hex>` otherwise.
    pub fn wire_name(&self) -> String {
        match self.algorithm {
            Algorithm::Sha256 => self.hex(),
            Algorithm::Sha512 => self.to_string(),
        }
    }

    /// The first two bytes: the key of the hash ring (uber/kraken's `ShardID`).
    pub fn shard_id(&self) -> [u8; 2] {
        [self.bytes[0], self.bytes[1]]
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let Some((algorithm, hex)) = s.split_once(':') else {
            return Err(Error::invalid(format!("digest {:?}: no algorithm", clip(s))));
        };
        Self::from_hex(algorithm.parse()?, hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] from bytes in order.
#[derive(Clone)]
pub struct DigestHasher(Hasher);

#[derive(Clone)]
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl DigestHasher {
    /// A hasher that has seen no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Box::new(sha2::Sha512::new())),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let algorithm = match self.0 {
            Hasher::Sha256(hasher) => {
                bytes[..32].copy_from_slice(&hasher.finalize());
                Algorithm::Sha256
            }
            Hasher::Sha512(hasher) => {
                bytes.copy_from_slice(&hasher.finalize());
                Algorithm::Sha512
            }
        };
        Digest { algorithm, bytes }
    }
}

impl fmt::Debug for DigestHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestHasher")
    }
}

/// Lower-case hex of `bytes`.
pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Fills `out` from exactly twice as many lower-case hex characters.
pub(crate) fn decode_hex(text: &str, out: &mut [u8]) -> Result<(), String> {
    if text.len() != out.len() * 2 {
        return Err(format!("{} hex characters, not {}", text.len(), out.len() * 2));
    }
    for (pair, byte) in text.as_bytes().chunks_exact(2).zip(out) {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return Err("not lower-case hex".into()),
        }
    }
    Ok(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// The start of foreign text, for an error message.
pub(crate) fn clip(text: &str) -> &str {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_test_vector() {
        let digest = Digest::sha256(b"hello kraken");
        let hex = "23dd464417d01f15d97d48244dbe893ef8d30dc77ba2f0178bc0a5b7838650a4";
        assert_eq!(digest.hex(), hex);
        assert_eq!(digest.wire_name(), hex);
        assert_eq!(digest.to_string(), format!("sha256:{hex}"));
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(Digest::parse_wire_name(hex).unwrap(), digest);
        assert_eq!(digest.shard_id(), [0x23, 0xdd]);
    }

    #[test]
    fn sha512_keeps_its_algorithm_in_the_wire_name() {
        let digest = DigestHasher::new(Algorithm::Sha512).finish();
        assert!(digest.wire_name().starts_with("sha512:cf83e1357eefb8bd"));
        assert_eq!(Digest::parse_wire_name(&digest.wire_name()).unwrap(), digest);
    }

    #[test]
    fn bad_digests_say_what_is_wrong() {
        let hex = "a".repeat(64);
        for (text, part) in [
            ("", "no algorithm"),
            (&hex, "no algorithm"),
            ("md5:00", "unknown digest algorithm"),
            ("sha256:00", "2 hex characters, not 64"),
            (&format!("sha256:{}", hex.to_uppercase()), "not lower-case hex"),
            (&format!("sha512:{hex}"), "64 hex characters, not 128"),
        ] {
            let message = text.parse::<Digest>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
