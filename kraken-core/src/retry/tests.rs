//! Tests of the retry queue: its order, its outages, its bounds; and a model of any use.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn queue() -> RetryQueue<u32, &'static str> {
    RetryQueue::new(RetryConfig::default())
}

fn keys(queue: &mut RetryQueue<u32, &'static str>, now: Time) -> Vec<u32> {
    std::iter::from_fn(|| queue.next(now)).map(|task| task.key).collect()
}

/// Lets every attempt fail until `until`, as a driver would; the number of attempts.
fn fail_all(queue: &mut RetryQueue<u32, &'static str>, mut now: Time, until: Time) -> usize {
    let mut attempts = 0;
    loop {
        let handed_out = keys(queue, now);
        attempts += handed_out.len();
        for key in handed_out {
            queue.failed(&key, now);
        }
        match queue.poll_timeout() {
            Some(at) if at <= until => now = at.max(now),
            _ => return attempts,
        }
    }
}

#[test]
fn tasks_come_in_the_order_of_their_times_and_once() {
    let mut queue = queue();
    assert_eq!(queue.push(1, "a", at(20), at(0)), Pushed::Queued);
    assert_eq!(queue.push(2, "b", at(10), at(0)), Pushed::Queued);
    assert_eq!(queue.push(1, "a", at(30), at(0)), Pushed::Known);
    assert_eq!(queue.poll_timeout(), Some(at(10)));
    assert_eq!(queue.next(at(9)), None);
    assert_eq!(keys(&mut queue, at(20)), [2, 1]);
    assert_eq!(queue.poll_timeout(), None);
    assert!(queue.done(&1, at(21)) && queue.done(&2, at(21)));
    assert!(!queue.done(&2, at(21)) && queue.is_empty());
    assert!(queue.lanes.is_empty() && queue.agenda.is_empty() && queue.waiting.is_empty());
}

#[test]
fn the_oldest_is_the_one_pushed_first_however_often_it_failed() {
    let mut queue = queue();
    assert_eq!(queue.oldest(), None);
    queue.push(1, "a", at(5), at(5));
    queue.push(2, "a", at(0), at(7));
    assert!(queue.next(at(7)).is_some());
    queue.failed(&2, at(8));
    assert_eq!(queue.oldest(), Some(at(5)));
    assert_eq!(keys(&mut queue, at(9)), [1]);
    queue.push(1, "a", at(9), at(9));
    assert!(!queue.done(&1, at(10)));
    assert_eq!(queue.oldest(), Some(at(7)));
}

#[test]
fn a_task_pushed_while_in_flight_runs_again() {
    let mut queue = queue();
    queue.push(1, "a", at(0), at(0));
    assert!(queue.next(at(0)).is_some());
    assert_eq!(queue.push(1, "a", at(0), at(0)), Pushed::Again);
    assert!(queue.next(at(0)).is_none());
    assert!(!queue.done(&1, at(1)));
    assert_eq!(queue.next(at(1)), Some(Task { key: 1, failures: 0 }));
    assert!(queue.done(&1, at(2)));
}

#[test]
fn an_earlier_time_holds_and_a_waiting_task_can_be_removed() {
    let mut queue = queue();
    queue.push(1, "a", at(100), at(0));
    assert_eq!(queue.push(1, "a", at(50), at(0)), Pushed::Known);
    assert_eq!(queue.poll_timeout(), Some(at(50)));
    assert!(queue.remove(&1) && !queue.remove(&1));
    assert_eq!((queue.poll_timeout(), queue.len()), (None, 0));
}

#[test]
fn failures_double_the_wait_up_to_the_interval() {
    let mut queue = queue();
    let mut now = at(0);
    // Successes beside it keep the lane from being out, so the task's own waits show.
    queue.push(1, "a", now, now);
    let mut waits = Vec::new();
    for other in 2..12 {
        assert_eq!(queue.next(now).map(|task| task.key), Some(1));
        queue.failed(&1, now);
        queue.push(other, "a", now, now);
        assert!(queue.next(now).is_some() && queue.done(&other, now));
        let next = queue.poll_timeout().expect("the failed task waits");
        waits.push(next.since(now).as_millis());
        now = next;
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
}

#[test]
fn after_an_outage_everything_is_ready_within_the_probe_interval() {
    let mut queue = queue();
    for key in 0..500 {
        queue.push(key, "dead", at(0), at(0));
    }
    let back = at(600_000);
    let attempts = fail_all(&mut queue, at(0), back);
    assert!(queue.is_out(&"dead"));
    assert!(attempts < 320, "{attempts} attempts in ten minutes");
    let probe_at = queue.poll_timeout().expect("a probe is due");
    assert!(probe_at.since(back) <= Duration::from_secs(2));
    let probe = queue.next(probe_at).expect("a probe");
    assert_eq!(queue.next(probe_at), None, "one probe at a time");
    assert!(queue.done(&probe.key, probe_at));
    let mut delivered = 1;
    while let Some(task) = queue.next(probe_at) {
        assert!(queue.done(&task.key, probe_at));
        delivered += 1;
    }
    assert_eq!(delivered, 500);
}

#[test]
fn a_lane_that_is_out_holds_up_no_other_and_probes_no_task_before_its_time() {
    let mut queue = queue();
    for key in 0..8 {
        queue.push(key, "hangs", at(0), at(0));
    }
    assert_eq!(keys(&mut queue, at(0)).len(), 6, "a lane does not get everything");
    queue.push(100, "b", at(0), at(0));
    assert_eq!(keys(&mut queue, at(0)), [100]);
    let mut queue = self::queue();
    queue.push(1, "dead", at(0), at(0));
    queue.push(2, "dead", at(1_800_000), at(0));
    fail_all(&mut queue, at(0), at(60_000));
    assert!(queue.is_out(&"dead"));
    let probe_at = queue.poll_timeout().expect("a probe is due");
    assert_eq!(keys(&mut queue, probe_at), [1]);
    queue.done(&1, probe_at);
    assert_eq!(queue.poll_timeout(), Some(at(1_800_000)));
}

#[test]
fn a_full_queue_forgets_what_is_due_last_and_asks_for_it_later() {
    let config = RetryConfig { tasks_max: 4, ..RetryConfig::default() };
    let mut queue = RetryQueue::new(config);
    for key in 0..4 {
        assert_eq!(queue.push(key, "a", at(10 + u64::from(key)), at(0)), Pushed::Queued);
    }
    assert!(!queue.poll_reload(at(0)));
    assert_eq!(queue.push(4, "a", at(99), at(0)), Pushed::Full);
    assert_eq!(queue.push(5, "a", at(0), at(0)), Pushed::Queued);
    assert_eq!((queue.len(), queue.remove(&3)), (4, false));
    assert!(!queue.poll_reload(at(1)), "there is no room yet");
    for key in keys(&mut queue, at(20)).into_iter().take(2) {
        queue.done(&key, at(20));
    }
    assert_eq!(queue.poll_timeout(), Some(Time::ZERO));
    assert!(queue.poll_reload(at(20)) && !queue.poll_reload(at(20)));
}

#[test]
fn a_queue_full_of_a_dead_lane_takes_tasks_of_another() {
    let config = RetryConfig { tasks_max: 4, ..RetryConfig::default() };
    let mut queue = RetryQueue::new(config);
    for key in 0..4 {
        queue.push(key, "dead", at(0), at(0));
    }
    fail_all(&mut queue, at(0), at(60_000));
    for key in 4..7 {
        assert_eq!(queue.push(key, "b", at(90_000), at(90_000)), Pushed::Queued);
    }
    assert_eq!(queue.push(7, "b", at(90_000), at(90_000)), Pushed::Full);
    assert!(queue.is_out(&"dead"), "one task is left to probe with");
}

#[test]
fn the_wait_of_a_202_grows_to_five_seconds() {
    let waits = [0, 1, 2, 6, 7, u32::MAX].map(|n| Backoff::POLL.delay(n, 0.5).as_millis());
    assert_eq!(waits, [1000, 1300, 1690, 4826, 5000, 5000]);
    assert!(Backoff::POLL.delay(0, 0.0) < Backoff::POLL.delay(0, 1.0));
}

#[derive(Debug, Clone)]
enum Step {
    Push { key: u32, lane: usize, delay: u64 },
    Next,
    Done(usize),
    Failed(usize),
    Remove(u32),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..24u32, 0..3usize, 0..3000u64)
            .prop_map(|(key, lane, delay)| Step::Push { key, lane, delay }),
        6 => Just(Step::Next),
        2 => any::<usize>().prop_map(Step::Done),
        4 => any::<usize>().prop_map(Step::Failed),
        1 => (0..24u32).prop_map(Step::Remove),
        3 => (0..5000u64).prop_map(Step::Advance),
    ]
}

/// What must hold between any two calls.
fn check(queue: &RetryQueue<u32, usize>, in_flight: &[u32]) {
    assert_eq!(queue.in_flight(), in_flight.len());
    assert!(queue.in_flight() <= queue.config.in_flight_max);
    assert!(queue.len() <= queue.config.tasks_max);
    assert_eq!(queue.waiting.len() + in_flight.len(), queue.len());
    let in_lanes: usize = queue.lanes.values().map(|l| l.fresh.len() + l.failed.len()).sum();
    assert_eq!(in_lanes, queue.waiting.len());
    let flying: usize = queue.lanes.values().map(|l| l.in_flight).sum();
    assert_eq!(flying, in_flight.len());
    let agenda: BTreeSet<(Time, usize)> = queue
        .lanes
        .iter()
        .filter_map(|(name, l)| Some((l.next_at(queue.config.lane_in_flight_max)?, *name)))
        .collect();
    assert_eq!(queue.agenda, agenda);
    let out: BTreeSet<usize> =
        queue.lanes.iter().filter(|(_, l)| l.outage.is_some()).map(|(name, _)| *name).collect();
    assert_eq!(queue.out, out);
}

proptest! {
    #[test]
    fn no_task_is_lost_doubled_or_early(steps in proptest::collection::vec(step(), 1..200)) {
        let config = RetryConfig {
            tasks_max: 12,
            in_flight_max: 4,
            lane_in_flight_max: 3,
            ..RetryConfig::default()
        };
        let mut queue = RetryQueue::new(config);
        let mut now = Time::ZERO;
        let mut in_flight: Vec<u32> = Vec::new();
        for step in steps {
            match step {
                Step::Push { key, lane, delay } => {
                    let len = queue.len();
                    let pushed =
                        queue.push(key, lane, now + Duration::from_millis(delay), now);
                    match pushed {
                        Pushed::Again => prop_assert!(in_flight.contains(&key)),
                        Pushed::Full => prop_assert_eq!(len, 12),
                        Pushed::Queued | Pushed::Known => {
                            prop_assert!(queue.tasks.contains_key(&key));
                        }
                    }
                }
                Step::Next => {
                    let fresh: Vec<u32> = queue
                        .tasks
                        .iter()
                        .filter(|(_, e)| e.state == State::Fresh && e.due > now)
                        .map(|(key, _)| *key)
                        .collect();
                    let promised = queue.agenda.first().is_some_and(|(at, _)| *at <= now)
                        && in_flight.len() < 4;
                    let task = queue.next(now);
                    prop_assert_eq!(task.is_some(), promised, "the agenda tells the truth");
                    if let Some(task) = task {
                        prop_assert!(!in_flight.contains(&task.key), "handed out twice");
                        prop_assert!(!fresh.contains(&task.key), "handed out early");
                        in_flight.push(task.key);
                    }
                }
                Step::Done(n) | Step::Failed(n) if !in_flight.is_empty() => {
                    let key = in_flight.swap_remove(n % in_flight.len());
                    if matches!(step, Step::Failed(_)) {
                        queue.failed(&key, now);
                        prop_assert!(queue.tasks.contains_key(&key));
                    } else {
                        let over = queue.done(&key, now);
                        prop_assert_eq!(over, !queue.tasks.contains_key(&key));
                    }
                }
                Step::Remove(key) => {
                    let waits = queue.tasks.contains_key(&key) && !in_flight.contains(&key);
                    prop_assert_eq!(queue.remove(&key), waits);
                }
                Step::Advance(millis) => now += Duration::from_millis(millis),
                Step::Done(_) | Step::Failed(_) => {}
            }
            check(&queue, &in_flight);
        }
        // When everything succeeds from now on, everything is delivered.
        for key in in_flight.drain(..) {
            queue.done(&key, now);
        }
        let mut rounds = 0;
        while !queue.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 100, "stuck with {} tasks", queue.len());
            while queue.poll_reload(now) {}
            if let Some(at) = queue.poll_timeout() {
                now = now.max(at);
            }
            while let Some(task) = queue.next(now) {
                queue.done(&task.key, now);
            }
        }
    }
}
