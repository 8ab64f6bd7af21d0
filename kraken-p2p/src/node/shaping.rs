//! Rate limits shared by all connections of a node.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kraken_core::Time;
use kraken_core::bucket::TokenBucket;
use tokio::time::Instant;

use super::limits::SLICE_LEN;

/// The clock the swarm and the buckets are told the time by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    /// A clock whose epoch lies one hour back, so that full buckets start full.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Time {
        EPOCH_LEAD + self.0.elapsed()
    }

    /// When `time` will be, on the runtime's clock.
    pub(super) fn instant_of(self, time: Time) -> Instant {
        let ahead = time.since(EPOCH_LEAD).min(FAR_AHEAD);
        self.0.checked_add(ahead).unwrap_or(self.0)
    }
}

/// One direction's limit. The lock is a leaf and held for an addition.
#[derive(Debug)]
pub(super) struct Shaper {
    bucket: Mutex<TokenBucket>,
    clock: Clock,
}

impl Shaper {
    /// `bytes_per_sec` of zero is no limit. The burst is a tenth of a second, or one slice.
    pub(super) fn new(bytes_per_sec: u64, clock: Clock) -> Self {
        let burst = (bytes_per_sec / 10).max(SLICE_LEN as u64);
        Self { bucket: Mutex::new(TokenBucket::new(bytes_per_sec, burst)), clock }
    }

    /// Changes the limit from now on.
    pub(super) fn set_rate(&self, bytes_per_sec: u64) {
        let burst = (bytes_per_sec / 10).max(SLICE_LEN as u64);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.set_rate(bytes_per_sec, burst);
    }

    /// Takes `bytes` now; how long to wait before they may move.
    pub(super) fn reserve(&self, bytes: usize) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.reserve(self.clock.now(), bytes as u64)
    }
}

/// Where the clock starts: buckets look back in time to see how full they are.
const EPOCH_LEAD: Time = Time::from_millis(3_600_000);

/// The farthest wake-up that is set: the timer wheel has an end.
const FAR_AHEAD: Duration = Duration::from_secs(365 * 24 * 3600);
