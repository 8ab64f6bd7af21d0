//! What requests and background tasks share.

use std::sync::Arc;
use std::time::Duration;

use kraken_backends::{ObjectName, OriginCluster, Router};
use kraken_common::backends::Bandwidths;
use kraken_core::http::Client;
use kraken_core::piece::PieceLengths;
use kraken_core::store::Store;
use kraken_core::{Digest, PeerContext, Result, SigningKey};
use kraken_p2p::node::Node;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fetches::Fetches;
use crate::followed::Followed;
use crate::membership::Membership;
use crate::queue::WriteBackQueue;

/// An origin's parts.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) membership: Membership,
    /// The zone of the data center and the name of the cluster.
    pub(crate) place: (String, String),
    pub(crate) node: Node,
    pub(crate) store: Store,
    pub(crate) router: Arc<Router>,
    pub(crate) bandwidths: Bandwidths,
    pub(crate) cluster: OriginCluster,
    pub(crate) client: Client,
    pub(crate) piece_lengths: PieceLengths,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) followed: Arc<Followed>,
    /// By which it vouches for pieces of blobs that have no sums yet.
    pub(crate) key: Arc<SigningKey>,
    /// Whether blobs are passed on while they come.
    pub(crate) streams: bool,
    pub(crate) write_back: Arc<WriteBackQueue>,
    pub(crate) write_back_stagger: Duration,
    pub(crate) fetch_bytes_max: Option<u64>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Parts {
    /// What the tracker hands out of this origin.
    pub(crate) fn peer_context(&self) -> PeerContext {
        let peer = self.node.peer_info().clone();
        PeerContext {
            ip: peer.ip,
            port: peer.port,
            peer_id: peer.peer_id,
            zone: self.place.0.clone(),
            cluster: self.place.1.clone(),
            origin: true,
        }
    }

    /// Whether the backends that must be ready are.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.router.ready(&ObjectName::from(&Digest::sha256(b"readiness"))).await
    }
}
