//! What can go wrong with a request, and how a caller tells the ways apart.

use std::error::Error as StdError;
use std::{fmt, io};

use ::http::{HeaderMap, StatusCode};

use crate::error::chain;
use crate::{Error, ErrorKind};

/// The header of an answer that says more of a failure than its status; uber/kraken's programs do
/// not send it.
pub const FAILURE_HEADER: &str = "kraken-failure";

/// The value of [`FAILURE_HEADER`] when the bytes of a blob are not what its digest says.
pub const FAILURE_MISMATCH: &str = "mismatch";

/// An answer came, with a status the request did not expect.
///
/// It is the source of the [`Error`] that [`Client::send`](super::Client::send) returns.
#[derive(Debug, Clone)]
pub struct StatusError {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// No answer came, or not all of it: the network or the other side failed.
///
/// It is the source of an [`Error`] of kind [`ErrorKind::Unavailable`].
#[derive(Debug, Clone)]
pub struct NetworkError {
    cause: NetworkCause,
    detail: String,
}

/// What made a request fail without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkCause {
    /// Nobody listens at that address.
    Refused,
    /// Connecting took longer than the connect timeout.
    ConnectTimeout,
    /// Connecting failed otherwise: no such name, no route, a failed TLS handshake.
    Unreachable,
    /// The response head did not come within the head timeout.
    HeadTimeout,
    /// The response body fell silent for longer than the idle timeout.
    BodyTimeout,
    /// The connection went away, or what came over it was not HTTP.
    Broken,
}

impl StatusError {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body)
            .trim()
            .chars()
            // One log line stays one log line, whatever the other side sends.
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self { status, headers, body }
    }

    /// The status answered.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers answered.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The head of the body answered, at most
    /// [`STATUS_BODY_LEN_MAX`](super::limits::STATUS_BODY_LEN_MAX) bytes of it.
    pub fn body(&self) -> &str {
        &self.body
    }

    pub(super) fn into_error(self, what: &str) -> Error {
        let failure = self.headers.get(FAILURE_HEADER);
        let kind = match failure.is_some_and(|failure| failure == FAILURE_MISMATCH) {
            true => ErrorKind::Mismatch,
            false => kind_of(self.status),
        };
        Error::new(kind, what.to_owned()).with_source(self)
    }
}

impl NetworkError {
    pub(super) fn new(cause: NetworkCause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    /// The failure behind an error of hyper or of a connector.
    pub(super) fn classify(error: &(dyn StdError + 'static), connecting: bool) -> Self {
        let cause = chain(error).find_map(cause_of).unwrap_or(NetworkCause::Broken);
        let cause = match cause {
            NetworkCause::Broken if connecting => NetworkCause::Unreachable,
            cause => cause,
        };
        let detail = chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
        Self { cause, detail }
    }

    /// What made the request fail.
    pub fn cause(&self) -> NetworkCause {
        self.cause
    }

    pub(super) fn into_error(self, what: &str) -> Error {
        Error::new(ErrorKind::Unavailable, what.to_owned()).with_source(self)
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        if self.body.is_empty() { Ok(()) } else { write!(f, ": {}", self.body) }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            NetworkCause::Refused => "connection refused",
            NetworkCause::ConnectTimeout => "connect timeout",
            NetworkCause::Unreachable => "unreachable",
            NetworkCause::HeadTimeout => "no response head in time",
            NetworkCause::BodyTimeout => "response body fell silent",
            NetworkCause::Broken => "connection broken",
        })?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl StdError for StatusError {}

impl StdError for NetworkError {}

/// The status an unexpected answer had, if `error` or a cause of it is a [`StatusError`].
pub fn status_of(error: &Error) -> Option<u16> {
    chain(error).find_map(|e| e.downcast_ref::<StatusError>()).map(|e| e.status.as_u16())
}

/// Whether the other side has found that the bytes of a blob are not what its digest says: nobody
/// else need be asked.
pub fn is_verdict(error: &Error) -> bool {
    error.kind() == ErrorKind::Mismatch && status_of(error).is_some()
}

/// Whether `error` or a cause of it is a [`NetworkError`]: nothing is known of the host but that
/// it did not answer.
pub fn is_network_error(error: &Error) -> bool {
    chain(error).any(|e| e.is::<NetworkError>())
}

/// Whether the same request may fare better a moment later.
pub(super) fn is_transient(error: &Error) -> bool {
    is_network_error(error) || matches!(status_of(error), Some(429 | 502 | 503 | 504))
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        202 => ErrorKind::Pending,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        408 | 429 | 502..=504 => ErrorKind::Unavailable,
        501 => ErrorKind::Unsupported,
        507 => ErrorKind::NoSpace,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

fn cause_of(error: &(dyn StdError + 'static)) -> Option<NetworkCause> {
    if let Some(error) = error.downcast_ref::<NetworkError>() {
        return Some(error.cause);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(NetworkCause::Refused),
        io::ErrorKind::TimedOut => Some(NetworkCause::ConnectTimeout),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(NetworkCause::Unreachable)
        }
        // An `io::Error` may wrap another one that says more.
        _ => None,
    }
}
