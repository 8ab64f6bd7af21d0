//! Blobs that are here, and what is told of those that are not.

use std::ops::Range;
use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE,
};
use http::{HeaderMap, StatusCode};
use kraken_common::Body;
use kraken_common::answer::{self, Answer};
use kraken_common::blocking;
use kraken_core::store::Blob;
use kraken_core::{
    Digest, Error, ErrorKind, MetaInfo, Namespace, Result, SendfileQueue, TorrentMeta,
};

use crate::parts::Parts;
use crate::refresh;

/// The blob's bytes; `Pending` while they are fetched from the backend. One range of the form
/// `bytes=a-b` is honoured, any other is answered with the whole.
pub(crate) async fn download(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
    headers: &HeaderMap,
    queue: Option<&SendfileQueue>,
) -> Result<Answer> {
    let blob = open(parts, namespace, digest).await?;
    let len = blob.len();
    let file =
        blob.file().try_clone().map_err(|error| Error::io(format!("open {digest}"), error))?;
    let part = headers.get(RANGE).and_then(|value| parse_range(value.to_str().ok()?, len));
    let (status, range) = match part {
        Some(range) => (StatusCode::PARTIAL_CONTENT, range),
        None => (StatusCode::OK, 0..len),
    };
    let mut answer = answer::empty(status);
    let headers = answer.headers_mut();
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        let value = HeaderValue::from_str(&text)
            .map_err(|error| Error::new(ErrorKind::Internal, "name a range").with_source(error))?;
        headers.insert(CONTENT_RANGE, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream-v1"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    *answer.body_mut() = Body::file_to(queue, file, range.start, range.end - range.start);
    Ok(answer)
}

/// The blob's metainfo; `Pending` while the blob is fetched from the backend.
pub(crate) async fn metainfo(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<MetaInfo> {
    let blob = open(parts, namespace, digest).await?;
    ensure_metainfo(parts, &blob).await
}

/// As [`metainfo`], but without sums while the blob is fetched.
pub(crate) async fn torrent_meta(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<TorrentMeta> {
    if let Some(blob) = find(parts, digest).await? {
        return ensure_metainfo(parts, &blob).await.map(TorrentMeta::Final);
    }
    match refresh::provisional(parts, namespace, digest).await {
        Ok(meta) => Ok(TorrentMeta::Provisional(meta)),
        // It may have come to its end this moment.
        Err(error) => match find(parts, digest).await? {
            Some(blob) => ensure_metainfo(parts, &blob).await.map(TorrentMeta::Final),
            None => Err(error),
        },
    }
}

/// The blob's length, from the backend when it is not here and `local` is not set. Moves nothing.
pub(crate) async fn stat(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    local: bool,
) -> Result<u64> {
    let (store, wanted) = (parts.store.clone(), *digest);
    match blocking("read a blob", move || store.stat(&wanted)).await? {
        Some(len) => Ok(len),
        None if local => Err(Error::not_found(format!("{digest} is not here"))),
        None => refresh::stat_backend(parts, namespace, digest).await,
    }
}

/// Deletes a blob that is written back; one that is not is refused.
pub(crate) async fn delete(parts: &Parts, digest: &Digest) -> Result<()> {
    parts.node.remove(digest).await?;
    let (store, wanted) = (parts.store.clone(), *digest);
    if blocking("read a blob", move || store.delete(&wanted, false)).await? {
        Ok(())
    } else {
        Err(Error::not_found(format!("{digest} is not here")))
    }
}

/// The metainfo of a blob that is here, computed if its sidecar is not.
pub(crate) async fn ensure_metainfo(parts: &Parts, blob: &Arc<Blob>) -> Result<MetaInfo> {
    if let Some(metainfo) = blob.metainfo() {
        return Ok(metainfo);
    }
    let (store, blob) = (parts.store.clone(), Arc::clone(blob));
    let piece_len = parts.piece_lengths.for_blob(blob.len());
    blocking("read a blob", move || {
        let metainfo = blob.compute_metainfo(piece_len)?;
        store.put_metainfo(&metainfo)?;
        Ok(metainfo)
    })
    .await
}

/// The blob if it is here; else a refresh is started and the answer is `Pending`, or why not.
async fn open(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Result<Arc<Blob>> {
    match find(parts, digest).await? {
        Some(blob) => Ok(blob),
        None => Err(refresh::request(parts, namespace, digest).await),
    }
}

/// The blob, if all of it is here.
async fn find(parts: &Parts, digest: &Digest) -> Result<Option<Arc<Blob>>> {
    let (store, wanted) = (parts.store.clone(), *digest);
    blocking("read a blob", move || store.blob(&wanted)).await
}

/// `bytes=a-b` and `bytes=a-` inside `len`; anything else is not honoured, as RFC 9110 allows.
fn parse_range(text: &str, len: u64) -> Option<Range<u64>> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = match last {
        "" => len,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(len),
    };
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

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
