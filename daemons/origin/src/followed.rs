//! Other owners as this origin's tracker: who brings a blob that this one fetches too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use async_trait::async_trait;
use kraken_core::{Digest, Error, ErrorKind, MetaInfo, Namespace, PeerInfo, Result, TorrentMeta};
use kraken_p2p::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};

use crate::parts::Parts;

/// The owners that are followed, each for one blob: as many as fetches.
#[derive(Debug, Default)]
pub(crate) struct Followed(Mutex<BTreeMap<Digest, Owner>>);

#[derive(Debug, Clone)]
struct Owner {
    host: String,
    meta: TorrentMeta,
    peer: PeerInfo,
}

impl Followed {
    pub(crate) fn begin(&self, digest: Digest, host: String, meta: TorrentMeta, peer: PeerInfo) {
        self.lock().insert(digest, Owner { host, meta, peer });
    }

    pub(crate) fn end(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    fn of(&self, digest: &Digest) -> Option<Owner> {
        self.lock().get(digest).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Owner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the node of an origin asks in place of a tracker: it seeds to whoever comes, and downloads
/// from the owners it follows alone.
#[derive(Debug, Default)]
pub(crate) struct Owners(pub(crate) OnceLock<Weak<Parts>>);

#[async_trait]
impl TrackerClient for Owners {
    async fn announce(&self, request: AnnounceRequest) -> Result<AnnounceResponse> {
        let parts = self.0.get().and_then(Weak::upgrade);
        let owner = parts.and_then(|parts| parts.followed.of(&request.digest?));
        let peers = owner.map(|owner| vec![owner.peer]);
        Ok(AnnounceResponse { peers, ..AnnounceResponse::default() })
    }

    async fn metainfo(&self, _: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        Err(nobody(digest))
    }

    /// What the owner said when it began to be followed; of a blob that is here without sums, what
    /// it says now.
    async fn torrent_meta(&self, namespace: &Namespace, digest: &Digest) -> Result<TorrentMeta> {
        let parts = self.0.get().and_then(Weak::upgrade).ok_or_else(|| nobody(digest))?;
        let owner = parts.followed.of(digest).ok_or_else(|| nobody(digest))?;
        let (store, wanted) = (parts.store.clone(), *digest);
        let here = kraken_common::blocking("look for a blob", move || store.find(&wanted)).await?;
        if here.is_none() {
            return Ok(owner.meta);
        }
        parts.cluster.origin(&owner.host).torrent_meta(namespace, digest).await
    }
}

fn nobody(digest: &Digest) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{digest}: an origin asks no tracker"))
}
