//! The origin's HTTP endpoints, uber/kraken's `blobserver`.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode};
use kraken_common::answer::{self, Answer};
use kraken_common::{Query, RequestBody, Segments, path, read_bounded};
use kraken_core::{
    Digest, Error, ErrorKind, Namespace, PROVISIONAL_HEADER, PROVISIONAL_KNOWN, Result,
};
use serde::Deserialize;
use serde_json::json;

use crate::limits;
use crate::parts::Parts;
use crate::uploads::Purpose;
use crate::{blobs, uploads};

/// The owners of a blob, comma separated, best first.
const ORIGIN_LOCATIONS: HeaderName = HeaderName::from_static("origin-locations");

/// Answers one request.
pub(crate) async fn answer(parts: Arc<Parts>, request: Request<RequestBody>) -> Answer {
    answer::settle(route(&parts, request).await)
}

async fn route(parts: &Arc<Parts>, request: Request<RequestBody>) -> Result<Answer> {
    let segments = Segments::of(request.uri())?;
    let query = Query::of(request.uri())?;
    let method = request.method().clone();
    match &segments.as_strs()[..] {
        ["health"] if method == Method::GET => Ok(answer::ok()),
        ["readiness"] if method == Method::GET => Ok(parts
            .ready()
            .await
            .map_or_else(|error| answer::not_ready(&error), |()| answer::ok())),
        ["blobs", digest, "locations"] if method == Method::GET => {
            locations(parts, &path::digest(digest)?)
        }
        ["namespace", namespace, "blobs", digest, rest @ ..] => {
            let (namespace, digest) = (namespace.parse()?, path::digest(digest)?);
            blob(parts, &namespace, &digest, rest, &query, request).await
        }
        ["internal", rest @ ..] => internal(parts, rest, &query, request).await,
        ["x", "stats"] if method == Method::GET => stats(parts).await,
        _ => Ok(answer::no_route()),
    }
}

/// `/namespace/{namespace}/blobs/{digest}...`
async fn blob(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
    rest: &[&str],
    query: &Query,
    request: Request<RequestBody>,
) -> Result<Answer> {
    match (request.method(), rest) {
        (&Method::GET, []) => {
            let queue = request.extensions().get();
            blobs::download(parts, namespace, digest, request.headers(), queue).await
        }
        (&Method::POST, ["prefetch"]) => {
            blobs::metainfo(parts, namespace, digest).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        (&Method::POST, ["uploads"]) => {
            let id = uploads::start(parts, digest, Some(namespace), said_len(query)).await?;
            started(&id)
        }
        (&Method::PATCH, ["uploads", id]) => {
            let range = content_range(request.headers())?;
            let purpose = Purpose::Push { namespace };
            uploads::patch(parts, digest, id, range, request.into_body(), purpose).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        (&Method::PUT, ["uploads", id]) => {
            uploads::commit(parts, digest, id, Purpose::Push { namespace }).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        _ => Ok(answer::no_route()),
    }
}

/// How long the blob will be, by a client's word; uber/kraken's origin does not look at it.
fn said_len(query: &Query) -> Option<u64> {
    query.first("size").and_then(|size| size.parse().ok())
}

/// `/internal/...`
async fn internal(
    parts: &Arc<Parts>,
    rest: &[&str],
    query: &Query,
    request: Request<RequestBody>,
) -> Result<Answer> {
    match (request.method(), rest) {
        (&Method::GET, ["peercontext"]) => answer::json(&parts.peer_context()),
        (&Method::POST, ["blobs", digest, "uploads"]) => {
            let digest = path::digest(digest)?;
            started(&uploads::start(parts, &digest, None, said_len(query)).await?)
        }
        (&Method::PATCH, ["blobs", digest, "uploads", id]) => {
            let (digest, range) = (path::digest(digest)?, content_range(request.headers())?);
            let body = request.into_body();
            uploads::patch(parts, &digest, id, range, body, Purpose::Transfer).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        (&Method::PUT, ["blobs", digest, "uploads", id]) => {
            uploads::commit(parts, &path::digest(digest)?, id, Purpose::Transfer).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        (&Method::PUT, ["duplicate", "namespace", namespace, "blobs", digest, "uploads", id]) => {
            let (namespace, digest) = (namespace.parse()?, path::digest(digest)?);
            let delay = duplicate_delay(request.into_body()).await?;
            let purpose = Purpose::Duplicate { namespace: &namespace, delay };
            uploads::commit(parts, &digest, id, purpose).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        (&Method::DELETE, ["blobs", digest]) => {
            blobs::delete(parts, &path::digest(digest)?).await?;
            Ok(answer::empty(StatusCode::ACCEPTED))
        }
        (&Method::HEAD, ["namespace", namespace, "blobs", digest]) => {
            let local = query.bool_or("local", false)?;
            let (namespace, digest) = (namespace.parse()?, path::digest(digest)?);
            let len = blobs::stat(parts, &namespace, &digest, local).await?;
            let mut answer = answer::empty(StatusCode::OK);
            answer.headers_mut().insert(CONTENT_LENGTH, len.into());
            Ok(answer)
        }
        (&Method::GET, ["namespace", namespace, "blobs", digest, "metainfo"]) => {
            let (namespace, digest) = (namespace.parse()?, path::digest(digest)?);
            let asks = request.headers().get(PROVISIONAL_HEADER);
            let only_known = asks.is_some_and(|asks| asks == PROVISIONAL_KNOWN);
            if only_known || asks.is_some() && parts.streams {
                let meta = match only_known {
                    true => blobs::known_meta(parts, &namespace, &digest).await?,
                    false => blobs::torrent_meta(parts, &namespace, &digest).await?,
                };
                let mut answer = answer::json_bytes(meta.to_json());
                if meta.as_final().is_none() {
                    let value = HeaderValue::from_static("no-store");
                    answer.headers_mut().insert(CACHE_CONTROL, value);
                }
                return Ok(answer);
            }
            let metainfo = blobs::metainfo(parts, &namespace, &digest).await?;
            Ok(answer::json_bytes(metainfo.to_json()))
        }
        _ => Ok(answer::no_route()),
    }
}

fn started(id: &str) -> Result<Answer> {
    let mut answer = answer::empty(StatusCode::OK);
    let id = HeaderValue::from_str(id)
        .map_err(|error| Error::new(ErrorKind::Internal, "upload id").with_source(error))?;
    answer.headers_mut().insert(LOCATION, id);
    Ok(answer)
}

fn locations(parts: &Parts, digest: &Digest) -> Result<Answer> {
    let mut answer = answer::empty(StatusCode::OK);
    let owners = HeaderValue::from_str(&parts.membership.owners(digest).join(","))
        .map_err(|error| Error::new(ErrorKind::Internal, "name the owners").with_source(error))?;
    answer.headers_mut().insert(ORIGIN_LOCATIONS, owners);
    Ok(answer)
}

/// uber/kraken's form of the header: `<start>-<end>`, the end exclusive.
fn content_range(headers: &HeaderMap) -> Result<std::ops::Range<u64>> {
    let header = headers
        .get(http::header::CONTENT_RANGE)
        .ok_or_else(|| Error::invalid("no Content-Range header"))?;
    let parsed = header.to_str().ok().and_then(|text| {
        let (start, end) = text.split_once('-')?;
        Some(start.parse().ok()?..end.parse().ok()?)
    });
    match parsed {
        Some(range) if range.start <= range.end => Ok(range),
        _ => Err(Error::invalid(format!("Content-Range {header:?}: not of the form start-end"))),
    }
}

async fn duplicate_delay(body: RequestBody) -> Result<std::time::Duration> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "Delay", alias = "delay", default)]
        delay: i64,
    }
    let bytes = read_bounded(body, limits::DUPLICATE_BODY_MAX).await?;
    let body: Body = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid("decode body").with_source(error))?;
    Ok(std::time::Duration::from_nanos(u64::try_from(body.delay).unwrap_or(0)))
}

/// Some of the numbers of `/metrics`, as JSON.
async fn stats(parts: &Parts) -> Result<Answer> {
    let stats = parts.node.stats().await?;
    answer::json(&json!({
        "sent": stats.sent,
        "write_backs_pending": parts.write_back.pending(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_ubers() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CONTENT_RANGE, HeaderValue::from_str(text).unwrap());
            content_range(&headers)
        };
        assert_eq!(parse("0-5242880").unwrap(), 0..5_242_880);
        assert_eq!(parse("7-7").unwrap(), 7..7);
        for bad in ["", "bytes 0-1/2", "5-4", "-1-4", "0,4", "0-", "0-99999999999999999999"] {
            assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
        assert!(content_range(&HeaderMap::new()).is_err());
    }
}
