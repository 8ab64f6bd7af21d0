//! Every key and every flag of an agent, and what becomes of it.

use std::net::IpAddr;

use kraken_common::HostSource;
use kraken_core::store::CleanupConfig;
use kraken_p2p::node::PeerIdFactory;

use super::*;

/// What there must be.
const LEAST: &str = "
store: {download_dir: /d, cache_dir: /c}
tracker: {hosts: {static: ['tracker:15003']}}
build_index: {hosts: {static: ['build-index:15004']}}
";

fn common() -> Common {
    Common {
        config: PathBuf::from("agent.yaml"),
        secrets: None,
        bind: "10.0.0.7".parse().unwrap(),
        cluster: String::new(),
        mutex_profile_fraction: 0,
        strict: false,
        log: None,
    }
}

fn flags() -> Flags {
    Flags { peer_port: 1, agent_server_port: 2, agent_registry_port: 3, ..Flags::default() }
}

fn configured(text: &str) -> Result<AgentConfig> {
    let settings = Settings::parse(RoleName::Agent, "agent.yaml", text)?;
    Agent::configure(&common(), &flags(), &settings)
}

/// With `extra`, whose keys are others than those of [`LEAST`].
fn with(extra: &str) -> AgentConfig {
    configured(&format!("{LEAST}{extra}\n")).unwrap()
}

fn allows(config: &AgentConfig, address: &str) -> bool {
    config.allowed_clients.allows(address.parse::<IpAddr>().unwrap())
}

#[test]
fn defaults_are_the_schemas() {
    let config = with("");
    assert_eq!(config.registry_listen.to_string(), "10.0.0.7:3");
    assert_eq!(config.server_listen.to_string(), "10.0.0.7:2");
    assert_eq!(config.node.listen.to_string(), "10.0.0.7:1");
    assert_eq!(config.node.announce_ip.as_deref(), Some("10.0.0.7"));
    assert_eq!(config.node.peer_id, PeerIdFactory::AddrHash);
    assert!(allows(&config, "127.0.0.1") && allows(&config, "::1"));
    assert!(!allows(&config, "10.0.0.7") && !allows(&config, "172.17.0.1"));
    assert_eq!(config.tracker_client.replicas_max, 3);
    assert_eq!(config.tracker_client.health, PassiveConfig::default());
    assert_eq!(config.build_index_health, PassiveConfig::default());
    assert_eq!(config.store.capacity_bytes, None);
    assert_eq!(config.download_cleanup, CleanupConfig::default());
    assert_eq!(config.cache_cleanup, CleanupConfig::default());
    assert!(!config.store.durable);
}

#[test]
fn every_key_changes_what_it_names() {
    let config = with("");
    assert_eq!(config.store.download_dir.as_deref(), Some("/d".as_ref()));
    assert_eq!(config.store.cache_dir, PathBuf::from("/c"));
    assert!(config.store.upload_dir.starts_with("/d"));
    assert_eq!(config.trackers.source, HostSource::Static(list("tracker:15003")));
    assert_eq!(config.build_indexes.source, HostSource::Static(list("build-index:15004")));

    let closed = with("allowed_cidrs: [192.168.0.0/16]");
    assert!(allows(&closed, "192.168.3.4") && !allows(&closed, "127.0.0.1"));
    assert!(!allows(&with("allowed_cidrs: []"), "127.0.0.1"));
    assert_eq!(with("peer_id_factory: random").node.peer_id, PeerIdFactory::Random);
    let slow = with("scheduler: {seeder_tti: 1h, conn: {bandwidth: {enable: true}}}");
    assert_eq!(slow.node.swarm.seeder_tti, Duration::from_secs(3600));
    assert_eq!(slow.node.egress_bytes_per_sec, 200 << 20);

    let other = configured(
        "
store:
  download_dir: /d
  cache_dir: /c
  capacity_bytes: 50G
  download_cleanup: {tti: 1s}
  cache_cleanup: {tti: 2s}
tracker:
  hosts: {dns: 'trackers:15003', ttl: 7s}
  healthcheck: {fails: 5, fail_timeout: 1m}
  hashring: {max_replica: 2, refresh_interval: 20s}
build_index:
  hosts: {dns: 'build-indexes:15004', ttl: 9s}
  healthcheck: {fails: 6, fail_timeout: 2m}
",
    )
    .unwrap();
    assert_eq!(other.store.capacity_bytes, Some(50 << 30));
    let secs = Duration::from_secs;
    let default = CleanupConfig::default();
    assert_eq!(other.download_cleanup, CleanupConfig { tti: secs(1), ..default });
    assert_eq!(other.cache_cleanup, CleanupConfig { tti: secs(2), ..default });
    assert_eq!(other.trackers.source, HostSource::Dns("trackers:15003".into()));
    assert_eq!(other.trackers.ttl, secs(20));
    assert_eq!(other.tracker_client.replicas_max, 2);
    assert_eq!(other.tracker_client.health, PassiveConfig { fails: 5, fail_timeout: secs(60) });
    assert_eq!(other.build_indexes.source, HostSource::Dns("build-indexes:15004".into()));
    assert_eq!(other.build_indexes.ttl, secs(9));
    assert_eq!(other.build_index_health, PassiveConfig { fails: 6, fail_timeout: secs(120) });
}

fn list(host: &str) -> kraken_common::HostList {
    kraken_common::HostList::new(vec![host.into()]).unwrap()
}

#[test]
fn what_is_missing_is_named() {
    for (without, key) in [
        ("download_dir: /d, ", "store.download_dir"),
        (", cache_dir: /c", "store.cache_dir"),
        ("['tracker:15003']", "tracker.hosts"),
        ("['build-index:15004']", "build_index.hosts"),
    ] {
        let error = configured(&LEAST.replace(without, "")).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn every_flag() {
    let settings = Settings::parse(RoleName::Agent, "agent.yaml", LEAST).unwrap();
    let configure = |flags: &Flags| Agent::configure(&common(), flags, &settings);
    let given = flags();
    let far = Flags { peer_ip: "localhost".into(), zone: "z1".into(), ..given.clone() };
    let config = configure(&far).unwrap();
    assert_eq!(config.node.announce_ip.as_deref(), Some("localhost"));
    assert_eq!(config.node.zone, "z1");
    for (flags, named) in [
        (Flags { peer_port: 0, ..given.clone() }, "--peer-port"),
        (Flags { agent_server_port: 0, ..given.clone() }, "--agent-server-port"),
        (Flags { agent_registry_port: 0, ..given.clone() }, "--agent-registry-port"),
        (Flags { peer_ip: "0.0.0.0".into(), ..given }, "--peer-ip"),
    ] {
        let error = configure(&flags).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn uber_krakens_base_file_is_taken() {
    let config = configured(
        "
zap: {level: info, outputPaths: [stdout]}
metrics: {m3: {service: kraken-agent}}
scheduler:
  torrentlog: {service_name: kraken-agent, path: /var/log/torrent.log}
  dispatch: {piece_request_policy: rarest_first}
  conn: {bandwidth: {enable: true}}
store:
  download_dir: /var/cache/kraken/kraken-agent/download/
  cache_dir: /var/cache/kraken/kraken-agent/cache/
  download_cleanup: {ttl: 24h}
registry: {docker: {version: 0.1}}
peer_id_factory: addr_hash
allowed_cidrs: [127.0.0.1, 172.17.0.1]
nginx: {name: kraken-agent}
tracker: {hosts: {static: ['127.0.0.1:15003']}}
build_index: {hosts: {static: ['127.0.0.1:15004']}}
",
    )
    .unwrap();
    assert!(allows(&config, "172.17.0.1") && !allows(&config, "172.17.0.2"));
    assert_eq!(config.node.ingress_bytes_per_sec, 300 << 20);
}
