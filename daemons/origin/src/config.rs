//! How an origin is set up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kraken_backends::{Layout, LocalDisk, Route, Router};
use kraken_core::Result;
use kraken_core::piece::PieceLengths;
use kraken_p2p::node::{NodeConfig, PeerIdFactory};
use kraken_p2p::swarm::SwarmConfig;
use serde::Deserialize;

/// Everything an origin is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct OriginConfig {
    /// Where the HTTP endpoints are.
    pub listen: SocketAddr,
    /// Where peers connect to.
    pub peer_listen: SocketAddr,
    /// The IP address or host name peers reach this origin by; by default the one listened on.
    pub peer_ip: Option<String>,
    /// How the cluster names this origin, as `host:port`; by default the address listened on.
    pub name: Option<String>,
    /// Every origin of the ring, as `host:port`, this one among them; empty for a lone origin.
    pub cluster: Vec<String>,
    /// How many origins own a blob.
    pub max_replica: usize,
    /// Uploads and blobs.
    pub data_dir: PathBuf,
    /// Most bytes kept on disk; blobs that are written back and were not used for longest make
    /// room.
    pub capacity_bytes: Option<u64>,
    /// Piece length in bytes by blob size, from that size on.
    pub piece_lengths: BTreeMap<u64, u64>,
    /// Where blobs are kept for good, by namespace; the first that matches.
    pub backends: Vec<BackendConfig>,
    /// The first pause before a failed write-back is tried again, in milliseconds; it doubles up
    /// to [`Self::write_back_retry_max_ms`].
    pub write_back_retry_ms: u64,
    /// The longest pause between tries of a write-back, in milliseconds: how late a blob may be
    /// written back after an outage of the backend.
    pub write_back_retry_max_ms: u64,
    /// Whether pieces are sent to peers.
    pub seed: bool,
    /// Most bytes of pieces sent a second; 0 is no limit.
    pub egress_bytes_per_sec: u64,
    /// The policies of the swarm.
    #[serde(skip)]
    pub swarm: Option<SwarmConfig>,
}

/// One place where blobs are kept for good.
#[derive(Debug, Clone, Deserialize)]
pub struct BackendConfig {
    /// A regular expression over the namespace, unanchored.
    pub namespace: String,
    /// The directory of a backend on the local disk, in docker/distribution's layout.
    pub local: PathBuf,
}

impl OriginConfig {
    /// A lone origin with its data and its backend under `data_dir`.
    pub fn local(listen: SocketAddr, peer_listen: SocketAddr, data_dir: &Path) -> Self {
        let backend = BackendConfig { namespace: ".*".into(), local: data_dir.join("backend") };
        Self {
            listen,
            peer_listen,
            data_dir: data_dir.to_owned(),
            backends: vec![backend],
            ..Self::default()
        }
    }

    pub(crate) fn node(&self) -> NodeConfig {
        let swarm = self.swarm.clone().unwrap_or_else(SwarmConfig::origin);
        NodeConfig {
            listen: self.peer_listen,
            announce_ip: self.peer_ip.clone(),
            peer_id: PeerIdFactory::AddrHash,
            origin: true,
            egress_bytes_per_sec: self.egress_bytes_per_sec,
            swarm: SwarmConfig { seed: self.seed, ..swarm },
            ..NodeConfig::default()
        }
    }

    pub(crate) fn piece_lengths(&self) -> Result<PieceLengths> {
        if self.piece_lengths.is_empty() {
            return Ok(PieceLengths::default());
        }
        PieceLengths::new(self.piece_lengths.iter().map(|(&from, &len)| (from, len)).collect())
    }

    pub(crate) async fn router(&self) -> Result<Router> {
        let mut routes = Vec::new();
        for backend in &self.backends {
            let local = LocalDisk::open(&backend.local, Layout::ShardedDockerBlob).await?;
            routes.push(Route::new(&backend.namespace, Arc::new(local))?);
        }
        Ok(Router::new(routes))
    }

    pub(crate) fn retry_pauses(&self) -> (Duration, Duration) {
        let first = Duration::from_millis(self.write_back_retry_ms.max(1));
        (first, Duration::from_millis(self.write_back_retry_max_ms).max(first))
    }
}

impl Default for OriginConfig {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: any,
            peer_listen: any,
            peer_ip: None,
            name: None,
            cluster: Vec::new(),
            max_replica: 3,
            data_dir: PathBuf::from("/var/cache/kraken/kraken-origin"),
            capacity_bytes: None,
            piece_lengths: BTreeMap::new(),
            backends: Vec::new(),
            write_back_retry_ms: 250,
            write_back_retry_max_ms: 2000,
            seed: true,
            egress_bytes_per_sec: 0,
            swarm: None,
        }
    }
}
