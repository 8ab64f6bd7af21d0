//! The `Range` header of a GET and the `Content-Range` header of an upload: pure, over any bytes.

use std::ops::Range;

use crate::limits;

/// What a `Range` header asks of content of a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRanges {
    /// All of it, as a plain 200: there is no range, it is malformed, or it is to be ignored.
    Whole,
    /// These ranges, none empty, in the order asked: one as a plain 206, more as multipart.
    Partial(Vec<Range<u64>>),
    /// A range lies outside the content: 416.
    Unsatisfiable,
}

/// Parses a `Range` header against content of `len` bytes (RFC 9110, section 14).
///
/// Decisions of ours where the RFC leaves room: a range that ends before it begins is
/// unsatisfiable, not ignored (the conformance suite wants 416); one unsatisfiable range makes all
/// of them so, because clients count the parts; more than [`limits::RANGES_MAX`] ranges, or ranges
/// that together exceed the content, are ignored, so that no small request moves many blobs; on
/// empty content every header is ignored, because some clients send `bytes=0-` always.
pub fn parse(header: &str, len: u64) -> ByteRanges {
    let Some((unit, list)) = header.split_once('=') else { return ByteRanges::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || len == 0 {
        return ByteRanges::Whole;
    }
    let mut ranges = Vec::new();
    let mut unsatisfiable = false;
    let mut count = 0;
    for part in list.split(',').map(|part| part.trim_matches([' ', '\t'])) {
        if part.is_empty() {
            continue;
        }
        count += 1;
        if count > limits::RANGES_MAX {
            return ByteRanges::Whole;
        }
        match one(part, len) {
            One::Range(range) => ranges.push(range),
            One::Outside => unsatisfiable = true,
            One::Malformed => return ByteRanges::Whole,
        }
    }
    let total: u128 = ranges.iter().map(|range| u128::from(range.end - range.start)).sum();
    if unsatisfiable {
        ByteRanges::Unsatisfiable
    } else if ranges.is_empty() || total > u128::from(len) {
        ByteRanges::Whole
    } else {
        ByteRanges::Partial(ranges)
    }
}

/// Parses the `Content-Range` of a chunk, `a-b` inclusive as the distribution-spec has it; the form
/// of RFC 9110, `bytes a-b/*`, is taken too. `b` just before `a` is an empty chunk (`0--1` at the
/// start). `None` is malformed.
pub fn parse_chunk(header: &str) -> Option<Range<u64>> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let text = text.split_once('/').map_or(text, |(range, _)| range).trim();
    let (first, last) = text.split_once('-')?;
    let start = exact(first)?;
    let end = if start == 0 && last == "-1" { 0 } else { exact(last)?.checked_add(1)? };
    (start <= end).then_some(start..end)
}

enum One {
    Range(Range<u64>),
    Outside,
    Malformed,
}

fn one(part: &str, len: u64) -> One {
    let Some((first, last)) = part.split_once('-') else { return One::Malformed };
    let (first, last) = (first.trim_end(), last.trim_start());
    if first.is_empty() {
        return match saturating(last) {
            None => One::Malformed,
            Some(0) => One::Outside,
            Some(suffix) => One::Range(len.saturating_sub(suffix)..len),
        };
    }
    let Some(start) = saturating(first) else { return One::Malformed };
    let end = match last {
        "" => len,
        _ => match saturating(last) {
            None => return One::Malformed,
            Some(last) => last.saturating_add(1).min(len),
        },
    };
    // An end before the start and a start past the end are both caught here.
    if start < end { One::Range(start..end) } else { One::Outside }
}

/// Digits as a number; one too large for 64 bits is as good as the largest.
fn saturating(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Digits as a number that must fit.
fn exact(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if valid { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_the_conformance_suite() {
        for (header, expected) in [
            ("bytes=500-1499", &[(500, 1500)][..]),
            ("bytes=500-", &[(500, 2048)]),
            ("bytes=-500", &[(1548, 2048)]),
            ("bytes=-5000", &[(0, 2048)]),
            ("bytes=2000-5000", &[(2000, 2048)]),
            ("bytes=0-0", &[(0, 1)]),
            ("Bytes = 0-1 ,, 9-10,4-5", &[(0, 2), (9, 11), (4, 6)]),
            ("bytes=0-99999999999999999999999", &[(0, 2048)]),
        ] {
            let expected = expected.iter().map(|(start, end)| *start..*end).collect();
            assert_eq!(parse(header, 2048), ByteRanges::Partial(expected), "{header}");
        }
        for header in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0", "bytes=0-1,-0"]
        {
            assert_eq!(parse(header, 2048), ByteRanges::Unsatisfiable, "{header}");
        }
        for header in ["", "bytes", "bytes=", "bytes=a-b", "bytes=1", "lines=0-1", "bytes=--1"] {
            assert_eq!(parse(header, 2048), ByteRanges::Whole, "{header}");
        }
    }

    #[test]
    fn small_requests_do_not_move_many_blobs() {
        assert_eq!(parse("bytes=0-,0-", 10), ByteRanges::Whole);
        let ranges: Vec<String> = (0..=limits::RANGES_MAX).map(|at| format!("{at}-{at}")).collect();
        assert_eq!(parse(&format!("bytes={}", ranges.join(",")), 1 << 20), ByteRanges::Whole);
        assert_eq!(
            parse(&format!("bytes={}", ranges[1..].join(",")), 1 << 20),
            ByteRanges::Partial((1..=limits::RANGES_MAX as u64).map(|at| at..at + 1).collect())
        );
        assert_eq!(parse("bytes=0-", 0), ByteRanges::Whole);
        assert_eq!(parse("bytes=5-1", 0), ByteRanges::Whole);
    }

    #[test]
    fn chunk_ranges() {
        for (header, expected) in [
            ("0-1023", Some(0..1024)),
            ("1024-1024", Some(1024..1025)),
            ("bytes 0-9/*", Some(0..10)),
            ("bytes 0-9/10", Some(0..10)),
            ("0--1", Some(0..0)),
            ("5-4", Some(5..5)),
            ("5-3", None),
            ("0-18446744073709551615", None),
            ("-5", None),
            ("5-", None),
            ("", None),
            ("a-b", None),
        ] {
            assert_eq!(parse_chunk(header), expected, "{header}");
        }
    }

    /// What one range asks for, byte by byte.
    fn model(start: Option<u64>, end: Option<u64>, len: u64) -> Vec<u64> {
        (0..len)
            .filter(|at| match (start, end) {
                (Some(start), Some(end)) => start <= *at && *at <= end,
                (Some(start), None) => start <= *at,
                (None, Some(suffix)) => len - at <= suffix,
                (None, None) => false,
            })
            .collect()
    }

    fn spec() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
        let number = || prop::option::of(0..40u64);
        (number(), number()).prop_filter("one end at least", |spec| *spec != (None, None))
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            specs in prop::collection::vec(spec(), 1..5),
            len in 1..32u64,
        ) {
            let text = |number: &Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
            let list: Vec<_> =
                specs.iter().map(|(start, end)| format!("{}-{}", text(start), text(end))).collect();
            let expected: Vec<Vec<u64>> =
                specs.iter().map(|(start, end)| model(*start, *end, len)).collect();
            let total: usize = expected.iter().map(Vec::len).sum();
            match parse(&format!("bytes={}", list.join(", ")), len) {
                ByteRanges::Partial(ranges) => {
                    let bytes: Vec<Vec<u64>> = ranges.into_iter().map(Iterator::collect).collect();
                    prop_assert_eq!(bytes, expected);
                }
                ByteRanges::Unsatisfiable => prop_assert!(expected.iter().any(Vec::is_empty)),
                ByteRanges::Whole => prop_assert!(total as u64 > len),
            }
        }

        #[test]
        fn any_header_gives_ranges_inside_the_content(
            header in "(bytes=)?[-0-9, a]{0,60}",
            len: u64,
        ) {
            if let ByteRanges::Partial(ranges) = parse(&header, len) {
                prop_assert!(!ranges.is_empty());
                for range in ranges {
                    prop_assert!(range.start < range.end && range.end <= len);
                }
            }
            let _ = parse_chunk(&header);
        }
    }
}
