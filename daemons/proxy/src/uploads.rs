//! Pushes to the proxy: gathered on its disk, verified, handed to the origins.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use kraken_backends::FileSource;
use kraken_common::blocking;
use kraken_core::{Algorithm, Digest, Error, ErrorKind, Repository, Result};
use kraken_registry_api::{ByteStream, UploadId, Uploads};

use crate::parts::namespace_of;
use crate::registry::ProxyRegistry;

/// Bytes gathered before they are written to disk at once: small writes cost twice.
const WRITE_LEN: usize = 1 << 20;

#[async_trait]
impl Uploads for ProxyRegistry {
    async fn begin(&self, repository: &Repository, algorithm: Algorithm) -> Result<UploadId> {
        self.sessions.begin(repository, algorithm).await
    }

    async fn len(&self, repository: &Repository, id: &UploadId) -> Result<u64> {
        let session = self.sessions.find(repository, id)?;
        let upload = session.upload.lock().await;
        Ok(upload.len())
    }

    async fn write(
        &self,
        repository: &Repository,
        id: &UploadId,
        offset: u64,
        mut bytes: ByteStream,
    ) -> Result<u64> {
        let session = self.sessions.find(repository, id)?;
        let busy = || Error::new(ErrorKind::Conflict, format!("upload {id} is being written"));
        let mut upload = Arc::clone(&session.upload).try_lock_owned().map_err(|_| busy())?;
        if upload.len() != offset {
            let message = format!("upload {id} has {} bytes, not {offset}", upload.len());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        loop {
            let (batch, end) = gather(&mut bytes).await;
            let written = blocking("write an upload", move || {
                let written = batch.iter().try_for_each(|chunk| upload.append(chunk).map(drop));
                if matches!(&written, Err(error) if error.kind() == ErrorKind::NoSpace) {
                    // Left for later it would keep the disk full.
                    upload.cancel()?;
                }
                Ok((upload, written))
            });
            let (returned, written) = written.await?;
            if let Err(error) = written {
                if error.kind() == ErrorKind::NoSpace {
                    self.sessions.forget(id);
                }
                return Err(error);
            }
            upload = returned;
            match end {
                None => {}
                Some(Ok(())) => return Ok(upload.len()),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    async fn finish(&self, repository: &Repository, id: &UploadId, digest: &Digest) -> Result<()> {
        let session = self.sessions.find(repository, id)?;
        let busy = || Error::new(ErrorKind::Conflict, format!("upload {id} is being written"));
        let upload = Arc::clone(&session.upload).try_lock_owned().map_err(|_| busy())?;
        let (checked, wanted) = (upload.clone(), *digest);
        if let Err(error) = blocking("write an upload", move || checked.verify(&wanted)).await {
            if error.kind() == ErrorKind::Mismatch {
                self.sessions.forget(id);
                blocking("write an upload", move || upload.cancel()).await?;
            }
            return Err(error);
        }
        // The blob is the origins' before the push is answered; a failure leaves the session, and
        // the client may finish it again.
        let source = FileSource::new(upload.file())?;
        self.parts.origins.upload(&namespace_of(repository)?, digest, &source).await?;
        self.sessions.forget(id);
        blocking("write an upload", move || upload.cancel()).await
    }

    async fn cancel(&self, repository: &Repository, id: &UploadId) -> Result<()> {
        let session = self.sessions.find(repository, id)?;
        self.sessions.forget(id);
        let upload = session.upload.lock_owned().await;
        blocking("write an upload", move || upload.cancel()).await
    }

    /// Blobs belong to no repository at the origins, so any that is there can be mounted, once the
    /// backend of this repository is sure to get it; without it the client uploads as usual.
    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        _from: Option<&Repository>,
    ) -> Result<bool> {
        match self.parts.origins.ensure_write_back(&namespace_of(repository)?, digest).await {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::debug!(%digest, %error, "mount refused");
                Ok(false)
            }
        }
    }
}

/// The next chunks up to [`WRITE_LEN`], and how the stream ended if it did.
async fn gather(bytes: &mut ByteStream) -> (Vec<Bytes>, Option<Result<()>>) {
    let (mut batch, mut len) = (Vec::new(), 0);
    while len < WRITE_LEN {
        match bytes.next().await {
            Some(Ok(chunk)) => {
                len += chunk.len();
                batch.push(chunk);
            }
            Some(Err(error)) => return (batch, Some(Err(error))),
            None => return (batch, Some(Ok(()))),
        }
    }
    (batch, None)
}
