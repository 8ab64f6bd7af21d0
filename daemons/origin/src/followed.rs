//! Other owners as this origin's tracker: who brings a blob that this one fetches too.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kraken_backends::OriginCluster;
use kraken_core::store::Store;
use kraken_core::{Digest, Error, ErrorKind, MetaInfo, Namespace, PeerInfo, Result, TorrentMeta};
use kraken_p2p::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};

/// What the node of an origin asks in place of a tracker: it seeds to whoever comes, and downloads
/// from the owners it follows alone.
#[derive(Debug)]
pub(crate) struct Followed {
    /// One for each blob that is followed: as many as fetches.
    owners: Mutex<BTreeMap<Digest, Owner>>,
    store: Store,
    cluster: OriginCluster,
}

#[derive(Debug, Clone)]
struct Owner {
    host: String,
    meta: TorrentMeta,
    peer: PeerInfo,
}

impl Followed {
    pub(crate) fn new(store: Store, cluster: OriginCluster) -> Self {
        Self { owners: Mutex::default(), store, cluster }
    }

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
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TrackerClient for Followed {
    async fn announce(&self, request: AnnounceRequest) -> Result<AnnounceResponse> {
        let owner = request.digest.and_then(|digest| self.of(&digest));
        let peers = owner.map(|owner| vec![owner.peer]);
        Ok(AnnounceResponse { peers, ..AnnounceResponse::default() })
    }

    async fn metainfo(&self, _: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        Err(nobody(digest))
    }

    /// What the owner said when it began to be followed; of a blob that is here without sums, what
    /// it says now.
    async fn torrent_meta(&self, namespace: &Namespace, digest: &Digest) -> Result<TorrentMeta> {
        let owner = self.of(digest).ok_or_else(|| nobody(digest))?;
        let (store, wanted) = (self.store.clone(), *digest);
        let here = kraken_common::blocking("look for a blob", move || store.find(&wanted)).await?;
        if here.is_none() {
            return Ok(owner.meta);
        }
        self.cluster.origin(&owner.host).torrent_meta(namespace, digest).await
    }
}

fn nobody(digest: &Digest) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{digest}: an origin asks no tracker"))
}
