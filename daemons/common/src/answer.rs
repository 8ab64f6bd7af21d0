//! Responses as uber/kraken's servers give them: plain text, empty bodies, JSON.

use std::fmt::Display;
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE,
};
use http::{HeaderMap, Response, StatusCode};
use kraken_core::http::{FAILURE_HEADER, FAILURE_MISMATCH};
use kraken_core::{Cause, Error, ErrorKind, Result};
use serde::Serialize;

use crate::body::Body;
use crate::limits;

/// A response of any handler here.
pub type Answer = Response<Body>;

/// The status uber/kraken gives to a failure of this kind.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Pending => StatusCode::ACCEPTED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable | ErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a failure: the status of its kind. The body is the failure as plain text, but
/// empty for 202, 404 and 409, which clients expect so. [`FAILURE_HEADER`] tells a blob of other
/// bytes from other failures of 500.
pub fn failure(error: &Error) -> Answer {
    let status = status_of(error.kind());
    let bare =
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Pending | ErrorKind::Conflict);
    let cause = Cause::from(error);
    let answer = if bare { empty(status) } else { text(status, clip(cause.text()).to_owned()) };
    because(of_kind(answer, error.kind()), cause)
}

/// `answer` to a failure of this kind, which says so where the status does not.
pub fn of_kind(mut answer: Answer, kind: ErrorKind) -> Answer {
    if kind == ErrorKind::Mismatch {
        answer.headers_mut().insert(FAILURE_HEADER, HeaderValue::from_static(FAILURE_MISMATCH));
    }
    answer
}

/// A bare 404 in place of `error`, where clients must take what cannot be asked for as not there.
pub fn disguised(error: &Error) -> Answer {
    because(empty(StatusCode::NOT_FOUND), Cause::from(error).standing_for(error.kind()))
}

/// `answer`, of which the access log says `cause`: the body, by uber/kraken's conventions, often
/// cannot.
pub fn because(mut answer: Answer, cause: impl Into<Cause>) -> Answer {
    answer.extensions_mut().insert::<Cause>(cause.into());
    answer
}

/// The failure of asking `whom` ("the origins") for `what` as one that a client outside
/// the cluster may read: its outermost text says what is wrong, and not which hosts were asked by
/// which paths. The failure itself stays below it, for the log.
pub fn outward(error: Error, whom: &str, what: impl Display) -> Error {
    let text = match error.kind() {
        ErrorKind::NotFound => format!("{what}: not found by {whom}"),
        ErrorKind::NoSpace => format!("{what}: No space left on device at {whom}"),
        ErrorKind::Unavailable => format!("{what}: {whom} cannot answer now"),
        ErrorKind::Pending => format!("{what}: still being fetched by {whom}"),
        ErrorKind::TooLarge => format!("{what}: too large for {whom}"),
        ErrorKind::Mismatch => format!("{what}: other bytes at {whom}"),
        ErrorKind::Invalid => format!("{what}: refused by {whom}"),
        // What a namespace that no backend matches comes to.
        ErrorKind::Unsupported => {
            format!("{what}: no backend (or tag type) of {whom} is for this repository")
        }
        _ => format!("{what}: {whom} failed"),
    };
    Error::new(error.kind(), text).with_source(error)
}

/// The answer of a handler: its own, or that to its failure.
pub fn settle(result: Result<Answer>) -> Answer {
    result.unwrap_or_else(|error| failure(&error))
}

/// A status and no body.
pub fn empty(status: StatusCode) -> Answer {
    with_body(status, Body::empty())
}

/// `OK` and a line feed: the answer of `/health` and `/readiness`.
pub fn ok() -> Answer {
    text(StatusCode::OK, "OK\n")
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    typed(status, "text/plain; charset=utf-8", Body::full(text))
}

/// `value` as JSON.
pub fn json<T: Serialize>(value: &T) -> Result<Answer> {
    let bytes = serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "json encode").with_source(e))?;
    Ok(json_bytes(bytes))
}

/// Bytes that are JSON already.
pub fn json_bytes(bytes: impl Into<Bytes>) -> Answer {
    typed(StatusCode::OK, "application/json", Body::full(bytes))
}

/// Some of `len` bytes, by `body`: one range of the form `bytes=a-b` is honoured, any other is
/// answered with the whole, as RFC 9110 allows.
pub fn bytes(
    headers: &HeaderMap,
    len: u64,
    body: impl FnOnce(Range<u64>) -> Result<Body>,
) -> Result<Answer> {
    let part = headers.get(RANGE).and_then(|value| parse_range(value.to_str().ok()?, len));
    let mut answer =
        empty(if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    let headers = answer.headers_mut();
    if let Some(range) = &part {
        let text = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        let value = HeaderValue::from_str(&text)
            .map_err(|error| Error::new(ErrorKind::Internal, "name a range").with_source(error))?;
        headers.insert(CONTENT_RANGE, value);
    }
    let range = part.unwrap_or(0..len);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream-v1"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    *answer.body_mut() = body(range)?;
    Ok(answer)
}

/// `bytes=a-b` and `bytes=a-` inside `len`.
fn parse_range(text: &str, len: u64) -> Option<Range<u64>> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = match last {
        "" => len,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(len),
    };
    (start < end).then_some(start..end)
}

/// There is nothing at this path.
pub fn no_route() -> Answer {
    because(text(StatusCode::NOT_FOUND, "404 page not found\n"), "there is nothing at this path")
}

/// The path is known but not for this method, only for `allowed` (comma separated).
pub fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    because(answer, format!("this path has only {allowed}"))
}

/// A service that cannot take traffic now, and why.
pub fn not_ready(error: &Error) -> Answer {
    let message = format!("not ready to serve traffic: {error}");
    because(text(StatusCode::SERVICE_UNAVAILABLE, clip(&message).to_owned()), message)
}

fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = with_body(status, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn with_body(status: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// At most [`limits::ERROR_TEXT_MAX`] bytes of `text`.
fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(limits::ERROR_TEXT_MAX)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn failures_by_kind() {
        for (kind, status, body) in [
            (ErrorKind::NotFound, 404, ""),
            (ErrorKind::Pending, 202, ""),
            (ErrorKind::Conflict, 409, ""),
            (ErrorKind::Invalid, 400, "why"),
            (ErrorKind::TooLarge, 413, "why"),
            (ErrorKind::NoSpace, 507, "why"),
            (ErrorKind::Unavailable, 503, "why"),
            (ErrorKind::Unsupported, 501, "why"),
            (ErrorKind::Mismatch, 500, "why"),
            (ErrorKind::Io, 500, "why"),
            (ErrorKind::Internal, 500, "why"),
        ] {
            let answer = failure(&Error::new(kind, "why"));
            assert_eq!(answer.status(), status, "{kind:?}");
            let told = answer.headers().contains_key(FAILURE_HEADER);
            assert_eq!(told, kind == ErrorKind::Mismatch);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), body, "{kind:?}");
        }
    }

    #[test]
    fn who_was_asked_is_only_below_what_a_client_reads() {
        for (kind, told) in [
            (ErrorKind::NotFound, "blob x: not found by the origins"),
            (ErrorKind::NoSpace, "blob x: No space left on device at the origins"),
            (ErrorKind::Unavailable, "blob x: the origins cannot answer now"),
            (ErrorKind::Internal, "blob x: the origins failed"),
        ] {
            let inner = Error::new(kind, "GET http://10.0.0.1/x");
            let error = outward(inner, "the origins", "blob x");
            assert_eq!((error.kind(), error.outermost()), (kind, told));
            assert_eq!(error.to_string(), format!("{told}: GET http://10.0.0.1/x"));
        }
    }

    #[test]
    fn long_failures_are_clipped_between_characters() {
        let long = "ä".repeat(limits::ERROR_TEXT_MAX);
        assert_eq!(clip(&long).len(), limits::ERROR_TEXT_MAX);
        assert_eq!(clip(&format!("a{long}")).len(), limits::ERROR_TEXT_MAX - 1);
        assert_eq!(clip("short"), "short");
    }

    #[test]
    fn single_ranges_inside_the_blob_are_honoured() {
        assert_eq!(parse_range("bytes=0-4", 10), Some(0..5));
        assert_eq!(parse_range("bytes=5-", 10), Some(5..10));
        assert_eq!(parse_range("bytes=5-99", 10), Some(5..10));
        for other in ["bytes=10-", "bytes=5-4", "bytes=-5", "bytes=0-1,3-4", "items=0-1", ""] {
            assert_eq!(parse_range(other, 10), None, "{other}");
        }
        assert_eq!(parse_range(&format!("bytes=0-{}", u64::MAX), 10), None);
    }
}
