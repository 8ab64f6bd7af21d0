//! A token bucket that says how long to wait; it never waits itself.

use std::time::Duration;

use crate::time::Time;

/// Bytes per second with a burst. A reservation larger than the burst is granted too, and paid
/// back over time: nothing is refused.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    bytes_per_sec: u64,
    burst: u64,
    /// When everything reserved so far is paid for; in the past when tokens have gathered.
    paid_until: Time,
}

impl TokenBucket {
    /// A full bucket. A rate of zero means no limit.
    pub fn new(bytes_per_sec: u64, burst: u64) -> Self {
        Self { bytes_per_sec, burst, paid_until: Time::ZERO }
    }

    /// A bucket that never makes anyone wait.
    pub fn unlimited() -> Self {
        Self::new(0, 0)
    }

    /// Takes `bytes` tokens; how long the caller must wait before it uses them.
    pub fn reserve(&mut self, now: Time, bytes: u64) -> Duration {
        if self.bytes_per_sec == 0 {
            return Duration::ZERO;
        }
        let full = Time::from_nanos(now.as_nanos().saturating_sub(self.time_for(self.burst)));
        let from = self.paid_until.max(full);
        self.paid_until = from + Duration::from_nanos(self.time_for(bytes));
        self.paid_until.since(now)
    }

    /// Changes the rate from now on; what is owed stays owed.
    pub fn set_rate(&mut self, bytes_per_sec: u64, burst: u64) {
        self.bytes_per_sec = bytes_per_sec;
        self.burst = burst;
    }

    /// Bytes per second; zero means no limit.
    pub fn rate(&self) -> u64 {
        self.bytes_per_sec
    }

    fn time_for(&self, bytes: u64) -> u64 {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_sec);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_grants_its_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(100, 50);
        let now = Time::from_millis(10_000);
        assert_eq!(bucket.reserve(now, 50), Duration::ZERO);
        assert_eq!(bucket.reserve(now, 10), Duration::from_millis(100));
        assert_eq!(bucket.reserve(now + Duration::from_millis(100), 0), Duration::ZERO);
    }

    #[test]
    fn more_than_the_burst_is_granted_and_paid_back() {
        let mut bucket = TokenBucket::new(100, 10);
        let now = Time::from_millis(10_000);
        assert_eq!(bucket.reserve(now, 1000), Duration::from_millis(9900));
    }

    #[test]
    fn no_rate_means_no_wait() {
        let mut bucket = TokenBucket::unlimited();
        assert_eq!(bucket.reserve(Time::ZERO, u64::MAX), Duration::ZERO);
    }
}
