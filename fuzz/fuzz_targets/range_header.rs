//! The `Range` header against content of any length, and `Content-Range` of uploads.
#![no_main]

use kraken_registry_api::range::{self, ByteRanges};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u64, &str)| {
    let (len, text) = data;
    check(text, len);
    check(&format!("bytes={text}"), len);
    if let Some(chunk) = range::parse_chunk(text) {
        assert!(chunk.start <= chunk.end);
    }
});

fn check(header: &str, len: u64) {
    let ByteRanges::Partial(ranges) = range::parse(header, len) else { return };
    assert!(!ranges.is_empty());
    let mut total = 0u64;
    for range in ranges {
        assert!(range.start < range.end && range.end <= len, "{range:?} of {len}");
        total += range.end - range.start;
    }
    assert!(total <= len, "{total} bytes of {len}");
}
