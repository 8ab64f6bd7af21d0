//! The wire form of bitfields, for torrents of any number of pieces.
#![no_main]

use kraken_core::Bitfield;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((pieces, wire)) = data.split_first_chunk::<4>() else { return };
    let pieces = u32::from_be_bytes(*pieces);
    if let Ok(bits) = Bitfield::from_wire(wire, pieces) {
        assert_eq!(bits.len(), pieces);
        assert!(bits.count() <= pieces);
        assert_eq!(bits.to_wire(), wire);
    }
});
