//! Copying blobs to the other origins that own them.

use std::sync::Arc;

use kraken_backends::FileSource;
use kraken_core::Namespace;
use kraken_core::store::Blob;

use crate::parts::Parts;

/// Copies a pushed blob to every other owner, before the push is answered. A replica that cannot be
/// reached is only logged: the blob is safe here and on the others.
pub(crate) async fn duplicate(parts: &Parts, blob: &Arc<Blob>, namespace: &Namespace) {
    let owners = parts.membership.other_owners(&blob.digest());
    for (number, owner) in owners.iter().enumerate() {
        let delay = parts.write_back_stagger.saturating_mul(number as u32 + 1);
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
    for owner in parts.membership.other_owners(&blob.digest()) {
        let sent = match FileSource::new(blob.file()) {
            Ok(source) => parts.cluster.origin(&owner).transfer(&blob.digest(), &source).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::warn!(digest = %blob.digest(), %owner, %error, "copy to a replica failed");
        }
    }
}
