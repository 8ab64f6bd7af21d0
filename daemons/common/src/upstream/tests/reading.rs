//! Configurations that are right: merging, defaults, secrets, what is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use super::*;
use crate::hosts::HostSource;

const BASE: &str = "\
castore:
  upload_dir: /d/upload/
  cache_dir: /d/cache/
  memory_cache: {enabled: true, max_size: 1048576}
metainfogen:
  piece_lengths: {0: 4MB, 2GB: 8MB}
backends:
  - namespace: a
    backend: {local: {root_directory: /a}}
  - namespace: b
    backend: {local: {root_directory: /b}}
hashring: {max_replica: 5, refresh_interval: 1m}
blobserver: {listener: {net: unix, addr: /tmp/o.sock}}
nginx: {name: kraken-origin, cache_dir: /n}
zap: {level: INFO, encoding: console, outputPaths: [stdout]}
";

const LEAF: &str = "\
extends: conf/base.yaml
cluster:
  static: ['origin:15002']
metainfogen:
  piece_lengths: {0: 1MB}
hashring:
  max_replica: 2
  refresh_interval:
backends:
  - namespace: .*
    must_ready: on
    backend:
      testfs: {addr: 'localhost:14000', root: blobs, name_path: identity}
writeback: {retry_interval: 0}
tls: {server: {disabled: true}, client: {disabled: true}}
nginx: {cache_dir: /m}
";

fn origin() -> (Files, Settings) {
    let files = Files::of(&[("conf/base.yaml", BASE), ("o.yaml", LEAF)]);
    let settings = files.load("o.yaml").read().unwrap();
    (files, settings)
}

#[test]
fn files_are_laid_over_one_another() {
    let (files, settings) = origin();
    assert_eq!(settings.role(), RoleName::Origin);
    assert!(settings.role_is_guessed() && settings.warnings().is_empty());
    let root = settings.root();
    // Tables and maps key by key, lists whole, a key without a value undone.
    assert_eq!(root.value::<u32>("hashring.max_replica").unwrap(), 2);
    assert_eq!(
        root.value::<Duration>("hashring.refresh_interval").unwrap(),
        Duration::from_secs(10)
    );
    let lengths: BTreeMap<u64, u64> = root.value("metainfogen.piece_lengths").unwrap();
    assert_eq!(lengths, BTreeMap::from([(0, 1 << 20), (2 << 30, 8 << 20)]));
    let backends = root.sections("backends");
    assert_eq!(backends.len(), 1);
    assert!(backends[0].value::<Regex>("namespace").unwrap().is_match("any"));
    assert!(backends[0].value::<bool>("must_ready").unwrap());
    let backend = backends[0].section("backend");
    assert_eq!(backend.given(), ["testfs"]);
    assert_eq!(backend.path(), "backends[0].backend");
    assert_eq!(backend.value::<&str>("testfs.name_path").unwrap(), "identity");
    assert_eq!(root.value::<&str>("zap.level").unwrap(), "info");
    // Zero is the default, as in uber/kraken.
    let interval: Duration = root.value("writeback.retry_interval").unwrap();
    assert_eq!(interval, Duration::from_secs(30));
    assert!(matches!(root.origin("writeback.retry_interval"), Origin::DefaultForZero(_)));
    let Origin::File(place) = root.origin("castore.cache_dir") else { panic!() };
    assert_eq!(files.strip(place), "conf/base.yaml:3:14");
    let error = root.error("castore.cache_dir", "cannot be written");
    assert_eq!(files.strip(&error), "conf/base.yaml:3:14: castore.cache_dir: cannot be written");
    let unset = files.strip(&root.error("auth", "x"));
    assert_eq!(unset, "o.yaml: auth: x");
}

#[test]
fn hosts_by_name_or_one_by_one() {
    let (_, settings) = origin();
    let hosts = settings.root().hosts("cluster").unwrap();
    assert_eq!(hosts.ttl, Duration::from_secs(5));
    let HostSource::Static(list) = hosts.source else { panic!() };
    assert_eq!(list.as_slice(), ["origin:15002"]);
    let text = "tracker: {hosts: {dns: 'kraken-tracker:80', static: [], ttl: 1m}}";
    let agent = Settings::parse(RoleName::Agent, "inline", text).unwrap();
    let hosts = agent.root().hosts("tracker.hosts").unwrap();
    assert_eq!(hosts.source, HostSource::Dns("kraken-tracker:80".into()));
    assert_eq!(agent.root().optional_hosts("build_index.hosts").unwrap(), None);
    let error = agent.root().value::<String>("store.cache_dir").unwrap_err();
    assert_eq!(error.to_string(), "inline: store.cache_dir is not set");
}

#[test]
fn numbers_that_are_too_large_are_errors_with_a_place() {
    let text = "hashring: {max_replica: 5000000000}";
    let settings = Settings::parse(RoleName::Origin, "inline", text).unwrap();
    assert_eq!(
        settings.root().value::<u32>("hashring.max_replica").unwrap_err().to_string(),
        "inline:1:25: hashring.max_replica: expected a number up to 4294967295, found \
         \"5000000000\""
    );
}

#[test]
fn tls_is_on_unless_it_is_turned_off() {
    let (_, settings) = origin();
    settings.require_plain().unwrap();
    let plain = "tls: {server: {disabled: true}}";
    for (text, named) in [
        ("", "set tls.server.disabled and tls.client.disabled to true"),
        (plain, "inline:1:1: TLS is on"),
        (plain, "set tls.client.disabled to true"),
    ] {
        let settings = Settings::parse(RoleName::Tracker, "inline", text).unwrap();
        let error = settings.require_plain().unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        assert!(effective_yaml(&settings).contains("# a daemon refuses to start: "));
    }
}

#[test]
fn what_has_no_effect_is_said_once() {
    let (_, settings) = origin();
    assert_eq!(
        settings.notice().unwrap(),
        "configuration accepted, but without meaning here: castore.memory_cache, \
         blobserver.listener, nginx, zap.outputPaths"
    );
    let text = "backends:\n- {namespace: x, backend: {s3: {bucket: b}}}\n";
    let settings = Settings::parse(RoleName::Origin, "inline", text).unwrap();
    assert_eq!(
        settings.notice().unwrap(),
        "configuration accepted, but not built yet: backends[0].backend.s3"
    );
    assert_eq!(Settings::parse(RoleName::Proxy, "inline", "").unwrap().notice(), None);
}

#[test]
fn secrets_are_hidden() {
    let files = Files::of(&[
        (
            "c.yaml",
            "backends:\n- namespace: .*\n  backend: {registry_blob: {address: 'http://me:hunter2@r', \
             security: {basic: {username: me, password: hunter2}}}}\nnginx: {ssl_password: hunter2}\n",
        ),
        ("more.yaml", "hashring: {max_replica: 7}\n"),
        (
            "s.yaml",
            "extends: more.yaml\nauth: {s3: {me: {s3: {aws_access_key_id: hunter2, \
             aws_secret_access_key: hunter2}}}}\nlocaldb: {source: hunter2}\n",
        ),
    ]);
    let load = files.load("c.yaml").role(RoleName::Origin).secrets(files.path("s.yaml"));
    let settings = load.read().unwrap();
    let text = files.strip(&effective_yaml(&settings));
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("aws_secret_access_key: \"(hidden)\""), "{text}");
    assert!(text.contains("# laid over by s.yaml, whose values are hidden"), "{text}");
    let max_replica = text.lines().find(|line| line.contains("max_replica")).unwrap();
    assert!(max_replica.contains("\"(hidden)\"") && max_replica.ends_with("# more.yaml:1"));
    let (name, auth) = settings.root().named_sections("auth.s3").remove(0);
    assert_eq!(name, "me");
    assert_eq!(auth.value::<String>("s3.aws_access_key_id").unwrap(), "hunter2");
    assert_eq!(settings.root().value::<u64>("hashring.max_replica").unwrap(), 7);
}

#[test]
fn what_is_printed_says_where_it_comes_from_and_reads_as_the_same() {
    let (files, settings) = origin();
    let text = files.strip(&effective_yaml(&settings));
    let line = |start: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_else(|| panic!("{start} in\n{text}")).split_whitespace().collect::<Vec<_>>()
    };
    assert!(text.starts_with("# configuration of role origin, as its keys show\n"), "{text}");
    assert_eq!(line("max_replica"), ["max_replica:", "2", "#", "o.yaml:7"]);
    assert_eq!(line("cache_dir"), ["cache_dir:", "/d/cache/", "#", "conf/base.yaml:3"]);
    assert_eq!(line("seeder_tti"), ["seeder_tti:", "5m", "#", "default"]);
    assert_eq!(line("- namespace"), ["-", "namespace:", ".*", "#", "o.yaml:10"]);
    assert!(text.contains("# default, for nothing at o.yaml:14"), "{text}");
    assert!(!text.contains("redis") && !text.contains("gcs"), "{text}");

    let odd = "zap: {initialFields: {a: 'x: #\"\\n', b: \"\\u00e9\\n\", c: '5', d: [[1, 2], {k: \
               v}, []], '': ~}}\nallowed_cidrs: [::1, 10.0.0.0/8]\n";
    let odd = Settings::parse(RoleName::Agent, "odd", odd).unwrap();
    for settings in [settings, odd] {
        let printed = effective_yaml(&settings);
        let again = Settings::parse(settings.role(), "printed", &printed)
            .unwrap_or_else(|problems| panic!("{problems}\n{printed}"));
        let strip = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.split("  #").next().unwrap().trim_end().to_owned()).collect()
        };
        assert_eq!(strip(&effective_yaml(&again)), strip(&printed));
    }
}

#[test]
fn the_role_is_guessed_from_keys_or_names() {
    let guess = |name: &str, text: &str| {
        let files = Files::of(&[(name, text)]);
        files.load(name).read().map(|settings| settings.role()).map_err(|e| e.to_string())
    };
    assert_eq!(guess("c.yaml", "allowed_cidrs: []\n"), Ok(RoleName::Agent));
    assert_eq!(guess("c.yaml", "trackerserver: {}\nnginx: {}\n"), Ok(RoleName::Tracker));
    assert_eq!(guess("c.yaml", "tag_types: []\n"), Ok(RoleName::BuildIndex));
    assert_eq!(guess("c.yaml", "registryoverride: {}\n"), Ok(RoleName::Proxy));
    assert_eq!(guess("c.yaml", "castore: {}\nlocaldb: {}\n"), Ok(RoleName::Origin));
    assert_eq!(guess("proxy/c.yaml", "nginx: {}\n"), Ok(RoleName::Proxy));
    assert_eq!(guess("build-index.yaml", ""), Ok(RoleName::BuildIndex));
    let error = guess("c.yaml", "nginx: {}\n").unwrap_err();
    assert!(error.contains("--role: agent, origin"), "{error}");
    let error = guess("c.yaml", "nginx: {a: 1, a: 2}\n").unwrap_err();
    assert!(error.ends_with("c.yaml:1:15: key \"a\" is given twice; it is already on line 1"));
}

#[test]
fn a_file_of_another_role_is_suspicious() {
    let files = Files::of(&[("c.yaml", "peerstore: {}\ntrackerserver: {}\n")]);
    let warnings = |role| {
        let settings = files.load("c.yaml").role(role).read().unwrap();
        settings.warnings().to_string()
    };
    assert_eq!(warnings(RoleName::Tracker), "");
    let warning = warnings(RoleName::Agent);
    let expected = "c.yaml:1:1: warning: it has more keys of role tracker than of role agent";
    assert!(warning.contains(expected), "{warning}");
}

#[test]
fn the_samples_of_the_manual_are_right() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let manual = std::fs::read_to_string(file).unwrap();
    let samples = manual.split("```yaml\n# /etc/kraken/").skip(1).map(|rest| {
        let (sample, _) = rest.split_once("```").unwrap();
        sample.split_once(".yaml\n").unwrap()
    });
    let samples: Vec<(&str, &str)> = samples.collect();
    assert_eq!(samples.len(), RoleName::ALL.len());
    for (name, text) in samples {
        let role = RoleName::ALL.into_iter().find(|role| role.as_str() == name).unwrap();
        let settings = Settings::parse(role, name, text).unwrap();
        assert_eq!(settings.warnings().to_string(), "", "{name}");
        assert_eq!(settings.notice(), None, "{name}");
        settings.require_plain().unwrap();
    }
}
