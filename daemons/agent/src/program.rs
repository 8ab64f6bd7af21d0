//! The agent as a program: uber/kraken's flags and YAML.

use std::path::PathBuf;
use std::time::Duration;

use kraken_common::program::{Common, Program};
use kraken_common::upstream::{RoleName, Section, Settings};
use kraken_common::{AllowedClients, Cidr, Hosts, cleanup, net, scheduler};
use kraken_core::Result;
use kraken_core::health::PassiveConfig;
use kraken_core::store::StoreConfig;
use kraken_p2p::node::NodeConfig;
use kraken_p2p::tracker::HttpTrackerConfig;

use crate::agent::Agent;
use crate::config::AgentConfig;

/// The agent's flags, uber/kraken's.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The IP address or host name that peers reach this agent by; by default that of --bind if it
    /// is a real one, else the IPv4 address of eth0, ib0, eth1 or eth2, else the only one
    #[arg(long, value_name = "IP", default_value = "")]
    pub peer_ip: String,
    /// The port that peers connect to
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub peer_port: u16,
    /// The port of the HTTP endpoints
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub agent_server_port: u16,
    /// The port that docker and containerd pull from
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub agent_registry_port: u16,
    /// The zone of the data center, as trackers are told
    #[arg(long, value_name = "NAME", default_value = "")]
    pub zone: String,
    /// Fetch blobs only once they are all at their origin, not while they come there
    #[arg(long)]
    pub no_stream: bool,
    /// Go on with a blob when all that read it have left; else what is missing is fetched when it
    /// is asked for again
    #[arg(long)]
    pub finish_downloads: bool,
}

impl Program for Agent {
    type Flags = Flags;

    const ROLE: RoleName = RoleName::Agent;

    const ABOUT: &'static str =
        "Kraken's agent: a pull-only registry on every host, fed by the swarm";

    fn configure(common: &Common, flags: &Flags, settings: &Settings) -> Result<AgentConfig> {
        let root = settings.root();
        let registry_listen = common.listen("--agent-registry-port", flags.agent_registry_port)?;
        let server_listen = common.listen("--agent-server-port", flags.agent_server_port)?;
        let config = AgentConfig::default();
        let mut node = NodeConfig {
            listen: common.listen("--peer-port", flags.peer_port)?,
            announce_ip: Some(net::peer_ip(&flags.peer_ip, common.bind)?),
            zone: flags.zone.clone(),
            stream: !flags.no_stream,
            ..config.node
        };
        scheduler::configure(&root, &mut node)?;
        let tracker = root.section("tracker");
        Ok(AgentConfig {
            registry_listen,
            allowed_clients: AllowedClients::only(root.value::<Vec<Cidr>>("allowed_cidrs")?),
            server_listen,
            node,
            store: store(&root.section("store"))?,
            download_cleanup: cleanup::configured(&root.section("store.download_cleanup"))?,
            cache_cleanup: cleanup::configured(&root.section("store.cache_cleanup"))?,
            trackers: trackers(&tracker)?,
            tracker_client: HttpTrackerConfig {
                replicas_max: tracker.value("hashring.max_replica")?,
                health: health(&tracker)?,
                ..config.tracker_client
            },
            build_indexes: root.hosts("build_index.hosts")?,
            build_index_health: health(&root.section("build_index"))?,
            finish_downloads: flags.finish_downloads,
        })
    }
}

fn store(section: &Section<'_>) -> Result<StoreConfig> {
    let (download_dir, cache_dir): (PathBuf, PathBuf) =
        (section.value("download_dir")?, section.value("cache_dir")?);
    let capacity_bytes = section.optional("capacity_bytes")?.filter(|bytes| *bytes > 0);
    Ok(StoreConfig { capacity_bytes, ..AgentConfig::store_in(&download_dir, &cache_dir) })
}

/// The trackers, looked up as seldom as the ring is to be refreshed.
fn trackers(section: &Section<'_>) -> Result<Hosts> {
    let mut hosts = section.hosts("hosts")?;
    hosts.ttl = hosts.ttl.max(section.value::<Duration>("hashring.refresh_interval")?);
    Ok(hosts)
}

fn health(section: &Section<'_>) -> Result<PassiveConfig> {
    Ok(PassiveConfig {
        fails: section.value("healthcheck.fails")?,
        fail_timeout: section.value("healthcheck.fail_timeout")?,
    })
}

#[cfg(test)]
mod tests;
