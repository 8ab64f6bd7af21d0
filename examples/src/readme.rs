//! The README's example.

use std::sync::Arc;

use kraken_core::store::{Store, StoreConfig};
use kraken_core::{Digest, Namespace, Result};
use kraken_p2p::node::{Node, NodeConfig};
use kraken_p2p::storage::StoreStorage;
use kraken_p2p::tracker::HttpTrackerClient;

/// Joins the swarm, fetches one blob, and goes on seeding it until the node is closed.
pub async fn fetch(tracker: String, namespace: &Namespace, digest: &Digest) -> Result<Node> {
    let store = Store::open(StoreConfig::under("/var/lib/my-registry"))?;
    let storage = Arc::new(StoreStorage::new(store));
    let tracker = Arc::new(HttpTrackerClient::new(vec![tracker])?);
    let config = NodeConfig { listen: ([0, 0, 0, 0], 16001).into(), ..NodeConfig::default() };
    let node = Node::builder(storage, tracker).config(config).start().await?;
    let mut download = node.download(namespace, digest).await?;
    download.finished().await?;
    println!("{digest}: {:?}", download.progress());
    Ok(node)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_this_code() {
        let readme = include_str!("../../README.md");
        let block = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
        let code = include_str!("readme.rs");
        let code = code.split_once("\n\n").map(|(_, code)| code);
        let code = code.and_then(|code| code.split("\n#[cfg(test)]").next());
        assert_eq!(block, code, "README.md and examples/src/readme.rs differ");
    }
}
