//! Blobs from another owner, which brings them from the backend.

use futures_util::future::join_all;
use kraken_core::http::{is_network_error, is_verdict};
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result, TorrentMeta};

use crate::fetches::Fetch;
use crate::limits;
use crate::parts::Parts;
use crate::pull::discard;

/// Gets the blob from another owner that has it or brings it from the backend, or else from one
/// before this one in the ring, which begins to; whether it is here then. Without news for a while
/// this origin brings it itself. It fails when one of them has found that the backend has other
/// bytes under the digest: this origin would find no others.
pub(crate) async fn follow(
    parts: &Parts,
    namespace: &Namespace,
    under_way: &Fetch,
) -> Result<bool> {
    let digest = under_way.digest();
    let others = parts.membership.other_owners(&digest);
    let (mut left, mut silent) = (Vec::new(), Vec::new());
    let asked = others.into_iter().map(|owner| async move {
        let known = parts.cluster.origin(&owner).known_meta(namespace, &digest).await;
        (owner, known)
    });
    for (owner, known) in join_all(asked).await {
        match known {
            Ok(meta) => {
                if follow_one(parts, namespace, under_way, owner.clone(), meta).await? {
                    return Ok(true);
                }
                left.push(owner);
            }
            Err(error) if is_verdict(&error) => return Err(error),
            Err(error) if is_network_error(&error) => silent.push(owner),
            Err(_) => {}
        }
    }
    for owner in parts.membership.owners_before(&digest) {
        let is_silent =
            silent.contains(&owner) && is_silent(parts, namespace, &digest, &owner).await;
        if left.contains(&owner) || is_silent {
            continue;
        }
        match parts.cluster.origin(&owner).torrent_meta(namespace, &digest).await {
            Ok(meta) => {
                if follow_one(parts, namespace, under_way, owner, meta).await? {
                    return Ok(true);
                }
            }
            Err(error) if is_verdict(&error) => return Err(error),
            Err(error) => {
                tracing::debug!(%digest, owner, %error, "that owner does not bring the blob");
            }
        }
    }
    Ok(false)
}

/// Gets the blob from one owner; whether it is here then.
async fn follow_one(
    parts: &Parts,
    namespace: &Namespace,
    under_way: &Fetch,
    owner: String,
    meta: TorrentMeta,
) -> Result<bool> {
    let digest = under_way.digest();
    let came = async {
        let peer = parts.cluster.origin(&owner).peer_context().await?.to_peer_info(true);
        parts.followed.begin(digest, owner.clone(), meta.clone(), peer);
        under_way.tell(meta, false);
        from_owner(parts, namespace, &digest, &owner).await
    };
    let came = came.await;
    parts.followed.end(&digest);
    let Err(error) = came else { return Ok(true) };
    tracing::info!(%digest, owner, %error, "goes on without that owner");
    if error.kind() != ErrorKind::Mismatch {
        return Ok(false);
    }
    // Nothing of that attempt is of use.
    parts.node.remove(&digest).await?;
    discard(parts, &digest).await?;
    match verdict(parts, namespace, &digest, &owner).await {
        Some(error) => Err(error),
        None => Ok(false),
    }
}

/// What an owner finds whose bytes make another blob: that its backend has no others, unless the
/// bytes changed on their way, or it has begun anew meanwhile. It may still be about to find out.
async fn verdict(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    owner: &str,
) -> Option<Error> {
    for _ in 0..limits::VERDICT_LOOKS {
        match parts.cluster.origin(owner).known_meta(namespace, digest).await {
            Ok(TorrentMeta::Provisional(_)) => tokio::time::sleep(limits::ASK_AGAIN_AFTER).await,
            Err(error) if is_verdict(&error) => return Some(error),
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

/// Downloads a blob from the owner that is followed, as long as pieces come, or it says that it
/// still brings them.
async fn from_owner(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    owner: &str,
) -> Result<()> {
    let mut download = parts.node.download(namespace, digest).await?;
    let mut stalls = 0;
    loop {
        let before = download.progress();
        if before.complete {
            return Ok(());
        }
        match tokio::time::timeout(limits::STALL_AFTER, download.progressed()).await {
            Ok(progressed) => {
                progressed?;
                stalls = 0;
            }
            Err(_) if stalls < limits::STALLS_MAX => {
                stalls += 1;
                still_brings(parts, namespace, digest, owner).await?;
                continue;
            }
            Err(_) => {
                let stall = limits::STALL_AFTER;
                let text = format!("{digest}: no piece came for {stall:?}, again and again");
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
        }
        if download.progress() == before {
            // It has come to its end, whatever that is.
            return download.finished().await;
        }
    }
}

/// Whether an owner that gave no answer in time gives none again: it would be waited for far longer
/// for what its backend says.
async fn is_silent(parts: &Parts, namespace: &Namespace, digest: &Digest, owner: &str) -> bool {
    tokio::time::sleep(limits::ASK_AGAIN_AFTER).await;
    let known = parts.cluster.origin(owner).known_meta(namespace, digest).await;
    known.is_err_and(|error| is_network_error(&error))
}

/// Fails unless an owner says that it still brings a blob. One that is busy may answer late once.
async fn still_brings(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    owner: &str,
) -> Result<()> {
    let ask = async || parts.cluster.origin(owner).known_meta(namespace, digest).await;
    let known = match ask().await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tokio::time::sleep(limits::ASK_AGAIN_AFTER).await;
            ask().await
        }
        known => known,
    };
    known.map(drop).map_err(|error| error.context("it brings nothing any more"))
}
