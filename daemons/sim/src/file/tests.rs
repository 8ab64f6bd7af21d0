//! Files, right and wrong.

use std::path::Path;
use std::time::Duration;

use kraken_p2p::sim::{Fate, Rate, Reading, Want};

use super::*;
use crate::builtin;

const FINE: &str = "\
about: a test
blobs:
  - {name: layer, count: 2, size: 1GB, piece: 4MiB}
  - {name: base, size: 30MB to 40MB, wanted_by: 10%, wanted: over 30s, holders: all}
hosts:
  - {name: fast, count: 30, up: 200MB/s, down: 300MB/s, burst: 300MB at 1.25GB/s}
  - name: odd
    count: 10
    link: 30MB/s
    joins: from 2s over 1s
    zone: 1
    killed: over 10s
    replaced: yes
    reading_window: 64MiB
    wants: [layer]
    policy: uber-kraken
    counted: no
origins:
  - {count: 5, link: 1.2GB/s}
network: {round_trip: 2ms, slice: 1MiB, window: 4MiB, jitter: 20%, conn_life: 10m}
zone_links:
  - {between: 0 and 1, link: 100MB/s, round_trip: 10ms}
trackers: {count: 2, service: 1ms, handout: completeness, interval: 5s}
patience: 30s
time_max: 1h
targets: {of: fast, p50: 1.03, max: within 15% of 1.18, bound: 1.01}
";

fn parse(text: &str) -> Result<ScenarioFile, Problems> {
    ScenarioFile::parse(Path::new("a/b.yaml"), text)
}

/// `FINE` with one text in place of another is wrong, and this is said of it.
#[track_caller]
fn wrong(from: &str, to: &str, expected: &str) {
    let text = FINE.replacen(from, to, 1);
    assert_ne!(text, FINE, "{from} is not there");
    let problems = parse(&text).map(|_| ()).unwrap_err().to_string();
    let line = 1 + FINE[..FINE.find(from).unwrap()].matches('\n').count();
    let expected = format!("b.yaml:{line}:*{expected}");
    let (place, words) = expected.split_once('*').unwrap();
    let told = |one: &str| one.contains(place) && one.contains(words);
    assert!(problems.lines().any(told), "{problems:?} lacks {expected:?}");
}

#[test]
fn everything_that_is_written_is_taken() {
    let file = parse(FINE).unwrap();
    let it = &file.scenario;
    assert_eq!((it.name.as_str(), file.about.as_str(), file.hosts()), ("b", "a test", 40));
    let blobs: Vec<_> = it.blobs.iter().map(|b| (b.name.as_str(), b.len, b.holders)).collect();
    let gb = 1_000_000_000;
    assert_eq!(blobs, [("layer 1", gb, 3), ("layer 2", gb, 3), ("base", 30_000_000, 0)]);
    assert_eq!((it.blobs[2].wanted_by, it.blobs[2].wanted_after.over.as_secs()), (0.1, 30));
    let [fast, odd] = it.groups.as_slice() else { panic!("{:?}", it.groups) };
    let burst =
        |bytes_per_sec| Rate { bytes_per_sec, burst: 300_000_000, line_bytes_per_sec: 1.25e9 };
    assert_eq!((fast.rates.up, fast.rates.down), (burst(200e6), burst(300e6)));
    assert!(!fast.rates.whole_pieces && odd.rates.whole_pieces);
    assert_eq!(odd.want, Want::Only(vec![0, 1]));
    assert_eq!(odd.reading, Reading::Window { bytes: 64 << 20 });
    assert!(matches!(odd.fate, Fate::Killed { replaced: true, .. }));
    assert_eq!((odd.counted, odd.zone, odd.policy.name().as_str()), (false, 1, "uber/kraken"));
    assert_eq!(it.network.latency, Duration::from_millis(1));
    assert_eq!(it.zone_links[0].zones, (0, 1));
    assert_eq!((it.trackers.count, it.patience.as_secs()), (2, 30));
    let targets = &file.targets;
    assert_eq!(
        (targets.of.as_deref(), targets.bound, targets.list.len()),
        (Some("fast"), Some(1.01), 2)
    );
    assert_eq!(it.check().map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    wrong("jitter", "jiter", "unknown key \"jiter\"; did you mean jitter?");
    wrong("patience: 30s", "colour: red", "unknown key \"colour\"; the keys here are about");
    wrong("link: 30MB/s", "link: -30MB/s", "link: \"-30MB/s\" is negative");
    wrong("link: 30MB/s", "link: 30", "300MB/s");
    wrong("link: 30MB/s", "link: [30MB/s]", "expected a single value, found a list");
    wrong("    link: 30MB/s\n", "    up: 30MB/s\n", "unknown");
}
