//! When to try again: the queue behind write-back and tag replication, and back-off.
//!
//! The queue decides the order and the times of attempts. It holds keys only: what a task is stands
//! in the store its driver keeps, which is written before a key is pushed and deleted after it is
//! done. So losing the queue loses nothing, and a full queue forgets keys that the store still has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::Time;

/// Tasks waiting for their next attempt, ordered by time, in lanes that fail together.
///
/// A lane is whatever is down as one: a backend, a remote cluster. A task that fails waits for an
/// interval that doubles from [`RetryConfig::retry_initial`] to [`RetryConfig::retry_interval`].
/// When several attempts of a lane fail in a row, the lane is *out*: its tasks wait, but for one
/// probe at a time, at most [`RetryConfig::probe_interval`] apart. The first success ends that and
/// makes all of the lane's failed tasks ready at once. So a dead backend costs one request every
/// few seconds, holds up nobody else, and everything is delivered soon after it returns.
///
/// Retries are not bounded in number: a task leaves by [`done`](Self::done) or
/// [`remove`](Self::remove) only.
#[derive(Debug)]
pub struct RetryQueue<K, L> {
    config: RetryConfig,
    tasks: BTreeMap<K, Entry<L>>,
    lanes: BTreeMap<L, Lane<K>>,
    /// The waiting tasks by time, for the one to forget when full.
    waiting: BTreeSet<(Time, K)>,
    /// The lanes that have a task to hand out, by the time of that.
    agenda: BTreeSet<(Time, L)>,
    /// The lanes that are out.
    out: BTreeSet<L>,
    in_flight: usize,
    /// When to reload the keys that were forgotten, if any were.
    reload_at: Option<Time>,
}

/// How a [`RetryQueue`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// The wait after a first failure; not above `retry_interval`.
    pub retry_initial: Duration,
    /// The longest wait between two attempts of a task in a lane that is not out.
    pub retry_interval: Duration,
    /// The longest wait between two probes of a lane that is out; not above `retry_interval`.
    pub probe_interval: Duration,
    /// Keys held in memory: some hundred bytes each.
    pub tasks_max: usize,
    /// Tasks handed out at once.
    pub in_flight_max: usize,
    /// Tasks of one lane handed out at once: fewer than of all, so that a lane whose attempts hang
    /// leaves some to the others.
    pub lane_in_flight_max: usize,
}

/// A task handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task<K> {
    /// Its key in the store.
    pub key: K,
    /// Attempts that failed before.
    pub failures: u32,
}

/// What became of a key that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for its time.
    Queued,
    /// It waited already; the earlier of the two times holds.
    Known,
    /// It is in flight; it will be handed out once more after that.
    Again,
    /// The queue is full of tasks that are due earlier. The key was not taken; the store keeps it
    /// until [`RetryQueue::poll_reload`] asks for it.
    Full,
}

/// A growing wait between attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// What each wait is multiplied by for the next.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// The share of a wait that chance decides: 0.1 makes it 5 % shorter to 5 % longer.
    pub jitter: f64,
}

#[derive(Debug)]
struct Entry<L> {
    lane: L,
    /// When it was pushed first.
    since: Time,
    failures: u32,
    due: Time,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for the time it was pushed with.
    Fresh,
    /// Waiting after a failure.
    Failed,
    /// Handed out; pushed meanwhile if there is a time.
    InFlight { again: Option<Time> },
}

#[derive(Debug)]
struct Lane<K> {
    fresh: BTreeSet<(Time, K)>,
    failed: BTreeSet<(Time, K)>,
    in_flight: usize,
    /// Failures since the last success.
    streak: u32,
    outage: Option<Outage<K>>,
    /// Where the lane stands in the agenda.
    next_at: Option<Time>,
}

#[derive(Debug)]
struct Outage<K> {
    probe_at: Time,
    probes_failed: u32,
    probing: Option<K>,
}

impl<K: Ord + Clone, L: Ord + Clone> RetryQueue<K, L> {
    /// An empty queue.
    pub fn new(config: RetryConfig) -> Self {
        Self {
            config,
            tasks: BTreeMap::new(),
            lanes: BTreeMap::new(),
            waiting: BTreeSet::new(),
            agenda: BTreeSet::new(),
            out: BTreeSet::new(),
            in_flight: 0,
            reload_at: None,
        }
    }

    /// Takes a key that the store has, to be handed out not before `due`.
    ///
    /// When full, a waiting task of a lane that is out is forgotten, or else the one due last (the
    /// store has them), so that work that can be done now never waits behind work that cannot.
    pub fn push(&mut self, key: K, lane: L, due: Time, now: Time) -> Pushed {
        if let Some(entry) = self.tasks.get_mut(&key) {
            if let State::InFlight { again } = &mut entry.state {
                *again = Some(again.map_or(due, |at| at.min(due)));
                return Pushed::Again;
            }
            if entry.state == State::Fresh && due < entry.due {
                self.take_out(&key);
                self.put_back(key, State::Fresh, due);
            }
            return Pushed::Known;
        }
        if self.tasks.len() >= self.config.tasks_max && !self.make_room(&lane, due, now) {
            return Pushed::Full;
        }
        let state = State::InFlight { again: None };
        let entry = Entry { lane, since: now, failures: 0, due, state };
        self.tasks.insert(key.clone(), entry);
        self.put_back(key, State::Fresh, due);
        Pushed::Queued
    }

    /// Hands out the next task, if one is due and few enough are in flight.
    ///
    /// Whoever takes it must report [`done`](Self::done) or [`failed`](Self::failed) in the end.
    pub fn next(&mut self, now: Time) -> Option<Task<K>> {
        if self.in_flight >= self.config.in_flight_max {
            return None;
        }
        let (_, lane) = self.agenda.first().filter(|(at, _)| *at <= now)?;
        let lane = lane.clone();
        let key = self.lanes.get(&lane)?.pick(now)?.clone();
        self.take_out(&key);
        let entry = self.tasks.get_mut(&key)?;
        entry.state = State::InFlight { again: None };
        let failures = entry.failures;
        let state = self.lanes.get_mut(&lane)?;
        state.in_flight += 1;
        if let Some(outage) = &mut state.outage {
            outage.probing = Some(key.clone());
        }
        self.in_flight += 1;
        self.reschedule(&lane);
        Some(Task { key, failures })
    }

    /// An attempt succeeded. True if the task is over and to be deleted from the store; false if
    /// it was pushed again meanwhile and stays. A key not in flight is ignored.
    pub fn done(&mut self, key: &K, now: Time) -> bool {
        let Some((lane, again)) = self.land(key) else {
            return false;
        };
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.streak = 0;
            if state.outage.take().is_some() {
                self.out.remove(&lane);
                self.wake(&lane, now);
            }
        }
        match again {
            Some(due) => {
                if let Some(entry) = self.tasks.get_mut(key) {
                    entry.failures = 0;
                    entry.since = now;
                }
                self.put_back(key.clone(), State::Fresh, due);
            }
            None => {
                self.tasks.remove(key);
                self.reschedule(&lane);
            }
        }
        again.is_none()
    }

    /// An attempt failed: the task waits for its next one. A key not in flight is ignored.
    pub fn failed(&mut self, key: &K, now: Time) {
        let Some((lane, _)) = self.land(key) else {
            return;
        };
        let retry = self.config.backoff(self.config.retry_interval);
        let probe = self.config.backoff(self.config.probe_interval);
        let Some(entry) = self.tasks.get_mut(key) else {
            return;
        };
        let due = now + retry.delay(entry.failures, 0.5);
        entry.failures = entry.failures.saturating_add(1);
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.streak = state.streak.saturating_add(1);
            match &mut state.outage {
                Some(outage) if outage.probing.as_ref() == Some(key) => {
                    outage.probes_failed = outage.probes_failed.saturating_add(1);
                    outage.probe_at = now + probe.delay(outage.probes_failed, 0.5);
                    outage.probing = None;
                }
                None if state.streak >= OUTAGE_FAILURES => {
                    let probe_at = now + probe.delay(0, 0.5);
                    state.outage = Some(Outage { probe_at, probes_failed: 0, probing: None });
                    self.out.insert(lane.clone());
                }
                _ => {}
            }
        }
        self.put_back(key.clone(), State::Failed, due);
    }

    /// Forgets a waiting task; false if there is none or it is in flight.
    pub fn remove(&mut self, key: &K) -> bool {
        let waits = |entry: &Entry<L>| !matches!(entry.state, State::InFlight { .. });
        if !self.tasks.get(key).is_some_and(waits) {
            return false;
        }
        let lane = self.take_out(key);
        self.tasks.remove(key);
        if let Some(lane) = lane {
            self.reschedule(&lane);
        }
        true
    }

    /// True, once, when keys were forgotten for want of room and it is time to push all of the
    /// store's keys again: there is room, or `retry_interval` has passed.
    pub fn poll_reload(&mut self, now: Time) -> bool {
        let Some(at) = self.reload_at else {
            return false;
        };
        let wanted = now >= at || self.has_room();
        if wanted {
            self.reload_at = None;
        }
        wanted
    }

    /// When [`next`](Self::next) or [`poll_reload`](Self::poll_reload) has something; a time that
    /// has passed means now.
    pub fn poll_timeout(&self) -> Option<Time> {
        let next = self.agenda.first().map(|(at, _)| *at);
        let next = next.filter(|_| self.in_flight < self.config.in_flight_max);
        let reload = self.reload_at.map(|at| if self.has_room() { Time::ZERO } else { at });
        next.into_iter().chain(reload).min()
    }

    /// Tasks waiting or in flight.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Tasks in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// When the task was pushed that has been here longest. Looks at every task.
    pub fn oldest(&self) -> Option<Time> {
        self.tasks.values().map(|entry| entry.since).min()
    }

    /// Whether `lane` is out: its tasks wait for a probe to succeed.
    pub fn is_out(&self, lane: &L) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.outage.is_some())
    }

    fn has_room(&self) -> bool {
        self.tasks.len() <= self.config.tasks_max / 2
    }

    /// Forgets a waiting task for one of `lane` that is due at `due`, if it should give way.
    fn make_room(&mut self, lane: &L, due: Time, now: Time) -> bool {
        self.reload_at.get_or_insert(now + self.config.retry_interval);
        let stuck = if self.out.contains(lane) { None } else { self.stuck() };
        let last = || self.waiting.last().filter(|(last, _)| *last > due);
        let Some((_, key)) = stuck.or_else(last) else {
            return false;
        };
        let key = key.clone();
        self.remove(&key)
    }

    /// The last task of a lane that is out, if another one remains there to probe with.
    fn stuck(&self) -> Option<&(Time, K)> {
        self.out.iter().find_map(|name| {
            let lane = self.lanes.get(name)?;
            let several = lane.failed.len() + lane.fresh.len() > 1;
            lane.failed.last().or_else(|| lane.fresh.last()).filter(|_| several)
        })
    }

    /// Takes a waiting task out of the indexes; its entry stays.
    fn take_out(&mut self, key: &K) -> Option<L> {
        let entry = self.tasks.get(key)?;
        let at = (entry.due, key.clone());
        self.waiting.remove(&at);
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            match entry.state {
                State::Fresh => lane.fresh.remove(&at),
                State::Failed => lane.failed.remove(&at),
                State::InFlight { .. } => false,
            };
        }
        Some(entry.lane.clone())
    }

    /// Puts a task whose entry exists into the indexes.
    fn put_back(&mut self, key: K, state: State, due: Time) {
        let Some(entry) = self.tasks.get_mut(&key) else {
            return;
        };
        entry.state = state;
        entry.due = due;
        let name = entry.lane.clone();
        self.waiting.insert((due, key.clone()));
        let lane = self.lanes.entry(name.clone()).or_default();
        match state {
            State::Failed => lane.failed.insert((due, key)),
            State::Fresh | State::InFlight { .. } => lane.fresh.insert((due, key)),
        };
        self.reschedule(&name);
    }

    /// A task is in flight no longer; its lane, and when it was pushed to run again.
    fn land(&mut self, key: &K) -> Option<(L, Option<Time>)> {
        let entry = self.tasks.get(key)?;
        let State::InFlight { again } = entry.state else {
            return None;
        };
        self.in_flight -= 1;
        if let Some(lane) = self.lanes.get_mut(&entry.lane) {
            lane.in_flight -= 1;
        }
        Some((entry.lane.clone(), again))
    }

    /// Makes the failed tasks of a lane ready.
    fn wake(&mut self, name: &L, now: Time) {
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        for (due, key) in std::mem::take(&mut lane.failed) {
            let due_now = due.min(now);
            if let Some(entry) = self.tasks.get_mut(&key) {
                entry.due = due_now;
            }
            self.waiting.remove(&(due, key.clone()));
            self.waiting.insert((due_now, key.clone()));
            lane.failed.insert((due_now, key));
        }
    }

    /// Brings the agenda up to date with a lane that changed.
    fn reschedule(&mut self, name: &L) {
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        let next_at = lane.next_at(self.config.lane_in_flight_max);
        if next_at != lane.next_at {
            if let Some(at) = lane.next_at {
                self.agenda.remove(&(at, name.clone()));
            }
            if let Some(at) = next_at {
                self.agenda.insert((at, name.clone()));
            }
            lane.next_at = next_at;
        }
        if lane.in_flight == 0 && lane.fresh.is_empty() && lane.failed.is_empty() {
            self.lanes.remove(name);
            self.out.remove(name);
        }
    }
}

impl<K: Ord> Lane<K> {
    /// When it has a task to hand out, if it may.
    fn next_at(&self, in_flight_max: usize) -> Option<Time> {
        let fresh = self.fresh.first().map(|(at, _)| *at);
        let failed = self.failed.first().map(|(at, _)| *at);
        if let Some(outage) = &self.outage {
            if outage.probing.is_some() {
                return None;
            }
            // A probe need not wait for a failed task's own time, but for that of a fresh one.
            let first = if failed.is_some() { Some(Time::ZERO) } else { fresh };
            return first.map(|at| at.max(outage.probe_at));
        }
        if self.in_flight >= in_flight_max {
            return None;
        }
        fresh.into_iter().chain(failed).min()
    }

    /// The task to hand out: the one due first; of fresh ones only if it is due.
    fn pick(&self, now: Time) -> Option<&K> {
        let fresh = self.fresh.first().filter(|(at, _)| *at <= now);
        let first = fresh.into_iter().chain(self.failed.first()).min();
        first.map(|(_, key)| key)
    }
}

impl RetryConfig {
    fn backoff(&self, max: Duration) -> Backoff {
        let max = max.min(self.retry_interval);
        Backoff { initial: self.retry_initial, factor: 2.0, max, jitter: 0.0 }
    }
}

impl Backoff {
    /// How uber/kraken's clients ask again after a 202: 1 s, times 1.3, at most 5 s.
    pub const POLL: Self = Self {
        initial: Duration::from_secs(1),
        factor: 1.3,
        max: Duration::from_secs(5),
        jitter: 0.1,
    };

    /// The wait after `attempts` earlier waits; `random` is a number from 0 to 1 that the caller
    /// drew. It never exceeds [`Backoff::max`].
    pub fn delay(&self, attempts: u32, random: f64) -> Duration {
        let grown = self.initial.as_secs_f64() * self.factor.powf(f64::from(attempts));
        let spread = 1.0 + self.jitter * (random - 0.5);
        // A product that is no duration is one that has grown beyond all bounds.
        Duration::try_from_secs_f64(grown * spread).unwrap_or(self.max).min(self.max)
    }
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self {
            fresh: BTreeSet::new(),
            failed: BTreeSet::new(),
            in_flight: 0,
            streak: 0,
            outage: None,
            next_at: None,
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            retry_initial: Duration::from_millis(250),
            retry_interval: Duration::from_secs(30),
            probe_interval: Duration::from_secs(2),
            tasks_max: 100_000,
            in_flight_max: 8,
            lane_in_flight_max: 6,
        }
    }
}

/// Failures in a row that put a lane out: fewer could be the tasks' own fault.
pub const OUTAGE_FAILURES: u32 = 3;

#[cfg(test)]
mod tests;
