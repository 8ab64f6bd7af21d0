//! Fetching blobs from the backend when they are first asked for.

use std::sync::Arc;
use std::time::Instant;

use futures_util::TryStreamExt as _;
use kraken_backends::ObjectName;
use kraken_common::blocking;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result};

use crate::commit::commit_upload;
use crate::fetches::{Fetches, pending};
use crate::parts::Parts;
use crate::replicate;

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
        let result = match stop.run_until_cancelled(fetch(&task, &namespace, &digest)).await {
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

/// Downloads, verifies and commits the blob, then copies it to the other owners.
async fn fetch(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Result<()> {
    let started = Instant::now();
    let backend = parts.router.route(namespace)?;
    let name = ObjectName::from(digest);
    let stat = backend.stat(namespace, &name).await?;
    refuse_oversize(parts, digest, stat.len)?;
    let mut bytes = backend.download(namespace, &name, None, stat.version.as_ref()).await?;
    let (store, algorithm) = (parts.store.clone(), digest.algorithm());
    let upload = blocking("fetch a blob", move || store.create_upload(algorithm)).await?;
    let received = async {
        while let Some(chunk) = bytes.try_next().await? {
            let writer = upload.clone();
            blocking("fetch a blob", move || writer.append(&chunk)).await?;
        }
        commit_upload(parts, upload.clone(), digest, Vec::new()).await
    };
    let blob = match received.await {
        Ok(blob) => blob,
        Err(error) => {
            blocking("fetch a blob", move || upload.cancel()).await?;
            return Err(error);
        }
    };
    parts.fetches.add_bytes(blob.len());
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(%digest, %namespace, bytes = blob.len(), duration_ms, "fetched from the backend");
    replicate::transfer(parts, &blob).await;
    Ok(())
}
