//! What must be in the origin cluster before a tag may name a digest.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kraken_backends::OriginCluster;
use kraken_core::digest::DigestHasher;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result, Tag};
use kraken_registry_api::limits as registry_limits;
use kraken_registry_api::manifest::Document;

use crate::config::TagType;
use crate::limits;

/// Fails unless everything that `digest` refers to, at any depth, is in the origin cluster.
///
/// An index needs each of its manifests, and all that those refer to: a tag that is there can be
/// pulled for every platform. What a manifest calls its subject need not be there.
pub(crate) async fn check(
    origins: &OriginCluster,
    tag: &Tag,
    digest: Digest,
    tag_type: TagType,
) -> Result<()> {
    let namespace: Namespace = tag.to_string().parse()?;
    let blobs = match tag_type {
        TagType::Docker => resolve(origins, &namespace, digest)
            .await
            .map_err(|e| e.context("resolve dependencies"))?,
        TagType::Default => BTreeSet::from([digest]),
    };
    let namespace = &namespace;
    stream::iter(blobs)
        .map(|blob| async move {
            match origins.stat(namespace, &blob, false).await {
                Ok(_) => Ok(()),
                Err(e) if e.kind() == ErrorKind::NotFound => Err(missing(&blob)),
                Err(e) => Err(e.context("check blob")),
            }
        })
        .buffer_unordered(limits::STATS_AT_ONCE_MAX)
        .try_collect()
        .await
}

/// The blobs that the manifest `root` and the manifests below it refer to; all those manifests have
/// been read.
async fn resolve(
    origins: &OriginCluster,
    namespace: &Namespace,
    root: Digest,
) -> Result<BTreeSet<Digest>> {
    let mut manifests = BTreeSet::from([root]);
    let mut blobs = BTreeSet::new();
    let mut level = vec![root];
    for _ in 0..limits::NESTING_MAX {
        let mut documents = stream::iter(level)
            .map(|digest| read(origins, namespace, digest))
            .buffer_unordered(limits::MANIFESTS_AT_ONCE_MAX);
        let mut below = Vec::new();
        while let Some(document) = documents.try_next().await? {
            blobs.extend(document.blobs().map(|blob| blob.digest));
            let children = document.manifests.iter().map(|child| child.digest);
            below.extend(children.filter(|child| manifests.insert(*child)));
            if blobs.len() + manifests.len() > limits::DEPENDENCIES_MAX {
                return Err(Error::invalid(format!(
                    "manifest {root}: refers to more than {}",
                    limits::DEPENDENCIES_MAX
                )));
            }
        }
        if below.is_empty() {
            return Ok(blobs);
        }
        level = below;
    }
    Err(Error::invalid(format!("manifest {root}: nested deeper than {}", limits::NESTING_MAX)))
}

/// Reads the manifest `digest` from the origins, proves and parses it.
async fn read(origins: &OriginCluster, namespace: &Namespace, digest: Digest) -> Result<Document> {
    let (len, mut chunks) = match origins.download(namespace, &digest).await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(missing(&digest)),
        opened => opened?,
    };
    let len_max = registry_limits::MANIFEST_BYTES_MAX;
    let too_long =
        || Error::new(ErrorKind::TooLarge, format!("manifest {digest}: more than {len_max} bytes"));
    if len.is_some_and(|len| len > len_max as u64) {
        return Err(too_long());
    }
    let mut hasher = DigestHasher::new(digest.algorithm());
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        if bytes.len() + chunk.len() > len_max {
            return Err(too_long());
        }
        hasher.update(&chunk);
        bytes.extend_from_slice(&chunk);
    }
    if hasher.finish() != digest {
        let message = format!("manifest {digest}: an origin gave other bytes");
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    Document::parse(None, &bytes).map_err(|e| e.context(format!("manifest {digest}")))
}

fn missing(digest: &Digest) -> Error {
    Error::invalid(format!("cannot upload tag, missing dependency {digest}"))
}
