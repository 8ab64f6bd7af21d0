//! A tracker in the same process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use kraken_core::{Digest, Error, MetaInfo, Namespace, Result, Time};
use kraken_p2p::tracker::{
    AnnounceRequest, AnnounceResponse, Announcer, HandoutConfig, MemoryPeerStore, TTL_DEFAULT,
    TrackerClient,
};

/// The tracker's logic without its HTTP server: introduces nodes of one process to each other.
#[derive(Debug)]
pub struct LocalTracker {
    announcer: Announcer,
    metainfo: Mutex<BTreeMap<Digest, MetaInfo>>,
    started: Instant,
}

impl LocalTracker {
    /// A tracker that knows of nothing.
    pub fn new() -> Arc<Self> {
        let store = Arc::new(MemoryPeerStore::new(TTL_DEFAULT, 1024));
        let config = HandoutConfig::default();
        Arc::new(Self {
            announcer: Announcer::new(store, config, 1),
            metainfo: Mutex::default(),
            started: Instant::now(),
        })
    }

    /// Makes a blob known.
    pub fn publish(&self, metainfo: MetaInfo) {
        let mut known = self.metainfo.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(metainfo.digest(), metainfo);
    }
}

#[async_trait]
impl TrackerClient for LocalTracker {
    async fn announce(&self, request: AnnounceRequest) -> Result<AnnounceResponse> {
        let now = Time::ZERO + self.started.elapsed();
        self.announcer.announce(&request, Ok(Vec::new()), now).await
    }

    async fn metainfo(&self, _: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        let known = self.metainfo.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).cloned().ok_or_else(|| Error::not_found(format!("blob {digest}")))
    }
}
