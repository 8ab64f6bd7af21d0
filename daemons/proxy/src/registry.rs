//! The registry of a proxy: blobs at the origins, tags at the build-index.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use kraken_backends::OriginCluster;
use kraken_common::answer::outward;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Repository, Result, TagName};
use kraken_registry_api::{Backend, BlobReader, BlobSource, ByteStream, Manifests, Tags, Uploads};

use crate::parts::{Parts, namespace_of};
use crate::sessions::Sessions;
use crate::verify;

/// The proxy's side of the registry traits.
#[derive(Debug)]
pub(crate) struct ProxyRegistry {
    pub(crate) parts: Arc<Parts>,
    pub(crate) sessions: Sessions,
}

impl ProxyRegistry {
    pub(crate) fn new(parts: Arc<Parts>) -> Arc<Self> {
        let sessions = Sessions::new(parts.store.clone());
        Arc::new(Self { parts, sessions })
    }
}

impl Backend for ProxyRegistry {
    fn blobs(&self) -> &dyn BlobSource {
        self
    }

    fn manifests(&self) -> &dyn Manifests {
        self
    }

    fn uploads(&self) -> Option<&dyn Uploads> {
        Some(self)
    }

    fn tags(&self) -> Option<&dyn Tags> {
        Some(self)
    }
}

#[async_trait]
impl BlobSource for ProxyRegistry {
    async fn stat(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        let asked = self.parts.origins.stat(&namespace_of(repository)?, digest, false).await;
        asked.map_err(|error| {
            let error = outward(error, "the origins", format_args!("find {digest}"));
            match error.kind() {
                // What no backend is for is not there. A client that looks before it pushes goes
                // on, and reads the reason at its push: the answer to a HEAD has no room for it.
                // The log says it then too, and until then only where it tells of every request.
                ErrorKind::Unsupported => {
                    Error::not_found(format!("{digest} of {repository}")).with_source(error)
                }
                _ => error,
            }
        })
    }

    async fn open(&self, repository: &Repository, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        let len = self.stat(repository, digest).await?;
        Ok(Box::new(OriginBlob {
            origins: self.parts.origins.clone(),
            namespace: namespace_of(repository)?,
            digest: *digest,
            len,
        }))
    }
}

#[async_trait]
impl Tags for ProxyRegistry {
    async fn list(&self, repository: &Repository) -> Result<Vec<TagName>> {
        let asked = self.parts.build_index.tags_of(repository).await;
        asked.map_err(|error| {
            outward(error, "the build-indexes", format_args!("list the tags of {repository}"))
        })
    }
}

/// A blob that is streamed from an origin.
struct OriginBlob {
    origins: OriginCluster,
    namespace: Namespace,
    digest: Digest,
    len: u64,
}

impl BlobReader for OriginBlob {
    fn size(&self) -> u64 {
        self.len
    }

    fn stream(&self, range: Range<u64>) -> ByteStream {
        let (origins, namespace) = (self.origins.clone(), self.namespace.clone());
        let (digest, whole) = (self.digest, range == (0..self.len));
        let opened = async move {
            if whole {
                let (_, bytes) = origins.download(&namespace, &digest).await?;
                return Ok::<_, Error>(verify::whole(bytes, digest));
            }
            // Nothing proves a part of a blob but its origin.
            origins.download_range(&namespace, &digest, range).await
        };
        stream::once(opened)
            .flat_map(|opened| match opened {
                Ok(bytes) => bytes,
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }
}
