//! Which hosts are healthy: judged by failures met in passing, or by checks made on purpose.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::Time;

/// Judges hosts by the network errors that requests to them met.
///
/// A host with several failures within a window is unhealthy for the length of the window after
/// the last of them. Callers report only network errors: an HTTP error is an answer.
#[derive(Debug, Clone)]
pub struct PassiveFilter {
    config: PassiveConfig,
    failures: BTreeMap<String, VecDeque<Time>>,
}

/// How a [`PassiveFilter`] judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassiveConfig {
    /// Failures within the window that make a host unhealthy; at least one.
    pub fails: u32,
    /// The window, and how long an unhealthy host stays so.
    pub fail_timeout: Duration,
}

/// Judges hosts by the results of periodic checks.
///
/// A new host is healthy; so many failed checks in a row make it unhealthy, so many passed ones
/// healthy again. The only host of a list is always healthy. A host that leaves is forgotten.
#[derive(Debug, Clone)]
pub struct ActiveFilter {
    config: ActiveConfig,
    hosts: BTreeMap<String, Trend>,
}

/// How an [`ActiveFilter`] judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveConfig {
    /// Failed checks in a row that make a host unhealthy; at least one.
    pub fails: u32,
    /// Passed checks in a row that make it healthy again; at least one.
    pub passes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Trend {
    healthy: bool,
    /// Results in a row that speak against `healthy`.
    against: u32,
}

impl PassiveFilter {
    /// A filter that has seen no failure yet.
    pub fn new(config: PassiveConfig) -> Self {
        Self { config, failures: BTreeMap::new() }
    }

    /// A request to `host` met a network error.
    pub fn failed(&mut self, host: &str, now: Time) {
        if !self.failures.contains_key(host) && self.failures.len() >= FAILED_HOSTS_MAX {
            self.forget_old(now);
            if self.failures.len() >= FAILED_HOSTS_MAX {
                return;
            }
        }
        let fails = self.fails();
        let failures = self.failures.entry(host.to_owned()).or_default();
        failures.push_back(now);
        // Only that many decide, so only that many are kept.
        while failures.len() > fails {
            failures.pop_front();
        }
    }

    /// Whether `host` may be asked.
    pub fn is_healthy(&self, host: &str, now: Time) -> bool {
        let Some(failures) = self.failures.get(host) else {
            return true;
        };
        let (Some(first), Some(last)) = (failures.front(), failures.back()) else {
            return true;
        };
        failures.len() < self.fails()
            || last.since(*first) > self.config.fail_timeout
            || now.since(*last) > self.config.fail_timeout
    }

    /// The healthy ones of `hosts` in their order; all of them if none is healthy, because asking
    /// a bad host is better than asking nobody.
    pub fn healthy<'a, H: AsRef<str>>(&self, hosts: &'a [H], now: Time) -> Vec<&'a str> {
        let hosts = hosts.iter().map(AsRef::as_ref);
        let healthy: Vec<&str> = hosts.clone().filter(|host| self.is_healthy(host, now)).collect();
        if healthy.is_empty() { hosts.collect() } else { healthy }
    }

    fn forget_old(&mut self, now: Time) {
        let fail_timeout = self.config.fail_timeout;
        self.failures
            .retain(|_, failures| failures.back().is_some_and(|t| now.since(*t) <= fail_timeout));
    }

    fn fails(&self) -> usize {
        self.config.fails.clamp(1, FAILS_MAX) as usize
    }
}

impl ActiveFilter {
    /// A filter without hosts.
    pub fn new(config: ActiveConfig) -> Self {
        Self { config, hosts: BTreeMap::new() }
    }

    /// Replaces the list of hosts: new ones are healthy, those not named are forgotten.
    pub fn set_hosts<H: AsRef<str>>(&mut self, hosts: &[H]) {
        let known = std::mem::take(&mut self.hosts);
        for host in hosts.iter().map(AsRef::as_ref) {
            let trend = known.get(host).copied().unwrap_or(Trend::NEW);
            self.hosts.insert(host.to_owned(), trend);
        }
    }

    /// A check of `host` passed; true if that made it healthy. An unknown host is ignored.
    pub fn passed(&mut self, host: &str) -> bool {
        self.checked(host, true)
    }

    /// A check of `host` failed; true if that made it unhealthy. An unknown host is ignored.
    pub fn failed(&mut self, host: &str) -> bool {
        self.checked(host, false)
    }

    /// Whether checks can change anything: a single host is healthy whatever they say.
    pub fn needs_checks(&self) -> bool {
        self.hosts.len() > 1
    }

    /// Whether `host` may be asked; an unknown one may not.
    pub fn is_healthy(&self, host: &str) -> bool {
        self.hosts.get(host).is_some_and(|trend| trend.healthy || !self.needs_checks())
    }

    /// The healthy hosts in the order of their names. It may be empty.
    pub fn healthy(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str).filter(|host| self.is_healthy(host))
    }

    fn checked(&mut self, host: &str, passed: bool) -> bool {
        let Some(trend) = self.hosts.get_mut(host) else {
            return false;
        };
        if trend.healthy == passed {
            trend.against = 0;
            return false;
        }
        trend.against += 1;
        let wanted = if passed { self.config.passes } else { self.config.fails };
        if trend.against < wanted {
            return false;
        }
        *trend = Trend { healthy: passed, against: 0 };
        true
    }
}

impl Trend {
    const NEW: Self = Self { healthy: true, against: 0 };
}

impl Default for PassiveConfig {
    fn default() -> Self {
        Self { fails: 3, fail_timeout: Duration::from_secs(300) }
    }
}

impl Default for ActiveConfig {
    fn default() -> Self {
        Self { fails: 3, passes: 2 }
    }
}

/// Hosts whose failures are remembered; the list they come from is far shorter. At the bound a
/// further host stays healthy, which costs one connect timeout now and then.
pub const FAILED_HOSTS_MAX: usize = 1024;

/// The largest `fails` of a [`PassiveConfig`] that counts: that many times are kept for each host.
pub const FAILS_MAX: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_millis(secs * 1000)
    }

    #[test]
    fn three_failures_within_the_window_make_a_host_unhealthy_for_a_window() {
        let mut filter = PassiveFilter::new(PassiveConfig::default());
        filter.failed("a", at(0));
        filter.failed("a", at(1));
        assert!(filter.is_healthy("a", at(1)));
        filter.failed("a", at(2));
        assert_eq!(filter.healthy(&["a", "b"], at(2)), ["b"]);
        assert!(!filter.is_healthy("a", at(302)));
        assert!(filter.is_healthy("a", at(303)));
        // Those that came before still count, as in uber/kraken, if they lie within the window.
        filter.failed("a", at(303));
        assert!(filter.is_healthy("a", at(303)));
    }

    #[test]
    fn failures_spread_over_more_than_a_window_do_not_count() {
        let mut filter = PassiveFilter::new(PassiveConfig::default());
        for secs in [0, 200, 400, 600] {
            filter.failed("a", at(secs));
            assert!(filter.is_healthy("a", at(secs)));
        }
        filter.failed("a", at(601));
        assert!(!filter.is_healthy("a", at(601)));
    }

    #[test]
    fn when_all_are_unhealthy_all_are_returned() {
        let mut filter = PassiveFilter::new(PassiveConfig { fails: 0, ..Default::default() });
        filter.failed("a", at(0));
        filter.failed("b", at(0));
        assert_eq!(filter.healthy(&["b", "a"], at(1)), ["b", "a"]);
        assert_eq!(filter.healthy(&["b", "c", "a"], at(1)), ["c"]);
        assert!(filter.healthy::<&str>(&[], at(1)).is_empty());
    }

    #[test]
    fn the_memory_of_failures_is_bounded_and_old_ones_make_room() {
        let mut filter = PassiveFilter::new(PassiveConfig { fails: 1, ..Default::default() });
        for host in 0..=FAILED_HOSTS_MAX {
            filter.failed(&host.to_string(), at(0));
        }
        assert_eq!(filter.failures.len(), FAILED_HOSTS_MAX);
        filter.failed("late", at(301));
        assert!(!filter.is_healthy("late", at(301)));
        assert_eq!(filter.failures.len(), 1);
    }

    #[test]
    fn checks_in_a_row_decide() {
        let mut filter = ActiveFilter::new(ActiveConfig::default());
        filter.set_hosts(&["a", "b"]);
        assert!(filter.needs_checks());
        assert!(!filter.failed("a") && !filter.failed("a"));
        filter.passed("a");
        assert!(!filter.failed("a") && !filter.failed("a") && filter.is_healthy("a"));
        assert!(filter.failed("a"));
        assert_eq!(filter.healthy().collect::<Vec<_>>(), ["b"]);
        assert!(!filter.passed("a") && !filter.failed("a") && !filter.passed("a"));
        assert!(filter.passed("a") && filter.is_healthy("a"));
        for host in ["a", "b", "a", "b", "a", "b"] {
            filter.failed(host);
        }
        assert_eq!(filter.healthy().count(), 0);
    }

    #[test]
    fn a_host_that_leaves_is_forgotten_and_a_single_one_always_healthy() {
        let mut filter = ActiveFilter::new(ActiveConfig { fails: 1, passes: 1 });
        filter.set_hosts(&["a", "b"]);
        assert!(filter.failed("a") && filter.failed("b"));
        filter.set_hosts(&["b"]);
        assert!(filter.is_healthy("b") && !filter.is_healthy("a") && !filter.needs_checks());
        filter.set_hosts(&["a", "b"]);
        assert!(filter.is_healthy("a") && !filter.is_healthy("b"));
        assert!(!filter.failed("stranger") && !filter.is_healthy("stranger"));
    }
}
