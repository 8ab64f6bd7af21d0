//! Blobs that are here, and what is told of those that are not.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;
use kraken_common::Body;
use kraken_common::answer::{self, Answer};
use kraken_common::{blocking, streamed};
use kraken_core::store::Blob;
use kraken_core::{
    Digest, Error, ErrorKind, MetaInfo, Namespace, PROVISIONAL_HEADER, Result, SendfileQueue,
    TorrentMeta,
};
use kraken_p2p::node::Download;

use crate::parts::Parts;
use crate::refresh;

/// The blob's bytes. While they are fetched from the backend they go out as they come to who says
/// so, and it is `Pending` for others. One range of the form `bytes=a-b` is honoured, any other is
/// answered with the whole.
pub(crate) async fn download(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
    headers: &HeaderMap,
    queue: Option<&SendfileQueue>,
) -> Result<Answer> {
    let waits = parts.streams && headers.contains_key(PROVISIONAL_HEADER);
    let source = match find(parts, digest).await? {
        Some(blob) => Source::Here(blob),
        None if waits => {
            let mut download = refresh::open(parts, namespace, digest).await?;
            if download.geometry().blob_len() == 0 {
                // Of no bytes none could be held back until it is proven.
                download.finished().await?;
            }
            Source::Arriving(download)
        }
        None => return Err(refresh::request(parts, namespace, digest).await),
    };
    answer::bytes(headers, source.len(), |range| source.into_body(range, queue))
}

/// Where the bytes of an answer come from.
enum Source {
    Here(Arc<Blob>),
    Arriving(Download),
}

impl Source {
    fn len(&self) -> u64 {
        match self {
            Self::Here(blob) => blob.len(),
            Self::Arriving(download) => download.geometry().blob_len(),
        }
    }

    fn into_body(self, range: Range<u64>, queue: Option<&SendfileQueue>) -> Result<Body> {
        match self {
            Self::Here(blob) => {
                let file = blob.file().try_clone();
                let file =
                    file.map_err(|error| Error::io(format!("open {}", blob.digest()), error))?;
                Ok(Body::file_to(queue, file, range.start, range.end - range.start))
            }
            Self::Arriving(download) => {
                let stream = download.stream(range);
                let stream = match queue {
                    Some(queue) => stream.lent_to(queue.clone()),
                    None => stream,
                };
                Ok(Body::stream(streamed::chunks(stream)))
            }
        }
    }
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
    match refresh::torrent_meta(parts, namespace, digest).await {
        Ok(meta) => Ok(meta),
        // It may have come to its end this moment.
        Err(error) => match find(parts, digest).await? {
            Some(blob) => ensure_metainfo(parts, &blob).await.map(TorrentMeta::Final),
            None => Err(error),
        },
    }
}

/// The same of a blob that is here, or that this origin brings at this moment and passes on as it
/// comes, or why it could not bring it itself lately; nothing is begun.
pub(crate) async fn known_meta(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<TorrentMeta> {
    if let Some(blob) = find(parts, digest).await? {
        return ensure_metainfo(parts, &blob).await.map(TorrentMeta::Final);
    }
    let brings = parts.fetches.brings(digest).filter(|_| parts.streams);
    brings.ok_or_else(|| {
        let failure = parts.fetches.own_failure(namespace, digest);
        failure.unwrap_or_else(|| Error::not_found(format!("{digest} is not here")))
    })
}

/// The blob's length, from the backend when it is not here and `local` is not set. Moves nothing.
/// One of which the backend was found to have other bytes lately cannot be had, however long.
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
        None => match parts.fetches.failure(namespace, digest) {
            Some(failure) if failure.kind() == ErrorKind::Mismatch => Err(failure),
            _ => refresh::stat_backend(parts, namespace, digest).await,
        },
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
