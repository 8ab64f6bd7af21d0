//! The registry of an agent: blobs and manifests from the swarm, tags from the build-index.

use std::sync::Arc;

use async_trait::async_trait;
use kraken_common::answer::outward;
use kraken_core::http::status_of;
use kraken_core::{Digest, Error, ErrorKind, Reference, Repository, Result, TagName};
use kraken_p2p::tracker::TrackerClient as _;
use kraken_registry_api::manifest::Document;
use kraken_registry_api::{
    Backend, BlobReader, BlobSource, Manifest, ManifestStat, Manifests, Tags, limits,
};

use crate::parts::{Parts, fetch, open};

/// The agent's side of the registry traits: read only.
#[derive(Debug, Clone)]
pub(crate) struct AgentRegistry {
    parts: Arc<Parts>,
}

impl AgentRegistry {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }
}

impl Backend for AgentRegistry {
    fn blobs(&self) -> &dyn BlobSource {
        self
    }

    fn manifests(&self) -> &dyn Manifests {
        self
    }

    fn tags(&self) -> Option<&dyn Tags> {
        Some(self)
    }
}

#[async_trait]
impl BlobSource for AgentRegistry {
    async fn stat(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        let (store, wanted) = (self.parts.store.clone(), *digest);
        let here =
            tokio::task::spawn_blocking(move || store.stat(&wanted)).await.map_err(|error| {
                Error::new(ErrorKind::Cancelled, "stat a blob").with_source(error)
            })??;
        if let Some(len) = here {
            return Ok(len);
        }
        let namespace = repository.as_str().parse()?;
        let asked = self.parts.tracker.stat(&namespace, digest).await;
        asked.map_err(|error| of_swarm(error, digest))
    }

    async fn open(&self, repository: &Repository, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        let namespace = repository.as_str().parse()?;
        let blob = open(&self.parts, &namespace, digest).await;
        Ok(Box::new(blob.map_err(|error| of_swarm(error, digest))?))
    }
}

#[async_trait]
impl Manifests for AgentRegistry {
    async fn get(&self, repository: &Repository, reference: &Reference) -> Result<Manifest> {
        let asked = self.parts.build_index.resolve(repository, reference).await;
        let digest = asked.map_err(|error| {
            let what = format_args!("find tag {repository}:{reference}");
            outward(error, "the build-indexes", what)
        })?;
        if let Some(manifest) = self.parts.recent.get(&digest) {
            return Ok(manifest);
        }
        let (namespace, len_max) =
            (repository.as_str().parse()?, limits::MANIFEST_BYTES_MAX as u64);
        // A layer asked for as if it were a manifest must not be brought from the backend for it;
        // uber/kraken's trackers know no lengths.
        let layer = || Error::not_found(format!("manifest {digest}: too long"));
        if self.stat(repository, &digest).await.is_ok_and(|len| len > len_max) {
            return Err(layer());
        }
        let bytes = match fetch(&self.parts, &namespace, &digest, len_max).await {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                return Err(layer().with_source(error));
            }
            bytes => bytes.map_err(|error| of_swarm(error, &digest))?,
        };
        let document = Document::parse(None, &bytes)
            .map_err(|error| Error::not_found(format!("manifest {digest}")).with_source(error))?;
        let manifest = Manifest { digest, media_type: document.media_type, bytes };
        self.parts.recent.put(&manifest);
        Ok(manifest)
    }

    /// A manifest's media type is only in its content, so the manifest is fetched; it is small.
    async fn head(&self, repository: &Repository, reference: &Reference) -> Result<ManifestStat> {
        Ok(self.get(repository, reference).await?.stat())
    }

    async fn put(&self, _: &Repository, _: &Reference, _: &Manifest) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "an agent takes no pushes: push to the proxy"))
    }
}

#[async_trait]
impl Tags for AgentRegistry {
    async fn list(&self, repository: &Repository) -> Result<Vec<TagName>> {
        let asked = self.parts.build_index.tags_of(repository).await;
        asked.map_err(|error| {
            outward(error, "the build-indexes", format_args!("list the tags of {repository}"))
        })
    }
}

/// The failure to get a blob, in words for a client.
fn of_swarm(error: Error, digest: &Digest) -> Error {
    // A disk is this agent's own unless somebody answered that it is full.
    let own = error.kind() == ErrorKind::NoSpace && status_of(&error).is_none();
    let whom = if own { "this agent" } else { "the swarm" };
    outward(error, whom, format_args!("download {digest}"))
}
