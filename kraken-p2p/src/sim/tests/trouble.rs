//! Hosts that hang, die, come back and lie; the production code copes.

use std::time::Duration;

use crate::sim::*;

/// 24 hosts fetch a blob of 300 MB within a second; six of them have this fate.
fn with(fate: Fate) -> Scenario {
    let mut scenario = Scenario::new("trouble", 18);
    scenario.blobs = vec![Blob::new("blob", 300_000_000)];
    let odd = Group { fate, ..Group::new("odd", 6) };
    scenario.groups.push(odd);
    scenario
}

fn half_way() -> Spread {
    Spread { from: Duration::from_millis(300), over: Duration::from_millis(400) }
}

#[track_caller]
fn check(scenario: &Scenario) -> Report {
    let report = run(scenario, 1).unwrap();
    assert!(report.is_ok(), "{} {:?} {:?}", report.ending, report.starving, report.violations);
    assert_eq!(report.overall.hosts, 18);
    report
}

#[test]
fn hosts_that_hang_do_not_keep_the_others() {
    let report = check(&with(Fate::Hangs { at: half_way() }));
    assert_eq!(report.groups[2].times.hosts, 0);
}

#[test]
fn hosts_that_are_killed_are_replaced() {
    let report = check(&with(Fate::Killed { at: half_way(), replaced: true }));
    assert_eq!((report.groups[2].times.hosts, report.groups[3].times.hosts), (0, 6));
    assert_eq!(report.groups[3].name, "odd, replacements");
    let report = check(&with(Fate::Killed { at: half_way(), replaced: false }));
    assert_eq!(report.hosts.len(), 24);
}

#[test]
fn hosts_that_restart_go_on_with_what_is_on_disk() {
    let down = Duration::from_secs(1);
    let report = check(&with(Fate::Restarts { at: half_way(), down }));
    let odd = &report.groups[2];
    assert_eq!(odd.times.hosts, 6);
    assert!(odd.times.max < 1.0 + 1.0 + 1.5, "{:?}", odd.times);
    assert_eq!(report.pieces_stored, 24 * 287);
}

#[test]
fn lies_are_found_and_their_tellers_shut_out() {
    for forged in [false, true] {
        let mut scenario = with(Fate::Lies { forged });
        scenario.groups[1].count = 1;
        let report = check(&scenario);
        assert!(report.pieces_corrupt > 0);
        // A flipped bit may be an accident: it takes three.
        assert!(!forged || report.closes["lied"] > 0, "{:?}", report.closes);
    }
}

#[test]
fn connections_that_are_lost_are_replaced() {
    let mut scenario = with(Fate::Stays);
    scenario.groups.truncate(1);
    scenario.network.conn_life = Some(Duration::from_secs(2));
    let report = check(&scenario);
    assert!(report.closes["remote"] > 20);
}

#[test]
fn readers_get_the_beginning_first() {
    let mut scenario = with(Fate::Stays);
    scenario.groups[1].counted = false;
    scenario.groups[1].reading = Reading::Window { bytes: 64 << 20 };
    let report = check(&scenario);
    let (whole, window) = (&report.groups[1], &report.groups[2]);
    assert!(window.first_piece_secs.p50 < whole.first_piece_secs.p50);
}
