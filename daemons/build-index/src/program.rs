//! The build-index as a program: uber/kraken's flags and YAML.

use kraken_backends::Layout;
use kraken_common::backends::{self, WriteBackConfig};
use kraken_common::program::{Common, Program};
use kraken_common::upstream::{RoleName, Section, Settings};
use kraken_common::{WatchedHosts, net};
use kraken_core::{Error, Result};

use crate::build_index::BuildIndex;
use crate::config::{BuildIndexConfig, TagBackend, TagRule, TagType};

/// The build-index's flags, uber/kraken's.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The port that other daemons use
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

impl Program for BuildIndex {
    type Flags = Flags;

    const ROLE: RoleName = RoleName::BuildIndex;

    const ABOUT: &'static str = "Kraken's build-index: maps tags to digests";

    fn configure(common: &Common, flags: &Flags, settings: &Settings) -> Result<BuildIndexConfig> {
        let root = settings.root();
        let cluster = root.section("cluster");
        let cluster = match cluster.optional_hosts("hosts")? {
            Some(_) => WatchedHosts::configured(&cluster)?,
            None => WatchedHosts::default(),
        };
        Ok(BuildIndexConfig {
            listen: common.listen("--port", flags.port)?,
            data_dir: root.value("store.cache_dir")?,
            backend: TagBackend::Routed(backends::configured(&root, Layout::DockerTag)?),
            write_back: WriteBackConfig::configured(&root.section("writeback"))?,
            origins: WatchedHosts::configured(&root.section("origin"))?,
            cluster,
            names: vec![format!("{}:{}", net::host_name(), flags.port)],
            put_stagger: root.value("tagserver.duplicate_put_stagger")?,
            write_through: root.value("tag_store.write_through")?,
            tag_rules: tag_rules(&root)?,
        })
    }
}

fn tag_rules(root: &Section<'_>) -> Result<Vec<TagRule>> {
    let rules = root.sections("tag_types");
    if rules.is_empty() {
        return Err(Error::invalid(
            "tag_types: empty, so every tag would be refused; \
             write [{namespace: .*, type: docker}] to take images everywhere",
        ));
    }
    let rule = |rule: &Section<'_>| {
        let tag_type = match rule.value::<&'static str>("type")? {
            "default" => TagType::Default,
            _ => TagType::Docker,
        };
        Ok(TagRule { namespace: rule.value("namespace")?, tag_type })
    };
    rules.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use kraken_common::HostSource;
    use kraken_common::backends::{BackendConfig, BackendKind};

    use super::*;

    const LEAST: &str = "
store: {cache_dir: /c}
origin: {hosts: {static: ['o:1']}}
tag_types: [{namespace: a, type: default}, {namespace: .*}]
";

    fn configure(port: u16, text: &str) -> Result<BuildIndexConfig> {
        let common = Common {
            config: PathBuf::new(),
            secrets: None,
            bind: "10.0.0.7".parse().unwrap(),
            cluster: String::new(),
            mutex_profile_fraction: 0,
            strict: false,
            log: None,
        };
        let settings = Settings::parse(RoleName::BuildIndex, "b.yaml", text).unwrap();
        BuildIndex::configure(&common, &Flags { port }, &settings)
    }

    fn with(extra: &str) -> BuildIndexConfig {
        configure(15004, &format!("{LEAST}{extra}\n")).unwrap()
    }

    fn listed(hosts: &WatchedHosts) -> &[String] {
        match &hosts.hosts.source {
            HostSource::Static(list) => list.as_slice(),
            HostSource::Dns(name) => panic!("{name}"),
        }
    }

    #[test]
    fn little_need_be_said() {
        let config = with("");
        assert_eq!(config.listen.to_string(), "10.0.0.7:15004");
        assert_eq!(config.data_dir, Path::new("/c"));
        assert!(matches!(&config.backend, TagBackend::Routed(none) if none.is_empty()));
        assert_eq!(listed(&config.origins), ["o:1"]);
        assert!(config.origins.checks.is_some() && config.cluster.hosts.is_empty());
        assert!(config.names[0].ends_with(":15004") && !config.write_through);
        assert_eq!(config.put_stagger, Duration::from_secs(20 * 60));
        let rule = |namespace: &str, tag_type| TagRule { namespace: namespace.into(), tag_type };
        let rules = [rule("a", TagType::Default), rule(".*", TagType::Docker)];
        assert_eq!(config.tag_rules, rules);
    }

    #[test]
    fn every_key_changes_what_it_names() {
        let cluster = with("cluster: {hosts: {static: ['b:1']}, healthcheck: {disabled: true}}");
        assert_eq!((listed(&cluster.cluster), cluster.cluster.checks), (&["b:1".into()][..], None));
        let unchecked = "
store: {cache_dir: /c}
origin: {hosts: {static: ['o:1']}, healthcheck: {disabled: true}}
tag_types: [{namespace: .*}]
";
        assert_eq!(configure(1, unchecked).unwrap().origins.checks, None);
        let backends = with("backends: [{namespace: a, backend: {local: {root_directory: /b}}}]");
        let TagBackend::Routed(backends) = backends.backend else { panic!("{backends:?}") };
        let expected = BackendConfig { namespace: "a".into(), ..BackendConfig::local("/b") };
        assert_eq!(backends, [expected]);
        let testfs = "{testfs: {addr: 'h:1', root: tags, name_path: docker_tag}}";
        let testfs = with(&format!("backends: [{{namespace: .*, backend: {testfs}}}]"));
        let TagBackend::Routed(backends) = testfs.backend else { panic!("{testfs:?}") };
        assert!(
            matches!(&backends[0].kind, BackendKind::TestFs(t) if t.layout == Layout::DockerTag)
        );
        let write_back = with("writeback: {retry_interval: 7s}").write_back;
        assert_eq!(write_back.retry_interval, Duration::from_secs(7));
        let stagger = with("tagserver: {duplicate_put_stagger: 1m}").put_stagger;
        assert_eq!(stagger, Duration::from_secs(60));
        assert!(with("tag_store: {write_through: true}").write_through);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (port, text, expected) in [
            (0, LEAST, "--port is 0"),
            (1, "store: {cache_dir: c}", "origin.hosts: neither dns nor static is given"),
            (1, "origin: {hosts: {static: ['o:1']}}", "store.cache_dir is not set"),
            (1, "{origin: {hosts: {static: ['o:1']}}, store: {cache_dir: c}}", "tag_types: empty"),
        ] {
            let error = configure(port, text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
