//! Answers and their headers.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use kraken_core::Digest;

use crate::body::{self, Body};

/// An answer with these headers.
pub(crate) fn response(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}

/// `201` for new content to be found at `location`.
pub(crate) fn created(location: &str, digest: &Digest) -> Response<Body> {
    let headers = [
        (LOCATION, value(location)),
        (CONTENT_DIGEST, value(&digest.to_string())),
        (CONTENT_LENGTH, HeaderValue::from(0)),
    ];
    response(StatusCode::CREATED, headers, body::empty())
}

/// A header value of text that was checked to be fit for one.
///
/// Repositories, tags, digests, upload ids and numbers are visible ASCII by their grammars.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("names and numbers are visible ASCII by their grammars")
}

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What tells clients that this is a registry, on every answer.
pub(crate) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(crate) const API_VERSION_2: HeaderValue = HeaderValue::from_static("registry/2.0");
