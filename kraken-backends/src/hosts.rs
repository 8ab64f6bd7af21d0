//! The hosts of a remote cluster, and which of them failed a moment ago.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use kraken_core::health::{PassiveConfig, PassiveFilter};
use kraken_core::http::is_network_error;
use kraken_core::{Error, Result, Time};

use crate::limits;

/// `host:port` addresses that are asked in turn; one that just failed is asked last.
#[derive(Debug)]
pub(crate) struct Hosts {
    list: RwLock<Vec<String>>,
    turn: AtomicUsize,
    health: Mutex<PassiveFilter>,
    epoch: Instant,
}

impl Hosts {
    pub(crate) fn new(list: Vec<String>) -> Result<Self> {
        check(&list)?;
        // One failure is enough, because such a host is asked last, not left out.
        let config = PassiveConfig { fails: 1, fail_timeout: limits::FAILED_HOST_LAST };
        Ok(Self {
            list: RwLock::new(list),
            turn: AtomicUsize::new(0),
            health: Mutex::new(PassiveFilter::new(config)),
            epoch: Instant::now(),
        })
    }

    pub(crate) fn replace(&self, list: Vec<String>) -> Result<()> {
        check(&list)?;
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = list;
        Ok(())
    }

    /// All hosts, each call beginning with the next one.
    pub(crate) fn in_turn(&self) -> Vec<String> {
        let mut hosts = self.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % hosts.len().max(1);
        hosts.rotate_left(turn);
        self.failed_last(hosts)
    }

    /// `hosts` in their order, but for those that just failed.
    pub(crate) fn failed_last(&self, mut hosts: Vec<String>) -> Vec<String> {
        let now = self.now();
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.sort_by_key(|host| !health.is_healthy(host, now));
        hosts
    }

    /// Remembers that `host` did not answer, if that is what `error` says.
    pub(crate) fn note(&self, host: &str, error: &Error) {
        if is_network_error(error) {
            let now = self.now();
            self.health.lock().unwrap_or_else(PoisonError::into_inner).failed(host, now);
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }
}

fn check(list: &[String]) -> Result<()> {
    if list.is_empty() || list.iter().any(String::is_empty) {
        return Err(Error::invalid("a cluster needs hosts, each as host:port"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_asked_in_turn() {
        let hosts = Hosts::new(vec!["a:1".into(), "b:1".into()]).unwrap();
        assert_eq!(hosts.in_turn(), ["a:1", "b:1"]);
        assert_eq!(hosts.in_turn(), ["b:1", "a:1"]);
        hosts.replace(vec!["c:1".into()]).unwrap();
        assert_eq!(hosts.in_turn(), ["c:1"]);
        assert!(hosts.replace(Vec::new()).is_err());
    }
}
