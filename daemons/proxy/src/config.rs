//! How a proxy is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

/// Everything a proxy is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ProxyConfig {
    /// Where clients push to and pull from.
    pub listen: SocketAddr,
    /// Uploads in progress; wiped at each start.
    pub data_dir: PathBuf,
    /// The origins, as `host:port`.
    pub origins: Vec<String>,
    /// The build-indexes, as `host:port`.
    pub build_indexes: Vec<String>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: PathBuf::from("/var/cache/kraken/kraken-proxy"),
            origins: Vec::new(),
            build_indexes: Vec::new(),
        }
    }
}
