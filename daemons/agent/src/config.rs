//! How an agent is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use kraken_common::{AllowedClients, Hosts};
use kraken_core::Result;
use kraken_core::health::PassiveConfig;
use kraken_core::store::{CleanupConfig, StoreConfig};
use kraken_p2p::node::{NodeConfig, PeerIdFactory};
use kraken_p2p::tracker::HttpTrackerConfig;

/// Everything an agent is told.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Where docker and containerd pull from.
    pub registry_listen: SocketAddr,
    /// Who may pull from there; others get 403.
    pub allowed_clients: AllowedClients,
    /// Where the HTTP endpoints are.
    pub server_listen: SocketAddr,
    /// The part in the swarm: where peers connect to, limits of bandwidth, policies.
    pub node: NodeConfig,
    /// Blobs, complete and arriving.
    pub store: StoreConfig,
    /// When downloads that stand still are removed.
    pub download_cleanup: CleanupConfig,
    /// When complete blobs that nobody uses are removed.
    pub cache_cleanup: CleanupConfig,
    /// The trackers.
    pub trackers: Hosts,
    /// Which trackers a blob belongs to, and how long they are waited for.
    pub tracker_client: HttpTrackerConfig,
    /// The build-indexes.
    pub build_indexes: Hosts,
    /// When a build-index counts as ill.
    pub build_index_health: PassiveConfig,
    /// Whether the download of a blob goes on when all that read it have left. Else it stands
    /// still, and what is missing is fetched when it is asked for again.
    pub finish_downloads: bool,
}

impl AgentConfig {
    /// An agent with its data under `data_dir`; `listen` is registry, peer port and server. The
    /// hosts are `host:port`.
    pub fn local(
        listen: [SocketAddr; 3],
        data_dir: &Path,
        trackers: Vec<String>,
        build_indexes: Vec<String>,
    ) -> Result<Self> {
        let [registry_listen, peer_listen, server_listen] = listen;
        let config = Self::default();
        Ok(Self {
            registry_listen,
            server_listen,
            node: NodeConfig { listen: peer_listen, ..config.node },
            store: store_under(data_dir),
            trackers: Hosts::fixed(trackers)?,
            build_indexes: Hosts::fixed(build_indexes)?,
            ..config
        })
    }

    /// The store in these two directories, which must be on one file system.
    pub fn store_in(download_dir: &Path, cache_dir: &Path) -> StoreConfig {
        StoreConfig {
            // An agent takes no uploads, but a store has a place for them, which it wipes: one that
            // nobody else can have files in.
            upload_dir: download_dir.join("upload"),
            download_dir: Some(download_dir.to_owned()),
            cache_dir: cache_dir.to_owned(),
            // What is lost to a power failure here is fetched again.
            durable: false,
            ..StoreConfig::default()
        }
    }
}

pub(crate) fn store_under(data_dir: &Path) -> StoreConfig {
    AgentConfig::store_in(&data_dir.join("download"), &data_dir.join("cache"))
}

impl Default for AgentConfig {
    /// An agent on free ports of the loopback, without hosts to ask, open to everybody who gets
    /// there.
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let node =
            NodeConfig { listen: any, peer_id: PeerIdFactory::AddrHash, ..NodeConfig::default() };
        Self {
            registry_listen: any,
            allowed_clients: AllowedClients::all(),
            server_listen: any,
            node,
            store: store_under(Path::new("/var/cache/kraken/kraken-agent")),
            download_cleanup: CleanupConfig::default(),
            cache_cleanup: CleanupConfig::default(),
            trackers: Hosts::default(),
            tracker_client: HttpTrackerConfig::default(),
            build_indexes: Hosts::default(),
            build_index_health: PassiveConfig::default(),
            finish_downloads: false,
        }
    }
}
