//! Names and numbers that identify peers, torrents, repositories and tags.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::Digest as _;

use crate::digest::{Digest, clip, decode_hex, encode_hex};
use crate::error::{Error, Result};
use crate::limits;

macro_rules! twenty_bytes {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// Text form: 40 lower-case hex characters. JSON form: an array of 20 integers, as
        /// uber/kraken's Go `[20]byte` has it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name([u8; 20]);

        impl $name {
            /// From its 20 bytes.
            pub const fn new(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            /// Its 20 bytes.
            pub const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(s: &str) -> Result<Self> {
                let mut bytes = [0; 20];
                decode_hex(s, &mut bytes).map_err(|reason| {
                    Error::invalid(format!(concat!($what, " {:?}: {}"), clip(s), reason))
                })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

twenty_bytes!(
    /// A peer's self-chosen id.
    PeerId,
    "peer id"
);

twenty_bytes!(
    /// A torrent's id on the wire: SHA-1 over the bencoded `Info` (see [`crate::metainfo`]).
    InfoHash,
    "info hash"
);

impl PeerId {
    /// uber/kraken's `addr_hash` factory: SHA-1 of the ASCII string `ip:port`.
    pub fn from_addr(ip: &str, port: u16) -> Self {
        Self(sha1::Sha1::digest(format!("{ip}:{port}").as_bytes()).into())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// What picks a storage backend: free text. uber/kraken's peers send repositories, whole tags
    /// and, on pushes, a fixed word, so nothing but the length is checked, and nothing may be
    /// partitioned by it.
    Namespace
);

impl FromStr for Namespace {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if s.len() > limits::NAMESPACE_LEN_MAX {
            return Err(Error::invalid(format!(
                "namespace {:?}…: {} bytes, more than {}",
                clip(s),
                s.len(),
                limits::NAMESPACE_LEN_MAX
            )));
        }
        Ok(Self(s.into()))
    }
}

name!(
    /// A repository name by the grammar of the OCI distribution-spec:
    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`.
    Repository
);

impl FromStr for Repository {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if s.len() > limits::REPOSITORY_LEN_MAX {
            return Err(Error::invalid(format!(
                "repository {:?}…: {} bytes, more than {}",
                clip(s),
                s.len(),
                limits::REPOSITORY_LEN_MAX
            )));
        }
        if !s.split('/').all(is_path_component) {
            return Err(Error::invalid(format!("repository {:?}: not a valid name", clip(s))));
        }
        Ok(Self(s.into()))
    }
}

/// Whether `part` is one component of a repository name.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(alphanumeric) || !part.ends_with(alphanumeric) {
        return false;
    }
    part.split(alphanumeric).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

name!(
    /// The name of a tag inside its repository: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    TagName
);

impl FromStr for TagName {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let valid = s.len() <= limits::TAG_LEN_MAX
            && s.starts_with(word)
            && s.chars().all(|c| word(c) || c == '.' || c == '-');
        if valid {
            Ok(Self(s.into()))
        } else {
            Err(Error::invalid(format!("tag {:?}: not a valid name", clip(s))))
        }
    }
}

/// A tag with its repository: `repo:tag`, the key of the build-index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The repository.
    pub repository: Repository,
    /// The tag inside it.
    pub name: TagName,
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let Some((repository, name)) = s.rsplit_once(':') else {
            return Err(Error::invalid(format!("tag {:?}: not of the form repo:tag", clip(s))));
        };
        Ok(Self { repository: repository.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.name)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a manifest is asked by: a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The name of a tag in the repository.
    Tag(TagName),
    /// The manifest's digest.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if s.contains(':') { s.parse().map(Self::Digest) } else { s.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(name) => fmt::Display::fmt(name, f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addr_hash_vector() {
        let id = PeerId::from_addr("10.0.0.1", 8080);
        assert_eq!(id.to_string(), "128568a8f9fb2e7a8fc338e957869eb492de4c2b");
        assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert!(json.starts_with("[18,133,104,168,"), "{json}");
        assert_eq!(serde_json::from_str::<PeerId>(&json).unwrap(), id);
    }

    #[test]
    fn repository_grammar() {
        for good in ["a", "library/nginx", "a.b_c__d-e---f/g", "127/0", "a-0"] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "a:b", &long] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tag_grammar() {
        for good in ["latest", "_x", "1.0-rc.1", "A"] {
            assert!(good.parse::<TagName>().is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a/b", "a:b", "ä", &long] {
            assert!(bad.parse::<TagName>().is_err(), "{bad}");
        }
        let tag: Tag = "library/nginx:1.0".parse().unwrap();
        assert_eq!(tag.to_string(), "library/nginx:1.0");
    }
}
