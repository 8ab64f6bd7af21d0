//! Nodes on stores that do not hold everything they ever had.

use std::sync::Arc;

use kraken_core::store::{Blob, Store, StoreConfig};
use kraken_core::{Algorithm, ErrorKind, MetaInfo};

use super::support::{Host, Tracker, blob, loopback, namespace, soon};
use crate::node::{Download, Node, NodeConfig};
use crate::storage::StoreStorage;
use crate::swarm::SwarmConfig;

const LEN: usize = 100_000;

/// A node on a store with room for two blobs and a half.
struct Small {
    node: Node,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Small {
    async fn start(tracker: &Arc<Tracker>, config: NodeConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig {
            capacity_bytes: Some(LEN as u64 * 5 / 2),
            durable: false,
            ..StoreConfig::under(dir.path())
        });
        let store = store.unwrap();
        let storage = Arc::new(StoreStorage::new(store.clone()));
        let node = Node::builder(storage, Arc::clone(tracker) as _).config(config);
        Self { node: node.start().await.unwrap(), store, _dir: dir }
    }

    async fn pull(&self, meta: &MetaInfo) -> kraken_core::Result<Download> {
        let mut download = self.node.download(&namespace(), &meta.digest()).await?;
        soon(download.finished()).await?;
        Ok(download)
    }

    async fn push(&self, meta: &MetaInfo, bytes: &[u8]) {
        let (store, meta, bytes) = (self.store.clone(), meta.clone(), bytes.to_vec());
        let digest = meta.digest();
        let push = tokio::task::spawn_blocking(move || {
            let upload = store.create_upload(Algorithm::Sha256).unwrap();
            upload.append(&bytes).unwrap();
            upload.commit(&digest, &[]).unwrap();
            store.put_metainfo(&meta).unwrap();
            meta
        });
        self.node.seed(&push.await.unwrap()).await.unwrap();
    }

    fn blob(&self, meta: &MetaInfo) -> Option<Arc<Blob>> {
        self.store.blob(&meta.digest()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_pulls_more_than_its_store_holds_lets_go_of_what_it_seeds() {
    let tracker = Arc::new(Tracker::default());
    let agent = Small::start(&tracker, loopback()).await;
    let mut last = None;
    for seed in 0..6 {
        let (bytes, meta) = blob(LEN, seed);
        let origin = Host::origin(&tracker, &meta, &bytes).await;
        drop(agent.pull(&meta).await.unwrap());
        let mut read = vec![0; LEN];
        agent.blob(&meta).unwrap().read_at(0, &mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(agent.node.stats().await.unwrap().torrents.len(), 2.min(seed as usize + 1));
        last = Some(origin);
    }
    drop(last);
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_has_a_download_of_stays() {
    let tracker = Arc::new(Tracker::default());
    let agent = Small::start(&tracker, loopback()).await;
    let mut held = Vec::new();
    for seed in 0..2 {
        let (bytes, meta) = blob(LEN, seed);
        let origin = Host::origin(&tracker, &meta, &bytes).await;
        held.push((agent.pull(&meta).await.unwrap(), meta, origin));
    }
    let (bytes, meta) = blob(LEN, 9);
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    assert_eq!(agent.pull(&meta).await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(held.iter().all(|(_, meta, _)| agent.blob(meta).is_some()));
    let (download, gone, _origin) = held.swap_remove(0);
    drop(download);
    drop(agent.pull(&meta).await.unwrap());
    assert!(agent.blob(&gone).is_none() && agent.blob(&held[0].1).is_some());
    agent.node.close().await;
    origin.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_takes_more_than_its_store_holds_as_long_as_it_may_evict() {
    let tracker = Arc::new(Tracker::default());
    let config = NodeConfig { origin: true, swarm: SwarmConfig::origin(), ..loopback() };
    let origin = Small::start(&tracker, config).await;
    for seed in 0..6 {
        let (bytes, meta) = blob(LEN, seed);
        origin.push(&meta, &bytes).await;
        tracker.add(&meta, origin.node.peer_info().clone());
        let agent = Host::agent(&tracker).await;
        agent.pull(&meta, &bytes).await;
        agent.node.close().await;
    }
    assert_eq!(origin.store.list().len(), 2);
    origin.node.close().await;
}
