//! The tracker as a program: uber/kraken's flags and YAML.

use kraken_common::WatchedHosts;
use kraken_common::program::{Common, Program};
use kraken_common::upstream::{RoleName, Section, Settings};
use kraken_core::Result;

use crate::config::{CacheConfig, Policy, TrackerConfig};
use crate::tracker::Tracker;

/// The tracker's flags, uber/kraken's.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The port that agents use
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

impl Program for Tracker {
    type Flags = Flags;

    const ROLE: RoleName = RoleName::Tracker;

    const ABOUT: &'static str = "Kraken's tracker: introduces peers and relays metainfo";

    fn configure(common: &Common, flags: &Flags, settings: &Settings) -> Result<TrackerConfig> {
        let root = settings.root();
        let listen = common.listen("--port", flags.port)?;
        if root.value("peerstore.redis.enabled")? {
            let what = "peers in a Redis are not built yet; set it to false for peers in memory";
            return Err(root.error("peerstore.redis.enabled", what));
        }
        let policy = match root.value::<&'static str>("peerhandoutpolicy.priority")? {
            "default" => Policy::Default,
            _ => Policy::Completeness,
        };
        Ok(TrackerConfig {
            listen,
            origins: WatchedHosts::configured(&root.section("origin"))?,
            announce_limit: root.value("trackerserver.announce_limit")?,
            announce_interval: root.value("trackerserver.announce_interval")?,
            policy,
            zone_bridges: root.value("peerhandoutpolicy.zone_bridges")?,
            peer_ttl: root.value("peerstore.local.ttl")?,
            cache: cache(&root.section("originstore"))?,
        })
    }
}

fn cache(section: &Section<'_>) -> Result<CacheConfig> {
    Ok(CacheConfig {
        locations_ttl: section.value("locations_ttl")?,
        locations_error_ttl: section.value("locations_error_ttl")?,
        origin_context_ttl: section.value("origin_context_ttl")?,
        origin_unavailable_ttl: section.value("origin_unavailable_ttl")?,
        ..CacheConfig::default()
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use kraken_common::watch::Checks;
    use kraken_common::{HealthConfig, HostSource};

    use super::*;

    /// What there must be.
    const LEAST: &str = "origin: {hosts: {static: ['origin:15002']}}\n";

    fn configured(port: u16, text: &str) -> Result<TrackerConfig> {
        let common = Common {
            config: PathBuf::from("tracker.yaml"),
            secrets: None,
            bind: "10.0.0.7".parse().unwrap(),
            cluster: String::new(),
            mutex_profile_fraction: 0,
            strict: false,
            log: None,
        };
        let settings = Settings::parse(RoleName::Tracker, "tracker.yaml", text)?;
        Tracker::configure(&common, &Flags { port }, &settings)
    }

    fn with(extra: &str) -> TrackerConfig {
        configured(7, &format!("{LEAST}{extra}\n")).unwrap()
    }

    #[test]
    fn peers_in_a_redis_are_refused_rather_than_forgotten() {
        let redis = |enabled| format!("{LEAST}peerstore: {{redis: {{enabled: {enabled}}}}}\n");
        assert!(configured(7, &redis(false)).is_ok());
        let error = configured(7, &redis(true)).unwrap_err().to_string();
        assert!(error.contains("tracker.yaml:2:30: peerstore.redis.enabled"), "{error}");
    }

    #[test]
    fn defaults_are_the_librarys() {
        let checks =
            Some(Checks { interval: Duration::from_secs(10), health: HealthConfig::default() });
        let library = TrackerConfig::new(vec!["origin:15002".into()]).unwrap();
        let origins = WatchedHosts { checks, ..library.origins.clone() };
        let listen = "10.0.0.7:7".parse().unwrap();
        assert_eq!(with(""), TrackerConfig { listen, origins, ..library });
    }

    #[test]
    fn every_key_changes_what_it_names() {
        let secs = Duration::from_secs;
        assert_eq!(with("trackerserver: {announce_limit: 9}").announce_limit, 9);
        let often = with("trackerserver: {announce_interval: 9s}");
        assert_eq!(often.announce_interval, secs(9));
        assert_eq!(with("peerhandoutpolicy: {priority: default}").policy, Policy::Default);
        assert_eq!(with("peerhandoutpolicy: {zone_bridges: 4}").zone_bridges, 4);
        assert_eq!(with("peerstore: {local: {ttl: 9s}}").peer_ttl, secs(9));
        let cache = with(
            "originstore: {locations_ttl: 5s, locations_error_ttl: 6s, origin_context_ttl: 7s, \
             origin_unavailable_ttl: 8s}",
        );
        let expected = CacheConfig {
            locations_ttl: secs(5),
            locations_error_ttl: secs(6),
            origin_context_ttl: secs(7),
            origin_unavailable_ttl: secs(8),
            ..CacheConfig::default()
        };
        assert_eq!(cache.cache, expected);
    }

    #[test]
    fn origins_and_their_health() {
        let text = "
origin:
  hosts: {dns: 'origins:15002', ttl: 9s}
  healthcheck:
    filter: {fails: 5, passes: 6, timeout: 7s}
    monitor: {interval: 8s}
";
        let watched = configured(7, text).unwrap().origins;
        assert_eq!(watched.hosts.source, HostSource::Dns("origins:15002".into()));
        assert_eq!(watched.hosts.ttl, Duration::from_secs(9));
        let health = HealthConfig { fails: 5, passes: 6, timeout: Duration::from_secs(7) };
        assert_eq!(watched.checks, Some(Checks { interval: Duration::from_secs(8), health }));
        let off = "origin: {hosts: {static: ['origin:15002']}, healthcheck: {disabled: true}}";
        assert_eq!(configured(7, off).unwrap().origins.checks, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = configured(7, "").unwrap_err().to_string();
        assert!(error.contains("origin.hosts"), "{error}");
        let error = configured(0, LEAST).unwrap_err().to_string();
        assert!(error.contains("--port"), "{error}");
    }

    #[test]
    fn uber_krakens_base_file_is_taken() {
        let text = "
zap: {level: info, encoding: console}
logging: {level: info, stdout: true, sentry: {enabled: false}}
peerhandoutpolicy: {priority: completeness}
metrics: {m3: {service: kraken}}
trackerserver: {listener: {net: unix, addr: /tmp/kraken-tracker.sock}}
nginx: {name: kraken-tracker}
origin: {hosts: {static: ['origin:15002']}}
";
        assert_eq!(configured(7, text).unwrap(), with(""));
    }
}
