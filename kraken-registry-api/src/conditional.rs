//! Entity tags: every answer's tag is its digest, so conditions are decided without the content.

use http::HeaderMap;
use http::header::{HeaderValue, IF_NONE_MATCH, IF_RANGE};
use kraken_core::Digest;

/// The entity tag of content with this digest.
pub(crate) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client says it has the content: `If-None-Match`, compared weakly. The bare digest is
/// taken too, as docker/distribution does.
pub(crate) fn is_held(headers: &HeaderMap, digest: &Digest) -> bool {
    let (quoted, bare) = (etag(digest), digest.to_string());
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .map(|tag| tag.strip_prefix("W/").unwrap_or(tag))
        .any(|tag| tag == "*" || tag == quoted || tag == bare)
}

/// Whether a `Range` counts: `If-Range` is absent or names this content. A date never does.
pub(crate) fn range_counts(headers: &HeaderMap, digest: &Digest) -> bool {
    headers
        .get(IF_RANGE)
        .is_none_or(|value: &HeaderValue| value.as_bytes() == etag(digest).as_bytes())
}
