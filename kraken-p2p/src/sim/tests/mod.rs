//! The engine by itself, with a policy so simple that every time can be told beforehand.

mod patience;
mod promises;
mod rows;
mod stalls;
mod star;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use self::star::Star;
use super::*;

const MB: f64 = 1e6;

/// Everyone fetches 100 MB in pieces of 1 MiB from one origin at 100 MB/s; the hosts' downlinks
/// have these rates.
fn star(star: Star, down: &[f64]) -> Scenario {
    let mut scenario = Scenario::new("star", 1);
    let policy: Arc<dyn Policy> = Arc::new(star);
    let group = |rate: &f64| Group {
        rates: LinkRates { down: Rate::flat(*rate), ..LinkRates::symmetric(100.0 * MB) },
        policy: Arc::clone(&policy),
        ..Group::new("hosts", 1)
    };
    scenario.groups = down.iter().map(group).collect();
    let rates = LinkRates::symmetric(100.0 * MB);
    scenario.origins = vec![OriginGroup { policy, ..OriginGroup::new(1, rates) }];
    let blob = Blob { holders: 1, piece_len: Some(1 << 20), ..Blob::new("blob", 100_000_000) };
    scenario.blobs = vec![blob];
    scenario.patience = Duration::from_secs(20);
    scenario
}

fn asks(window: usize) -> Star {
    Star { window, ..Star::default() }
}

/// The times of all hosts, in seconds.
fn times(scenario: &Scenario) -> Vec<f64> {
    let report = run(scenario, 1).unwrap();
    assert!(report.is_ok(), "{:?} {:?}", report.starving, report.violations);
    report.hosts.iter().map(|host| host.took_secs.unwrap()).collect()
}

#[track_caller]
fn check(seconds: f64, expected: f64) {
    assert!((seconds / expected - 1.0).abs() < 0.015, "{seconds} s, not {expected}");
}

#[test]
fn one_flow_goes_at_the_rate_of_the_link() {
    check(times(&star(asks(4), &[100.0 * MB]))[0], 1.0);
    // The slower of the two links counts.
    check(times(&star(asks(4), &[50.0 * MB]))[0], 2.0);
    check(times(&star(asks(4), &[500.0 * MB]))[0], 1.0);
}

#[test]
fn one_request_at_a_time_costs_a_round_trip_each() {
    let mut scenario = star(asks(1), &[100.0 * MB]);
    scenario.network.latency = Duration::from_millis(5);
    // 96 pieces; a round trip for the announce, two for the dial.
    check(times(&scenario)[0], 1.0 + 96.0 * 0.01 + 0.03);
}

#[test]
fn flows_share_an_uplink() {
    for times in [times(&star(asks(4), &[100.0 * MB; 2])), times(&star(asks(1), &[100.0 * MB; 2]))]
    {
        check(times[0], 2.0);
        check(times[1], 2.0);
    }
}

#[test]
fn a_slow_receiver_holds_up_nobody_else() {
    let times = times(&star(asks(4), &[10.0 * MB, 100.0 * MB]));
    check(times[0], 10.0);
    // At first the slow one takes half, until its connection's window is full.
    check(times[1], 103.2 / 90.0);
}

#[test]
fn whole_pieces_take_turns_too() {
    let mut scenario = star(asks(4), &[100.0 * MB; 2]);
    scenario.origins[0].rates.whole_pieces = true;
    let times = times(&scenario);
    check(times[0], 2.0);
    check(times[1], 2.0);
}

#[test]
fn a_burst_comes_first() {
    let mut scenario = star(asks(8), &[1000.0 * MB]);
    let up = &mut scenario.origins[0].rates.up;
    *up = Rate { bytes_per_sec: 100.0 * MB, burst: 50_000_000, line_bytes_per_sec: 1000.0 * MB };
    check(times(&scenario)[0], 0.5);
}

#[test]
fn a_thin_link_between_zones_is_shared_and_keeps_no_one_else() {
    let mut scenario = star(asks(4), &[100.0 * MB; 3]);
    for far in [1, 2] {
        scenario.groups[far].zone = 7;
    }
    let bytes_per_sec = 20.0 * MB;
    let latency = Duration::from_millis(2);
    scenario.zone_links = vec![ZoneLink { zones: (7, 0), bytes_per_sec, latency }];
    let times = times(&scenario);
    check(times[0], 100.0 / 80.0);
    check(times[1], 10.0);
    check(times[2], 10.0);
    let report = run(&scenario, 1).unwrap();
    assert_eq!(report.zone_bytes, [((7, 0), [0, 200_000_000])]);
}

#[test]
fn what_crosses_a_very_thin_link_is_seen_to_come() {
    let mut scenario = Scenario::new("thin", 1);
    scenario.groups[0].zone = 7;
    scenario.blobs =
        vec![Blob { piece_len: Some(1 << 20), holders: 1, ..Blob::new("blob", 1 << 20) }];
    scenario.origins[0].count = 1;
    scenario.network.slice_len = 1 << 20;
    let latency = Duration::from_millis(2);
    scenario.zone_links = vec![ZoneLink { zones: (0, 7), bytes_per_sec: 50_000.0, latency }];
    let report = run(&scenario, 1).unwrap();
    assert!(report.is_ok(), "{:?} {:?}", report.starving, report.violations);
    // Nobody thought it lost and asked again.
    assert_eq!(report.zone_bytes, [((0, 7), [1 << 20, 0])]);
}

#[test]
fn a_tracker_answers_one_after_the_other() {
    let mut scenario = star(asks(4), &[1000.0 * MB; 3]);
    scenario.origins[0].rates.up = Rate::flat(10_000.0 * MB);
    scenario.trackers.service = Duration::from_secs(1);
    let times = times(&scenario);
    let transfer = 0.1;
    check(times[0], 1.0 + transfer);
    check(times[1], 2.0 + transfer);
    check(times[2], 3.0 + transfer);
}

#[test]
fn pieces_take_their_time_to_be_written_and_blobs_theirs_to_be_wanted() {
    let mut scenario = star(asks(1), &[100.0 * MB]);
    scenario.network.piece_time = Duration::from_millis(10);
    scenario.groups[0].joins = Spread::at(Duration::from_secs(3));
    scenario.blobs[0].wanted_after = Spread::at(Duration::from_secs(2));
    let report = run(&scenario, 1).unwrap();
    let host = &report.hosts[0];
    assert_eq!((host.joined_secs, host.blobs[0].wanted_secs), (3.0, Some(5.0)));
    check(host.took_secs.unwrap(), 1.0 + 96.0 * 0.0105);
    check(report.ended_secs, 5.0 + host.took_secs.unwrap());
    assert_eq!(report.finished_curve.last(), Some(&1));
    assert_eq!(report.origin_bytes_curve.iter().sum::<u64>(), 100_000_000);
}

#[test]
fn the_same_seed_gives_the_same_digits_and_another_one_does_not() {
    let mut scenario = Scenario::readme(20, Duration::from_secs(1));
    scenario.network.slice_len = 1 << 20;
    scenario.network.jitter = 0.2;
    scenario.network.conn_life = Some(Duration::from_secs(20));
    let report = |seed| {
        let report = run(&scenario, seed).unwrap();
        assert!(report.is_ok(), "{:?} {:?}", report.starving, report.violations);
        serde_json::to_string(&report).unwrap()
    };
    assert_eq!(report(1), report(1));
    assert_ne!(report(1), report(2));
}

#[test]
fn a_run_can_be_looked_at_and_stopped() {
    let scenario = star(asks(4), &[100.0 * MB]);
    let mut looks = 0;
    let report = run_with(&scenario, 1, |progress| {
        looks += 1;
        assert_eq!(progress.copies_total, 1);
        if progress.time < Duration::from_millis(500) {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    });
    let report = report.unwrap();
    assert_eq!((looks, report.ending.as_str()), (5, "stopped"));
    assert!((40..60).contains(&report.pieces_stored));
}

#[test]
fn a_run_of_many_events_can_be_stopped_within_a_moment() {
    let mut scenario = star(asks(4), &[100.0 * MB]);
    // More than a million events in a tenth of a second.
    scenario.network.slice_len = 8;
    let (mut looks, mut last) = (0, None);
    let report = run_with(&scenario, 1, |progress| {
        looks += 1;
        last = Some(*progress);
        if looks < 3 {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    });
    assert_eq!(report.unwrap().ending, "stopped");
    let last = last.unwrap();
    assert_eq!(last.events, 3 << 16);
    assert!(last.time < Duration::from_millis(100), "{last:?}");
}

#[test]
fn a_policy_that_asks_for_nothing_is_named_and_ends() {
    let mut scenario = star(asks(0), &[100.0 * MB; 2]);
    scenario.groups[1].policy = Arc::new(asks(4));
    let report = run(&scenario, 1).unwrap();
    assert_eq!((report.ending.as_str(), report.starving_total), ("starved", 1));
    assert!(!report.is_ok());
    let starving = &report.starving[0];
    assert_eq!((starving.pieces_missing, starving.conns, starving.conns_of_use), (96, 1, 1));
    assert_eq!(starving.first_missing, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(report.ended_secs < 25.0);
}

#[test]
fn what_is_on_order_is_shared_among_torrents() {
    let limits = Limits {
        in_flight_bytes: 4 << 20,
        in_flight_pieces_min: 14,
        in_flight_min_bytes: 8 << 20,
        in_flight_each_min: 2,
        ..Limits::default()
    };
    let broken = |window, blobs| {
        let mut scenario = star(Star { limits: Some(limits), ..asks(window) }, &[100.0 * MB]);
        let blob = scenario.blobs[0].clone();
        scenario.blobs = (0..blobs).map(|_| blob.clone()).collect();
        run(&scenario, 1).unwrap().violations
    };
    // Eight pieces of 1 MiB, and four that may be moved.
    assert_eq!(broken(12, 1), [""; 0]);
    assert!(broken(13, 1)[0].contains("13 pieces of a torrent on order, of 8"));
    // Four each; with five torrents and more two.
    assert_eq!(broken(8, 2), [""; 0]);
    assert!(broken(9, 2)[0].contains("9 pieces of a torrent on order, of 4"));
    assert_eq!(broken(6, 5), [""; 0]);
    assert!(broken(7, 5)[0].contains("7 pieces of a torrent on order, of 2"));
}

#[test]
fn what_cannot_be_run_is_refused() {
    type Spoil = fn(&mut Scenario);
    let spoils: [(&str, Spoil); 21] = [
        ("no hosts", |scenario| scenario.groups.clear()),
        ("no blobs", |scenario| scenario.blobs.clear()),
        ("its length is zero", |scenario| scenario.blobs[0].len = 0),
        ("more holders than there are origins", |scenario| scenario.blobs[0].holders = 2),
        ("rate of -1 bytes/s", |scenario| scenario.groups[0].rates.up = Rate::flat(-1.0)),
        ("latency is zero", |scenario| scenario.network.latency = Duration::ZERO),
        ("wants blob 3 of 1", |scenario| scenario.groups[0].want = Want::Only(vec![3])),
        ("more than", |scenario| scenario.groups[0].count = usize::MAX / 2),
        ("more than", |scenario| {
            scenario.groups.push(Group::new("most", usize::MAX));
            scenario.groups[0].count = 2;
        }),
        ("nobody is to finish", |scenario| {
            let at = Spread::at(Duration::from_secs(500));
            scenario.groups[0].fate = Fate::Killed { at, replaced: false };
        }),
        ("nobody is to finish", |scenario| {
            scenario.groups[0].fate = Fate::Hangs { at: Spread::default() };
        }),
        ("nobody is to finish", |scenario| scenario.groups[0].want = Want::Only(vec![])),
        ("nobody is to finish", |scenario| {
            scenario.groups[0].count = 10;
            scenario.blobs[0].wanted_by = 0.04;
        }),
        ("joins is longer than 1000 h", |scenario| {
            scenario.groups[0].joins = Spread::over(Duration::MAX);
        }),
        ("its fate is longer", |scenario| {
            let down = Duration::from_secs(1);
            scenario.groups[0].fate = Fate::Restarts { at: Spread::at(Duration::MAX), down };
        }),
        ("how long it is down is longer", |scenario| {
            let (at, down) = (Spread::default(), Duration::MAX);
            scenario.groups[0].fate = Fate::Restarts { at, down };
        }),
        ("interval is longer than 60s", |scenario| {
            scenario.trackers.handout.interval = Duration::from_secs(61);
        }),
        ("service is longer", |scenario| scenario.trackers.service = Duration::MAX),
        ("time_max is longer", |scenario| scenario.time_max = Duration::MAX),
        ("slices of", |scenario| scenario.network.slice_len = u64::MAX),
        ("conn_life is longer", |scenario| scenario.network.conn_life = Some(Duration::MAX)),
    ];
    for (text, spoil) in spoils {
        let mut scenario = star(asks(4), &[100.0 * MB]);
        spoil(&mut scenario);
        let error = run(&scenario, 1).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
