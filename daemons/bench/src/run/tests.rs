//! What a run is made of, without one.

use super::*;

fn scenario(agents: usize, start: Start) -> Scenario {
    Scenario {
        name: "S0".to_owned(),
        about: String::new(),
        agents,
        origins: 1,
        blob_len: 100 << 20,
        piece_len: 1 << 20,
        agent_link: Some(Rate(10 << 20)),
        origin_link: None,
        cold: None,
        start,
        reads: None,
        events: Vec::new(),
    }
}

#[test]
fn agents_begin_as_the_scenario_says() {
    let second = Duration::from_secs(1);
    let zero = Duration::ZERO;
    assert_eq!(starts(&scenario(2, Start::Together)), (vec![(zero, 0), (zero, 1)], vec![]));
    let (starting, late) = starts(&scenario(3, Start::Over(2 * second)));
    assert_eq!((starting, late), (vec![(zero, 0), (second, 1), (2 * second, 2)], vec![]));
    assert_eq!(starts(&scenario(1, Start::Over(second))).0, [(zero, 0)]);
    assert_eq!(starts(&scenario(2, Start::LastIsLate)), (vec![(zero, 0)], vec![1]));
    assert_eq!(starts(&scenario(1, Start::LastIsLate)), (vec![], vec![0]));
}

#[test]
fn things_happen_after_a_part_of_the_links_time() {
    let mut scenario = scenario(3, Start::Together);
    scenario.events = vec![
        Event::Slow { agent: 0, factor: 10 },
        Event::Stop { agent: 1, at: 0.3 },
        Event::KillOrigin { origin: 0, at: 0.5 },
    ];
    let at: Vec<Duration> = events(&scenario).unwrap().into_iter().map(|(at, _)| at).collect();
    assert_eq!(at, [Duration::from_secs(3), Duration::from_secs(5)]);
    let counted: Vec<bool> = (0..3).map(|agent| is_counted(&scenario, agent)).collect();
    assert_eq!(counted, [false, false, true]);
    scenario.agent_link = None;
    assert_eq!(events(&scenario).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_run_may_take_twenty_times_what_the_link_takes_and_a_minute() {
    assert_eq!(limit(&scenario(1, Start::Together)), Duration::from_secs(260));
    let over = Start::Over(Duration::from_secs(7));
    assert_eq!(limit(&scenario(1, over)), Duration::from_secs(267));
}
