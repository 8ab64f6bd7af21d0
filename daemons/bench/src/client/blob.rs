//! The blob of a run: random bytes that nobody has to keep, since their seed gives them again.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kraken_backends::{BlobStream, UploadSource};
use kraken_core::rng::Rng;
use kraken_core::{Algorithm, Digest, DigestHasher, Result};
use serde::{Deserialize, Serialize};

/// Random bytes of a seed, known by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    seed: u64,
    /// How many bytes.
    pub(crate) len: u64,
    /// Their SHA-256.
    pub(crate) digest: Digest,
    /// Their CRC-32.
    pub(crate) crc32: u32,
}

impl Blob {
    /// Makes all bytes once, to know their sums.
    pub(crate) fn new(seed: u64, len: u64) -> Self {
        let mut blob = Self { seed, len, digest: Digest::sha256(b""), crc32: 0 };
        let mut sha256 = DigestHasher::new(Algorithm::Sha256);
        let mut crc32 = crc32fast::Hasher::new();
        for block in blob.blocks(0) {
            sha256.update(&block);
            crc32.update(&block);
        }
        blob.digest = sha256.finish();
        blob.crc32 = crc32.finalize();
        blob
    }

    /// The bytes from the block with the byte `start` on.
    fn blocks(&self, start: u64) -> impl Iterator<Item = Bytes> + Send + use<> {
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

#[async_trait]
impl UploadSource for Blob {
    fn len(&self) -> u64 {
        self.len
    }

    async fn open(&self, range: Range<u64>) -> Result<BlobStream> {
        let mut at = range.start - range.start % BLOCK_LEN;
        let parts = self.blocks(range.start).map_while(move |block| {
            let end = range.end.checked_sub(at).filter(|end| *end > 0)?.min(block.len() as u64);
            let start = range.start.saturating_sub(at);
            at += block.len() as u64;
            Some(Ok(block.slice(start as usize..end as usize)))
        });
        Ok(stream::iter(parts).boxed())
    }
}

/// How much is made at a time.
pub(crate) const BLOCK_LEN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_part_is_the_same_again() {
        let blob = Blob::new(1, 2 * BLOCK_LEN + 13);
        let whole: Vec<u8> = blob.blocks(0).flatten().collect();
        assert_eq!(whole.len() as u64, blob.len);
        assert_eq!(Digest::sha256(&whole), blob.digest);
        assert_eq!(crc32fast::hash(&whole), blob.crc32);
        let len = blob.len;
        for range in [0..len, BLOCK_LEN..len, 0..0, 5..7, BLOCK_LEN - 1..2 * BLOCK_LEN + 1] {
            let parts: Vec<Bytes> =
                blob.open(range.clone()).await.unwrap().map(Result::unwrap).collect().await;
            assert_eq!(parts.concat(), whole[range.start as usize..range.end as usize]);
        }
        assert_ne!(Blob::new(2, blob.len).digest, blob.digest);
        assert_ne!(whole[..64], whole[BLOCK_LEN as usize..][..64]);
        assert_eq!(Blob::new(1, 0).blocks(0).count(), 0);
    }
}
