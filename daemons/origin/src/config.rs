//! How an origin is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use kraken_common::backends::{BackendConfig, WriteBackConfig};
use kraken_common::{HealthConfig, Hosts};
use kraken_core::piece::PieceLengths;
use kraken_core::ring::REPLICAS_MAX_DEFAULT;
use kraken_core::store::{CleanupConfig, StoreConfig};
use kraken_p2p::node::{NodeConfig, PeerIdFactory};
use kraken_p2p::swarm::SwarmConfig;

/// Everything an origin is told.
#[derive(Debug, Clone)]
pub struct OriginConfig {
    /// Where the HTTP endpoints are.
    pub listen: SocketAddr,
    /// The part in the swarm: where peers connect to, limits of bandwidth, policies.
    pub node: NodeConfig,
    /// The zone of the data center, as peers are told.
    pub zone: String,
    /// The name of the cluster, as peers are told.
    pub cluster_name: String,
    /// The ring of origins that this one belongs to.
    pub ring: RingConfig,
    /// Uploads and blobs.
    pub store: StoreConfig,
    /// When uploads that were given up are removed.
    pub upload_cleanup: CleanupConfig,
    /// When blobs that nobody uses are removed; those not written back never are.
    pub cache_cleanup: CleanupConfig,
    /// How blobs are cut into pieces.
    pub piece_lengths: PieceLengths,
    /// Where blobs are kept for good, by namespace; the first that matches.
    pub backends: Vec<BackendConfig>,
    /// How pushed blobs get there.
    pub write_back: WriteBackConfig,
    /// How much later each further owner of a blob writes it back too, should the first fail.
    pub write_back_stagger: Duration,
    /// Larger blobs are not fetched from a backend; `None` for no limit.
    pub fetch_bytes_max: Option<u64>,
    /// Whether blobs are passed on while they come from the backend, to peers that can do without
    /// sums; else once they are all here.
    pub stream: bool,
}

/// The ring of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingConfig {
    /// How it may call this origin, each as `host:port`, the first that is in it; without any, the
    /// address listened on.
    pub names: Vec<String>,
    /// Every origin of it, this one among them; none for a lone origin.
    pub origins: Hosts,
    /// How many origins own a blob.
    pub replicas_max: usize,
    /// How often the origins are looked up, and asked how they are.
    pub refresh_interval: Duration,
    /// When another origin counts as ill.
    pub health: HealthConfig,
    /// How long a start waits until a name that resolves to the origins resolves to this one.
    pub wait_max: Duration,
    /// The time between two looks while it waits.
    pub wait_interval: Duration,
}

impl OriginConfig {
    /// A lone origin with its data and its backend under `data_dir`.
    pub fn local(listen: SocketAddr, peer_listen: SocketAddr, data_dir: &Path) -> Self {
        let config = Self::default();
        Self {
            listen,
            node: NodeConfig { listen: peer_listen, ..config.node },
            store: store_under(data_dir),
            backends: vec![BackendConfig::local(data_dir.join("backend"))],
            ..config
        }
    }
}

pub(crate) fn store_under(data_dir: &Path) -> StoreConfig {
    StoreConfig { download_dir: Some(data_dir.join("arriving")), ..StoreConfig::under(data_dir) }
}

impl Default for OriginConfig {
    /// A lone origin without backends on free ports of the loopback.
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let node = NodeConfig {
            listen: any,
            peer_id: PeerIdFactory::AddrHash,
            origin: true,
            // It announces and dials for blobs alone that it gets from another owner.
            swarm: SwarmConfig { announce: true, dial: true, ..SwarmConfig::origin() },
            ..NodeConfig::default()
        };
        Self {
            listen: any,
            node,
            zone: String::new(),
            cluster_name: String::new(),
            ring: RingConfig::default(),
            store: store_under(Path::new("/var/cache/kraken/kraken-origin")),
            upload_cleanup: CleanupConfig::default(),
            cache_cleanup: CleanupConfig::default(),
            piece_lengths: PieceLengths::default(),
            backends: Vec::new(),
            write_back: WriteBackConfig::default(),
            write_back_stagger: Duration::from_secs(30 * 60),
            fetch_bytes_max: None,
            stream: true,
        }
    }
}

impl Default for RingConfig {
    /// A lone origin; the times are uber/kraken's.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            origins: Hosts::default(),
            replicas_max: REPLICAS_MAX_DEFAULT,
            refresh_interval: Duration::from_secs(10),
            health: HealthConfig::default(),
            wait_max: Duration::from_secs(60),
            wait_interval: Duration::from_millis(500),
        }
    }
}
