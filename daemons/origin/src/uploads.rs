//! Uploads to an origin: pushes, duplicates and transfers.

use std::ops::Range;
use std::time::Duration;

use kraken_common::{Chunks, RequestBody, blocking};
use kraken_core::store::Upload;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result};

use crate::commit::{commit_upload, give_up_if_full};
use crate::limits;
use crate::parts::Parts;
use crate::{replicate, write_back};

/// Why a blob is uploaded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// A client's push: written back, and copied to the other owners.
    Push {
        /// Picks the backend.
        namespace: &'a Namespace,
    },
    /// Another origin's copy of a push: written back later, should that origin fail to.
    Duplicate {
        /// Picks the backend.
        namespace: &'a Namespace,
        /// How much later.
        delay: Duration,
    },
    /// Another origin's copy of what its backend has.
    Transfer,
}

impl Purpose<'_> {
    fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Push { namespace } | Self::Duplicate { namespace, .. } => Some(namespace),
            Self::Transfer => None,
        }
    }
}

/// Opens an upload of `len` bytes, if the client said how many; its id. `Conflict` when the blob is
/// here already: then a push makes sure that it is written back, and the client takes it for
/// success.
pub(crate) async fn start(
    parts: &Parts,
    digest: &Digest,
    namespace: Option<&Namespace>,
    len: Option<u64>,
) -> Result<String> {
    if let Some(namespace) = namespace {
        // What could never be written back is refused before its bytes come.
        parts.router.route(namespace)?;
    }
    refuse_known(parts, digest, namespace).await?;
    parts.store.could_hold(len.unwrap_or_default())?;
    let (store, algorithm) = (parts.store.clone(), digest.algorithm());
    blocking("write an upload", move || {
        store.cancel_idle_uploads(limits::UPLOAD_IDLE_MAX)?;
        Ok(store.create_upload(algorithm)?.id().to_string())
    })
    .await
}

/// Writes exactly the bytes of `range`.
pub(crate) async fn patch(
    parts: &Parts,
    digest: &Digest,
    id: &str,
    range: Range<u64>,
    body: RequestBody,
    purpose: Purpose<'_>,
) -> Result<()> {
    let mut chunks = Chunks::new(body, range.end - range.start);
    let written = receive(parts, digest, id, range, &mut chunks, purpose).await;
    let mut refused = 0;
    while written.is_err() && refused < limits::REFUSED_LEN_MAX {
        let Ok(Some(chunk)) = chunks.next().await else { break };
        refused += chunk.len() as u64;
    }
    written
}

async fn receive(
    parts: &Parts,
    digest: &Digest,
    id: &str,
    range: Range<u64>,
    chunks: &mut Chunks<RequestBody>,
    purpose: Purpose<'_>,
) -> Result<()> {
    let upload = find(parts, id)?;
    let written = match refuse_known(parts, digest, purpose.namespace()).await {
        Ok(()) => write(&upload, range, chunks).await,
        Err(error) => Err(error),
    };
    end_if_refused(upload, written).await
}

async fn write(upload: &Upload, range: Range<u64>, chunks: &mut Chunks<RequestBody>) -> Result<()> {
    let mut offset = range.start;
    let mut ended = false;
    while !ended {
        let mut batch = Vec::new();
        let mut len = 0;
        while len < limits::WRITE_LEN && !ended {
            match chunks.next().await? {
                Some(chunk) => {
                    len += chunk.len();
                    batch.push(chunk);
                }
                None => ended = true,
            }
        }
        let (writer, start) = (upload.clone(), offset);
        blocking("write an upload", move || {
            let mut at = start;
            for chunk in &batch {
                if let Err(error) = writer.write_at(at, chunk) {
                    return Err(give_up_if_full(&writer, error));
                }
                at += chunk.len() as u64;
            }
            Ok(())
        })
        .await?;
        offset += len as u64;
    }
    if offset != range.end {
        let message =
            format!("copy: {} of {} bytes", offset - range.start, range.end - range.start);
        return Err(Error::new(ErrorKind::Internal, message));
    }
    Ok(())
}

/// Verifies the upload and makes it a blob, with all that its purpose asks for.
pub(crate) async fn commit(
    parts: &Parts,
    digest: &Digest,
    id: &str,
    purpose: Purpose<'_>,
) -> Result<()> {
    let upload = find(parts, id)?;
    if let Some(namespace) = purpose.namespace() {
        parts.router.route(namespace)?;
    }
    let sidecars = purpose.namespace().map(write_back::sidecars).unwrap_or_default();
    let committed = match refuse_known(parts, digest, purpose.namespace()).await {
        Ok(()) => commit_upload(parts, upload.clone(), digest, sidecars)
            .await
            .map_err(|error| error.context("move upload file to cache")),
        Err(error) => Err(error),
    };
    let blob = end_if_refused(upload, committed).await?;
    match purpose {
        Purpose::Push { namespace } => {
            parts.write_back.push(digest, namespace, Duration::ZERO);
            replicate::duplicate(parts, &blob, namespace).await;
        }
        Purpose::Duplicate { namespace, delay } => parts.write_back.push(digest, namespace, delay),
        Purpose::Transfer => {}
    }
    Ok(())
}

/// An upload that found no room, or whose blob came another way, gives back what it took: its
/// sender never goes on with it.
async fn end_if_refused<T>(upload: Upload, result: Result<T>) -> Result<T> {
    if let Err(error) = &result
        && matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Conflict)
        && let Err(error) = blocking("write an upload", move || upload.cancel()).await
    {
        tracing::warn!(%error, "an upload that was refused stays");
    }
    result
}

fn find(parts: &Parts, id: &str) -> Result<Upload> {
    let id = id.parse().map_err(|_| Error::not_found(format!("upload {id:?}")))?;
    parts.store.upload(&id)
}

/// `Conflict` when the blob is here already.
async fn refuse_known(parts: &Parts, digest: &Digest, namespace: Option<&Namespace>) -> Result<()> {
    let (store, wanted) = (parts.store.clone(), *digest);
    if blocking("write an upload", move || store.stat(&wanted)).await?.is_none() {
        return Ok(());
    }
    if let Some(namespace) = namespace {
        write_back::ensure(parts, digest, namespace).await?;
    }
    Err(Error::new(ErrorKind::Conflict, format!("{digest} is here already")))
}
