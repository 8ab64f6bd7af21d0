//! Copying blobs to the other origins that own them.

use std::sync::Arc;

use kraken_backends::FileSource;
use kraken_core::store::Blob;
use kraken_core::{Digest, Namespace};

use crate::limits;
use crate::parts::Parts;

/// Copies a pushed blob to every other owner, before the push is answered. A replica that cannot be
/// reached is only logged: the blob is safe here and on the others.
pub(crate) async fn duplicate(parts: &Parts, blob: &Arc<Blob>, namespace: &Namespace) {
    for (number, owner) in others(parts, &blob.digest()).iter().enumerate() {
        let delay = limits::WRITE_BACK_STAGGER * (number as u32 + 1);
        let sent = match FileSource::new(blob.file()) {
            Ok(source) => {
                let origin = parts.cluster.origin(owner);
                origin.duplicate_upload(namespace, &blob.digest(), &source, delay).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::warn!(digest = %blob.digest(), %owner, %error, "copy to a replica failed");
        }
    }
}

/// Copies a blob that came from the backend to every other owner.
pub(crate) async fn transfer(parts: &Parts, blob: &Arc<Blob>) {
    for owner in others(parts, &blob.digest()) {
        let sent = match FileSource::new(blob.file()) {
            Ok(source) => parts.cluster.origin(&owner).transfer(&blob.digest(), &source).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::warn!(digest = %blob.digest(), %owner, %error, "copy to a replica failed");
        }
    }
}

fn others(parts: &Parts, digest: &Digest) -> Vec<String> {
    parts.owners(digest).into_iter().filter(|owner| *owner != parts.name).collect()
}
