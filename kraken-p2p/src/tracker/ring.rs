//! Which tracker to ask for which blob: all agents must come to the same one to meet there.

use std::collections::BTreeMap;
use std::time::Duration;

use kraken_core::{Digest, Time, hrw};

/// The trackers in rendezvous order, without those that failed lately (uber/kraken's
/// `hashring.PassiveRing`).
#[derive(Debug)]
pub(super) struct TrackerRing {
    hosts: Vec<String>,
    /// When each host failed lately, the latest last; at most [`FAILS`] times are kept.
    failures: BTreeMap<String, Vec<Time>>,
}

impl TrackerRing {
    pub(super) fn new(hosts: Vec<String>) -> Self {
        Self { hosts, failures: BTreeMap::new() }
    }

    /// Takes other hosts; what is known of those that stay stays.
    pub(super) fn replace(&mut self, hosts: Vec<String>) {
        self.failures.retain(|host, _| hosts.contains(host));
        self.hosts = hosts;
    }

    /// Notes that `host` did not answer.
    pub(super) fn failed(&mut self, host: &str, now: Time) {
        if !self.hosts.iter().any(|known| known == host) {
            return;
        }
        let times = self.failures.entry(host.to_owned()).or_default();
        if times.len() == FAILS {
            times.remove(0);
        }
        times.push(now);
    }

    /// Notes that `host` answered.
    pub(super) fn answered(&mut self, host: &str) {
        self.failures.remove(host);
    }

    /// Whom to ask for `digest`, in order: the healthy ones of the first [`REPLICAS_MAX`], or else
    /// the first healthy one, or else all of the first, since they may be back.
    pub(super) fn locations(&self, digest: &Digest, now: Time) -> Vec<String> {
        let ordered = hrw::order(&digest.shard_id(), &self.hosts);
        let owners = ordered.iter().take(REPLICAS_MAX);
        let mut locations: Vec<&str> =
            owners.clone().copied().filter(|host| self.is_healthy(host, now)).collect();
        if locations.is_empty() {
            match ordered.iter().copied().find(|host| self.is_healthy(host, now)) {
                Some(healthy) => locations.push(healthy),
                None => locations.extend(owners),
            }
        }
        locations.into_iter().map(ToOwned::to_owned).collect()
    }

    fn is_healthy(&self, host: &str, now: Time) -> bool {
        let recent = |time: &&Time| now.since(**time) < FAIL_TIMEOUT;
        self.failures.get(host).is_none_or(|times| times.iter().filter(recent).count() < FAILS)
    }
}

/// How many trackers may be asked for one blob (uber/kraken's `max_replica`).
const REPLICAS_MAX: usize = 3;

/// As many failures within [`FAIL_TIMEOUT`] take a tracker out of the ring, until the first of
/// them is that old (uber/kraken's `healthcheck.PassiveFilterConfig`).
const FAILS: usize = 3;

/// See [`FAILS`].
const FAIL_TIMEOUT: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: u32) -> Vec<String> {
        (1..=count).map(|n| format!("tracker{n}:15003")).collect()
    }

    #[test]
    fn a_host_that_fails_thrice_is_left_out_for_a_while() {
        let mut ring = TrackerRing::new(hosts(5));
        let digest = Digest::sha256(b"hello kraken");
        let at = |secs| Time::ZERO + Duration::from_secs(secs);
        let owners = ring.locations(&digest, at(0));
        assert_eq!(owners.len(), 3);
        for secs in 0..3 {
            assert_eq!(ring.locations(&digest, at(secs)), owners);
            ring.failed(&owners[0], at(secs));
        }
        assert_eq!(ring.locations(&digest, at(3)), owners[1..]);
        assert_eq!(ring.locations(&digest, at(300)), owners);
        ring.failed(&owners[0], at(300));
        assert_eq!(ring.locations(&digest, at(300)), owners[1..], "failures of 1, 2 and 300");
        ring.answered(&owners[0]);
        assert_eq!(ring.locations(&digest, at(300)), owners);
    }

    #[test]
    fn there_is_always_somebody_to_ask() {
        let mut ring = TrackerRing::new(hosts(4));
        let digest = Digest::sha256(b"hello kraken");
        let owners = ring.locations(&digest, Time::ZERO);
        let fail = |ring: &mut TrackerRing, host: &str| {
            (0..3).for_each(|_| ring.failed(host, Time::ZERO));
        };
        for owner in &owners {
            fail(&mut ring, owner);
        }
        let last = ring.locations(&digest, Time::ZERO);
        assert!(last.len() == 1 && !owners.contains(&last[0]));
        fail(&mut ring, &last[0]);
        fail(&mut ring, "stranger:1");
        assert_eq!(ring.locations(&digest, Time::ZERO), owners);
        ring.replace(vec![owners[1].clone(), "new:1".into()]);
        assert_eq!(ring.locations(&digest, Time::ZERO), ["new:1"]);
        assert_eq!(ring.failures.len(), 1);
        ring.replace(vec![]);
        assert!(ring.locations(&digest, Time::ZERO).is_empty());
    }
}
