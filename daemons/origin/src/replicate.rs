//! Copying blobs to the other origins that own them.

use std::sync::Arc;
use std::time::Duration;

use kraken_backends::FileSource;
use kraken_backends::origin::Origin;
use kraken_core::store::Blob;
use kraken_core::{Digest, Namespace};

use crate::limits;
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

/// Lets every other owner know that a blob comes here, so that they follow from its first byte on
/// and one of them can go on with it. Nobody waits for their answers.
pub(crate) fn ask_to_follow(parts: &Parts, namespace: &Namespace, digest: &Digest) {
    for owner in parts.membership.other_owners(digest) {
        let (origin, namespace, digest) =
            (parts.cluster.origin(&owner), namespace.clone(), *digest);
        let stop = parts.stop.clone();
        parts.tasks.spawn(async move {
            let asked = stop.run_until_cancelled(origin.torrent_meta(&namespace, &digest));
            if let Some(Err(error)) = asked.await {
                tracing::debug!(%digest, owner, %error, "that owner does not follow");
            }
        });
    }
}

/// Sees to it that every other owner has a blob that came from the backend: most get it from the
/// swarm while it comes.
pub(crate) async fn spread(parts: &Parts, namespace: &Namespace, blob: &Arc<Blob>) {
    let digest = blob.digest();
    for owner in parts.membership.other_owners(&digest) {
        let origin = parts.cluster.origin(&owner);
        // Asking makes it fetch the blob, from here.
        let asked = origin.torrent_meta(namespace, &digest).await;
        if asked.is_ok() && is_there(&origin, namespace, blob).await {
            continue;
        }
        let sent = match FileSource::new(blob.file()) {
            Ok(source) => origin.transfer(&digest, &source).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::warn!(digest = %blob.digest(), %owner, %error, "copy to a replica failed");
        }
    }
}

/// Whether an origin has a blob on its disk, or soon.
async fn is_there(origin: &Origin, namespace: &Namespace, blob: &Blob) -> bool {
    let digest = blob.digest();
    let looks = async {
        while origin.stat(namespace, &digest, true).await.is_err() {
            tokio::time::sleep(limits::REPLICA_LOOK_EVERY).await;
        }
    };
    let soon = Duration::from_secs(blob.len() / limits::REPLICA_BYTES_PER_SEC);
    tokio::time::timeout(limits::REPLICA_WAIT + soon, looks).await.is_ok()
}
