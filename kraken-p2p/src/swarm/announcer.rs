//! Announces: when the tracker is told of a torrent and asked for peers.

use std::time::Duration;

use kraken_core::{Error, InfoHash, Time};

use super::config::SwarmConfig;
use super::io::{Announced, Output};
use super::limits::{
    EARLY_ANNOUNCES_AGAIN, EARLY_ANNOUNCES_MAX, FAILED_ANNOUNCE_RETRY_MAX, INTERVAL_MAX,
};
use super::torrent::{Cx, Phase, Torrent};
use crate::limits::HANDOUT_MAX;

/// When to announce next.
#[derive(Debug)]
pub(super) struct Announcer {
    /// When the next one is due; `None` when none is wanted.
    at: Option<Time>,
    /// Set while one is under way.
    busy: Option<Announcing>,
    announced_at: Option<Time>,
    /// What it was called in the last one that was answered.
    known_as: Option<InfoHash>,
    /// What the tracker asks for.
    pub(super) interval: Duration,
    /// The next pause while there are few connections.
    retry: Duration,
    /// What is left of the announces that may come before their time.
    early_left: f64,
    failures: u32,
}

/// What an announce under way says.
#[derive(Debug)]
struct Announcing {
    info_hash: InfoHash,
    complete: bool,
}

impl Announcer {
    pub(super) fn new(config: &SwarmConfig) -> Self {
        Self {
            at: None,
            busy: None,
            announced_at: None,
            known_as: None,
            interval: config.announce_interval,
            retry: config.announce_retry,
            early_left: EARLY_ANNOUNCES_MAX,
            failures: 0,
        }
    }

    /// When to look at it again.
    pub(super) fn next(&self, config: &SwarmConfig) -> Option<Time> {
        self.at.filter(|_| config.announce && self.busy.is_none())
    }

    /// Whether one is due some time or under way.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn is_planned(&self) -> bool {
        self.at.is_some() || self.busy.is_some()
    }

    /// Whether one is under way, or due by then.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn is_planned_by(&self, then: Time) -> bool {
        self.busy.is_some() || self.at.is_some_and(|at| at <= then)
    }

    /// What will be left after a pause.
    fn early_left_after(&self, pause: Duration) -> f64 {
        let again = pause.div_duration_f64(self.interval) * EARLY_ANNOUNCES_AGAIN;
        (self.early_left + again).min(EARLY_ANNOUNCES_MAX)
    }

    /// One is made, so long after the last.
    fn spend(&mut self, pause: Duration) {
        self.early_left = self.early_left_after(pause);
        if pause < self.interval.mul_f64(EARLY) {
            self.early_left -= 1.0;
        }
    }

    fn after_failure(&mut self) -> Duration {
        let pause = FAILED_ANNOUNCE_RETRY * 2u32.pow(self.failures.min(5));
        self.failures += 1;
        pause.min(FAILED_ANNOUNCE_RETRY_MAX)
    }
}

/// Announcing.
impl Torrent {
    /// Asks for an announce not later than `at`.
    pub(super) fn announce_by(&mut self, at: Time) {
        self.announcer.at = Some(self.announcer.at.map_or(at, |planned| planned.min(at)));
    }

    /// Whether the tracker knows of it under the hash that it has now: who asks under another one
    /// is not told of it.
    pub(super) fn is_known(&self) -> bool {
        self.announcer.known_as == Some(self.info_hash)
    }

    /// Asks for an announce now, unless one is planned or under way already.
    pub(super) fn announce_first(&mut self, now: Time) {
        if self.announcer.at.is_none() && self.announcer.busy.is_none() {
            self.announcer.at = Some(now);
        }
    }

    /// Announces if it is time and of use.
    pub(super) fn announce(&mut self, cx: &mut Cx<'_>) {
        if self.announcer.next(cx.config).is_none_or(|at| at > cx.now) {
            return;
        }
        let complete = self.phase == Phase::Complete;
        let starved = self.wants_pieces() && cx.now.since(self.stored_at) >= STARVED_AFTER;
        let needed = match self.phase {
            Phase::Complete => cx.config.seed,
            Phase::Fetching if starved => !self.demands.is_empty(),
            Phase::Fetching => {
                let saturated = self.conns_to_be() >= cx.config.dial_max;
                if saturated && !self.demands.is_empty() && self.is_known() {
                    self.announcer.at = Some(cx.now + cx.rng.jitter(self.announcer.interval));
                    return;
                }
                !self.demands.is_empty()
            }
            Phase::Committing | Phase::Discarding => false,
        };
        self.announcer.at = None;
        if !needed {
            return;
        }
        self.announcer.busy = Some(Announcing { info_hash: self.info_hash, complete });
        if let Some(before) = self.announcer.announced_at.replace(cx.now) {
            self.announcer.spend(cx.now.since(before));
            self.announcer.retry = (self.announcer.retry * 2).min(self.announcer.interval);
        }
        cx.counters.announces += 1;
        cx.out.push_back(Output::Announce {
            torrent: self.digest,
            info_hash: self.info_hash,
            complete,
            starved,
        });
    }

    pub(super) fn on_announced(&mut self, cx: &mut Cx<'_>, result: Result<Announced, Error>) {
        let Some(said) = self.announcer.busy.take() else { return };
        let complete = self.phase == Phase::Complete;
        match result {
            Err(_) => {
                let pause = self.announcer.after_failure();
                self.announcer.at = None;
                self.announce_by(cx.now + cx.rng.jitter(pause));
            }
            Ok(announced) => {
                self.announcer.failures = 0;
                self.announcer.known_as = Some(said.info_hash);
                let interval = announced.interval;
                self.announcer.interval = if interval.is_zero() || interval > INTERVAL_MAX {
                    cx.config.announce_interval
                } else {
                    interval.max(cx.config.announce_retry)
                };
                if self.phase == Phase::Fetching {
                    let begin = || cx.rng.below(self.geometry.pieces() as usize) as u32;
                    let bridge = announced.bridge.then(|| self.bridge.unwrap_or_else(begin));
                    self.bridge = bridge;
                    let others = announced.peers.into_iter().take(HANDOUT_MAX);
                    for peer in others.filter(|peer| peer.peer_id != cx.local.peer_id) {
                        self.dialer.add(peer);
                    }
                    self.dial(cx);
                    self.announcer.at = None;
                    if self.is_known() {
                        self.announce_soon(cx);
                    } else {
                        // It got its sums meanwhile.
                        self.announce_by(cx.now);
                        self.announce(cx);
                    }
                } else if complete && said.complete {
                    self.announce_by(cx.now + cx.rng.jitter(cx.config.announce_complete_interval));
                } else if complete {
                    self.announce_by(cx.now);
                    self.announce(cx);
                }
            }
        }
    }

    /// Plans the next announce: soon while there are few connections, with growing pauses and not
    /// for ever so that a lonely node does not storm its tracker.
    pub(super) fn announce_soon(&mut self, cx: &mut Cx<'_>) {
        if !self.wants_pieces() || self.announcer.busy.is_some() {
            return;
        }
        let after = self.announcer.announced_at.unwrap_or(cx.now);
        // Who is let in and shut out again and again must not begin anew each time.
        if self.conns.len() >= cx.config.conns_few && cx.now.since(after) >= self.announcer.interval
        {
            self.announcer.retry = cx.config.announce_retry;
        }
        let few = self.conns_to_be() < cx.config.conns_few;
        let usual = self.announcer.interval;
        let mut pause = cx.rng.jitter(if few { self.announcer.retry } else { usual });
        if self.announcer.early_left_after(pause) < 1.0 {
            pause = pause.max(usual);
        }
        self.announce_by((after + pause).max(cx.now));
    }
}

/// Who gets nothing for so long tells the tracker.
const STARVED_AFTER: Duration = Duration::from_secs(10);

/// First pause after a tracker did not answer.
const FAILED_ANNOUNCE_RETRY: Duration = Duration::from_millis(500);

/// One that comes sooner than after this share of the interval is early: pauses vary by a quarter.
const EARLY: f64 = 0.7;
