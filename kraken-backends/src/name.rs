//! The name of an object in a backend.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use kraken_core::{Digest, Error, Result, Tag};

use crate::limits;

/// A relative name of one or more `/`-separated components.
///
/// No component is empty, `.` or `..`, and no character is a control character, so joining it to a
/// root never leaves the root. Blobs are named by their digest's wire name (bare hex for SHA-256),
/// tags by `repo:tag`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if s.len() > limits::OBJECT_NAME_LEN_MAX {
            return Err(Error::invalid(format!(
                "object name of {} bytes, more than {}",
                s.len(),
                limits::OBJECT_NAME_LEN_MAX
            )));
        }
        if !s.split('/').all(is_component) {
            return Err(Error::invalid(format!("object name {s:?}: not a plain relative name")));
        }
        Ok(Self(s.into()))
    }
}

impl From<&Digest> for ObjectName {
    fn from(digest: &Digest) -> Self {
        // Hex, with at most an algorithm before it: always a valid single component.
        Self(digest.wire_name().into())
    }
}

impl TryFrom<&Tag> for ObjectName {
    type Error = Error;

    fn try_from(tag: &Tag) -> Result<Self> {
        tag.to_string().parse()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The components of a listing prefix: leading, trailing and doubled slashes mean nothing, as in
/// Go's `path.Join`; `..` is refused.
pub(crate) fn prefix_components(prefix: &str) -> Result<Vec<&str>> {
    if prefix.len() > limits::PREFIX_LEN_MAX {
        return Err(Error::invalid(format!(
            "listing prefix of {} bytes, more than {}",
            prefix.len(),
            limits::PREFIX_LEN_MAX
        )));
    }
    let parts: Vec<&str> =
        prefix.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.iter().all(|part| is_component(part)) {
        Ok(parts)
    } else {
        Err(Error::invalid(format!("listing prefix {prefix:?}: not a plain relative path")))
    }
}

fn is_component(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part.len() <= limits::OBJECT_NAME_COMPONENT_LEN_MAX
        && !part.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_root() {
        for good in ["a", "a/b", "library/nginx:1.0", "..a", "a..", "…"] {
            assert_eq!(good.parse::<ObjectName>().unwrap().as_str(), good);
        }
        let long = "a/".repeat(600) + "a";
        let wide = "a".repeat(256);
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", &long, &wide] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_are_cleaned_like_go_joins_them() {
        assert_eq!(prefix_components("/test//alpine/").unwrap(), ["test", "alpine"]);
        assert!(prefix_components("").unwrap().is_empty());
        assert!(prefix_components("a/../..").is_err());
    }

    #[test]
    fn digests_are_named_as_on_the_wire() {
        let digest = Digest::sha256(b"x");
        assert_eq!(ObjectName::from(&digest).as_str(), digest.hex());
    }
}
