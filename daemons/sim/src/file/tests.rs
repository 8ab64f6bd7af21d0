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
    // What is wrong with a whole item is said where it begins.
    let item = format!("b.yaml:{}:", line_of_item(line));
    let told = |one: &str| (one.contains(place) || one.contains(&item)) && one.contains(words);
    assert!(problems.lines().any(told), "{problems:?} lacks {expected:?}");
}

/// The line on which the item of a list begins that goes on over this line.
fn line_of_item(line: usize) -> usize {
    let lines: Vec<&str> = FINE.lines().take(line).collect();
    let begins = lines.iter().rposition(|line| line.starts_with("  - "));
    begins.map_or(line, |at| at + 1)
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
    wrong("{name: fast", "{nam: fast", "unknown key \"nam\"; did you mean name?");
    wrong("    link: 30MB/s", "    link: -30MB/s", "link: \"-30MB/s\" is negative");
    wrong("    link: 30MB/s", "    link: 30", "link: \"30\" is no rate such as 300MB/s");
    wrong("    link: 30MB/s", "    link: [30MB/s]", "expected a single value, found a list");
    wrong("    link: 30MB/s", "    link:", "link: nothing is given");
    wrong("up: 200MB/s, down", "link: 200MB/s, down", "link is both directions");
    wrong("up: 200MB/s, down", "up", "link is missing, or up and down");
    wrong("at 1.25GB/s", "at 1.25MB/s", "the line is slower than the link");
    wrong("count: 30,", "count: 0,", "count: it is 0");
    wrong("count: 30,", "count: many,", "count: \"many\" is no whole number such as 2600");
    wrong("count: 30,", "count: 3000000,", "count: more than 2097152 hosts");
    wrong("count: 30,", "size: 30,", "count is missing");
    wrong("name: odd", "name: fast", "another group is called \"fast\" already");
    wrong("killed: over 10s", "killed: 10s", "killed: \"10s\" is not when, such as");
    wrong("policy: uber-kraken", "policy: uber", "none of swarm, uber-kraken, uber-kraken-re");
    wrong("wants: [layer]", "wants: [lay]", "wants: no blob is called \"lay\"");
    wrong("wants: [layer]", "wants: layer", "wants: expected a list, found a single value");
    wrong("replaced: yes", "replaced: maybe", "replaced: \"maybe\" is none of yes, no");
    wrong("replaced: yes", "hangs: at 1s", "hangs and killed cannot be had together");
    wrong("size: 1GB", "size: 0GB", "size: it is 0 bytes");
    wrong("size: 1GB", "size: 17000GB, name: x", "is given twice");
    wrong("size: 1GB, piece: 4MiB", "size: 1000GB, piece: 4KiB", "pieces of 4096 bytes are more");
    wrong("count: 2, size", "count: 20000, size", "count: more than 10000 blobs");
    wrong("piece: 4MiB", "piece: 64GiB", "piece: piece length 68719476736 is out of bounds");
    wrong("name: base", "name: layer 2", "name: another blob is called \"layer 2\" already");
    wrong("slice: 1MiB", "slice: 1B", "slice: \"1B\" is less than 1KiB");
    wrong("slice: 1MiB", "slice: 5GiB", "slice: \"5GiB\" is more than 4GiB");
    wrong("window: 4MiB", "window: 1B", "window: \"1B\" is less than 1KiB");
    wrong("wanted_by: 10%", "wanted_by: 110%", "wanted_by: \"110%\" is no share such as 10%");
    wrong("holders: all", "holders: 6", "holders: there are 5 origins");
    wrong("round_trip: 2ms", "round_trip: 0ms", "round_trip: it is 0");
    wrong("round_trip: 2ms", "round_trip: 1ns", "round_trip: it must be 2ns at least");
    wrong("jitter: 20%", "jitter: 100%", "jitter: it must be below 100%");
    wrong("0 and 1", "1 and 1", "between: it is one zone");
    wrong("0 and 1", "1 and 7", "between: nobody is in zone 7");
    wrong("name: odd", "name: origins", "name: another group is called \"origins\" already");
    wrong(
        "p50: 1.03",
        "p50: 1.03, p99.9: 1.0",
        "p99.9: no policy can be below 1.01, as bound says",
    );
    wrong("max: within 15% of 1.18", "max: 1.0", "max: no policy can be below 1.01, as bound says");
    wrong("patience: 30s", "uber_kraken: rnu", "uber_kraken: \"rnu\" is none of run, none, or");
    wrong(
        "killed: over 10s\n    replaced: yes",
        "down_for: 1m\n    restarts: at 1s",
        "down_for: the run's patience is 30s",
    );
    wrong("p50: 1.03", "later_than_honest: 1%", "later_than_honest: no hosts lie");
    wrong("p50: 1.03", "liars_banned: yes", "liars_banned: no hosts lie");
    wrong("0 and 1", "0-1", "between: write it like \"0 and 1\"");
    wrong("time_max: 1h", "time_max: 9999h", "time_max: 9999h is longer than 1000h");
    wrong("interval: 5s", "interval: 2m", "interval: no host believes more than 60s");
    wrong("about: a test", "about: \"a\\e[2Jb\"", "about: it has the control character 0x1b");
    wrong("over 30s, h", "at 61m, h", "wanted: up to 3660s after the start, and time_max is 3600s");
    wrong("service: 1ms", "service: 61m", "service: an announce takes 3660s, and time_max is 3600");
    wrong("of: fast", "of: slow", "of: no hosts are called \"slow\"");
    wrong("within 15% of", "within 15%", "is no range such as");
}

#[test]
fn what_would_happen_after_the_end_of_the_run_is_refused() {
    let told = |from: &str, to: &str, time_max: &str| {
        let text = FINE.replace(from, to).replace("time_max: 1h", time_max);
        parse(&text).map(|_| ()).unwrap_err().to_string()
    };
    let end = "after the start, and time_max is";
    let error = told("over 30s, h", "over 1s, h", "time_max: 8s");
    assert_eq!(error, format!("a/b.yaml:12:13: killed: up to 13s {end} 8s"));
    let error = told("over 30s, h", "over 1s, h", "time_max: 2s");
    assert_eq!(error, format!("a/b.yaml:10:12: joins: up to 3s {end} 2s"));
    // Two blobs are written before this one.
    let error = told("over 30s, h", "at 5h, h", "");
    assert_eq!(error, format!("a/b.yaml:4:62: wanted: up to 18000s {end} 14400s"));
    let restarts = "restarts: over 8s\n    down_for: 20s";
    let killed = "killed: over 10s\n    replaced: yes";
    let error = told(killed, restarts, "time_max: 30s");
    assert_eq!(error, format!("a/b.yaml:12:15: restarts: up to 31s {end} 30s"));
    // Those who want a blob late because they join late.
    let text = FINE.replace("piece: 4MiB}", "piece: 4MiB, wanted: at 5s}");
    let error = text.replace("over 30s, h", "over 1s, h").replace("over 10s", "over 1s");
    let error = parse(&error.replace("time_max: 1h", "time_max: 7s")).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), format!("a/b.yaml:3:61: wanted: up to 8s {end} 7s"));
}

#[test]
fn a_blob_of_just_that_name_is_meant() {
    let text = FINE.replacen("name: base", "name: layer", 1);
    let names = |text: &str| {
        let it = parse(text).unwrap().scenario;
        let Want::Only(only) = &it.groups[1].want else { panic!("{:?}", it.groups[1].want) };
        only.iter().map(|at| it.blobs[*at].name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(FINE), ["layer 1", "layer 2"]);
    assert_eq!(names(&text), ["layer"]);
}

#[test]
fn nobody_is_called_like_those_who_take_the_places_of_the_dead() {
    let text = FINE.replace("fast", "'odd, replacements'");
    let error = parse(&text).map(|_| ()).unwrap_err().to_string();
    let what = "6:12: name: another group is called \"odd, replacements\" already";
    assert!(error.ends_with(what), "{error}");
}

#[test]
fn copies_cross_links_that_are_there() {
    let text = FINE.replace("p50: 1.03", "copies_crossing: 2");
    parse(&text).unwrap();
    let link = "zone_links:\n  - {between: 0 and 1, link: 100MB/s, round_trip: 10ms}\n";
    let error = parse(&text.replace(link, "")).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("copies_crossing: there are no zone_links"), "{error}");
}

#[test]
fn several_things_that_are_wrong_are_all_said() {
    let problems = parse("hosts: [{count: 0}]\norigins: 5\n").map(|_| ()).unwrap_err();
    let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
    for words in
        ["blobs is missing", "count: it is 0", "link is missing", "origins: expected a list"]
    {
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:?}");
    }
    assert!(lines.iter().all(|line| line.starts_with("a/b.yaml:")), "{lines:?}");
    for nothing in ["", "hosts: []\nblobs: []\norigins: []\n", "[]", "a: [", "hosts: {}\n"] {
        assert!(parse(nothing).is_err(), "{nothing}");
    }
}

#[test]
fn what_is_wrong_is_said_once() {
    for (from, to, expected) in [
        (
            "piece: 4MiB",
            "piece: 64GiB",
            "a/b.yaml:3:47: piece: piece length 68719476736 is out of ",
        ),
        ("1GB, piece: 4MiB", "1000GB, piece: 4KiB", "a/b.yaml:3:35: size: 244140625 pieces of "),
    ] {
        let problems = parse(&FINE.replacen(from, to, 1)).map(|_| ()).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems}") };
        assert!(problem.to_string().starts_with(expected), "{problem}");
    }
}

#[test]
fn somebody_must_finish() {
    let base = "blobs: [{size: 1GB, wanted_by: 100%}]\nhosts:\n  - {count: 10, link: 1GB/s}\n\
                origins: [{count: 3, link: 1GB/s}]\n";
    parse(base).unwrap();
    for fine in ["killed: at 5s, replaced: yes", "restarts: at 5s", "lies: flipped-bits"] {
        parse(&base.replace("count: 10", &format!("count: 10, {fine}"))).unwrap();
    }
    for (from, to, expected) in [
        ("count: 10", "count: 10, killed: at 500s", "3:25: killed: nobody must finish: all hosts"),
        ("count: 10", "count: 10, hangs: at 500s", "3:24: hangs: nobody must finish: all hosts"),
        ("count: 10", "count: 10, wants: []", "3:24: nobody must finish: no host that lives"),
        ("100%", "4%", "1:32: nobody must finish: no host that lives wants a blob"),
        ("100%", "0", "1:32: nobody must finish: no host that lives wants a blob"),
    ] {
        let error = parse(&base.replace(from, to)).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("a/b.yaml:{expected}")), "{error}");
    }
}

#[test]
fn targets_are_about_hosts_that_count() {
    let of = |fate: &str| FINE.replacen("count: 30,", &format!("count: 30, {fate},"), 1);
    for (fate, why) in [
        ("hangs: at 5s", "hang"),
        ("killed: at 5s", "are killed"),
        ("killed: at 5s, replaced: yes", "are killed"),
        ("lies: forged-pieces", "lie"),
    ] {
        let error = parse(&of(fate)).map(|_| ()).unwrap_err().to_string();
        let expected = format!("a/b.yaml:26:15: of: hosts that {why} are never counted");
        assert_eq!(error, expected);
        let alone = of(fate).replace("{of: fast, p50: 1.03", "{of: odd, no_worse_alone: fast");
        let alone = alone.replace("    killed: over 10s\n    replaced: yes\n", "");
        let error = parse(&alone).map(|_| ()).unwrap_err().to_string();
        let expected = format!("no_worse_alone: hosts that {why} are never counted");
        assert!(error.ends_with(&expected), "{error}");
    }
    parse(&of("restarts: at 5s")).unwrap();
    let alike =
        FINE.replace("    policy: uber-kraken\n", "").replace("p50: 1.03", "no_worse_alone: fast");
    let error = parse(&alike).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("no_worse_alone: all run the same policy"), "{error}");
    let nobody = of("counted: no").replace("of: fast, ", "");
    let error = parse(&nobody).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "a/b.yaml:26:10: targets: they are about times, and no hosts are counted");
}

#[test]
fn files_without_an_end_and_files_that_are_no_text_are_refused() {
    let error = ScenarioFile::read(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(error, "/dev/zero: more bytes than a scenario's 1048576");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"about: a test\nblobs: \xc3\xa4\xff\n").unwrap();
    let error = ScenarioFile::read(file.path()).unwrap_err().to_string();
    let expected = ":2:9: the byte 0xff is no text: a scenario is UTF-8";
    assert!(error.ends_with(expected), "{error}");
    std::fs::write(file.path(), FINE).unwrap();
    assert_eq!(ScenarioFile::read(file.path()).unwrap().hosts(), 40);
}

#[test]
fn more_hosts_than_memory_allows_are_refused_with_their_line() {
    let file = parse(FINE).unwrap();
    file.check_memory(1 << 30).unwrap();
    let error = file.check_memory(1000).unwrap_err().to_string();
    let start = "a/b.yaml:6:25: a run with 40 hosts needs about ";
    assert!(error.starts_with(start), "{error}");
    let end = "and 1 MiB are there; take fewer hosts, shorter blobs or longer pieces";
    assert!(error.ends_with(end), "{error}");
}

#[test]
fn hosts_are_scaled_in_proportion() {
    let file = parse(FINE).unwrap();
    for (hosts, expected) in [(400, [300, 100]), (40, [30, 10]), (7, [6, 1]), (2, [1, 1])] {
        let scaled = file.clone().scaled(hosts).unwrap();
        let counts: Vec<usize> = scaled.scenario.groups.iter().map(|group| group.count).collect();
        assert_eq!(counts, expected);
    }
    let error = file.scaled(1).unwrap_err().to_string();
    assert!(error.contains("1 hosts are fewer than its 2 groups"), "{error}");
}

#[test]
fn figures_that_were_kept_are_those_of_as_many_hosts() {
    let kept = parse(&FINE.replace("about: a", "uber_kraken: 2.4 / 2.5 / 2.6\nabout: a")).unwrap();
    let column = Column::Kept("2.4 / 2.5 / 2.6".to_owned());
    assert_eq!(kept.clone().scaled(40).unwrap().column, column);
    assert_eq!(kept.scaled(20).unwrap().column, Column::None);
    assert_eq!(parse(FINE).unwrap().scaled(20).unwrap().column, Column::Run);
}

#[test]
fn groups_are_few_and_those_who_want_the_same_many_blobs_are_soon_read() {
    let groups = |count: usize, wants: &str| {
        let line = |at| format!("  - {{name: g{at}, count: 1, link: 1GB/s, wants: [{wants}]}}\n");
        let hosts: String = (0..count).map(line).collect();
        let blobs = "blobs: [{name: b, count: 10000, size: 1MB, wanted: over 1s}]\n";
        let origins = "origins: [{count: 3, link: 1GB/s}]\nnetwork: {conn_life: 1m}\n";
        parse(&format!("{blobs}hosts:\n{hosts}{origins}"))
    };
    let error = groups(257, "b").map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "a/b.yaml:259:5: hosts: more than 256 groups");
    let file = groups(256, &["b"; 500].join(", ")).unwrap();
    let all = Want::Only((0..10_000).collect());
    assert!(file.scenario.groups.iter().all(|group| group.want == all));
    file.check_memory(1 << 40).unwrap();
}

#[test]
fn a_policy_is_that_of_hosts_origins_and_trackers() {
    let file = parse(FINE).unwrap();
    let theirs = file.with_policy(PolicyName::UberKraken);
    assert!(theirs.groups.iter().all(|it| it.policy.name() == "uber/kraken"));
    assert!(theirs.origins.iter().all(|it| it.policy.name() == "uber/kraken"));
    // Their limiter of bandwidth lets whole pieces out.
    assert!(theirs.groups.iter().all(|it| it.rates.whole_pieces));
    let ours = file.with_policy(PolicyName::Swarm);
    assert!(ours.groups.iter().all(|it| !it.rates.whole_pieces && it.policy.name() == "kraken"));
    assert_eq!(file.policy_of("odd"), Some(PolicyName::UberKraken));
}

#[test]
fn every_scenario_that_has_a_name_is_sound_and_has_targets() {
    for (name, _) in builtin::NAMED {
        let file = builtin::named(name).unwrap();
        assert!(!file.about.is_empty() && !file.targets.list.is_empty(), "{name}");
        assert_eq!(file.scenario.name, *name);
    }
    let error = builtin::named("reame-j1").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("did you mean readme-j1?"), "{error}");
}
