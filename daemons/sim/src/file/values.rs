//! Single values: from text to what they mean, or why they mean nothing.

use std::time::Duration;

use kraken_bench::units;
use kraken_common::durations;
use kraken_common::upstream::{nearest, quote};
use kraken_p2p::sim::Spread;

use crate::limits::{NAME_CHARS_MAX, PORTION_MAX, PORTION_MIN, RATE_MAX, RATE_MIN, TIME_MAX};

/// A line of text. Terminals obey control characters.
pub(super) fn line(text: &str) -> Result<String, String> {
    let text = text.trim_end();
    match text.chars().find(|c| c.is_control()) {
        None => Ok(text.to_owned()),
        Some('\n') => Err("it is more than one line".to_owned()),
        Some(c) => Err(format!("it has the control character {:#04x} in it", u32::from(c))),
    }
}

/// Lines of text.
pub(super) fn lines(text: &str) -> Result<String, String> {
    text.trim_end().lines().try_for_each(|one| line(one).map(drop))?;
    Ok(text.trim_end().to_owned())
}

/// A name: one line, not too long.
pub(super) fn name(text: &str) -> Result<String, String> {
    let fine = (1..=NAME_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_control() || c == '|');
    if fine { Ok(text.to_owned()) } else { Err(format!("{} is no name", quote(text))) }
}

/// A whole number above 0.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match number(text)? {
        0 => Err("it is 0".to_owned()),
        count => Ok(count),
    }
}

/// A whole number.
pub(super) fn number(text: &str) -> Result<usize, String> {
    not_negative(text)?;
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| format!("{} is no whole number such as 2600", quote(text)))
}

/// A number above 0.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    not_negative(text)?;
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err(format!("{} is no number above 0 such as 1.05", quote(text))),
    }
}

/// A number of bytes above 0.
pub(super) fn size(text: &str) -> Result<u64, String> {
    not_negative(text)?;
    match units::parse_bytes(text)? {
        0 => Err("it is 0 bytes".to_owned()),
        bytes => Ok(bytes),
    }
}

/// A size, or the least and the most of several.
pub(super) fn sizes(text: &str) -> Result<(u64, u64), String> {
    let (least, most) = text.split_once(" to ").unwrap_or((text, text));
    let (least, most) = (size(least)?, size(most)?);
    if least <= most { Ok((least, most)) } else { Err(format!("{} goes down", quote(text))) }
}

/// A number of bytes on a link at once.
pub(super) fn portion(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes < PORTION_MIN => Err(format!("{} is less than 1KiB", quote(text))),
        bytes if bytes > PORTION_MAX => Err(format!("{} is more than 4GiB", quote(text))),
        bytes => Ok(bytes),
    }
}

/// A piece's length, or `by size` for what origins choose.
pub(super) fn piece(text: &str) -> Result<Option<u64>, String> {
    if text == "by size" { Ok(None) } else { size(text).map(Some) }
}

/// Bytes a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    not_negative(text)?;
    let wrong = || format!("{} is no rate such as 300MB/s or 1.2GB/s", quote(text));
    let bytes = text.strip_suffix("/s").and_then(|size| units::parse_bytes(size).ok());
    let rate = bytes.ok_or_else(wrong)? as f64;
    if rate < RATE_MIN {
        return Err(format!("{} is less than 1kB/s", quote(text)));
    }
    if rate > RATE_MAX {
        return Err(format!("{} is more than 1000GB/s", quote(text)));
    }
    Ok(rate)
}

/// A burst and the line's rate: `300MB at 1.25GB/s`.
pub(super) fn burst(text: &str) -> Result<(u64, f64), String> {
    let wrong = || format!("{} is no burst such as \"300MB at 1.25GB/s\"", quote(text));
    let (burst, line) = text.split_once(" at ").ok_or_else(wrong)?;
    Ok((size(burst)?, rate(line)?))
}

/// A share of all: `10%` or `0.1`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    not_negative(text)?;
    let wrong = || format!("{} is no share such as 10% or 0.1", quote(text));
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse().map_err(|_| wrong())?,
    };
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(wrong()) }
}

/// A duration.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    not_negative(text)?;
    let time = durations::parse(text).map_err(|error| error.to_string())?;
    if time > TIME_MAX { Err(format!("{text} is longer than 1000h")) } else { Ok(time) }
}

/// A duration that is not zero.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it is 0".to_owned()),
        time => Ok(time),
    }
}

/// Points in time: `at 5s`, `over 1s`, `from 20s over 1s`.
pub(super) fn spread(text: &str) -> Result<Spread, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["at", from] => Ok(Spread::at(time(from)?)),
        ["over", over] => Ok(Spread::over(time(over)?)),
        ["from", from, "over", over] => Ok(Spread { from: time(from)?, over: time(over)? }),
        _ => Err(format!(
            "{} is not when, such as \"at 5s\", \"over 1s\" or \"from 20s over 1s\"",
            quote(text)
        )),
    }
}

/// Yes or no.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    one_of(text, &[("yes", true), ("no", false), ("true", true), ("false", false)])
}

/// One of several words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names = || words.iter().map(|(word, _)| *word);
    let all = names().collect::<Vec<_>>().join(", ");
    Err(match nearest(text, names()) {
        Some(word) => format!("{} is none of {all}; did you mean {word}?", quote(text)),
        None => format!("{} is none of {all}", quote(text)),
    })
}

fn not_negative(text: &str) -> Result<(), String> {
    if text.trim_start().starts_with('-') {
        return Err(format!("{} is negative", quote(text)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        assert_eq!(count("2_600"), Ok(2600));
        assert_eq!(rate("300MB/s"), Ok(300e6));
        assert_eq!(rate("1.2GB/s"), Ok(1.2e9));
        assert_eq!(sizes("100MB to 1GB"), Ok((100_000_000, 1_000_000_000)));
        assert_eq!(piece("by size"), Ok(None));
        assert_eq!(piece("4MiB"), Ok(Some(4 << 20)));
        assert_eq!((portion("1KiB"), portion("4GiB")), (Ok(1024), Ok(1 << 32)));
        assert_eq!(burst("300MB at 1.25GB/s"), Ok((300_000_000, 1.25e9)));
        assert_eq!((share("10%"), share("0.1"), share("100 %")), (Ok(0.1), Ok(0.1), Ok(1.0)));
        let [twenty, one] = [20, 1].map(Duration::from_secs);
        assert_eq!(spread("at 20s"), Ok(Spread::at(twenty)));
        assert_eq!(spread("from 20s over 1s"), Ok(Spread { from: twenty, over: one }));
        assert_eq!((flag("yes"), flag("false")), (Ok(true), Ok(false)));
    }

    #[test]
    fn text_has_no_control_characters() {
        assert_eq!(line("a | b\n"), Ok("a | b".to_owned()));
        assert_eq!(lines("a\n\nb\n"), Ok("a\n\nb".to_owned()));
        assert_eq!(line("a\nb"), Err("it is more than one line".to_owned()));
        for text in ["\x1b[2J", "a\x07", "a\rb", "\u{9b}2J"] {
            for text in [line(text), lines(&format!("a\n{text}b"))] {
                assert!(text.unwrap_err().starts_with("it has the control character 0x"));
            }
        }
    }

    #[test]
    fn what_is_none_is_said_with_an_example() {
        fn wrong<T: std::fmt::Debug>(value: Result<T, String>, words: &str) {
            let why = value.unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        wrong(rate("-300MB/s"), "\"-300MB/s\" is negative");
        wrong(rate("300MB"), "300MB/s");
        wrong(rate("0MB/s"), "1kB/s");
        wrong(rate("2000GB/s"), "1000GB/s");
        wrong(count("0"), "0");
        wrong(count("2.5"), "whole number");
        wrong(count("-1"), "negative");
        wrong(size("0MB"), "0 bytes");
        wrong(size("99999999999GiB"), "512MiB");
        wrong(sizes("1GB to 1MB"), "down");
        wrong(portion("1023"), "less than 1KiB");
        wrong(portion("18446744073709551615"), "more than 4GiB");
        wrong(share("150%"), "10%");
        wrong(share("nan"), "10%");
        wrong(factor("inf"), "1.05");
        wrong(factor("nan"), "1.05");
        wrong(time("5"), "300ms");
        wrong(time("2000h"), "1000h");
        wrong(some_time("0s"), "0");
        wrong(spread("1s"), "over 1s");
        wrong(burst("300MB"), "300MB at");
        wrong(one_of("hung", &[("hang", 1), ("kill", 2)]), "hang");
    }
}
