//! How a node is set up.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kraken_core::PeerId;

use crate::swarm::SwarmConfig;

/// Everything about a node that has a default. The storage and the tracker client have none: they
/// are arguments of [`super::Node::builder`].
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where to accept peer connections; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The IP address or host name that others reach this node by. `None`: the address listened
    /// on, or the one of the route to the world when it listens on all.
    pub announce_ip: Option<String>,
    /// How this node chooses its peer id.
    pub peer_id: PeerIdFactory,
    /// Whether this node is an origin. Origins are announced by their trackers, not by themselves.
    pub origin: bool,
    /// The zone this node is in, for a tracker to whom zones make a difference; empty: it does not
    /// say.
    pub zone: String,
    /// The policies of the swarm.
    pub swarm: SwarmConfig,
    /// Most bytes of pieces sent per second, all connections together; zero is no limit.
    pub egress_bytes_per_sec: u64,
    /// Most bytes of pieces received per second, all connections together; zero is no limit.
    pub ingress_bytes_per_sec: u64,
    /// Most bytes of receive buffers, in steps of 1 MiB, at least two.
    pub buffers_bytes_max: usize,
    /// The longest time for each half of a handshake.
    pub handshake_timeout: Duration,
    /// Whether downloads begin while their blob still arrives at its origin; else they wait until
    /// its sums are known. It takes storage that can ([`TorrentStorage::takes_provisional`]).
    ///
    /// [`TorrentStorage::takes_provisional`]: crate::storage::TorrentStorage::takes_provisional
    pub stream: bool,
    /// TCP congestion control of the peer connections, by the kernel's name for it; `None` leaves
    /// the system's default.
    pub congestion: Option<String>,
}

/// How a node chooses its peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerIdFactory {
    /// A new one at each start.
    Random,
    /// From the announced address and port (uber/kraken's `addr_hash`): the same after a restart.
    AddrHash,
    /// This one.
    Fixed(PeerId),
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            announce_ip: None,
            peer_id: PeerIdFactory::Random,
            origin: false,
            zone: String::new(),
            swarm: SwarmConfig::default(),
            egress_bytes_per_sec: 0,
            ingress_bytes_per_sec: 0,
            buffers_bytes_max: 32 << 20,
            handshake_timeout: Duration::from_secs(5),
            stream: true,
            congestion: None,
        }
    }
}

impl PeerIdFactory {
    pub(super) fn make(self, ip: &str, port: u16) -> PeerId {
        match self {
            Self::Random => {
                let mut id = [0; 20];
                for chunk in id.chunks_mut(8) {
                    let random = random_u64().to_ne_bytes();
                    chunk.copy_from_slice(&random[..chunk.len()]);
                }
                PeerId::new(id)
            }
            Self::AddrHash => PeerId::from_addr(ip, port),
            Self::Fixed(id) => id,
        }
    }
}

/// A number nobody can guess: the keys of each new `RandomState` derive from the system's
/// randomness.
pub(super) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}
