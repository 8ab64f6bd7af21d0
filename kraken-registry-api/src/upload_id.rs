//! Names of upload sessions.

use std::fmt;
use std::str::FromStr;

use kraken_core::Error;

use crate::limits;

/// The name of an upload session: what stands in its URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = Error;

    /// Letters, digits, `-`, `_`, `.`, `=`, at most [`limits::UPLOAD_ID_LEN_MAX`] of them, and
    /// neither `.` nor `..`.
    fn from_str(s: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte);
        let len_fits = (1..=limits::UPLOAD_ID_LEN_MAX).contains(&s.len());
        if len_fits && s.bytes().all(plain) && !s.bytes().all(|byte| byte == b'.') {
            Ok(Self(s.to_owned()))
        } else {
            let start: String = s.chars().take(40).collect();
            Err(Error::invalid(format!("upload id {start:?}: not a valid name")))
        }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
