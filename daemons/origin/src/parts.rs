//! What requests and background tasks share.

use std::sync::Arc;

use kraken_backends::{ObjectName, OriginCluster, Router};
use kraken_core::piece::PieceLengths;
use kraken_core::ring::Ring;
use kraken_core::store::Store;
use kraken_core::{Digest, PeerContext, Result};
use kraken_p2p::node::Node;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fetches::Fetches;
use crate::queue::WriteBackQueue;

/// An origin's parts.
#[derive(Debug)]
pub(crate) struct Parts {
    /// How the cluster names this origin.
    pub(crate) name: String,
    pub(crate) node: Node,
    pub(crate) store: Store,
    pub(crate) router: Arc<Router>,
    pub(crate) ring: Ring,
    pub(crate) cluster: OriginCluster,
    pub(crate) piece_lengths: PieceLengths,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) write_back: Arc<WriteBackQueue>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Parts {
    /// The owners of a blob, best first.
    pub(crate) fn owners(&self, digest: &Digest) -> Vec<String> {
        // No active health checks yet: every member counts as healthy.
        self.ring.locations(digest, |_| true).into_iter().map(str::to_owned).collect()
    }

    /// What the tracker hands out of this origin.
    pub(crate) fn peer_context(&self) -> PeerContext {
        let peer = self.node.peer_info().clone();
        PeerContext {
            ip: peer.ip,
            port: peer.port,
            peer_id: peer.peer_id,
            zone: String::new(),
            cluster: String::new(),
            origin: true,
        }
    }

    /// Whether the backends that must be ready are.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.router.ready(&ObjectName::from(&Digest::sha256(b"readiness"))).await
    }
}
