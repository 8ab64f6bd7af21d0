//! How a proxy is set up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use kraken_common::{Hosts, WatchedHosts};
use kraken_core::Result;
use kraken_core::store::{CleanupConfig, StoreConfig};

/// Everything a proxy is told.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    /// Where clients push to and pull from, at least one address.
    pub listen: Vec<SocketAddr>,
    /// Uploads in progress; wiped at each start.
    pub store: StoreConfig,
    /// When uploads that were given up are removed.
    pub upload_cleanup: CleanupConfig,
    /// When blobs that nobody uses are removed.
    pub cache_cleanup: CleanupConfig,
    /// The origins.
    pub origins: WatchedHosts,
    /// The build-indexes.
    pub build_indexes: WatchedHosts,
}

impl ProxyConfig {
    /// A proxy with its data under `data_dir`. The hosts are `host:port`.
    pub fn local(
        listen: SocketAddr,
        data_dir: &Path,
        origins: Vec<String>,
        build_indexes: Vec<String>,
    ) -> Result<Self> {
        Ok(Self {
            listen: vec![listen],
            store: store_under(data_dir),
            origins: Hosts::fixed(origins)?.into(),
            build_indexes: Hosts::fixed(build_indexes)?.into(),
            ..Self::default()
        })
    }
}

pub(crate) fn store_under(data_dir: &Path) -> StoreConfig {
    for_uploads(StoreConfig::under(data_dir))
}

/// `store` as a proxy needs it: uploads in progress need not survive a power failure.
pub(crate) fn for_uploads(store: StoreConfig) -> StoreConfig {
    StoreConfig { download_dir: None, durable: false, ..store }
}

impl Default for ProxyConfig {
    /// A proxy on a free port of the loopback, without hosts to ask.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            store: store_under(Path::new("/var/cache/kraken/kraken-proxy")),
            upload_cleanup: CleanupConfig::default(),
            cache_cleanup: CleanupConfig::default(),
            origins: WatchedHosts::default(),
            build_indexes: WatchedHosts::default(),
        }
    }
}
