//! The hosts of a remote cluster, and which of them failed a moment ago.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use kraken_core::health::{PassiveConfig, PassiveFilter};
use kraken_core::http::is_network_error;
use kraken_core::{Error, Result, Time};

use crate::limits;

/// `host:port` addresses that are asked in turn; one that just failed is asked last, and so is one
/// that failed often.
#[derive(Debug)]
pub(crate) struct Hosts {
    list: RwLock<Vec<String>>,
    turn: AtomicUsize,
    /// Who failed a moment ago.
    just_failed: Mutex<PassiveFilter>,
    /// Who failed so often that it is asked even after those.
    ill: Mutex<PassiveFilter>,
    epoch: Instant,
}

impl Hosts {
    pub(crate) fn new(list: Vec<String>) -> Result<Self> {
        Self::with_health(list, JUST_FAILED)
    }

    /// With when a host is so ill that it is asked even after those that just failed.
    pub(crate) fn with_health(list: Vec<String>, health: PassiveConfig) -> Result<Self> {
        check(&list)?;
        Ok(Self {
            list: RwLock::new(list),
            turn: AtomicUsize::new(0),
            just_failed: Mutex::new(PassiveFilter::new(JUST_FAILED)),
            ill: Mutex::new(PassiveFilter::new(health)),
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

    /// `hosts` in their order, but for those that failed.
    pub(crate) fn failed_last(&self, mut hosts: Vec<String>) -> Vec<String> {
        let now = self.now();
        let just_failed = lock(&self.just_failed);
        let ill = lock(&self.ill);
        hosts.sort_by_key(|host| (!ill.is_healthy(host, now), !just_failed.is_healthy(host, now)));
        hosts
    }

    /// Remembers that `host` did not answer, if that is what `error` says.
    pub(crate) fn note(&self, host: &str, error: &Error) {
        if is_network_error(error) {
            let now = self.now();
            lock(&self.just_failed).failed(host, now);
            lock(&self.ill).failed(host, now);
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }
}

fn lock(filter: &Mutex<PassiveFilter>) -> MutexGuard<'_, PassiveFilter> {
    filter.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(list: &[String]) -> Result<()> {
    if list.is_empty() || list.iter().any(String::is_empty) {
        return Err(Error::invalid("a cluster needs hosts, each as host:port"));
    }
    Ok(())
}

/// One failure is enough, because such a host is asked last, not left out.
const JUST_FAILED: PassiveConfig =
    PassiveConfig { fails: 1, fail_timeout: limits::FAILED_HOST_LAST };

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kraken_core::http::{Client, ClientConfig, Method, Request};

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

    #[tokio::test]
    async fn an_ill_host_is_asked_after_one_that_just_failed() {
        let client = Client::new(ClientConfig::default());
        let refused = client.send(Request::to(Method::GET, "127.0.0.1:1", "/")).await.unwrap_err();
        let health = PassiveConfig { fails: 2, fail_timeout: Duration::from_secs(300) };
        let list: Vec<String> = ["a:1", "b:1", "c:1"].map(Into::into).into();
        let hosts = Hosts::with_health(list.clone(), health).unwrap();
        hosts.note("a:1", &refused);
        assert_eq!(hosts.failed_last(list.clone()), ["b:1", "c:1", "a:1"]);
        hosts.note("b:1", &Error::not_found("an answer is no failure"));
        hosts.note("a:1", &refused);
        hosts.note("b:1", &refused);
        assert_eq!(hosts.failed_last(list), ["c:1", "b:1", "a:1"]);
    }
}
