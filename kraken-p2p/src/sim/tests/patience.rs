//! When a run ends in which nothing comes of anything.

use super::star::Odd;
use super::*;

#[test]
fn who_asks_for_the_same_piece_for_ever_starves() {
    let report = run(&star(Star { odd: Odd::AsksForOne, ..asks(4) }, &[100.0 * MB]), 1).unwrap();
    assert_eq!((report.ending.as_str(), report.starving_total), ("starved", 1));
    assert_eq!(report.pieces_stored, 1);
    assert!((report.ended_secs - 20.0).abs() < 0.1, "{}", report.ended_secs);
}

#[test]
fn who_gets_wrong_pieces_for_ever_starves() {
    let mut scenario = star(asks(4), &[100.0 * MB; 2]);
    scenario.groups[0].fate = Fate::Lies { forged: false };
    scenario.groups[1].joins = Spread::at(Duration::from_secs(2));
    scenario.groups[1].policy = Arc::new(Star { odd: Odd::Believes, ..asks(1) });
    let report = run(&scenario, 1).unwrap();
    assert_eq!((report.ending.as_str(), report.starving_total), ("starved", 1));
    assert!((report.ended_secs - 22.0).abs() < 0.1, "{}", report.ended_secs);
}

#[test]
fn slow_pieces_are_waited_for() {
    // A piece takes more than 100 s.
    let mut scenario = star(asks(1), &[0.01 * MB]);
    scenario.blobs[0].len = 2 << 20;
    scenario.patience = Duration::from_secs(2);
    check(times(&scenario)[0], 210.0);
}

#[test]
fn runs_end_when_their_time_is_up_whatever_happens_next() {
    let mut scenario = star(asks(4), &[100.0 * MB; 2]);
    scenario.groups[1].joins = Spread::at(Duration::from_secs(1000));
    scenario.time_max = Duration::from_secs(10);
    let report = run(&scenario, 1).unwrap();
    assert_eq!((report.ending.as_str(), report.ended_secs), ("time is up", 10.0));
    // Who asks for nothing has begun to want something at once.
    scenario.groups[0].policy = Arc::new(asks(0));
    scenario.patience = Duration::from_secs(5);
    let report = run(&scenario, 1).unwrap();
    assert_eq!((report.ending.as_str(), report.ended_secs), ("starved", 5.0));
    // Looked at in small steps it ends at the same time.
    let mut steps = Simulation::new(&scenario, 1).unwrap();
    while steps.advance(Duration::from_millis(300)) {}
    assert_eq!(steps.into_report(), report);
}
