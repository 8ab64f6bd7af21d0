//! The configuration as one JSON object, for tests that start origins as `kraken origin`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use kraken_common::Hosts;
use kraken_common::backends::BackendConfig;
use kraken_core::piece::PieceLengths;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::config::{OriginConfig, store_under};

#[derive(Deserialize)]
struct Json {
    listen: Option<SocketAddr>,
    peer_listen: Option<SocketAddr>,
    peer_ip: Option<String>,
    name: Option<String>,
    #[serde(default)]
    cluster: Hosts,
    max_replica: Option<usize>,
    data_dir: Option<PathBuf>,
    capacity_bytes: Option<u64>,
    #[serde(default)]
    piece_lengths: BTreeMap<u64, u64>,
    #[serde(default)]
    backends: Vec<Backend>,
    #[serde(default)]
    egress_bytes_per_sec: u64,
    seed: Option<bool>,
}

#[derive(Deserialize)]
struct Backend {
    namespace: String,
    local: PathBuf,
}

impl<'de> Deserialize<'de> for OriginConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let mut config = Self::default();
        config.listen = json.listen.unwrap_or(config.listen);
        config.node.listen = json.peer_listen.unwrap_or(config.node.listen);
        config.node.announce_ip = json.peer_ip;
        config.node.egress_bytes_per_sec = json.egress_bytes_per_sec;
        config.node.swarm.seed = json.seed.unwrap_or(config.node.swarm.seed);
        config.ring.names = json.name.into_iter().collect();
        config.ring.origins = json.cluster;
        config.ring.replicas_max = json.max_replica.unwrap_or(config.ring.replicas_max);
        if let Some(data_dir) = json.data_dir {
            config.store = store_under(&data_dir);
        }
        config.store.capacity_bytes = json.capacity_bytes;
        if !json.piece_lengths.is_empty() {
            let lengths = PieceLengths::new(json.piece_lengths.into_iter().collect());
            config.piece_lengths = lengths.map_err(D::Error::custom)?;
        }
        let backends = json.backends.into_iter().map(|Backend { namespace, local }| {
            BackendConfig { namespace, ..BackendConfig::local(local) }
        });
        config.backends = backends.collect();
        Ok(config)
    }
}
