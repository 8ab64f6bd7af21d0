//! Whoever breaks a promise, miscounts or misbehaves is told of in the report.

use super::star::Odd;
use super::*;
use crate::sim::rate::Pipe;
use crate::sim::world::host_of;

/// Hosts of which this is odd; with one of them a link is not shared.
fn odd(odd: Odd, hosts: usize) -> Scenario {
    star(Star { odd, ..asks(4) }, &vec![100.0 * MB; hosts])
}

/// Hosts and an origin that promise this, and ask for four pieces at once.
fn promising(limits: Limits, hosts: usize) -> Scenario {
    star(Star { limits: Some(limits), ..asks(4) }, &vec![100.0 * MB; hosts])
}

/// All that is broken is of this kind, and something is.
#[track_caller]
fn broken(scenario: &Scenario, words: &str) -> Report {
    let report = run(scenario, 1).unwrap();
    check_told(&report, words);
    report
}

#[track_caller]
fn check_told(report: &Report, words: &str) {
    let told = &report.violations;
    assert!(!told.is_empty() && told.iter().all(|what| what.contains(words)), "{told:?}");
    assert!(!report.is_ok());
}

#[test]
fn limits_that_are_exceeded() {
    let none = Limits::default();
    let few = Limits { requests_per_upstream_origin: 3, ..none };
    assert_eq!(broken(&promising(few, 1), "4 requests open").ending, "finished");
    let one = Limits { pieces_at_once: 1, ..none };
    broken(&promising(one, 2), "sends 2 pieces at once");
    broken(&promising(Limits { conns_per_torrent: 1, ..none }, 2), "2 connections of a torrent");
    broken(&promising(Limits { dials_per_torrent: 0, ..none }, 1), "1 dials of a torrent");
    let once = Limits { conns_once_dialed: 0, ..none };
    broken(&promising(once, 1), "dials with 0 connections and 1 dials");
    // As much as is done is fine.
    let enough = Limits {
        conns_per_torrent: 2,
        dials_per_torrent: 1,
        conns_once_dialed: 1,
        requests_per_upstream_origin: 4,
        pieces_at_once: 2,
        ..none
    };
    assert!(run(&promising(enough, 2), 1).unwrap().is_ok());
}

#[test]
fn pieces_that_nobody_asked_for_or_nobody_has() {
    broken(&odd(Odd::SendsTwice, 1), "unasked");
    // The second to join dials the first one.
    let mut scenario = odd(Odd::Nothing, 2);
    scenario.groups[1].policy = Arc::new(Star { odd: Odd::DialsAgents, ..asks(4) });
    scenario.groups[1].joins = Spread::at(Duration::from_millis(1));
    let report = run(&scenario, 1).unwrap();
    assert!(report.violations[0].contains("sends piece 0, which it lacks"));
}

#[test]
fn calls_and_announces_that_are_too_many() {
    for odd in [self::odd(Odd::Storms, 1), self::odd(Odd::Spins, 1)] {
        assert_eq!(broken(&odd, "has a timer that goes off too often").ending, "storm");
    }
    // However many others there are.
    let mut scenario = odd(Odd::Spins, 2);
    scenario.groups[1] = Group { policy: Arc::new(asks(4)), ..Group::new("others", 3000) };
    assert_eq!(broken(&scenario, "has a timer that goes off too often").ending, "storm");
    for (odd, words) in [
        (Odd::Refuses, "asks too often within a second"),
        (Odd::Echoes, "told of something too often within a second"),
        (Odd::Tells, "tells one peer of more pieces than there are"),
        (Odd::Redials, "dials too often"),
    ] {
        let mut scenario = self::odd(odd, 1);
        scenario.origins[0].policy = Arc::clone(&scenario.groups[0].policy);
        assert_eq!(broken(&scenario, words).ending, "storm");
    }
    let report = run(&odd(Odd::Announces, 1), 1).unwrap();
    assert!(report.violations[0].contains("announces too often too early"));
    assert!(report.announces_early > 8);
}

#[test]
fn blobs_that_are_thrown_away_and_commits_too_early_or_never() {
    let report = run(&odd(Odd::Discards, 1), 1).unwrap();
    assert!(report.violations[0].contains("throws a blob away"));
    broken(&odd(Odd::CommitsEarly, 1), "commits a blob that is not all there");
    broken(&odd(Odd::NeverCommits, 1), "has all pieces of a blob and does not commit it");
}

#[test]
fn blobs_that_are_called_complete_too_early_or_never() {
    broken(&odd(Odd::CompletesEarly, 1), "calls a blob complete that is not all there");
    broken(&odd(Odd::CompletesUncommitted, 1), "calls a blob complete that was not committed");
    // The commit of the second is seen before the run is over.
    let mut scenario = odd(Odd::NeverCompletes, 2);
    scenario.groups[1].joins = Spread::at(Duration::from_secs(1));
    broken(&scenario, "does not call a blob complete that was committed");
}

#[test]
fn ids_that_are_used_twice() {
    broken(&odd(Odd::DialsTwice, 1), "uses ConnId(1) twice");
    let mut scenario = odd(Odd::DialsNobody, 2);
    scenario.origins[0].policy = Arc::new(Star { odd: Odd::AcceptsTwice, ..asks(4) });
    let report = run(&scenario, 1).unwrap();
    check_told(&report, "uses ConnId(1) twice");
}

#[test]
fn contact_with_those_that_it_has_banned() {
    let mut scenario = odd(Odd::Nothing, 2);
    scenario.groups[0].fate = Fate::Lies { forged: true };
    scenario.groups[1].policy = Arc::new(Star { odd: Odd::Trusts, ..asks(4) });
    scenario.groups[1].joins = Spread::at(Duration::from_secs(2));
    scenario.patience = Duration::from_millis(500);
    let report = broken(&scenario, "dials or accepts one that it has banned");
    assert_eq!((report.bans_due, report.bans_made), (1, 1));
}

#[test]
fn counters_that_are_wrong() {
    let report = run(&odd(Odd::Miscounts, 1), 1).unwrap();
    for what in ["counted 0 announces, and there were 1", "counted 0 pieces from origins, and"] {
        assert!(report.violations.iter().any(|told| told.contains(what)), "{report:?}");
    }
}

#[test]
fn bytes_that_are_faster_than_a_link() {
    let far = || {
        let mut scenario = star(asks(4), &[100.0 * MB]);
        scenario.groups[0].zone = 1;
        let (bytes_per_sec, latency) = (50.0 * MB, Duration::from_millis(1));
        scenario.zone_links = vec![ZoneLink { zones: (0, 1), bytes_per_sec, latency }];
        scenario
    };
    // Links that are slower than what they do.
    type Slow = fn(&mut Simulation);
    let slows: [(Slow, &str); 3] = [
        (|run| run.groups[1].rates.down = Rate::flat(49.0 * MB), "bytes came where"),
        (|run| run.groups[0].rates.up = Rate::flat(49.0 * MB), "bytes left where"),
        (|run| run.scenario.zone_links[0].bytes_per_sec = 49.0 * MB, "of its zone crossed where"),
    ];
    for (slow, words) in slows {
        let mut run = Simulation::new(&far(), 1).unwrap();
        slow(&mut run);
        assert!(!run.advance(Duration::from_secs(10)));
        check_told(&run.into_report(), words);
    }
    assert!(run(&far(), 1).unwrap().is_ok());
}

/// On average it was slow enough since the first piece was asked for.
#[test]
fn bytes_that_are_faster_than_a_link_after_a_while_without_any() {
    let mut scenario = star(asks(4), &[100.0 * MB]);
    scenario.origins[0].rates.up = Rate::flat(200.0 * MB);
    let pause = |down: f64| {
        let mut run = Simulation::new(&scenario, 1).unwrap();
        run.advance(Duration::from_millis(200));
        assert!(run.copies.iter().any(|copy| copy.requests > 0));
        let now = run.now;
        // The origin has something else to do for a second.
        run.hosts[0].up.pipe.put(now, 200_000_000, 1.0);
        if down > 100.0 * MB {
            run.hosts[1].down = Pipe::new(Rate::flat(down));
        }
        assert!(!run.advance(Duration::from_secs(10)));
        run.into_report()
    };
    let report = pause(200.0 * MB);
    check_told(&report, "bytes came where");
    assert!(report.violations.iter().all(|what| !what.contains("since they were asked for")));
    check(report.hosts[0].took_secs.unwrap(), 1.6);
    assert!(pause(100.0 * MB).is_ok());
}

/// A dial to nowhere ends too, and the peer is told.
#[test]
fn dials_to_nobody_fail() {
    assert_eq!(host_of("10.200.0.1"), Some(200 << 16));
    check(times(&odd(Odd::DialsNobody, 1))[0], 1.0);
}
