//! How an agent is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use kraken_p2p::node::{NodeConfig, PeerIdFactory};
use kraken_p2p::swarm::SwarmConfig;
use serde::Deserialize;

/// Everything an agent is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct AgentConfig {
    /// Where docker and containerd pull from.
    pub registry_listen: SocketAddr,
    /// Where peers connect to.
    pub peer_listen: SocketAddr,
    /// Where the HTTP endpoints are.
    pub server_listen: SocketAddr,
    /// The IP address or host name peers reach this agent by; by default the one listened on.
    pub peer_ip: Option<String>,
    /// Blobs, complete and arriving.
    pub data_dir: PathBuf,
    /// Most bytes kept on disk; complete blobs that were not used for longest make room.
    pub capacity_bytes: Option<u64>,
    /// The trackers, as `host:port`.
    pub trackers: Vec<String>,
    /// The build-indexes, as `host:port`.
    pub build_indexes: Vec<String>,
    /// Most bytes of pieces sent a second; 0 is no limit.
    pub egress_bytes_per_sec: u64,
    /// Most bytes of pieces received a second; 0 is no limit.
    pub ingress_bytes_per_sec: u64,
    /// Whether others may have pieces from here.
    pub seed: bool,
    /// The policies of the swarm.
    #[serde(skip)]
    pub swarm: SwarmConfig,
}

impl AgentConfig {
    /// An agent with its data under `data_dir`; `listen` is registry, peer port and server.
    pub fn local(
        listen: [SocketAddr; 3],
        data_dir: &Path,
        trackers: Vec<String>,
        build_indexes: Vec<String>,
    ) -> Self {
        let [registry_listen, peer_listen, server_listen] = listen;
        Self {
            registry_listen,
            peer_listen,
            server_listen,
            data_dir: data_dir.to_owned(),
            trackers,
            build_indexes,
            ..Self::default()
        }
    }

    pub(crate) fn node(&self) -> NodeConfig {
        NodeConfig {
            listen: self.peer_listen,
            announce_ip: self.peer_ip.clone(),
            peer_id: PeerIdFactory::AddrHash,
            egress_bytes_per_sec: self.egress_bytes_per_sec,
            ingress_bytes_per_sec: self.ingress_bytes_per_sec,
            swarm: SwarmConfig { seed: self.seed, ..self.swarm.clone() },
            ..NodeConfig::default()
        }
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            registry_listen: any,
            peer_listen: any,
            server_listen: any,
            peer_ip: None,
            data_dir: PathBuf::from("/var/cache/kraken/kraken-agent"),
            capacity_bytes: None,
            trackers: Vec::new(),
            build_indexes: Vec::new(),
            egress_bytes_per_sec: 0,
            ingress_bytes_per_sec: 0,
            seed: true,
            swarm: SwarmConfig::default(),
        }
    }
}
