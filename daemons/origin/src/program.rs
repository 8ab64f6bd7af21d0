//! The origin as a program: uber/kraken's flags and YAML.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use kraken_backends::Layout;
use kraken_common::backends::{self, WriteBackConfig};
use kraken_common::program::{Common, Program};
use kraken_common::upstream::{RoleName, Section, Settings};
use kraken_common::{HealthConfig, castore, cleanup, net, scheduler};
use kraken_core::Result;
use kraken_core::piece::PieceLengths;
use kraken_core::store::StoreConfig;
use kraken_p2p::node::NodeConfig;

use crate::config::{OriginConfig, RingConfig};
use crate::origin::Origin;

/// The origin's flags, uber/kraken's.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The IP address or host name that peers reach this origin by; by default that of --bind if
    /// it is a real one, else the IPv4 address of eth0, ib0, eth1 or eth2, else the only one
    #[arg(long, value_name = "IP", default_value = "")]
    pub peer_ip: String,
    /// The port that peers connect to
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub peer_port: u16,
    /// What this origin is called in the list of all origins; by default the name of the host
    #[arg(long, value_name = "NAME", default_value = "")]
    pub blobserver_hostname: String,
    /// The port of the HTTP endpoints
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub blobserver_port: u16,
    /// The zone of the data center, as peers are told
    #[arg(long, value_name = "NAME", default_value = "")]
    pub zone: String,
    /// Pass blobs on only once they are all here, not while they come from the backend
    #[arg(long)]
    pub no_stream: bool,
}

impl Program for Origin {
    type Flags = Flags;

    const ROLE: RoleName = RoleName::Origin;

    const ABOUT: &'static str = "Kraken's origin: keeps blobs, seeds them, writes them back";

    fn configure(common: &Common, flags: &Flags, settings: &Settings) -> Result<OriginConfig> {
        let root = settings.root();
        let peer_ip = net::peer_ip(&flags.peer_ip, common.bind)?;
        let config = OriginConfig::default();
        let mut node = NodeConfig {
            listen: common.listen("--peer-port", flags.peer_port)?,
            announce_ip: Some(peer_ip.clone()),
            ..config.node
        };
        scheduler::configure(&root, &mut node)?;
        Ok(OriginConfig {
            listen: common.listen("--blobserver-port", flags.blobserver_port)?,
            node,
            zone: flags.zone.clone(),
            cluster_name: common.cluster.clone(),
            ring: RingConfig { names: names(common, flags, &peer_ip), ..ring(&root)? },
            store: store(&root.section("castore"))?,
            upload_cleanup: cleanup::configured(&root.section("castore.upload_cleanup"))?,
            cache_cleanup: cleanup::configured(&root.section("castore.cache_cleanup"))?,
            piece_lengths: piece_lengths(&root)?,
            backends: backends::configured(&root, Layout::ShardedDockerBlob)?,
            write_back: WriteBackConfig::configured(&root.section("writeback"))?,
            write_back_stagger: root.value("blobserver.duplicate_write_back_stagger")?,
            fetch_bytes_max: Some(root.value("blobrefresh.size_limit")?).filter(|max| *max > 0),
            stream: !flags.no_stream,
        })
    }
}

/// How the list of all origins may call this one: by its host, else by an address.
fn names(common: &Common, flags: &Flags, peer_ip: &str) -> Vec<String> {
    let host = match flags.blobserver_hostname.as_str() {
        "" => net::host_name(),
        name => name.to_owned(),
    };
    let own = net::peer_ip("", common.bind).ok();
    let mut names = Vec::new();
    for host in [Some(host), own, Some(peer_ip.to_owned())].into_iter().flatten() {
        let name = match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, flags.blobserver_port).to_string(),
            Err(_) => format!("{host}:{}", flags.blobserver_port),
        };
        if !host.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn ring(root: &Section<'_>) -> Result<RingConfig> {
    let ring = root.section("hashring");
    Ok(RingConfig {
        names: Vec::new(),
        origins: root.hosts("cluster")?,
        replicas_max: ring.value("max_replica")?,
        refresh_interval: ring.value("refresh_interval")?,
        health: HealthConfig::configured(&root.section("healthcheck"))?,
        wait_max: ring.value::<Duration>("membership_wait_timeout")?,
        wait_interval: ring.value("membership_wait_interval")?,
    })
}

/// Uploads and blobs; those that arrive are beside the uploads.
fn store(castore: &Section<'_>) -> Result<StoreConfig> {
    let store = castore::configured(castore)?;
    let beside = store.upload_dir.parent().unwrap_or_else(|| Path::new("/")).join("arriving");
    Ok(StoreConfig { download_dir: Some(beside), ..store })
}

fn piece_lengths(root: &Section<'_>) -> Result<PieceLengths> {
    const KEY: &str = "metainfogen.piece_lengths";
    match root.optional::<BTreeMap<u64, u64>>(KEY)? {
        Some(table) if !table.is_empty() => PieceLengths::new(table.into_iter().collect())
            .map_err(|error| root.error(KEY, &error.to_string())),
        _ => Ok(PieceLengths::default()),
    }
}

#[cfg(test)]
mod tests;
