//! The one error of this crate, also the common currency between the library crates.

use std::borrow::Cow;
use std::fmt;

/// What kind of failure an [`Error`] is: what a caller decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Input that cannot be parsed or breaks a documented rule.
    Invalid,
    /// The thing asked for does not exist.
    NotFound,
    /// The thing to be made exists already.
    Conflict,
    /// The bytes do not match the digest or sum they were declared with.
    Mismatch,
    /// It is being made; ask again later (HTTP 202 in uber/kraken's protocol).
    Pending,
    /// Too large for a named limit.
    TooLarge,
    /// No room left: on the disk, or in a bounded queue.
    NoSpace,
    /// The other side did not answer, or not in time.
    Unavailable,
    /// This side does not do what was asked.
    Unsupported,
    /// The operation was given up because its owner went away or is closing.
    Cancelled,
    /// The operating system refused a read, write or other call.
    Io,
    /// A rule of this program was broken: a bug.
    Internal,
}

/// A failure: its kind, what was attempted and with what, and the cause below it.
///
/// The wording of messages is not stable; decide by [`Error::kind`].
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `context` says, in lower case, what was attempted and with what.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }

    /// Shorthand for [`ErrorKind::NotFound`].
    pub fn not_found(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, context)
    }

    /// An I/O failure; a full disk becomes [`ErrorKind::NoSpace`], a missing file `NotFound`.
    pub fn io(context: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::NoSpace
            }
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Self { kind, context: context.into(), source: Some(source.into()) }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure seen from one level up: `context` goes before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.context = format!("{context}: {}", self.context).into();
        self
    }

    /// What a caller decides by.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was attempted and with what, without the causes below it.
    pub fn outermost(&self) -> &str {
        &self.context
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Pending | ErrorKind::Unavailable | ErrorKind::NoSpace)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// `error` and the causes below it.
pub(crate) fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
