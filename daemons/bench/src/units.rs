//! Sizes and rates as the command line and the tables have them.

use crate::scenario::Rate;

/// A link's cap on the command line: a rate, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cap(pub(crate) Option<Rate>);

/// Bytes from `512MiB`, `1GB`, `1.5GiB` or `4096`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size such as 512MiB, 1GB or 4096");
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(wrong);
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * unit as f64;
    // Beyond that a float no longer tells one byte from the next.
    if bytes < (1_u64 << 53) as f64 { Ok(bytes.round() as u64) } else { Err(wrong()) }
}

/// A rate from `40MiB`, `40MiB/s` or `none`.
pub(crate) fn parse_cap(text: &str) -> Result<Cap, String> {
    if text == "none" {
        return Ok(Cap(None));
    }
    match parse_bytes(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(bytes) => Ok(Cap(Some(Rate(bytes)))),
        Err(_) => Err(format!("{text:?} is no rate such as 40MiB or 125MB, nor `none`")),
    }
}

/// Bytes in the largest unit that leaves no odd digits: `512 MiB`, `1 GB`.
pub fn bytes(bytes: u64) -> String {
    let units: [(u64, &str); 6] = [
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
        (1000, "kB"),
    ];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None if bytes >= 1 << 20 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        None => format!("{bytes} B"),
    }
}

/// A cap as words: `at 40 MiB/s`, or `without caps`.
pub(crate) fn cap(rate: Option<Rate>) -> String {
    match rate {
        Some(Rate(rate)) => format!("at {}/s", bytes(rate)),
        None => "without caps".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_read_and_shown() {
        for (text, expected, shown) in [
            ("512MiB", 512 << 20, "512 MiB"),
            ("1 GiB", 1 << 30, "1 GiB"),
            ("1GB", 1_000_000_000, "1 GB"),
            ("125MB", 125_000_000, "125 MB"),
            ("1.5GiB", 3 << 29, "1536 MiB"),
            ("4096", 4096, "4 KiB"),
            ("7B", 7, "7 B"),
            ("0.5MB", 500_000, "500 kB"),
        ] {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
            assert_eq!(bytes(expected), shown);
        }
        assert_eq!(bytes((5 << 20) + 1), "5.0 MiB");
        assert_eq!(parse_cap("40MiB/s"), Ok(Cap(Some(Rate(40 << 20)))));
        assert_eq!(parse_cap("none"), Ok(Cap(None)));
        assert_eq!(cap(Some(Rate(10 << 20))), "at 10 MiB/s");
    }

    #[test]
    fn what_is_no_size_is_said_with_an_example() {
        for text in ["", "MiB", "5mib", "-1", "1e9", "1..5MB", "99999999999GiB", "9e99", "1.5.GB"] {
            assert!(parse_bytes(text).is_err_and(|why| why.contains("512MiB")), "{text}");
        }
        assert!(parse_cap("fast").is_err_and(|why| why.contains("none")));
    }
}
