//! The queue of blobs to be written back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kraken_core::retry::{RetryConfig, RetryQueue};
use kraken_core::{Digest, Namespace, Time};
use tokio::sync::Notify;

/// What is written back: a blob, to the backend of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriteBack {
    pub(crate) digest: Digest,
    pub(crate) namespace: Namespace,
}

/// The queue and its clock.
#[derive(Debug)]
pub(crate) struct WriteBackQueue {
    queue: Mutex<RetryQueue<WriteBack, Namespace>>,
    pub(crate) changed: Notify,
    epoch: Instant,
}

impl WriteBackQueue {
    /// The first and the longest pause between two tries.
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        let config = RetryConfig {
            retry_initial: first,
            retry_interval: longest,
            probe_interval: longest,
            in_flight_max: WRITE_BACKS_AT_ONCE,
            ..RetryConfig::default()
        };
        Self {
            queue: Mutex::new(RetryQueue::new(config)),
            changed: Notify::new(),
            epoch: Instant::now(),
        }
    }

    /// Takes a blob whose sidecars say that it must be written back, after `delay`.
    pub(crate) fn push(&self, digest: &Digest, namespace: &Namespace, delay: Duration) {
        let (now, namespace) = (self.now(), namespace.clone());
        let task = WriteBack { digest: *digest, namespace: namespace.clone() };
        // A full queue forgets the key, not the sidecar: it is pushed again by the reload.
        self.with(|queue| queue.push(task, namespace, now + delay, now));
        self.changed.notify_one();
    }

    /// How many write-backs wait or are under way.
    pub(crate) fn pending(&self) -> usize {
        self.with(|queue| queue.len())
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    pub(crate) fn with<T>(
        &self,
        change: impl FnOnce(&mut RetryQueue<WriteBack, Namespace>) -> T,
    ) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Write-backs under way at once.
const WRITE_BACKS_AT_ONCE: usize = 8;
