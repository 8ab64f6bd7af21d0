//! Paths and queries of requests, as uber/kraken's routers read them.

use http::Uri;
use kraken_core::{Digest, Error, Result};
use percent_encoding::percent_decode_str;

use crate::limits;

/// The segments of a path, decoded; a route is a slice pattern over [`Segments::as_strs`].
///
/// A name is one segment, its slashes escaped (`test%2Falpine`). A segment that after decoding
/// still holds escapes is decoded once more: uber/kraken's proxy escapes twice and its servers
/// take that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments(Vec<String>);

impl Segments {
    /// The segments of the path of `uri`.
    pub fn of(uri: &Uri) -> Result<Self> {
        let path = uri.path();
        if path.len() > limits::PATH_LEN_MAX {
            return Err(Error::invalid(format!(
                "path: {} bytes, more than {}",
                path.len(),
                limits::PATH_LEN_MAX
            )));
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.split('/').count() > limits::SEGMENTS_MAX {
            return Err(Error::invalid(format!(
                "path: more than {} segments",
                limits::SEGMENTS_MAX
            )));
        }
        path.split('/').map(unescape).collect::<Result<_>>().map(Self)
    }

    /// The segments, to match on.
    pub fn as_strs(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// The parameters of a query, decoded, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters of the query of `uri`; none if it has no query.
    pub fn of(uri: &Uri) -> Result<Self> {
        let query = uri.query().unwrap_or_default();
        if query.len() > limits::QUERY_LEN_MAX {
            return Err(Error::invalid(format!(
                "query: {} bytes, more than {}",
                query.len(),
                limits::QUERY_LEN_MAX
            )));
        }
        if query.split('&').count() > limits::QUERY_PARAMS_MAX {
            return Err(Error::invalid(format!(
                "query: more than {} parameters",
                limits::QUERY_PARAMS_MAX
            )));
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((form_decode(key)?, form_decode(value)?))
        });
        pairs.collect::<Result<_>>().map(Self)
    }

    /// The first value of `key`.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// The first value of `key` as Go's `strconv.ParseBool` reads it; `default` if there is none.
    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.first(key) {
            None | Some("") => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Error::invalid(format!("parse {key}: {other:?} is no boolean"))),
        }
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A path parameter that must not be empty.
pub fn required<'a>(name: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() {
        return Err(Error::invalid(format!("param {name} is required")));
    }
    Ok(value)
}

/// A path parameter that is a digest with its algorithm.
pub fn digest(value: &str) -> Result<Digest> {
    required("digest", value)?.parse().map_err(|e: Error| e.context("parse digest"))
}

/// `segment` decoded as [`Segments`] says.
fn unescape(segment: &str) -> Result<String> {
    let once = decode(segment)?;
    if once.contains('%') { decode(&once) } else { Ok(once) }
}

fn form_decode(text: &str) -> Result<String> {
    decode(&text.replace('+', " "))
}

/// `text` percent-decoded, strictly: a `%` without two hex digits is an error, as in Go.
fn decode(text: &str) -> Result<String> {
    let bad = || Error::invalid(format!("path unescape {text:?}: invalid URL escape"));
    let hex = |part: Option<&[u8]>| part.is_some_and(|p| p.iter().all(u8::is_ascii_hexdigit));
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        if !hex(bytes.get(at + 1..at + 3)) {
            return Err(bad());
        }
    }
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Result<Vec<String>> {
        Segments::of(&path.parse().unwrap()).map(|s| s.0)
    }

    #[test]
    fn paths() {
        for (path, want) in [
            ("/", &[""][..]),
            ("/health", &["health"]),
            ("/tags/test%2Falpine%3Alatest", &["tags", "test/alpine:latest"]),
            ("/tags/test%252Falpine%253Alatest", &["tags", "test/alpine:latest"]),
            ("/list//test/alpine", &["list", "", "test", "alpine"]),
            ("/a/b+c", &["a", "b+c"]),
        ] {
            assert_eq!(segments(path).unwrap(), want, "{path}");
        }
        for bad in ["/a%zz", "/a%2", "/a%25zz", "/a%ff", &"/a".repeat(limits::SEGMENTS_MAX + 1)] {
            assert!(segments(bad).is_err(), "{bad}");
        }
        assert!(segments(&format!("/{}", "a".repeat(limits::PATH_LEN_MAX))).is_err());
    }

    #[test]
    fn queries() {
        let query = |q: &str| Query::of(&format!("/x?{q}").parse().unwrap());
        let got = query("limit=5&offset=a%2Fb+c&&flag").unwrap();
        let got: Vec<_> = got.iter().collect();
        assert_eq!(got, [("limit", "5"), ("offset", "a/b c"), ("flag", "")]);
        assert!(query("replicate=true").unwrap().bool_or("replicate", false).unwrap());
        assert!(!query("").unwrap().bool_or("replicate", false).unwrap());
        assert!(query("replicate=maybe").unwrap().bool_or("replicate", false).is_err());
        assert!(query("a=%g0").is_err());
        assert!(query(&"a&".repeat(limits::QUERY_PARAMS_MAX + 1)).is_err());
    }

    #[test]
    fn parameters() {
        assert!(required("tag", "").is_err());
        assert!(digest(&format!("sha256:{}", "0".repeat(64))).is_ok());
        assert!(digest(&"0".repeat(64)).is_err());
        assert!(digest("").is_err());
    }
}
