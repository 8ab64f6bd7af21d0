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
    let report = check_any(scenario);
    assert_eq!(report.overall.hosts, 18);
    report
}

#[track_caller]
fn check_any(scenario: &Scenario) -> Report {
    let report = run(scenario, 1).unwrap();
    assert!(report.is_ok(), "{} {:?} {:?}", report.ending, report.starving, report.violations);
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
    let report = check_any(&with(Fate::Restarts { at: half_way(), down }));
    // All their time counts.
    assert_eq!(report.overall.hosts, 24);
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
        assert!(!forged || report.bans_due > 0);
        assert_eq!((report.bans, report.bans_made), (report.bans_due, report.bans_due));
    }
}

#[test]
fn who_is_shut_out_by_all_does_not_storm_the_tracker() {
    let mut scenario = Scenario::new("forger", 100);
    let fate = Fate::Lies { forged: true };
    scenario.groups.push(Group { fate, ..Group::new("liar", 1) });
    scenario.network.slice_len = 1 << 20;
    let report = check_any(&scenario);
    assert!(report.bans_made > 8 && report.bans_made == report.bans_due);
}

#[test]
fn a_group_that_is_replaced_as_a_whole_is_waited_for() {
    let mut scenario = with(Fate::Killed { at: half_way(), replaced: true });
    scenario.groups.remove(0);
    let report = check_any(&scenario);
    assert_eq!((report.groups[1].times.hosts, report.groups[2].times.hosts), (0, 6));
    assert!(report.ended_secs > 1.0, "{}", report.ended_secs);
    // Long after everyone else has finished, too.
    let late = Spread::at(Duration::from_secs(20));
    let report = check_any(&with(Fate::Killed { at: late, replaced: true }));
    assert_eq!(report.groups[3].times.hosts, 6);
    assert!(report.ended_secs > 20.0, "{}", report.ended_secs);
}

#[test]
fn connections_that_are_lost_for_minutes_do_not_use_up_what_may_be_announced_early() {
    let mut scenario = Scenario::new("losses", 30);
    scenario.groups[0].rates = LinkRates::symmetric(2e6);
    scenario.origins = vec![OriginGroup::new(3, LinkRates::symmetric(8e6))];
    scenario.blobs = vec![Blob { piece_len: Some(1 << 20), ..Blob::new("blob", 600_000_000) }];
    scenario.network.conn_life = Some(Duration::from_secs(2));
    let report = check_any(&scenario);
    assert!(report.ended_secs > 300.0, "{}", report.ended_secs);
    // Pauses that double take longer to reach a longer interval.
    scenario.trackers.handout.interval = Duration::from_secs(60);
    let report = check_any(&scenario);
    assert!(report.announces_early > 8 * 30, "{}", report.announces_early);
}

#[test]
fn time_goes_on_however_little_may_be_on_the_way_to_who_restarts() {
    let mut scenario = Scenario::new("restarts", 41);
    let mut restarting = Group::new("restarting", 40);
    restarting.rates = LinkRates::symmetric(30e6);
    restarting.joins = Spread::over(Duration::from_secs(3));
    let at = Spread::over(Duration::from_secs(5));
    restarting.fate = Fate::Restarts { at, down: Duration::from_secs(1) };
    scenario.groups = vec![Group::new("one", 1), restarting];
    scenario.groups[0].rates = LinkRates::symmetric(100e6);
    scenario.origins = vec![OriginGroup::new(3, LinkRates::symmetric(1200e6))];
    scenario.blobs = vec![Blob { piece_len: Some(4 << 20), ..Blob::new("blob", 100_000_000) }];
    scenario.network.slice_len = 4 << 20;
    scenario.network.window = 64 << 10;
    for seed in 1..6 {
        let report = run(&scenario, seed).unwrap();
        assert!(report.is_ok(), "{} {:?} {:?}", seed, report.starving, report.violations);
    }
}

#[test]
fn blobs_of_small_pieces_on_fast_links_are_no_storm() {
    let mut scenario = Scenario::new("fast", 6);
    scenario.groups[0].rates = LinkRates::symmetric(12.5e9);
    scenario.origins[0].rates = LinkRates::symmetric(12.5e9);
    let blob = Blob { piece_len: Some(4 << 10), ..Blob::new("blob", 1_000_000_000) };
    scenario.blobs = vec![blob];
    let report = check_any(&scenario);
    assert!(report.calls_per_sec_max > 500_000, "{}", report.calls_per_sec_max);
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
