//! Names of uploads.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::clip;
use crate::error::{Error, Result};

/// The name of an upload: a random UUID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A UUID of version 4.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bytes))
            .map_err(|error| Error::io("name an upload: read /dev/urandom", error))?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = crate::digest::encode_hex(&bytes);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Ok(Self(parts.join("-").into()))
    }
}

impl FromStr for UploadId {
    type Err = Error;

    /// Only what could be a name that the store gave: it becomes part of a path.
    fn from_str(s: &str) -> Result<Self> {
        let fits = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        if s.len() == 36 && s.bytes().enumerate().all(fits) {
            return Ok(Self(s.into()));
        }
        Err(Error::invalid(format!("upload {:?}: not a UUID", clip(s))))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
