//! Metainfo documents: any bytes, and one that is valid with a part of it replaced.
#![no_main]

use kraken_fuzz::metainfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| metainfo::check(data));
