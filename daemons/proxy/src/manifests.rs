//! Manifests of the proxy: blobs at the origin whose children must be there first.

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kraken_backends::BytesSource;
use kraken_common::answer::outward;
use kraken_core::http::status_of;
use kraken_core::{Digest, Error, Reference, Repository, Result, Tag};
use kraken_registry_api::limits::MANIFEST_BYTES_MAX;
use kraken_registry_api::manifest::Document;
use kraken_registry_api::{Manifest, ManifestStat, Manifests};

use crate::limits;
use crate::parts::namespace_of;
use crate::registry::ProxyRegistry;
use crate::verify;

#[async_trait]
impl Manifests for ProxyRegistry {
    async fn get(&self, repository: &Repository, reference: &Reference) -> Result<Manifest> {
        let digest = self.resolve(repository, reference).await?;
        self.read(repository, digest).await
    }

    /// A manifest's media type is only in its content.
    ///
    /// A tag that the build-indexes cannot look up, their backend being away, is not found:
    /// clients look before they push, and with any other failure would not push, although pushes
    /// need no backend. The access log says it as the failure it is.
    async fn head(&self, repository: &Repository, reference: &Reference) -> Result<ManifestStat> {
        let digest = self.resolve(repository, reference).await.map_err(|error| {
            // What a build-index answers whose backend is away, or that is about to end.
            if status_of(&error) == Some(503) {
                let message = format!("tag {reference} of {repository} cannot be looked up now");
                return Error::not_found(message).with_source(error);
            }
            error
        })?;
        Ok(self.read(repository, digest).await?.stat())
    }

    async fn put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<()> {
        let namespace = namespace_of(repository)?;
        check_media_type(manifest)?;
        let document = manifest.document()?;
        let children: Vec<Digest> = document
            .blobs()
            .chain(&document.manifests)
            .map(|descriptor| descriptor.digest)
            .collect();
        stream::iter(children)
            .map(Ok)
            .try_for_each_concurrent(limits::CHILDREN_AT_ONCE, |child| {
                let namespace = &namespace;
                async move {
                    // A client sends no blob that HEAD told it is there, but the backend of this
                    // repository may not have it.
                    let asked = self.parts.origins.ensure_write_back(namespace, &child).await;
                    asked.map_err(|error| {
                        outward(error, "the origins", format_args!("{child} of the manifest"))
                    })
                }
            })
            .await?;
        let source = BytesSource::new(manifest.bytes.clone());
        let pushed = self.parts.origins.upload(&namespace, &manifest.digest, &source).await;
        let what = format!("push manifest {}", manifest.digest);
        pushed.map_err(|error| outward(error, "the origins", what))?;
        if let Reference::Tag(name) = reference {
            let tag = Tag { repository: repository.clone(), name: name.clone() };
            let put = self.parts.build_index.put_and_replicate(&tag, &manifest.digest).await;
            let what = format!("put tag {tag}");
            put.map_err(|error| outward(error, "the build-indexes", what))?;
        }
        Ok(())
    }
}

impl ProxyRegistry {
    async fn resolve(&self, repository: &Repository, reference: &Reference) -> Result<Digest> {
        let asked = self.parts.build_index.resolve(repository, reference).await;
        asked.map_err(|error| {
            let what = format_args!("find tag {repository}:{reference}");
            outward(error, "the build-indexes", what)
        })
    }

    async fn read(&self, repository: &Repository, digest: Digest) -> Result<Manifest> {
        let namespace = namespace_of(repository)?;
        let told = |error| outward(error, "the origins", format_args!("read manifest {digest}"));
        // A layer asked for as if it were a manifest must not be brought from the backend for it.
        let too_long = || Error::not_found(format!("manifest {digest}: too long"));
        let len = self.parts.origins.stat(&namespace, &digest, false).await.map_err(told)?;
        if len > MANIFEST_BYTES_MAX as u64 {
            return Err(too_long());
        }
        let asked = self.parts.origins.download(&namespace, &digest).await;
        let mut bytes = verify::whole(asked.map_err(told)?.1, digest);
        let mut content = BytesMut::new();
        while let Some(chunk) = bytes.try_next().await.map_err(told)? {
            if content.len() + chunk.len() > MANIFEST_BYTES_MAX {
                return Err(too_long());
            }
            content.extend_from_slice(&chunk);
        }
        let document = Document::parse(None, &content)
            .map_err(|error| Error::not_found(format!("manifest {digest}")).with_source(error))?;
        Ok(Manifest { digest, media_type: document.media_type, bytes: content.freeze() })
    }
}

/// Refuses a manifest that would come back under another type, or not at all: blobs are kept
/// without a media type, so the content has to say it. Docker's always do; only an OCI manifest or
/// index is known by its shape.
fn check_media_type(manifest: &Manifest) -> Result<()> {
    let told = Document::parse(None, &manifest.bytes).map(|document| document.media_type);
    let pushed = &manifest.media_type;
    match told {
        Ok(told) if told == *pushed => Ok(()),
        Ok(told) => Err(Error::invalid(format!(
            "a manifest pushed as {pushed} reads as {told}: its mediaType must say what it is"
        ))),
        Err(error) => Err(Error::invalid(format!(
            "a manifest pushed as {pushed} does not say so itself, as its mediaType must: {error}"
        ))),
    }
}
