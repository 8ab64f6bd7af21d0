//! The configuration as one JSON object, for tests that start agents as `kraken agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use kraken_common::Hosts;
use serde::{Deserialize, Deserializer};

use crate::config::{AgentConfig, store_under};

#[derive(Deserialize)]
struct Json {
    registry_listen: Option<SocketAddr>,
    peer_listen: Option<SocketAddr>,
    server_listen: Option<SocketAddr>,
    peer_ip: Option<String>,
    data_dir: Option<PathBuf>,
    capacity_bytes: Option<u64>,
    #[serde(default)]
    trackers: Hosts,
    #[serde(default)]
    build_indexes: Hosts,
    #[serde(default)]
    egress_bytes_per_sec: u64,
    #[serde(default)]
    ingress_bytes_per_sec: u64,
    seed: Option<bool>,
}

impl<'de> Deserialize<'de> for AgentConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let mut config = Self::default();
        config.registry_listen = json.registry_listen.unwrap_or(config.registry_listen);
        config.server_listen = json.server_listen.unwrap_or(config.server_listen);
        config.node.listen = json.peer_listen.unwrap_or(config.node.listen);
        config.node.announce_ip = json.peer_ip;
        config.node.egress_bytes_per_sec = json.egress_bytes_per_sec;
        config.node.ingress_bytes_per_sec = json.ingress_bytes_per_sec;
        config.node.swarm.seed = json.seed.unwrap_or(config.node.swarm.seed);
        if let Some(data_dir) = json.data_dir {
            config.store = store_under(&data_dir);
        }
        config.store.capacity_bytes = json.capacity_bytes;
        config.trackers = json.trackers;
        config.build_indexes = json.build_indexes;
        Ok(config)
    }
}
