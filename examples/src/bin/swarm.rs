//! One node seeds a file, two fetch it, the tracker is in the same process.
//!
//! `cargo run --release -p kraken-examples --bin swarm [FILE]`; without a file, 64 MiB are made up.

use std::path::Path;
use std::sync::Arc;

use kraken_core::store::{Sidecar, Store, StoreConfig};
use kraken_core::{Algorithm, Digest, MetaInfo, Result};
use kraken_examples::LocalTracker;
use kraken_p2p::node::{Node, NodeConfig, PeerIdFactory};
use kraken_p2p::storage::StoreStorage;
use tokio::try_join;

#[tokio::main]
async fn main() -> Result<()> {
    let bytes = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path).expect("the file can be read"),
        None => {
            (0u32..16 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
        }
    };
    let digest = Digest::sha256(&bytes);
    let metainfo = MetaInfo::of_bytes(digest, &bytes, 1 << 20)?;
    let tracker = LocalTracker::new();
    tracker.publish(metainfo.clone());

    let dir = tempfile::tempdir().expect("a temporary directory");
    let (seeder, store) = node(&dir.path().join("seeder"), &tracker).await?;
    let upload = store.create_upload(Algorithm::Sha256)?;
    upload.append(&bytes)?;
    upload.commit(&digest, &[Sidecar::torrent_meta(&metainfo)])?;
    seeder.seed(&metainfo).await?;

    let (first, _) = node(&dir.path().join("first"), &tracker).await?;
    let (second, _) = node(&dir.path().join("second"), &tracker).await?;
    let namespace = "example".parse()?;
    let (mut one, mut two) =
        try_join!(first.download(&namespace, &digest), second.download(&namespace, &digest))?;
    try_join!(one.finished(), two.finished())?;
    println!("{digest}, {} bytes, twice", bytes.len());
    for (name, node) in [("seeder", &seeder), ("first", &first), ("second", &second)] {
        println!("{name:>6}: sent {} bytes", node.stats().await?.sent);
        node.close().await;
    }
    Ok(())
}

async fn node(dir: &Path, tracker: &Arc<LocalTracker>) -> Result<(Node, Store)> {
    let store = Store::open(StoreConfig::under(dir))?;
    let config = NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        peer_id: PeerIdFactory::Random,
        ..NodeConfig::default()
    };
    let storage = Arc::new(StoreStorage::new(store.clone()));
    Ok((Node::builder(storage, tracker.clone()).config(config).start().await?, store))
}
