//! Fetching blobs from the backend when they are first asked for.

use std::sync::Arc;
use std::time::Instant;

use kraken_backends::{BlobStat, ObjectName};
use kraken_common::blocking;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result, TorrentMeta};
use kraken_p2p::node::Download;

use crate::fetches::{Fetch, Fetches, pending};
use crate::parts::Parts;
use crate::pull::Pulled;
use crate::{follow, limits, pull, replicate};

/// Starts fetching a blob unless that is going on; what to answer meanwhile: `Pending`, `NotFound`,
/// or why it cannot be fetched.
pub(crate) async fn request(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Error {
    let stat = stat_backend(parts, namespace, digest).await;
    if let Err(error) = stat.and_then(|len| refuse_oversize(parts, digest, len)) {
        return error;
    }
    start(parts, namespace, digest).unwrap_or_else(|| pending(digest))
}

/// Starts fetching a blob without asking first whether the backend has it; why not, if not.
pub(crate) fn start(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Option<Error> {
    let under_way = match Fetches::enter(&parts.fetches, namespace, digest) {
        Ok(under_way) => under_way,
        Err(error) => return Some(error),
    };
    let (task, namespace, digest) = (Arc::clone(parts), namespace.clone(), *digest);
    parts.tasks.spawn(async move {
        let stop = task.stop.clone();
        let result = match stop.run_until_cancelled(fetch(&task, &namespace, &under_way)).await {
            Some(result) => result,
            None => Err(Error::new(ErrorKind::Cancelled, "the origin is closing")),
        };
        if let Err(error) = &result {
            tracing::warn!(%digest, %namespace, %error, "fetch from the backend failed");
        }
        under_way.end(result);
    });
    None
}

/// The blob's length at the backend.
pub(crate) async fn stat_backend(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<u64> {
    let backend = parts.router.route(namespace)?;
    Ok(backend.stat(namespace, &ObjectName::from(digest)).await?.len)
}

fn refuse_oversize(parts: &Parts, digest: &Digest, len: u64) -> Result<()> {
    match parts.fetch_bytes_max {
        Some(max) if len > max => {
            let message = format!("fetch {digest}: {len} bytes, more than {max} (size_limit)");
            Err(Error::new(ErrorKind::TooLarge, message))
        }
        _ => parts.store.could_hold(len),
    }
}

/// Gets the blob from an owner that brings it, or from the backend, and sees to it that the other
/// owners have it too.
async fn fetch(parts: &Arc<Parts>, namespace: &Namespace, under_way: &Fetch) -> Result<()> {
    let (started, digest) = (Instant::now(), under_way.digest());
    let (store, wanted) = (parts.store.clone(), digest);
    if blocking("read a blob", move || store.blob(&wanted)).await?.is_some() {
        // The fetch before this one has ended since it was asked for.
        return Ok(());
    }
    let mut may_yield = true;
    let stat = loop {
        if follow::follow(parts, namespace, under_way).await? {
            let duration_ms = started.elapsed().as_millis() as u64;
            tracing::info!(%digest, %namespace, duration_ms, "fetched from another owner");
            return Ok(());
        }
        match pull(parts, namespace, under_way, may_yield).await? {
            Some(stat) => break stat,
            // Once: an owner that says so and sends nothing would be followed again and again.
            None => may_yield = false,
        }
    };
    parts.fetches.add_bytes(stat.len);
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(%digest, %namespace, bytes = stat.len, duration_ms, "fetched from the backend");
    let (store, wanted) = (parts.store.clone(), digest);
    if let Some(blob) = blocking("read a blob", move || store.blob(&wanted)).await? {
        replicate::spread(parts, namespace, &blob).await;
    }
    Ok(())
}

/// Brings the blob from the backend, from the beginning again when another object has taken its
/// place there meanwhile; `None` when another owner is found to bring it, if this one `may_yield`.
async fn pull(
    parts: &Parts,
    namespace: &Namespace,
    under_way: &Fetch,
    may_yield: bool,
) -> Result<Option<BlobStat>> {
    let digest = under_way.digest();
    let mut stat = patient_stat(parts, namespace, &digest).await?;
    for _ in 0..limits::OBJECTS_MAX {
        refuse_oversize(parts, &digest, stat.len)?;
        match pull::pull(parts, namespace, &stat, under_way, may_yield).await? {
            Pulled::Whole => return Ok(Some(stat)),
            Pulled::Elsewhere => return Ok(None),
            Pulled::Changed(now) => stat = now,
        }
    }
    let text = format!("the backend of {namespace} has another object as {digest} each time");
    Err(Error::new(ErrorKind::Unavailable, text))
}

/// What the backend says of a blob, which is asked as often as for its bytes: a failure would be
/// remembered for a while.
async fn patient_stat(parts: &Parts, namespace: &Namespace, digest: &Digest) -> Result<BlobStat> {
    let backend = parts.router.route(namespace)?;
    let mut attempts = 1;
    loop {
        match backend.stat(namespace, &ObjectName::from(digest)).await {
            Err(error)
                if error.kind() != ErrorKind::NotFound && attempts < limits::PULL_ATTEMPTS_MAX =>
            {
                tracing::warn!(%digest, %namespace, %error, attempts, "the backend says nothing");
                tokio::time::sleep(limits::PULL_PAUSE * attempts).await;
                attempts += 1;
            }
            said => return said,
        }
    }
}

/// What is known of a blob that is not here, most often without sums: it is fetched unless that is
/// going on.
pub(crate) async fn torrent_meta(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<TorrentMeta> {
    match start(parts, namespace, digest) {
        Some(error) if error.kind() != ErrorKind::Pending => Err(error),
        _ => parts.fetches.torrent_meta(namespace, digest).await,
    }
}

/// A blob to be read while it comes; it is fetched unless that is going on.
pub(crate) async fn open(
    parts: &Arc<Parts>,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<Download> {
    torrent_meta(parts, namespace, digest).await?;
    match parts.node.open(namespace, digest).await {
        Ok(download) => Ok(download),
        // It has come to its end this moment, good or bad.
        Err(_) => Err(request(parts, namespace, digest).await),
    }
}
