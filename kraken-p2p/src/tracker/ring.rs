//! Which tracker to ask for which blob: all agents must come to the same one to meet there.

use kraken_core::health::{PassiveConfig, PassiveFilter};
use kraken_core::ring::Ring;
use kraken_core::{Digest, Time};

/// The trackers in rendezvous order, without those that failed lately (uber/kraken's
/// `hashring.PassiveRing`).
#[derive(Debug)]
pub(super) struct TrackerRing {
    ring: Ring,
    health: PassiveFilter,
}

impl TrackerRing {
    pub(super) fn new(hosts: Vec<String>, replicas_max: usize, health: PassiveConfig) -> Self {
        let mut ring = Ring::new(replicas_max);
        ring.set_members(hosts);
        Self { ring, health: PassiveFilter::new(health) }
    }

    pub(super) fn hosts(&self) -> &[String] {
        self.ring.members()
    }

    /// Takes other hosts; what is known of those that stay stays.
    pub(super) fn replace(&mut self, hosts: Vec<String>) {
        self.ring.set_members(hosts);
    }

    /// Notes that `host` did not answer.
    pub(super) fn failed(&mut self, host: &str, now: Time) {
        if self.ring.contains(host) {
            self.health.failed(host, now);
        }
    }

    /// Whom to ask for `digest`, in order; when nobody is healthy all count as healthy, since they
    /// may be back.
    pub(super) fn locations(&self, digest: &Digest, now: Time) -> Vec<String> {
        let healthy = self.health.healthy(self.ring.members(), now);
        let locations = self.ring.locations(digest, |host| healthy.contains(&host));
        locations.into_iter().map(ToOwned::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kraken_core::ring::REPLICAS_MAX_DEFAULT;

    use super::*;

    fn ring(count: u32) -> TrackerRing {
        TrackerRing::new(hosts(count), REPLICAS_MAX_DEFAULT, PassiveConfig::default())
    }

    fn hosts(count: u32) -> Vec<String> {
        (1..=count).map(|n| format!("tracker{n}:15003")).collect()
    }

    #[test]
    fn a_host_that_fails_thrice_is_left_out_for_a_while() {
        let mut ring = ring(5);
        let digest = Digest::sha256(b"hello kraken");
        let at = |secs| Time::ZERO + Duration::from_secs(secs);
        let owners = ring.locations(&digest, at(0));
        assert_eq!(owners.len(), 3);
        for secs in 0..3 {
            assert_eq!(ring.locations(&digest, at(secs)), owners);
            ring.failed(&owners[0], at(secs));
        }
        assert_eq!(ring.locations(&digest, at(3)), owners[1..]);
        assert_eq!(ring.locations(&digest, at(303)), owners);
    }

    #[test]
    fn how_many_own_a_blob_and_when_they_are_ill_is_chosen() {
        let health = PassiveConfig { fails: 1, fail_timeout: Duration::from_secs(7) };
        let mut ring = TrackerRing::new(hosts(5), 2, health);
        let digest = Digest::sha256(b"hello kraken");
        let at = |secs| Time::ZERO + Duration::from_secs(secs);
        let owners = ring.locations(&digest, at(0));
        assert_eq!(owners.len(), 2);
        ring.failed(&owners[0], at(0));
        assert_eq!(ring.locations(&digest, at(1)), owners[1..]);
        assert_eq!(ring.locations(&digest, at(8)), owners);
    }

    #[test]
    fn there_is_always_somebody_to_ask() {
        let mut ring = ring(4);
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
        assert_eq!(ring.locations(&digest, Time::ZERO), owners);
        ring.replace(vec![owners[1].clone(), "new:1".into()]);
        assert_eq!(ring.locations(&digest, Time::ZERO), ["new:1"]);
    }
}
