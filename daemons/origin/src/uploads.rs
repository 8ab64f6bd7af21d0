//! Uploads to an origin: pushes, duplicates and transfers.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use kraken_common::Chunks;
use kraken_core::metainfo::PieceHasher;
use kraken_core::store::{Blob, Sidecar, Upload};
use kraken_core::{Digest, Error, ErrorKind, Geometry, MetaInfo, Namespace, Result};
use tokio::sync::Mutex as AsyncMutex;

use crate::origin::{Parts, blocking};
use crate::{replicate, write_back};

/// Bytes gathered before they are written to disk at once: small writes cost twice.
const WRITE_LEN: usize = 1 << 20;

/// A session that nobody has touched for so long is dropped when the next one begins.
const IDLE_MAX: Duration = Duration::from_secs(3600);

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

/// The uploads that are open, by id.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<String, Session>>);

#[derive(Debug, Clone)]
struct Session {
    digest: Digest,
    touched: Instant,
    /// Held by the one request that writes or commits; taken by the commit.
    upload: Arc<AsyncMutex<Option<Upload>>>,
}

impl Sessions {
    fn insert(&self, digest: &Digest, upload: Upload) -> (String, Vec<Session>) {
        let id = upload.id().to_string();
        let upload = Arc::new(AsyncMutex::new(Some(upload)));
        let session = Session { digest: *digest, touched: Instant::now(), upload };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(id.clone(), session);
        let expired = open.extract_if(.., |_, session| session.touched.elapsed() > IDLE_MAX);
        let expired = expired.map(|(_, session)| session).collect();
        (id, expired)
    }

    fn find(&self, digest: &Digest, id: &str) -> Result<Session> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(id) {
            Some(session) if session.digest == *digest => {
                session.touched = Instant::now();
                Ok(session.clone())
            }
            _ => Err(Error::not_found(format!("upload {id:?} of {digest}"))),
        }
    }

    fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Opens an upload; its id. `Conflict` when the blob is here already: then a push makes sure that
/// it is written back, and the client takes it for success.
pub(crate) async fn start(
    parts: &Parts,
    digest: &Digest,
    namespace: Option<&Namespace>,
) -> Result<String> {
    refuse_known(parts, digest, namespace).await?;
    let (store, algorithm) = (parts.store.clone(), digest.algorithm());
    let upload = blocking(move || store.create_upload(algorithm)).await?;
    let (id, expired) = parts.sessions.insert(digest, upload);
    // Dropping an upload removes its file.
    blocking(move || {
        drop(expired);
        Ok(())
    })
    .await?;
    Ok(id)
}

/// Writes exactly the bytes of `range`.
pub(crate) async fn patch(
    parts: &Parts,
    digest: &Digest,
    id: &str,
    range: Range<u64>,
    body: Incoming,
    purpose: Purpose<'_>,
) -> Result<()> {
    let session = parts.sessions.find(digest, id)?;
    refuse_known(parts, digest, purpose.namespace()).await?;
    let mut upload = session.upload.lock_owned().await;
    let mut chunks = Chunks::new(body, range.end - range.start);
    let mut offset = range.start;
    let mut ended = false;
    while !ended {
        let mut batch = Vec::new();
        let mut len = 0;
        while len < WRITE_LEN && !ended {
            match chunks.next().await? {
                Some(chunk) => {
                    len += chunk.len();
                    batch.push(chunk);
                }
                None => ended = true,
            }
        }
        let at = offset;
        upload = blocking(move || {
            let open = upload.as_mut().ok_or_else(|| Error::not_found("a finished upload"))?;
            let mut at = at;
            for chunk in &batch {
                open.write_at(at, chunk)?;
                at += chunk.len() as u64;
            }
            Ok(upload)
        })
        .await?;
        offset += len as u64;
    }
    if offset != range.end {
        let message = format!("copy: {} of {} bytes", offset - range.start, range.end - range.start);
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
    let session = parts.sessions.find(digest, id)?;
    refuse_known(parts, digest, purpose.namespace()).await?;
    let upload = session.upload.lock().await.take();
    parts.sessions.forget(id);
    let upload = upload.ok_or_else(|| Error::not_found(format!("upload {id:?}: finished")))?;
    let sidecars = purpose.namespace().map(write_back::sidecars).unwrap_or_default();
    let blob = commit_upload(parts, upload, digest, sidecars)
        .await
        .map_err(|error| error.context("move upload file to cache"))?;
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

/// Verifies an upload and commits it with its metainfo and other sidecars.
pub(crate) async fn commit_upload(
    parts: &Parts,
    upload: Upload,
    digest: &Digest,
    mut sidecars: Vec<Sidecar>,
) -> Result<Arc<Blob>> {
    let (wanted, piece_lengths) = (*digest, parts.piece_lengths.clone());
    blocking(move || {
        let mut upload = upload;
        upload.verify(&wanted)?;
        let piece_len = piece_lengths.for_blob(upload.len());
        let metainfo = compute_metainfo(&upload.file(), wanted, upload.len(), piece_len)?;
        sidecars.push(Sidecar::torrent_meta(&metainfo));
        upload.commit(&wanted, &sidecars)
    })
    .await
}

/// Reads a whole blob for the sums of its pieces.
pub(crate) fn compute_metainfo(
    file: &File,
    digest: Digest,
    len: u64,
    piece_len: u64,
) -> Result<MetaInfo> {
    let mut hasher = PieceHasher::new(Geometry::new(len, piece_len)?);
    let mut buf = vec![0; WRITE_LEN];
    let mut offset = 0;
    while offset < len {
        let part = &mut buf[..WRITE_LEN.min((len - offset) as usize)];
        file.read_exact_at(part, offset)
            .map_err(|error| Error::io(format!("read {digest}"), error))?;
        hasher.update(part);
        offset += part.len() as u64;
    }
    hasher.finish(digest)
}

/// `Conflict` when the blob is here already.
async fn refuse_known(
    parts: &Parts,
    digest: &Digest,
    namespace: Option<&Namespace>,
) -> Result<()> {
    let (store, wanted) = (parts.store.clone(), *digest);
    if blocking(move || store.stat(&wanted)).await?.is_none() {
        return Ok(());
    }
    if let Some(namespace) = namespace {
        write_back::ensure(parts, digest, namespace).await?;
    }
    Err(Error::new(ErrorKind::Conflict, format!("{digest} is here already")))
}
