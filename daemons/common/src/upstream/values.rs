//! What a scalar means, as uber/kraken's loader and its types read it: YAML 1.1's booleans and
//! integers, Go's durations, sizes in binary units.

use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::document::Scalar;
use super::limits;
use crate::{Cidr, HostList, durations};

/// Why a value is not what its key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What the key holds.
    pub(super) expected: String,
    /// What exactly is wrong; may repeat the value.
    pub(super) reason: Option<String>,
    /// How to mend it; may repeat the value.
    pub(super) advice: Option<String>,
}

impl Fault {
    pub(super) fn new(expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), reason: None, advice: None }
    }

    pub(super) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    pub(super) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// A boolean; YAML 1.1 knows more words for it than 1.2.
pub(super) fn boolean(scalar: &Scalar) -> Result<bool, Fault> {
    let fault = || Fault::new("true or false");
    let value = match scalar.text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => true,
        "false" | "no" | "off" | "n" => false,
        _ => return Err(fault()),
    };
    unquoted(scalar, fault)?;
    Ok(value)
}

/// A whole number: decimal, `0x`, `0o`, `0b`, octal after a bare 0, with `_` between digits, or a
/// float without a fraction such as `1e6`.
pub(super) fn integer(scalar: &Scalar) -> Result<u64, Fault> {
    let fault = || Fault::new("a whole number");
    let digits = scalar.text.replace('_', "");
    let digits = digits.strip_prefix('+').unwrap_or(&digits);
    if digits.starts_with('-') && digits.parse::<f64>().is_ok_and(|number| number != 0.0) {
        return Err(fault().because("it is negative"));
    }
    let lower = digits.to_ascii_lowercase();
    let radixes = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8), ("", 10)];
    let parsed = radixes.iter().find_map(|(prefix, radix)| {
        let rest = lower.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        Some(u64::from_str_radix(rest, *radix))
    });
    let value = match parsed {
        Some(Ok(value)) => value,
        _ => whole(&lower).ok_or_else(fault)?,
    };
    unquoted(scalar, fault)?;
    Ok(value)
}

/// A float that is a whole number, exactly.
fn whole(digits: &str) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number: f64 = digits.parse().ok()?;
    let fits = (0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0;
    // Whole, not negative and at most 2^53, so its decimal form is an integer's.
    fits.then(|| format!("{number:.0}")).and_then(|text| text.parse().ok())
}

/// A number.
pub(super) fn float(scalar: &Scalar) -> Result<f64, Fault> {
    let fault = || Fault::new("a number");
    let number: f64 = scalar.text.replace('_', "").parse().map_err(|_| fault())?;
    if !number.is_finite() {
        return Err(fault());
    }
    unquoted(scalar, fault)?;
    Ok(number)
}

/// A duration as Go writes it; a bare number is nanoseconds, as in Go.
pub(super) fn duration(scalar: &Scalar) -> Result<Duration, Fault> {
    let fault = || Fault::new("a duration").advise("write it like 300ms, 1m30s or 5h");
    if let Some(nanos) = bare_number(scalar) {
        let duration = Duration::from_nanos(nanos);
        return if duration <= durations::LEN_MAX {
            Ok(duration)
        } else {
            Err(fault().because("it is longer than 292 years"))
        };
    }
    durations::parse(scalar.text.strip_prefix('+').unwrap_or(&scalar.text)).map_err(|_| fault())
}

/// The number, if `scalar` is one without quotes or unit.
pub(super) fn bare_number(scalar: &Scalar) -> Option<u64> {
    integer(scalar).ok().filter(|_| scalar.plain)
}

/// A size in bytes: `4MB`, `50G`, `1048576`. Units are powers of 1024.
pub(super) fn size(scalar: &Scalar) -> Result<u64, Fault> {
    let fault = || Fault::new("a size").advise("write it like 4MB, 50G or 1048576");
    let text = scalar.text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim();
    if unit.ends_with('b') && unit.len() == 2 && unit.starts_with(|c: char| c.is_ascii_uppercase())
    {
        return Err(fault().because("units with a small b are bits"));
    }
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "byte" => 0,
        "k" | "kb" | "kilo" | "kilobyte" | "kilobytes" => 1,
        "m" | "mb" | "mega" | "megabyte" | "megabytes" => 2,
        "g" | "gb" | "giga" | "gigabyte" | "gigabytes" => 3,
        "t" | "tb" | "tera" | "terabyte" | "terabytes" => 4,
        "p" | "pb" | "peta" | "petabyte" | "petabytes" => 5,
        "e" | "eb" | "exa" | "exabyte" | "exabytes" => 6,
        _ => return bare_number(scalar).ok_or_else(fault),
    };
    let number: u64 = digits.parse().map_err(|_| fault())?;
    let size = 1024_u64.checked_pow(power).and_then(|unit| number.checked_mul(unit));
    size.ok_or_else(|| fault().because("it is too large"))
}

/// A regular expression in RE2's syntax, which Go's and Rust's are.
pub(super) fn regex(scalar: &Scalar) -> Result<Regex, Fault> {
    let fault = || Fault::new("a regular expression");
    if scalar.text.len() > limits::REGEX_BYTES_MAX {
        let max = limits::REGEX_BYTES_MAX;
        return Err(fault().because(format!("it is longer than {max} bytes")));
    }
    let built =
        RegexBuilder::new(&scalar.text).size_limit(limits::REGEX_COMPILED_BYTES_MAX).build();
    built.map_err(|error| {
        let text = error.to_string();
        // The crate's message draws the expression over several lines; the last one says why.
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let fault = fault().because(reason);
        if scalar.text.starts_with('*') {
            fault.advise("these are no shell patterns: write .* for anything")
        } else {
            fault
        }
    })
}

/// An address or a network.
pub(super) fn cidr(scalar: &Scalar) -> Result<Cidr, Fault> {
    Cidr::read(&scalar.text).map_err(|reason| {
        let fault = Fault::new("an IP address or a network such as 10.0.0.0/8");
        match reason {
            Some(reason) => fault.because(reason),
            None => fault,
        }
    })
}

/// A host with its port.
pub(super) fn host(scalar: &Scalar) -> Result<String, Fault> {
    HostList::new(vec![scalar.text.clone()]).map_err(|error| {
        let text = error.to_string();
        let reason = text.rsplit(": ").next().unwrap_or_default();
        let fault = Fault::new("a host with its port").because(reason);
        match bracketed(&scalar.text) {
            Some(advice) => fault.advise(advice),
            None => fault,
        }
    })?;
    Ok(scalar.text.clone())
}

/// How an IPv6 address without brackets is to be written.
fn bracketed(text: &str) -> Option<String> {
    let is_v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    match text.rsplit_once(':') {
        Some((address, port)) if is_v6(address) && port.parse::<u16>().is_ok_and(|p| p > 9) => {
            Some(format!("write it as [{address}]:{port}"))
        }
        _ if is_v6(text) => Some(format!("write it as [{text}]:PORT")),
        _ => None,
    }
}

/// One of `words`, in the spelling there.
pub(super) fn choice(
    scalar: &Scalar,
    words: &'static [&'static str],
) -> Result<&'static str, Fault> {
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(&scalar.text)).ok_or_else(|| {
        let fault = Fault::new(format!("one of {}", words.join(", ")));
        match nearest(&scalar.text, words.iter().copied()) {
            Some(word) => fault.advise(format!("did you mean {word}?")),
            None => fault,
        }
    })
}

fn unquoted(scalar: &Scalar, fault: impl Fn() -> Fault) -> Result<(), Fault> {
    if scalar.plain {
        Ok(())
    } else {
        Err(fault().advise("remove the quotes: they make it a text"))
    }
}

/// The one of `known` that `word` is most likely meant to be.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > limits::NEAREST_KEY_LEN_MAX {
        return None;
    }
    // The same letters in another case, or with - for _, are as near as can be.
    let simple = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let meant = simple(word);
    let rated = known.map(|candidate| (edits(&meant, &simple(candidate)), candidate));
    let best = rated.min_by_key(|(edits, _)| *edits)?;
    let allowed = (meant.chars().count() / 3).clamp(1, 3);
    (best.0 <= allowed).then_some(best.1)
}

/// How many letters must be put in, taken out, replaced or swapped to make `a` of `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, y) in b.iter().enumerate() {
            let replaced = above[column] + usize::from(x != y);
            let mut best = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *x == b[column - 1] && a[row - 1] == *y {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar::plain(text)
    }

    fn quoted(text: &str) -> Scalar {
        Scalar { text: text.into(), plain: false }
    }

    #[test]
    fn booleans_are_those_of_yaml_1_1() {
        for (text, value) in [("true", true), ("Yes", true), ("ON", true), ("n", false)] {
            assert_eq!(boolean(&plain(text)), Ok(value), "{text}");
        }
        for bad in ["1", "0", "", "enabled"] {
            assert!(boolean(&plain(bad)).is_err(), "{bad}");
        }
        assert!(boolean(&quoted("true")).unwrap_err().advice.unwrap().contains("quotes"));
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            ("1_000", 1000),
            ("+7", 7),
            ("0x1F", 31),
            ("0b11", 3),
            ("0o17", 15),
            ("017", 15),
            ("1e6", 1_000_000),
            ("08.0", 8),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(integer(&plain(text)), Ok(value), "{text}");
        }
        for bad in ["", "x", "1.5", "-1", "18446744073709551616", "1e300", "nan", "0x", "_"] {
            assert!(integer(&plain(bad)).is_err(), "{bad}");
        }
        assert!(integer(&quoted("5")).is_err());
    }

    #[test]
    fn sizes_and_durations() {
        for (text, value) in [
            ("4MB", 4 << 20),
            ("50G", 50 << 30),
            ("1048576", 1 << 20),
            ("1 kb", 1024),
            ("0", 0),
            ("1_000", 1000),
        ] {
            assert_eq!(size(&plain(text)), Ok(value), "{text}");
        }
        for bad in ["", "MB", "4Mb", "1.5GB", "-1", "16E", "5x"] {
            assert!(size(&plain(bad)).is_err(), "{bad}");
        }
        assert_eq!(size(&quoted("50G")), Ok(50 << 30));
        assert_eq!(duration(&plain("1m30s")), Ok(Duration::from_secs(90)));
        assert_eq!(duration(&plain("1000")), Ok(Duration::from_micros(1)));
        assert!(duration(&plain("9223372036854775807")).is_ok());
        for bad in ["5 min", "-5s", "1d", "", "9223372036854775808", "300000000h"] {
            assert!(duration(&plain(bad)).is_err(), "{bad}");
        }
        assert!(duration(&quoted("5")).is_err());
    }

    #[test]
    fn networks() {
        assert_eq!(cidr(&plain("10.0.0.0/8")).unwrap().prefix, 8);
        assert!(cidr(&plain("10.0.0.0/33")).unwrap_err().reason.unwrap().contains("0 to 32"));
        assert_eq!(cidr(&plain("a")).unwrap_err().reason, None);
    }

    #[test]
    fn hosts_and_regexes_advise() {
        let advice = |text: &str| host(&plain(text)).unwrap_err().advice;
        assert_eq!(host(&plain("a:80")), Ok("a:80".into()));
        assert_eq!(advice("fd00::1:15002").unwrap(), "write it as [fd00::1]:15002");
        assert_eq!(advice("::1").unwrap(), "write it as [::1]:PORT");
        assert_eq!(advice("a"), None);
        let fault = regex(&plain("*")).unwrap_err();
        assert!(fault.advice.unwrap().contains("shell"));
        assert!(regex(&plain("a(b")).unwrap_err().reason.unwrap().contains("unclosed"));
        assert!(regex(&plain(r"(\w{1000}){1000}")).is_err());
        assert!(regex(&plain("library/.*")).is_ok());
    }

    #[test]
    fn what_was_meant() {
        let known = ["announce_interval", "announce_limit", "aggressive_ttL", "dns"];
        let near = |word| nearest(word, known.into_iter());
        assert_eq!(near("anounce_interval"), Some("announce_interval"));
        assert_eq!(near("announce-limit"), Some("announce_limit"));
        assert_eq!(near("aggressive_ttl"), Some("aggressive_ttL"));
        assert_eq!(near("dsn"), Some("dns"));
        assert_eq!(near("hosts"), None);
        assert_eq!(choice(&plain("ADDR_HASH"), &["random", "addr_hash"]), Ok("addr_hash"));
    }
}
