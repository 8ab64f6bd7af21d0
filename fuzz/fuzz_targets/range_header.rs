//! The `Range` header against content of any length, and `Content-Range` of uploads.
#![no_main]

use kraken_fuzz::range_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| range_header::check(data));
