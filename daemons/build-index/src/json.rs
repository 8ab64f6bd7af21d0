//! The configuration as one JSON object, for tests that start build-indexes as
//! `kraken build-index`.

use std::net::SocketAddr;
use std::path::PathBuf;

use kraken_common::{Hosts, WatchedHosts};
use serde::{Deserialize, Deserializer};

use crate::config::BuildIndexConfig;

#[derive(Deserialize)]
struct Json {
    listen: Option<SocketAddr>,
    data_dir: PathBuf,
    origins: Hosts,
    #[serde(default)]
    neighbors: WatchedHosts,
}

impl<'de> Deserialize<'de> for BuildIndexConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let config = Self::local(&json.data_dir, json.origins);
        let listen = json.listen.unwrap_or(config.listen);
        Ok(Self { listen, cluster: json.neighbors, ..config })
    }
}
