//! Pushes to the proxy: gathered on its disk, verified, handed to the origins.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use kraken_backends::FileSource;
use kraken_common::answer::outward;
use kraken_common::blocking;
use kraken_core::{Algorithm, Digest, Error, ErrorKind, Repository, Result};
use kraken_registry_api::{ByteStream, UploadId, Uploads};

use crate::limits;
use crate::parts::namespace_of;
use crate::registry::ProxyRegistry;

#[async_trait]
impl Uploads for ProxyRegistry {
    async fn begin(&self, repository: &Repository, algorithm: Algorithm) -> Result<UploadId> {
        self.sessions.begin(repository, algorithm).await
    }

    async fn len(&self, repository: &Repository, id: &UploadId) -> Result<u64> {
        let upload = self.sessions.find(repository, id)?;
        blocking("read an upload's length", move || Ok(upload.len())).await
    }

    async fn write(
        &self,
        repository: &Repository,
        id: &UploadId,
        offset: u64,
        mut bytes: ByteStream,
    ) -> Result<u64> {
        let mut taken = self.sessions.take(repository, id)?;
        let len = taken.upload.len();
        if len != offset {
            let message = format!("upload {id} has {len} bytes, not {offset}");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        loop {
            let (batch, end) = gather(&mut bytes).await;
            // What writes has the upload, also when this future is dropped meanwhile.
            let written = blocking("write an upload", move || {
                let upload = &taken.upload;
                let written = batch.iter().try_for_each(|chunk| upload.append(chunk).map(drop));
                if matches!(&written, Err(error) if error.kind() == ErrorKind::NoSpace) {
                    // Left for later it would keep the disk full.
                    upload.cancel()?;
                }
                Ok((taken, written))
            });
            let (returned, written) = written.await?;
            if let Err(error) = written {
                if error.kind() == ErrorKind::NoSpace {
                    self.sessions.forget(id);
                    return Err(outward(error, "the proxy", format_args!("write upload {id}")));
                }
                return Err(error);
            }
            taken = returned;
            match end {
                None => {}
                Some(Ok(())) => return Ok(taken.upload.len()),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    async fn finish(&self, repository: &Repository, id: &UploadId, digest: &Digest) -> Result<()> {
        let taken = self.sessions.take(repository, id)?;
        let wanted = *digest;
        // What hashes has the upload, also when this future is dropped meanwhile.
        let verified = blocking("write an upload", move || {
            let verified = taken.upload.verify(&wanted).and_then(|()| taken.upload.file());
            Ok((taken, verified))
        });
        let (taken, verified) = verified.await?;
        let upload = taken.upload.clone();
        let file = match verified {
            Ok(file) => file,
            Err(error) => {
                if error.kind() == ErrorKind::Mismatch {
                    self.sessions.end(id, upload).await?;
                }
                return Err(error);
            }
        };
        // The blob is the origins' before the push is answered.
        let source = FileSource::new(file)?;
        let pushed = self.parts.origins.upload(&namespace_of(repository)?, digest, &source).await;
        match pushed {
            Ok(()) => self.sessions.end(id, upload).await,
            Err(error) => {
                // Room is not soon made, and clients begin anew; after any other failure the
                // session stands, and may be finished again.
                if error.kind() == ErrorKind::NoSpace {
                    self.sessions.end(id, upload).await?;
                }
                Err(outward(error, "the origins", format_args!("push {digest}")))
            }
        }
    }

    async fn cancel(&self, repository: &Repository, id: &UploadId) -> Result<()> {
        let upload = self.sessions.find(repository, id)?;
        // A request that still writes meets an upload that has ended.
        self.sessions.end(id, upload).await
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

/// The next chunks up to [`WRITE_LEN`](limits::WRITE_LEN) that come without a pause, and how the
/// stream ended if it did.
async fn gather(bytes: &mut ByteStream) -> (Vec<Bytes>, Option<Result<()>>) {
    let (mut batch, mut len) = (Vec::new(), 0);
    while len < limits::WRITE_LEN {
        let next = if batch.is_empty() {
            bytes.next().await
        } else {
            match tokio::time::timeout(limits::GATHER_PAUSE_MAX, bytes.next()).await {
                Ok(next) => next,
                Err(_) => break,
            }
        };
        match next {
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
