//! Rows of the table of scenarios, at 200 hosts. What their times are is the scheduler's affair;
//! here they finish, keep all promises, and are not much slower than they were.

use std::time::Duration;

use crate::sim::*;

#[track_caller]
fn check(mut scenario: Scenario, p999_max: f64) -> Report {
    scenario.network.slice_len = 1 << 20;
    let report = run(&scenario, 1).unwrap();
    assert!(report.is_ok(), "{} {:?} {:?}", report.ending, report.starving, report.violations);
    let times = report.overall;
    assert!(times.hosts > 0 && times.p999 <= p999_max, "{times:?}");
    report
}

fn readme(joins: f64) -> Scenario {
    Scenario::readme(200, Duration::from_secs_f64(joins))
}

#[test]
fn readme_joins_at_once() {
    check(readme(0.0), 1.04);
}

#[test]
fn readme_joins_within_a_second() {
    check(readme(1.0), 1.04);
}

#[test]
fn readme_joins_within_five_seconds() {
    check(readme(5.0), 1.04);
}

#[test]
fn readme_joins_within_ten_seconds() {
    check(readme(10.0), 1.04);
}

#[test]
fn readme_joins_within_thirty_seconds() {
    check(readme(30.0), 1.04);
}

/// The same on real links takes 1.17, the median of five runs, and the origin sends 1.11 copies.
/// Their caps hold back 50 ms of bytes each way.
#[test]
fn eight_hosts_take_what_they_take_on_real_links() {
    let mut scenario = Scenario::new("eight", 8);
    let rates = LinkRates::symmetric(40.0 * 1_048_576.0);
    scenario.groups[0].rates = rates;
    scenario.origins = vec![OriginGroup::new(1, rates)];
    scenario.blobs =
        vec![Blob { holders: 1, piece_len: Some(4 << 20), ..Blob::new("blob", 512 << 20) }];
    scenario.network.latency = Duration::from_millis(50);
    let mut slowest = Vec::new();
    for seed in 1..=5 {
        let report = run(&scenario, seed).unwrap();
        assert!(report.is_ok());
        slowest.push(report.overall.max);
    }
    let median = Figures::of(slowest).p50;
    assert!((1.17 * 0.95..=1.17 * 1.05).contains(&median), "{median}");
}
