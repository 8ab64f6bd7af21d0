//! Piece geometry: how a blob is cut.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::limits;

/// The number of a piece in its blob, from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PieceIndex(pub u32);

impl PieceIndex {
    /// As an index into a table of pieces.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A blob's length and the length of its pieces; the last piece may be shorter.
/// The empty blob has no pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    blob_len: u64,
    piece_len: u64,
}

impl Geometry {
    /// Lengths in bytes; refused outside [`limits`].
    pub fn new(blob_len: u64, piece_len: u64) -> Result<Self> {
        if !(limits::PIECE_LEN_MIN..=limits::PIECE_LEN_MAX).contains(&piece_len) {
            return Err(Error::invalid(format!("piece length {piece_len} is out of bounds")));
        }
        if blob_len > limits::BLOB_LEN_MAX {
            return Err(Error::invalid(format!("blob length {blob_len} is out of bounds")));
        }
        let pieces = blob_len.div_ceil(piece_len);
        if pieces > limits::PIECES_MAX {
            return Err(Error::invalid(format!(
                "{pieces} pieces of {piece_len} bytes are more than {}",
                limits::PIECES_MAX
            )));
        }
        Ok(Self { blob_len, piece_len })
    }

    /// The blob's length in bytes.
    pub const fn blob_len(&self) -> u64 {
        self.blob_len
    }

    /// The length in bytes of every piece but the last.
    pub const fn piece_len(&self) -> u64 {
        self.piece_len
    }

    /// How many pieces there are.
    pub const fn pieces(&self) -> u32 {
        self.blob_len.div_ceil(self.piece_len) as u32
    }

    /// All indexes in order.
    pub fn indexes(
        &self,
    ) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.pieces()).map(PieceIndex)
    }

    /// Whether the piece exists.
    pub const fn contains(&self, index: PieceIndex) -> bool {
        index.0 < self.pieces()
    }

    /// The bytes of the blob that the piece covers; empty when there is no such piece.
    pub fn range(&self, index: PieceIndex) -> Range<u64> {
        let start = (u64::from(index.0) * self.piece_len).min(self.blob_len);
        start..(start + self.piece_len).min(self.blob_len)
    }

    /// The length of one piece in bytes; zero when there is no such piece.
    pub fn len_of(&self, index: PieceIndex) -> u64 {
        let range = self.range(index);
        range.end - range.start
    }

    /// The pieces that overlap a range of bytes (clamped to the blob).
    pub fn covering(&self, bytes: Range<u64>) -> Range<u32> {
        let end = bytes.end.min(self.blob_len);
        if bytes.start >= end {
            return 0..0;
        }
        (bytes.start / self.piece_len) as u32..end.div_ceil(self.piece_len) as u32
    }
}

/// Piece length by blob size: the entry with the largest size not above the blob's, as in
/// uber/kraken's `metainfogen.piece_lengths`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceLengths(Vec<(u64, u64)>);

impl PieceLengths {
    /// From pairs (blob size from which on, piece length), in any order, at least one.
    pub fn new(mut table: Vec<(u64, u64)>) -> Result<Self> {
        table.sort_unstable();
        if table.is_empty() {
            return Err(Error::invalid("the table of piece lengths is empty"));
        }
        for &(_, piece_len) in &table {
            Geometry::new(0, piece_len)?;
        }
        Ok(Self(table))
    }

    /// The piece length for a blob of `blob_len` bytes.
    pub fn for_blob(&self, blob_len: u64) -> u64 {
        let after = self.0.partition_point(|&(from, _)| from <= blob_len);
        self.0[after.saturating_sub(1)].1
    }
}

impl Default for PieceLengths {
    /// 1 MiB below 1 GiB, 4 MiB below 16 GiB, 16 MiB above: small blobs start quickly, and the
    /// bitfield of 64 GiB stays below 1 KiB.
    fn default() -> Self {
        Self(vec![(0, 1 << 20), (1 << 30, 4 << 20), (16 << 30, 16 << 20)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_is_shorter() {
        let geometry = Geometry::new(12, 5).unwrap();
        assert_eq!(geometry.pieces(), 3);
        assert_eq!(geometry.range(PieceIndex(2)), 10..12);
        assert_eq!(geometry.len_of(PieceIndex(3)), 0);
        assert_eq!(geometry.covering(4..6), 0..2);
        assert_eq!(geometry.covering(5..100), 1..3);
        assert_eq!(geometry.covering(12..13), 0..0);
        assert_eq!(Geometry::new(0, 5).unwrap().pieces(), 0);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for (blob, piece) in [(1, 0), (1, u64::MAX), (u64::MAX, 1 << 20), (1 << 30, 1)] {
            assert!(Geometry::new(blob, piece).is_err(), "{blob} {piece}");
        }
    }

    #[test]
    fn piece_length_by_blob_size() {
        let table = PieceLengths::default();
        assert_eq!(table.for_blob(0), 1 << 20);
        assert_eq!(table.for_blob((1 << 30) - 1), 1 << 20);
        assert_eq!(table.for_blob(1 << 30), 4 << 20);
        assert_eq!(table.for_blob(1 << 40), 16 << 20);
        let high = PieceLengths::new(vec![(100, 7)]).unwrap();
        assert_eq!(high.for_blob(1), 7);
        assert!(PieceLengths::new(vec![]).is_err());
    }
}
