//! Configurations: every key changes what it is for.

use std::path::{Path, PathBuf};

use kraken_backends::layers::ThrottleConfig;
use kraken_common::HostSource;
use kraken_common::backends::BackendConfig;
use kraken_core::store::CleanupConfig;

use super::*;

const MINIMAL: &str = "
cluster: {static: ['o1:15002', 'o2:15002']}
castore: {upload_dir: /d/upload/, cache_dir: /d/cache/}
";

fn common() -> Common {
    Common {
        config: PathBuf::new(),
        secrets: None,
        bind: "127.0.0.1".parse().unwrap(),
        cluster: "prod".into(),
        mutex_profile_fraction: 0,
        strict: false,
        log: None,
    }
}

fn flags() -> Flags {
    Flags { peer_port: 15001, blobserver_port: 15002, ..Flags::default() }
}

fn configure_with(flags: &Flags, text: &str) -> Result<OriginConfig> {
    let settings = Settings::parse(RoleName::Origin, "o.yaml", text).unwrap();
    Origin::configure(&common(), flags, &settings)
}

/// What `text`, beside what must be there, comes to.
fn configured(text: &str) -> OriginConfig {
    configure_with(&flags(), &format!("{MINIMAL}\n{text}")).unwrap()
}

fn error(text: &str) -> String {
    configure_with(&flags(), text).unwrap_err().to_string()
}

#[test]
fn little_need_be_said() {
    let config = configured("");
    assert_eq!(config.listen.to_string(), "127.0.0.1:15002");
    assert_eq!(config.node.listen.to_string(), "127.0.0.1:15001");
    assert_eq!(config.node.announce_ip.as_deref(), Some("127.0.0.1"));
    assert!(config.node.origin && config.node.swarm.dial && config.node.swarm.announce);
    let arriving = config.store.download_dir.as_deref();
    assert_eq!(
        arriving,
        config.store.upload_dir.parent().map(|dir| dir.join("arriving")).as_deref()
    );
    let (default, swarm) = (OriginConfig::default(), &config.node.swarm);
    assert_eq!(swarm.accept_max, default.node.swarm.accept_max);
    assert_eq!(config.store.upload_dir, Path::new("/d/upload"));
    assert_eq!(config.store.cache_dir, Path::new("/d/cache"));
    assert_eq!(config.store.capacity_bytes, None);
    assert_eq!(config.upload_cleanup, CleanupConfig::default());
    assert_eq!(config.cache_cleanup, CleanupConfig::default());
    assert_eq!((config.zone.as_str(), config.cluster_name.as_str()), ("", "prod"));
    assert_eq!(config.piece_lengths, PieceLengths::default());
    assert!(config.backends.is_empty());
    assert_eq!(config.write_back_stagger, default.write_back_stagger);
    assert_eq!(config.fetch_bytes_max, None);
    let expected = RingConfig {
        names: config.ring.names.clone(),
        origins: config.ring.origins.clone(),
        ..default.ring
    };
    assert_eq!(config.ring, expected);
}

#[test]
fn flags_say_who_and_where() {
    let called = Flags {
        peer_ip: "10.0.0.9".into(),
        blobserver_hostname: "o1".into(),
        zone: "z".into(),
        ..flags()
    };
    let config = configure_with(&called, MINIMAL).unwrap();
    assert_eq!(config.ring.names, ["o1:15002", "127.0.0.1:15002", "10.0.0.9:15002"]);
    assert_eq!(config.node.announce_ip.as_deref(), Some("10.0.0.9"));
    assert_eq!(config.zone, "z");
    let v6 = Flags { blobserver_hostname: "fd00::1".into(), ..flags() };
    assert_eq!(configure_with(&v6, MINIMAL).unwrap().ring.names[0], "[fd00::1]:15002");
    let host = net::host_name();
    let names = configured("").ring.names;
    assert!(host.is_empty() || names[0] == format!("{host}:15002"), "{names:?}");
    for (flags, flag) in [
        (Flags { peer_port: 0, ..flags() }, "--peer-port"),
        (Flags { blobserver_port: 0, ..flags() }, "--blobserver-port"),
        (Flags { peer_ip: "0.0.0.0".into(), ..flags() }, "--peer-ip"),
    ] {
        let error = configure_with(&flags, MINIMAL).unwrap_err().to_string();
        assert!(error.contains(flag), "{error}");
    }
}

#[test]
fn the_ring() {
    let secs = Duration::from_secs;
    let ring = |text: &str| configured(text).ring;
    assert_eq!(ring("hashring: {max_replica: 2}").replicas_max, 2);
    assert_eq!(ring("hashring: {refresh_interval: 1s}").refresh_interval, secs(1));
    assert_eq!(ring("hashring: {membership_wait_timeout: 2s}").wait_max, secs(2));
    assert_eq!(ring("hashring: {membership_wait_interval: 3s}").wait_interval, secs(3));
    let health = ring("healthcheck: {fails: 4, passes: 5, timeout: 6s}").health;
    assert_eq!(health, HealthConfig { fails: 4, passes: 5, timeout: secs(6) });
    let dns = "{cluster: {dns: 'origins:1', ttl: 7s}, castore: {upload_dir: u, cache_dir: c}}";
    let origins = configure_with(&flags(), dns).unwrap().ring.origins;
    assert_eq!((origins.source, origins.ttl), (HostSource::Dns("origins:1".into()), secs(7)));
}

#[test]
fn cleanup() {
    let text = "
cluster: {static: ['o1:15002']}
castore: {upload_dir: u, cache_dir: c, upload_cleanup: {tti: 1s}, cache_cleanup: {tti: 2s}}
";
    let config = configure_with(&flags(), text).unwrap();
    let after = |secs| CleanupConfig { tti: Duration::from_secs(secs), ..CleanupConfig::default() };
    assert_eq!((config.upload_cleanup, config.cache_cleanup), (after(1), after(2)));
}

#[test]
fn blobs() {
    let backend = "backends: [{namespace: .*, backend: {local: {root_directory: /b}}}]";
    assert_eq!(configured(backend).backends, [BackendConfig::local("/b")]);
    assert_eq!(configured(backend).backends[0].bandwidth, ThrottleConfig::default());
    let write_back = configured("writeback: {retry_interval: 7s}").write_back;
    assert_eq!(write_back.retry_interval, Duration::from_secs(7));
    let stagger = configured("blobserver: {duplicate_write_back_stagger: 1m}").write_back_stagger;
    assert_eq!(stagger, Duration::from_secs(60));
    assert_eq!(configured("blobrefresh: {size_limit: 1KB}").fetch_bytes_max, Some(1024));
    assert_eq!(configured("blobrefresh: {size_limit: 0}").fetch_bytes_max, None);
    let lengths = configured("metainfogen: {piece_lengths: {0: 1MB, 1GB: 2MB}}").piece_lengths;
    assert_eq!((lengths.for_blob(5), lengths.for_blob(1 << 30)), (1 << 20, 2 << 20));
    let bandwidth = "scheduler: {conn: {bandwidth: {enable: true, egress_bits_per_sec: 800}}}";
    assert_eq!(configured(bandwidth).node.egress_bytes_per_sec, 100);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let castore = "castore: {upload_dir: u, cache_dir: c}";
    assert!(error(castore).starts_with("o.yaml: cluster: neither dns nor static is given"));
    let cluster = "cluster: {static: ['o1:1']}";
    assert_eq!(error(cluster), "o.yaml: castore.upload_dir is not set");
    let lengths = format!("{MINIMAL}\nmetainfogen: {{piece_lengths: {{0: 1TB}}}}\n");
    let error_of_lengths = error(&lengths);
    assert!(error_of_lengths.starts_with("o.yaml:5:"), "{error_of_lengths}");
    assert!(error_of_lengths.contains("metainfogen.piece_lengths"), "{error_of_lengths}");
    let s3 = error(&format!("{MINIMAL}\nbackends: [{{namespace: a, backend: {{s3: {{}}}}}}]"));
    assert!(s3.contains("o.yaml:5:") && s3.contains("not built yet"), "{s3}");
}
