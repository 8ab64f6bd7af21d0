//! Durations in configuration as Go writes them: `300ms`, `1m30s`, `5h`.

use std::time::Duration;

use kraken_core::{Error, Result};

/// Reads a duration: decimal numbers with a unit each, or a bare 0; at most [`LEN_MAX`].
pub fn parse(text: &str) -> Result<Duration> {
    let bad = || Error::invalid(format!("duration {text:?}: not like 300ms, 1m30s or 5h"));
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest == "0" {
        return Ok(total);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, tail) = rest.split_at(number_len);
        let (unit, seconds) =
            UNITS.iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(bad)?;
        let number: f64 = number.parse().map_err(|_| bad())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = &tail[unit.len()..];
    }
    if total > LEN_MAX {
        return Err(Error::invalid(format!("duration {text:?}: longer than 292 years")));
    }
    Ok(total)
}

/// The longest duration: Go's, which counts nanoseconds in 63 bits, so some 292 years. Added to
/// any time of a clock it is still one.
pub const LEN_MAX: Duration = Duration::from_nanos(i64::MAX as u64);

/// Units with their length in seconds; a unit that another begins with comes after it.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("0", 0), ("300ms", 300), ("1m30s", 90_000), ("5h", 18_000_000), ("1.5s", 1500)]
        {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        assert_eq!(parse("2562047h").unwrap(), Duration::from_secs(2_562_047 * 3600));
        for bad in ["", "5", "s", "-1s", "1d", "1..s", "1s5", "99999999999999999999h", "2562048h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
