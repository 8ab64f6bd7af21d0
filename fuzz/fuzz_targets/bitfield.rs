//! The wire form of bitfields, for torrents of any number of pieces.
#![no_main]

use kraken_fuzz::bitfield;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| bitfield::check(data));
