//! The queue of blobs to be written back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kraken_common::backends::WriteBackConfig;
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
    written: AtomicU64,
    gone: AtomicU64,
    failed: AtomicU64,
}

/// How write-backs stand.
#[derive(Debug)]
pub(crate) struct WriteBackStats {
    /// Those that wait or are under way.
    pub(crate) queued: usize,
    pub(crate) running: usize,
    /// How long the oldest has been queued.
    pub(crate) oldest: Duration,
    /// Tries that succeeded, those whose blob was gone, and those that failed.
    pub(crate) written: u64,
    pub(crate) gone: u64,
    pub(crate) failed: u64,
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The backend has the blob.
    Written,
    /// The blob is not here any more: nothing can be done.
    Gone,
    /// It must be tried again.
    Failed,
}

/// A write-back that was handed out. Dropped, it is given back with its outcome, which is that it
/// failed until it is told: an attempt that panics neither takes a place for good nor is forgotten.
#[derive(Debug)]
pub(crate) struct Slot {
    queue: Arc<WriteBackQueue>,
    pub(crate) task: WriteBack,
    pub(crate) outcome: Outcome,
}

impl WriteBackQueue {
    /// An empty queue.
    pub(crate) fn new(config: &WriteBackConfig) -> Self {
        let at_once = config.at_once.max(1);
        let config = RetryConfig {
            retry_initial: config.retry_initial(),
            retry_interval: config.retry_interval,
            probe_interval: config.probe_interval.min(config.retry_interval),
            in_flight_max: at_once.saturating_add(config.spare),
            lane_in_flight_max: at_once,
            ..RetryConfig::default()
        };
        Self {
            queue: Mutex::new(RetryQueue::new(config)),
            changed: Notify::new(),
            epoch: Instant::now(),
            written: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            failed: AtomicU64::new(0),
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

    /// The next write-back, if one is due and few enough are under way.
    pub(crate) fn next(self: &Arc<Self>) -> Option<Slot> {
        let task = self.with(|queue| queue.next(self.now()))?;
        Some(Slot { queue: Arc::clone(self), task: task.key, outcome: Outcome::Failed })
    }

    /// How many write-backs wait or are under way.
    pub(crate) fn pending(&self) -> usize {
        self.with(|queue| queue.len())
    }

    pub(crate) fn stats(&self) -> WriteBackStats {
        let now = self.now();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (written, gone, failed) = (load(&self.written), load(&self.gone), load(&self.failed));
        self.with(|queue| WriteBackStats {
            queued: queue.len(),
            running: queue.in_flight(),
            oldest: queue.oldest().map_or(Duration::ZERO, |since| now.since(since)),
            written,
            gone,
            failed,
        })
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

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.queue.now();
        let ended = match self.outcome {
            Outcome::Written => &self.queue.written,
            Outcome::Gone => &self.queue.gone,
            Outcome::Failed => &self.queue.failed,
        };
        ended.fetch_add(1, Ordering::Relaxed);
        self.queue.with(|queue| match self.outcome {
            Outcome::Written | Outcome::Gone => drop(queue.done(&self.task, now)),
            Outcome::Failed => queue.failed(&self.task, now),
        });
        self.queue.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_that_panics_or_is_dropped_gives_its_place_back_and_is_tried_again() {
        let pause = Duration::from_millis(1);
        let config = WriteBackConfig {
            retry_interval: pause,
            probe_interval: pause,
            ..WriteBackConfig::default()
        };
        let queue = Arc::new(WriteBackQueue::new(&config));
        let digest = Digest::sha256(b"x");
        let namespaces: [Namespace; 2] = ["one", "two"].map(|name| name.parse().unwrap());
        for namespace in &namespaces {
            queue.push(&digest, namespace, Duration::ZERO);
        }
        let slots: Vec<Slot> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(slots.len(), 2, "one blob in two namespaces is two write-backs");
        for slot in slots {
            let attempt = tokio::spawn(async move {
                let _slot = slot;
                panic!("on purpose");
            });
            assert!(attempt.await.unwrap_err().is_panic());
        }
        assert_eq!((queue.pending(), queue.with(|queue| queue.in_flight())), (2, 0));
        let mut left = 2;
        while left > 0 {
            match queue.next() {
                Some(mut slot) => {
                    slot.outcome = Outcome::Written;
                    left -= 1;
                }
                None => tokio::time::sleep(pause).await,
            }
        }
        assert_eq!(queue.pending(), 0);
    }
}
