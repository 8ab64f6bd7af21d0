//! Broken configurations: each message names file and line and says how to mend it.

use super::*;

#[test]
fn a_wrong_type() {
    assert_eq!(
        problems_of(RoleName::Origin, "hashring:\n  max_replica: many\n"),
        "c.yaml:2:16: hashring.max_replica: expected a whole number, found \"many\""
    );
    assert_eq!(
        problems_of(RoleName::Origin, "hashring: 3\ncastore:\n  cache_dir: [a]\n"),
        "c.yaml:1:11: hashring: expected keys with values, found a single value\n\
         c.yaml:3:14: castore.cache_dir: expected a single value, found a list"
    );
    assert_eq!(
        problems_of(RoleName::Tracker, "origin: {hosts: {static: 'a:1'}}"),
        "c.yaml:1:26: origin.hosts.static: expected a list, found \"a:1\"; write it as [a:1], or \
         each item on a line after a dash"
    );
    assert_eq!(
        problems_of(RoleName::BuildIndex, "tag_store: {write_through: 'yes'}"),
        "c.yaml:1:28: tag_store.write_through: expected true or false, found \"yes\"; remove the \
         quotes: they make it a text"
    );
    assert_eq!(
        problems_of(RoleName::Tracker, "peerhandoutpolicy: {priority: complete}"),
        "c.yaml:1:31: peerhandoutpolicy.priority: expected one of completeness, default, found \
         \"complete\""
    );
}

#[test]
fn an_unknown_key() {
    assert_eq!(
        problems_of(RoleName::Tracker, "trackerserver:\n  anounce_interval: 3s\n"),
        "c.yaml:2:3: warning: unknown key \"anounce_interval\" in trackerserver; did you mean \
         announce_interval?"
    );
    assert_eq!(
        problems_of(RoleName::Agent, "max_open_conn: 3\n"),
        "c.yaml:1:1: warning: unknown key \"max_open_conn\"; there is \
         scheduler.connstate.max_open_conn"
    );
    assert_eq!(
        problems_of(RoleName::Origin, "cluster:\n  members: [a:1]\n"),
        "c.yaml:2:3: warning: unknown key \"members\" in cluster; the keys here are dns, static, \
         ttl"
    );
    // Case matters, as in uber/kraken.
    assert_eq!(
        problems_of(RoleName::Agent, "store: {cache_cleanup: {aggressive_ttl: 1h}}"),
        "c.yaml:1:25: warning: unknown key \"aggressive_ttl\" in store.cache_cleanup; did you \
         mean aggressive_ttL?"
    );
    let files = Files::of(&[("c.yaml", "trackerserver:\n  anounce_interval: 3s\n")]);
    let strict = files.load("c.yaml").role(RoleName::Tracker).strict(true).read();
    assert_eq!(
        files.strip(&strict.unwrap_err()),
        "c.yaml:2:3: unknown key \"anounce_interval\" in trackerserver; did you mean \
         announce_interval?"
    );
}

#[test]
fn a_bad_duration_and_a_bad_size() {
    assert_eq!(
        problems_of(RoleName::Agent, "scheduler:\n  conn_tti: 30 seconds\n"),
        "c.yaml:2:13: scheduler.conn_tti: expected a duration, found \"30 seconds\"; write it \
         like 300ms, 1m30s or 5h"
    );
    assert_eq!(
        problems_of(RoleName::Agent, "scheduler:\n  conn_tti: 30\n"),
        "c.yaml:2:13: warning: scheduler.conn_tti: a number without a unit is nanoseconds; if \
         seconds are meant, write 30s"
    );
    assert_eq!(
        problems_of(RoleName::Origin, "metainfogen:\n  piece_lengths:\n    0: 4Mb\n    x: 1MB\n"),
        "c.yaml:3:8: metainfogen.piece_lengths.0: expected a size, found \"4Mb\" (units with a \
         small b are bits); write it like 4MB, 50G or 1048576\n\
         c.yaml:4:5: metainfogen.piece_lengths: expected a size, found \"x\"; write it like 4MB, \
         50G or 1048576"
    );
    assert_eq!(
        problems_of(RoleName::Origin, "metainfogen:\n  piece_lengths: {1K: 4MB, 1024: 1MB}\n"),
        "c.yaml:2:28: metainfogen.piece_lengths: the size 1024 is given twice; it is already on \
         line 2"
    );
}

#[test]
fn a_bad_regex() {
    let text =
        "backends:\n  - namespace: 'library/(.*'\n    backend: {local: {root_directory: /d}}";
    assert_eq!(
        problems_of(RoleName::Origin, text),
        "c.yaml:2:16: backends[0].namespace: expected a regular expression, found \
         \"library/(.*\" (unclosed group)"
    );
    assert!(
        problems_of(RoleName::BuildIndex, "remotes: {a:1: ['*']}")
            .contains("write .* for anything")
    );
}

#[test]
fn a_missing_file_in_extends() {
    let files = Files::of(&[("a/c.yaml", "zap: {level: loud}\nextends: none.yaml\n")]);
    assert_eq!(
        files.problems("a/c.yaml", RoleName::Proxy),
        "a/c.yaml:2:10: extends: cannot read \"a/none.yaml\": No such file or directory (os error \
         2); a relative path is looked for beside the file that names it\n\
         a/c.yaml:1:14: zap.level: expected one of debug, info, warn, error, dpanic, panic, \
         fatal, found \"loud\""
    );
    let missing = files.problems("none.yaml", RoleName::Proxy);
    assert_eq!(missing, "none.yaml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn a_cycle() {
    let files = Files::of(&[
        ("a.yaml", "extends: b.yaml\n"),
        ("b.yaml", "extends: c/c.yaml\n"),
        ("c/c.yaml", "\nextends: ../b.yaml\n"),
        ("self.yaml", "extends: ./self.yaml\n"),
    ]);
    assert_eq!(
        files.problems("a.yaml", RoleName::Proxy),
        "c/c.yaml:2:10: extends: the files extend one another: b.yaml -> c/c.yaml -> \
         c/../b.yaml; the lowest file must extend nothing"
    );
    assert!(files.problems("self.yaml", RoleName::Proxy).contains("extend one another"));
    let long: Vec<(String, String)> = (0..=limits::FILES_MAX)
        .map(|at| (format!("{at}.yaml"), format!("extends: {}.yaml\n", at + 1)))
        .collect();
    let long: Vec<(&str, &str)> = long.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert!(Files::of(&long).problems("0.yaml", RoleName::Proxy).contains("files in a row"));
}

#[test]
fn a_tab_and_a_duplicate_key() {
    assert_eq!(
        problems_of(RoleName::Tracker, "trackerserver:\n\tannounce_limit: 50\n"),
        "c.yaml:2:1: a tab in the indentation; YAML takes only spaces there"
    );
    assert_eq!(
        problems_of(RoleName::Tracker, "origin: {}\ntls: {}\norigin: {}\n"),
        "c.yaml:3:1: key \"origin\" is given twice; it is already on line 1"
    );
}

#[test]
fn a_bad_host_and_a_bad_network() {
    assert_eq!(
        problems_of(RoleName::Origin, "cluster:\n  static:\n    - 'fd00::7:15002'\n    - origin\n"),
        "c.yaml:3:7: cluster.static[0]: expected a host with its port, found \"fd00::7:15002\" \
         (an IPv6 address needs brackets); write it as [fd00::7]:15002\n\
         c.yaml:4:7: cluster.static[1]: expected a host with its port, found \"origin\" (not of \
         the form host:port)"
    );
    assert_eq!(
        problems_of(RoleName::Agent, "allowed_cidrs:\n  - 10.0.0.0/33\n  - 127.0.0\n"),
        "c.yaml:2:5: allowed_cidrs[0]: expected an IP address or a network such as 10.0.0.0/8, \
         found \"10.0.0.0/33\" (after the / comes a number from 0 to 32)\n\
         c.yaml:3:5: allowed_cidrs[1]: expected an IP address or a network such as 10.0.0.0/8, \
         found \"127.0.0\""
    );
    let files = Files::of(&[
        ("base.yaml", "cluster: {dns: 'origin:80'}\n"),
        ("c.yaml", "extends: base.yaml\ncluster: {static: ['a:1']}\n"),
    ]);
    assert_eq!(
        files.problems("c.yaml", RoleName::Origin),
        "c.yaml:2:11: cluster: both dns and static are given; dns is at base.yaml:1:11; remove \
         one of them"
    );
    let two = "backends:\n- namespace: .*\n  backend: {s3: {}, gcs: {}}\n";
    assert!(problems_of(RoleName::Origin, two).contains("both s3 and gcs"));
}

#[test]
fn every_file_is_reported_at_once_and_secrets_are_not_repeated() {
    let files = Files::of(&[
        ("base.yaml", "castore: {memory_cache: {max_size: lots}}\n"),
        ("c.yaml", "extends: base.yaml\nhashring: {max_replica: -1}\nbogus: 1\n"),
        ("secrets.yaml", "blobrefresh: {size_limit: hunter2}\nauth: {s3: {me: {s3: hunter2}}}\n"),
    ]);
    let load = files.load("c.yaml").role(RoleName::Origin).secrets(files.path("secrets.yaml"));
    let problems = load.read().unwrap_err();
    let text = files.strip(&problems);
    let places: Vec<&str> = text.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["base.yaml:1:36", "c.yaml:2:25", "c.yaml:3:1", "secrets.yaml:1:27", "secrets.yaml:2:22"]
    );
    assert!(text.contains("expected a whole number, found \"-1\" (it is negative)"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let error = kraken_core::Error::from(problems);
    assert_eq!(error.kind(), kraken_core::ErrorKind::Invalid);
}

#[test]
fn what_a_file_of_secrets_holds_is_not_repeated() {
    let told = |text: &str| {
        let files = Files::of(&[("c.yaml", ""), ("s.yaml", text)]);
        let load = files.load("c.yaml").role(RoleName::Agent).secrets(files.path("s.yaml"));
        match load.read() {
            Ok(settings) => files.strip(settings.warnings()),
            Err(problems) => files.strip(&problems),
        }
    };
    assert_eq!(
        told("store:\n  hunter2: 1\n"),
        "s.yaml:2:3: warning: unknown key in store; the keys here are download_dir, cache_dir, \
         capacity_bytes, download_cleanup, cache_cleanup, read_part_size, write_part_size"
    );
    assert_eq!(told("schedulr: 1\n"), "s.yaml:1:1: warning: unknown key; did you mean scheduler?");
    assert!(told("hunter2: 1\nhunter2: 2\n").contains("s.yaml:2:1: a key is given twice"));
    assert!(told("scheduler: {conn_tti: 4711}\n").ends_with("write Ns"));
    for text in ["hunter2: 1\nhunter2: 2\n", "a: *hunter2\n", "a: \"\\hunter2\"\n", "a: [hunter2"] {
        assert!(!told(text).contains("hunter2"), "{}", told(text));
    }
    assert_eq!(told("a: [hunter2"), "s.yaml:1:4: not YAML");
}

#[test]
fn what_is_no_file_is_refused() {
    let files = Files::of(&[("dir/c.yaml", "")]);
    for name in ["dir", "pipe"] {
        if name == "pipe" {
            let made = std::process::Command::new("mkfifo").arg(files.path("pipe")).status();
            assert!(made.unwrap().success());
        }
        let told = files.problems(name, RoleName::Agent);
        assert_eq!(told, format!("{name}: cannot be read: it is not a regular file"));
    }
}

#[test]
fn many_problems_are_bounded_and_keep_an_error() {
    let mut text: String = (0..1000).map(|at| format!("unknown{at}: 1\n")).collect();
    text += "hashring: 1\n";
    let files = Files::of(&[("c.yaml", &text)]);
    let problems = files.load("c.yaml").role(RoleName::Origin).read().unwrap_err();
    assert_eq!(problems.as_slice().len(), limits::PROBLEMS_MAX + 1);
    assert!(problems.has_errors());
}
