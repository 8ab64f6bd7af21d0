//! The blob of a run: random bytes that nobody has to keep, since their seed gives them again.

use bytes::Bytes;
use kraken_core::rng::Rng;
use kraken_core::{Algorithm, Digest, DigestHasher};
use serde::{Deserialize, Serialize};

/// Random bytes of a seed, known by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    seed: u64,
    /// How many bytes.
    pub(crate) len: u64,
    /// `sha256:` and their SHA-256 in hex.
    pub(crate) digest: String,
    /// Their CRC-32.
    pub(crate) crc32: u32,
}

impl Blob {
    /// Makes all bytes once, to know their sums.
    pub(crate) fn new(seed: u64, len: u64) -> Self {
        let mut blob = Self { seed, len, digest: String::new(), crc32: 0 };
        let mut sha256 = DigestHasher::new(Algorithm::Sha256);
        let mut crc32 = crc32fast::Hasher::new();
        for block in blob.blocks(0) {
            sha256.update(&block);
            crc32.update(&block);
        }
        let digest: Digest = sha256.finish();
        blob.digest = digest.to_string();
        blob.crc32 = crc32.finalize();
        blob
    }

    /// The bytes from a multiple of [`BLOCK_LEN`] on.
    pub(crate) fn blocks(&self, start: u64) -> impl Iterator<Item = Bytes> + Send + use<> {
        let (seed, len) = (self.seed, self.len);
        (start / BLOCK_LEN..len.div_ceil(BLOCK_LEN)).map(move |index| {
            let mut rng = Rng::new(seed.wrapping_add(index.wrapping_mul(BLOCK_LEN)));
            // The first number scatters what neighbouring seeds have in common.
            let mut rng = Rng::new(rng.next());
            let block_len = BLOCK_LEN.min(len - index * BLOCK_LEN) as usize;
            let mut block = Vec::with_capacity(block_len.next_multiple_of(8));
            while block.len() < block_len {
                block.extend_from_slice(&rng.next().to_le_bytes());
            }
            block.truncate(block_len);
            block.into()
        })
    }
}

/// How much is made at a time.
pub(crate) const BLOCK_LEN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_the_same_again() {
        let blob = Blob::new(1, 2 * BLOCK_LEN + 13);
        let whole: Vec<u8> = blob.blocks(0).flatten().collect();
        assert_eq!(whole.len() as u64, blob.len);
        assert_eq!(Digest::sha256(&whole).to_string(), blob.digest);
        assert_eq!(crc32fast::hash(&whole), blob.crc32);
        let end: Vec<u8> = blob.blocks(BLOCK_LEN).flatten().collect();
        assert_eq!(end, whole[BLOCK_LEN as usize..]);
        assert_ne!(Blob::new(2, blob.len).digest, blob.digest);
        assert_ne!(whole[..64], whole[BLOCK_LEN as usize..][..64]);
        assert_eq!(Blob::new(1, 0).blocks(0).count(), 0);
    }
}
