//! A link to storage that is neither wide nor near.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kraken_core::bucket::TokenBucket;
use kraken_core::{Result, Time};
use tokio::time::Instant;

/// How fast the server is, and what it has sent.
#[derive(Debug)]
pub(crate) struct Pace {
    latency: Duration,
    /// Of all answers together.
    bucket: Mutex<TokenBucket>,
    begun: Instant,
    sent: AtomicU64,
}

impl Pace {
    /// As told, 0 bytes a second for no limit.
    pub(crate) fn new(bytes_per_sec: u64, latency: Duration) -> Self {
        // A tenth of a second at once: what a queue in a switch holds, and no timer is that fine.
        let bucket = Mutex::new(TokenBucket::new(bytes_per_sec, bytes_per_sec / 10));
        Self { latency, bucket, begun: Instant::now(), sent: AtomicU64::new(0) }
    }

    /// The way of a question and its answer.
    pub(crate) async fn latency(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }

    /// The same bytes, once they may go out.
    pub(crate) async fn pass(&self, chunk: Result<Bytes>) -> Result<Bytes> {
        let bytes = chunk?;
        let now = Time::ZERO + self.begun.elapsed();
        let wait = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.reserve(now, bytes.len() as u64)
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Bytes of files that went out.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
