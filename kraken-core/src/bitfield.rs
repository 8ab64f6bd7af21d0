//! A set of pieces, in the wire form of Go's `willf/bitset`.

use std::fmt;

use crate::error::{Error, Result};
use crate::limits;
use crate::piece::PieceIndex;

/// A fixed number of bits, one a piece.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    len: u32,
    /// Bit `i` is bit `i % 64` of word `i / 64`; bits past `len` are zero.
    words: Box<[u64]>,
}

impl Bitfield {
    /// `len` bits, all clear.
    pub fn new(len: u32) -> Self {
        Self { len, words: vec![0; len.div_ceil(64) as usize].into() }
    }

    /// `len` bits, all set.
    pub fn full(len: u32) -> Self {
        let mut bits = Self { len, words: vec![u64::MAX; len.div_ceil(64) as usize].into() };
        if let (Some(last), tail @ 1..) = (bits.words.last_mut(), len % 64) {
            *last = (1 << tail) - 1;
        }
        bits
    }

    /// Parses the wire form for a torrent of `pieces` pieces: a big-endian `u64` bit length, then
    /// the words, each big-endian (`willf/bitset.MarshalBinary`). The length must be `pieces`, the
    /// bytes must end with the last word, and no bit past the length may be set.
    pub fn from_wire(bytes: &[u8], pieces: u32) -> Result<Self> {
        let Some((len, words)) = bytes.split_first_chunk::<8>() else {
            return Err(Error::invalid(format!("bitfield of {} bytes has no length", bytes.len())));
        };
        let len = u64::from_be_bytes(*len);
        if len != u64::from(pieces) || len > limits::PIECES_MAX {
            return Err(Error::invalid(format!("bitfield of {len} bits for {pieces} pieces")));
        }
        let (chunks, rest) = words.as_chunks::<8>();
        if !rest.is_empty() || chunks.len() != pieces.div_ceil(64) as usize {
            return Err(Error::invalid(format!(
                "bitfield of {pieces} bits has {} bytes of words",
                words.len()
            )));
        }
        let bits = Self {
            len: pieces,
            words: chunks.iter().map(|word| u64::from_be_bytes(*word)).collect(),
        };
        match (bits.words.last(), pieces % 64) {
            (Some(last), tail @ 1..) if last >> tail != 0 => {
                Err(Error::invalid(format!("bitfield has bits set past its length {pieces}")))
            }
            _ => Ok(bits),
        }
    }

    /// The wire form; see [`Bitfield::from_wire`].
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.words.len() * 8);
        bytes.extend_from_slice(&u64::from(self.len).to_be_bytes());
        for word in &self.words {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Sets the bit; whether it was clear. An index past the end changes nothing.
    pub fn set(&mut self, index: PieceIndex) -> bool {
        if index.0 >= self.len {
            return false;
        }
        let (word, mask) = (&mut self.words[index.as_usize() / 64], 1 << (index.0 % 64));
        let was_clear = *word & mask == 0;
        *word |= mask;
        was_clear
    }

    /// Clears the bit; whether it was set. An index past the end changes nothing.
    pub fn clear(&mut self, index: PieceIndex) -> bool {
        if index.0 >= self.len {
            return false;
        }
        let (word, mask) = (&mut self.words[index.as_usize() / 64], 1 << (index.0 % 64));
        let was_set = *word & mask != 0;
        *word &= !mask;
        was_set
    }

    /// Whether the bit is set; false past the end.
    pub fn contains(&self, index: PieceIndex) -> bool {
        index.0 < self.len && self.words[index.as_usize() / 64] >> (index.0 % 64) & 1 == 1
    }

    /// The number of bits.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bits are set.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether every bit is set.
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// The bits, 64 a word: bit `i` is bit `i % 64` of word `i / 64`; those past the end are zero.
    pub fn as_words(&self) -> &[u64] {
        &self.words
    }

    /// The set bits in order.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        ones(self.words.iter().copied())
    }

    /// Bits set here and in neither of the others, in order; the others may be of another length.
    pub fn iter_minus<'a>(
        &'a self,
        have: &'a Self,
        pending: &'a Self,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let word = |bits: &Self, at: usize| bits.words.get(at).copied().unwrap_or(0);
        ones(
            self.words
                .iter()
                .enumerate()
                .map(move |(at, mine)| mine & !word(have, at) & !word(pending, at)),
        )
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({}/{})", self.count(), self.len)
    }
}

/// The positions of set bits over a run of words.
fn ones(words: impl Iterator<Item = u64>) -> impl Iterator<Item = PieceIndex> {
    words.enumerate().flat_map(|(at, word)| {
        std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)))
            .take_while(|rest| *rest != 0)
            .map(move |rest| PieceIndex((at * 64) as u32 + rest.trailing_zeros()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(len: u32, set: &[u32]) -> Bitfield {
        let mut bits = Bitfield::new(len);
        for &index in set {
            assert!(bits.set(PieceIndex(index)));
        }
        bits
    }

    fn hex(bits: &Bitfield) -> String {
        crate::digest::encode_hex(&bits.to_wire())
    }

    #[test]
    fn wire_vectors() {
        assert_eq!(hex(&bits(3, &[0, 2])), "00000000000000030000000000000005");
        assert_eq!(hex(&bits(65, &[0, 64])), "000000000000004100000000000000010000000000000001");
        assert_eq!(hex(&bits(0, &[])), "0000000000000000");
    }

    #[test]
    fn bad_wire_forms_are_refused() {
        let good = bits(3, &[0, 2]).to_wire();
        assert!(Bitfield::from_wire(&good, 3).is_ok());
        assert!(Bitfield::from_wire(&good, 4).is_err());
        assert!(Bitfield::from_wire(&good[..15], 3).is_err());
        assert!(Bitfield::from_wire(&good[..8], 3).is_err());
        assert!(Bitfield::from_wire(&[&good[..], &[0; 8]].concat(), 3).is_err());
        assert!(Bitfield::from_wire(&[0xff; 16], u32::MAX).is_err());
        let mut stray = good;
        stray[15] = 0x0f;
        assert!(Bitfield::from_wire(&stray, 3).is_err());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(
            len in 0u32..200,
            ops in prop::collection::vec((0u32..220, any::<bool>()), 0..100),
        ) {
            let mut bits = Bitfield::new(len);
            let mut model = std::collections::BTreeSet::new();
            for (index, set) in ops {
                if set {
                    let added = index < len && model.insert(index);
                    prop_assert_eq!(bits.set(PieceIndex(index)), added);
                } else {
                    prop_assert_eq!(bits.clear(PieceIndex(index)), model.remove(&index));
                }
            }
            prop_assert!(bits.iter().map(|i| i.0).eq(model.iter().copied()));
            prop_assert_eq!(bits.count() as usize, model.len());
            prop_assert_eq!(Bitfield::from_wire(&bits.to_wire(), len).unwrap(), bits.clone());
            let full = Bitfield::full(len);
            prop_assert!(full.is_full());
            let none = Bitfield::new(0);
            let missing: Vec<u32> = full.iter_minus(&bits, &none).map(|i| i.0).collect();
            prop_assert_eq!(missing, (0..len).filter(|i| !model.contains(i)).collect::<Vec<_>>());
        }
    }
}
