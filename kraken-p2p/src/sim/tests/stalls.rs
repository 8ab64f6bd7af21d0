//! What is on the way to slow links, and what becomes of those that take nothing.

use super::*;
use crate::node::limits::SEND_SILENCE_MAX;

/// Ten hosts behind a link that leaves each of them 256 KiB in five seconds.
fn thin() -> Scenario {
    let mut scenario = star(asks(4), &[100.0 * MB; 10]);
    for group in &mut scenario.groups {
        group.zone = 1;
    }
    let (bytes_per_sec, latency) = (0.5 * MB, Duration::from_millis(2));
    scenario.zone_links = vec![ZoneLink { zones: (0, 1), bytes_per_sec, latency }];
    scenario.network.window = 512 << 10;
    scenario.blobs[0].len = 2 << 20;
    scenario
}

#[test]
fn who_waits_in_turn_for_a_thin_link_is_not_given_up() {
    let report = run(&thin(), 1).unwrap();
    assert!(report.is_ok(), "{:?} {:?}", report.starving, report.violations);
    assert_eq!(report.closes.get("stalled"), None);
    check(report.ended_secs, 10.0 * (2 << 20) as f64 / (0.5 * MB));
}

#[test]
fn who_takes_nothing_is_given_up_in_time_and_not_before() {
    let mut scenario = thin();
    scenario.groups.push(Group { name: "living".into(), ..scenario.groups[0].clone() });
    let hang = Duration::from_secs(12);
    scenario.groups[0].fate = Fate::Hangs { at: Spread::at(hang) };
    let mut run = Simulation::new(&scenario, 1).unwrap();
    let step = Duration::from_millis(100);
    while run.tally.closes.is_empty() && run.advance(step) {}
    assert_eq!(run.tally.closes.get("stalled"), Some(&1));
    let after = run.progress().time - hang;
    // Its last slice may be on the link for a round of all others, and what waits comes then.
    assert!(after >= SEND_SILENCE_MAX && after < 6 * SEND_SILENCE_MAX, "{after:?}");
}

#[test]
fn no_more_is_on_the_way_to_a_slow_host_than_comes_in_a_quarter_of_a_second() {
    let mut scenario = star(asks(4), &[0.1 * MB]);
    scenario.origins[0].rates = LinkRates::symmetric(1200.0 * MB);
    scenario.blobs[0].len = 1 << 20;
    let mut run = Simulation::new(&scenario, 1).unwrap();
    let mut most = 0;
    while run.advance(Duration::from_millis(1)) {
        most = most.max(run.ends.iter().map(|end| end.in_flight).max().unwrap_or(0));
    }
    assert!((20_000..=25_000).contains(&most), "{most}");
    let report = run.into_report();
    assert!(report.is_ok(), "{} {:?} {:?}", report.ending, report.starving, report.violations);
    // Whole pieces go out whole.
    scenario.origins[0].rates.whole_pieces = true;
    let mut run = Simulation::new(&scenario, 1).unwrap();
    run.advance(Duration::from_secs(1));
    assert_eq!(run.ends[1].in_flight, 1 << 20);
}
