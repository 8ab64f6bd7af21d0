//! Names of files, as they come in URLs: none of them leads out of the root.

use std::fmt;

use kraken_core::{Error, Result};

use crate::limits::{COMPONENT_LEN_MAX, NAME_LEN_MAX};

/// A relative path of one or more plain components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

/// Where uploads grow within the root until they are whole; no name begins with it.
pub(crate) const UPLOADS_DIR: &str = ".kraken-testfs-uploads";

impl Name {
    /// The name that these segments of a URL spell; `None` if they spell the root.
    ///
    /// A colon separates components as a slash does, so that the tags of a repository can be
    /// listed; empty components count for nothing, as the paths of uber/kraken's clients begin
    /// with a slash when they are configured so.
    pub(crate) fn parse(segments: &[&str]) -> Result<Option<Self>> {
        let spelled = segments.join("/");
        if spelled.len() > NAME_LEN_MAX {
            let len = spelled.len();
            return Err(Error::invalid(format!("file name: {len} bytes, over {NAME_LEN_MAX}")));
        }
        let bad = |why: &str| Error::invalid(format!("file name {spelled:?}: {why}"));
        let components = spelled.split(['/', ':']).filter(|component| !component.is_empty());
        let components: Vec<&str> = components.collect();
        for component in &components {
            if matches!(*component, "." | "..") {
                return Err(bad("a component that is no name"));
            }
            if component.len() > COMPONENT_LEN_MAX {
                return Err(bad(&format!("a component of over {COMPONENT_LEN_MAX} bytes")));
            }
            if component.contains(char::is_control) {
                return Err(bad("a control character"));
            }
        }
        if components.first() == Some(&UPLOADS_DIR) {
            return Err(bad("reserved"));
        }
        Ok((!components.is_empty()).then(|| Self(components.join("/"))))
    }

    /// As [`Name::parse`], for what must be a file, so not the root.
    pub(crate) fn of_file(segments: &[&str]) -> Result<Self> {
        Self::parse(segments)?.ok_or_else(|| Error::invalid("file name: empty"))
    }

    /// The parts between the slashes.
    pub(crate) fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_components() {
        let nested = format!("a/{UPLOADS_DIR}");
        for (segments, want) in [
            (&["a", "b.c", "..."][..], "a/b.c/..."),
            (&["tags", "library/alpine:3"], "tags/library/alpine/3"),
            (&["", "etc//passwd", ""], "etc/passwd"),
            (&[":a:"], "a"),
            (&["a", UPLOADS_DIR], &nested),
        ] {
            assert_eq!(Name::of_file(segments).unwrap().to_string(), want, "{segments:?}");
        }
        for root in [&[][..], &[""], &["", ""], &["/:/"]] {
            assert_eq!(Name::parse(root).unwrap(), None, "{root:?}");
            assert!(Name::of_file(root).is_err(), "{root:?}");
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let (long, longer) = ("a".repeat(COMPONENT_LEN_MAX + 1), "a/".repeat(NAME_LEN_MAX));
        for bad in [
            &[".."][..],
            &["a", "..", "b"],
            &["a", "../../b"],
            &["a:..:b"],
            &["."],
            &["a\0b"],
            &["a\nb"],
            &["a\u{85}b"],
            &[UPLOADS_DIR],
            &["", UPLOADS_DIR, "x"],
            &[long.as_str()],
            &[longer.as_str()],
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }
}
