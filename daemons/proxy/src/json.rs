//! The configuration as one JSON object, for tests that start proxies as `kraken proxy`.

use std::net::SocketAddr;
use std::path::PathBuf;

use kraken_common::WatchedHosts;
use serde::{Deserialize, Deserializer};

use crate::config::{ProxyConfig, store_under};

#[derive(Deserialize)]
struct Json {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    #[serde(default)]
    origins: WatchedHosts,
    #[serde(default)]
    build_indexes: WatchedHosts,
}

impl<'de> Deserialize<'de> for ProxyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let mut config = Self::default();
        config.listen = json.listen.map_or(config.listen, |listen| vec![listen]);
        if let Some(data_dir) = json.data_dir {
            config.store = store_under(&data_dir);
        }
        Ok(Self { origins: json.origins, build_indexes: json.build_indexes, ..config })
    }
}
