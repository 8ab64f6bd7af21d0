//! The wire form of bitfields, for torrents of any number of pieces.

use kraken_core::Bitfield;

/// Checks what is made of `data`: four bytes, the number of pieces, then the wire form.
pub fn check(data: &[u8]) {
    let Some((pieces, wire)) = data.split_first_chunk::<4>() else { return };
    let pieces = u32::from_be_bytes(*pieces);
    if let Ok(bits) = Bitfield::from_wire(wire, pieces) {
        assert_eq!(bits.len(), pieces);
        assert!(bits.count() <= pieces);
        assert_eq!(bits.to_wire(), wire);
    }
}
