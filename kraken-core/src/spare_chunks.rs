//! The memory of what a reader is given, used again and again: to have fresh memory from the
//! system, or to clear it, costs more than to read bytes into it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::limits::SPARE_CHUNKS_MAX;

/// The memory of chunks that one reader was given and has dropped; clones are of the same reader.
#[derive(Debug, Clone, Default)]
pub struct SpareChunks(Arc<Mutex<Vec<Vec<u8>>>>);

/// A chunk in somebody's hands.
struct Chunk {
    bytes: Vec<u8>,
    spare: SpareChunks,
}

impl SpareChunks {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `len` bytes to be written over, some of them of an earlier chunk.
    pub fn take(&self, len: usize) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match spare {
            Some(mut bytes) => {
                bytes.resize(len, 0);
                bytes
            }
            None => vec![0; len],
        }
    }

    /// Hands out what was taken and filled; the memory comes back when the last part of it is
    /// dropped.
    pub fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Chunk { bytes, spare: self.clone() })
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let mut spare = self.spare.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_CHUNKS_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_part_is_dropped() {
        let spare = SpareChunks::new();
        let mut bytes = spare.take(5);
        bytes.copy_from_slice(b"hello");
        let place = bytes.as_ptr();
        let chunk = spare.lend(bytes);
        let part = chunk.slice(1..3);
        drop(chunk);
        let other = spare.take(5);
        assert_ne!(other.as_ptr(), place);
        assert_eq!(part, "el");
        drop(part);
        let again = spare.take(3);
        assert!(again.as_ptr() == place && again.len() == 3);
        drop(spare.lend(again));
        assert_eq!(spare.take(5).len(), 5);
        let many: Vec<Bytes> = (0..9).map(|_| spare.lend(vec![1])).collect();
        drop(many);
        assert_eq!(spare.0.lock().unwrap().len(), SPARE_CHUNKS_MAX);
    }
}
