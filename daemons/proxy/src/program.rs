//! The proxy as a program: uber/kraken's flags and YAML.

use kraken_common::program::{Common, Program};
use kraken_common::upstream::{RoleName, Settings};
use kraken_common::{WatchedHosts, castore, cleanup};
use kraken_core::{Error, Result};

use crate::config::{ProxyConfig, for_uploads};
use crate::proxy::Proxy;

/// The proxy's flags, uber/kraken's.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// A port that clients push to and pull from; may be given several times
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
}

impl Program for Proxy {
    type Flags = Flags;

    const ROLE: RoleName = RoleName::Proxy;

    const ABOUT: &'static str = "Kraken's proxy: the registry that takes pushes";

    fn configure(common: &Common, flags: &Flags, settings: &Settings) -> Result<ProxyConfig> {
        let root = settings.root();
        if flags.port.is_empty() {
            return Err(Error::invalid("--port is missing: name one port or more"));
        }
        let listen = flags.port.iter().map(|port| common.listen("--port", *port));
        Ok(ProxyConfig {
            listen: listen.collect::<Result<_>>()?,
            store: for_uploads(castore::configured(&root.section("castore"))?),
            upload_cleanup: cleanup::configured(&root.section("castore.upload_cleanup"))?,
            cache_cleanup: cleanup::configured(&root.section("castore.cache_cleanup"))?,
            origins: WatchedHosts::configured(&root.section("origin"))?,
            build_indexes: WatchedHosts::configured(&root.section("build_index"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use kraken_common::HostSource;
    use kraken_core::store::CleanupConfig;

    use super::*;

    const LEAST: &str = "
castore:
  upload_dir: /u
  cache_dir: /c
  capacity_bytes: 1GB
  upload_cleanup: {disabled: true}
  cache_cleanup: {ttl: 24h}
origin: {hosts: {static: ['o:1']}, healthcheck: {monitor: {interval: 7s}}}
build_index: {hosts: {dns: 'b:1'}, healthcheck: {disabled: true}}
";

    fn configure(port: &[u16], text: &str) -> Result<ProxyConfig> {
        let common = Common {
            config: PathBuf::new(),
            secrets: None,
            bind: "::1".parse().unwrap(),
            cluster: String::new(),
            mutex_profile_fraction: 0,
            strict: false,
            log: None,
        };
        let settings = Settings::parse(RoleName::Proxy, "p.yaml", text).unwrap();
        Proxy::configure(&common, &Flags { port: port.to_vec() }, &settings)
    }

    #[test]
    fn every_key_counts() {
        let config = configure(&[5000, 5001], LEAST).unwrap();
        let listen: Vec<String> = config.listen.iter().map(SocketAddr::to_string).collect();
        assert_eq!(listen, ["[::1]:5000", "[::1]:5001"]);
        assert_eq!(config.store.upload_dir, Path::new("/u"));
        assert_eq!(config.store.cache_dir, Path::new("/c"));
        assert_eq!((config.store.capacity_bytes, config.store.durable), (Some(1 << 30), false));
        assert!(matches!(&config.origins.hosts.source, HostSource::Static(_)));
        assert_eq!(config.origins.checks.unwrap().interval, Duration::from_secs(7));
        assert_eq!(config.build_indexes.hosts.source, HostSource::Dns("b:1".into()));
        assert_eq!(config.build_indexes.checks, None);
        let default = CleanupConfig::default();
        assert_eq!(config.upload_cleanup, CleanupConfig { disabled: true, ..default });
        let day = Some(Duration::from_secs(24 * 3600));
        assert_eq!(config.cache_cleanup, CleanupConfig { ttl: day, ..default });
    }

    #[test]
    fn what_is_missing_is_named() {
        let castore = "castore: {upload_dir: u, cache_dir: c}";
        let origin = format!("{castore}\norigin: {{hosts: {{static: ['o:1']}}}}");
        for (port, text, expected) in [
            (&[][..], LEAST, "--port is missing"),
            (&[5000, 0], LEAST, "--port is 0"),
            (&[1], "", "castore.upload_dir is not set"),
            (&[1], castore, "origin.hosts: neither dns nor static is given"),
            (&[1], &origin, "build_index.hosts: neither dns nor static is given"),
        ] {
            let error = configure(port, text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
