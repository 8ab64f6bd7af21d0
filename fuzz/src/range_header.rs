//! The `Range` header against content of any length, and `Content-Range` of uploads.

use kraken_registry_api::range::{self, ByteRanges};

/// Checks what is made of `data`: eight bytes, the length of the content, then the header.
pub fn check(data: &[u8]) {
    let Some((len, text)) = data.split_first_chunk::<8>() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let len = u64::from_be_bytes(*len);
    header(text, len);
    header(&format!("bytes={text}"), len);
    if let Some(chunk) = range::parse_chunk(text) {
        assert!(chunk.start <= chunk.end);
    }
}

fn header(header: &str, len: u64) {
    let ByteRanges::Partial(ranges) = range::parse(header, len) else { return };
    assert!(!ranges.is_empty());
    let mut total = 0u64;
    for range in ranges {
        assert!(range.start < range.end && range.end <= len, "{range:?} of {len}");
        total += range.end - range.start;
    }
    assert!(total <= len, "{total} bytes of {len}");
}
