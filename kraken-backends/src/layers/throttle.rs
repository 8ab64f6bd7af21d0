//! Bounds the bandwidth a backend is used with.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use kraken_core::bucket::TokenBucket;
use kraken_core::{Namespace, Result, Time};
use tokio::time::Instant;

use crate::backend::{BlobBackend, BlobStat, ListPage, Page, Version};
use crate::name::ObjectName;
use crate::source::{BlobStream, UploadSource};

/// Makes the bytes to and from a backend keep to a rate, chunk by chunk, all transfers together.
///
/// Unlike uber/kraken's, which reserves whole blobs and lets those larger than a second's worth
/// through unlimited, it needs no length beforehand and bounds blobs of any size.
#[derive(Debug)]
pub struct Throttle<B> {
    backend: B,
    /// Out of the backend: downloads.
    ingress: Limit,
    /// Into the backend: uploads.
    egress: Limit,
}

/// What a [`Throttle`] allows. A rate of zero means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThrottleConfig {
    /// Bytes downloaded per second.
    pub ingress_bytes_per_sec: u64,
    /// Bytes uploaded per second.
    pub egress_bytes_per_sec: u64,
}

/// A token bucket that many streams share, and its clock.
#[derive(Debug, Clone)]
struct Limit {
    bucket: Arc<Mutex<TokenBucket>>,
    epoch: Instant,
}

/// A source that yields no faster than a limit allows.
#[derive(Debug)]
struct Throttled<'a> {
    source: &'a dyn UploadSource,
    limit: &'a Limit,
}

impl<B: BlobBackend> Throttle<B> {
    /// Wraps `backend`.
    pub fn new(backend: B, config: &ThrottleConfig) -> Self {
        Self {
            backend,
            ingress: Limit::new(config.ingress_bytes_per_sec),
            egress: Limit::new(config.egress_bytes_per_sec),
        }
    }

    /// Changes the rates from now on, for transfers under way too: an origin divides its share
    /// anew when the ring changes.
    pub fn adjust(&self, config: &ThrottleConfig) {
        self.ingress.set_rate(config.ingress_bytes_per_sec);
        self.egress.set_rate(config.egress_bytes_per_sec);
    }
}

impl Limit {
    fn new(rate: u64) -> Self {
        let bucket = Arc::new(Mutex::new(TokenBucket::new(rate, rate)));
        Self { bucket, epoch: Instant::now() }
    }

    fn set_rate(&self, rate: u64) {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).set_rate(rate, rate);
    }

    fn reserve(&self, len: usize) -> Duration {
        let nanos = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.reserve(Time::from_nanos(nanos), len as u64)
    }

    fn apply(&self, stream: BlobStream) -> BlobStream {
        let limit = self.clone();
        let wait = move |chunk: Bytes| {
            let wait = limit.reserve(chunk.len());
            async move {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                Ok(chunk)
            }
        };
        stream.and_then(wait).boxed()
    }
}

#[async_trait]
impl<B: BlobBackend> BlobBackend for Throttle<B> {
    async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        self.backend.stat(namespace, name).await
    }

    async fn download(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        let stream = self.backend.download(namespace, name, range, version).await?;
        Ok(self.ingress.apply(stream))
    }

    async fn upload(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        let throttled = Throttled { source, limit: &self.egress };
        self.backend.upload(namespace, name, &throttled).await
    }

    async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        self.backend.list(namespace, prefix, page).await
    }

    async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()> {
        self.backend.delete(namespace, name).await
    }
}

#[async_trait]
impl UploadSource for Throttled<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn open(&self, range: Range<u64>) -> Result<BlobStream> {
        Ok(self.limit.apply(self.source.open(range).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalDisk;
    use crate::pather::Layout;
    use crate::source::BytesSource;
    use crate::suite;

    #[tokio::test]
    async fn a_sound_backend_passes_the_suite_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
        let throttle = Throttle::new(disk, &ThrottleConfig::default());
        suite::blob_backend(&throttle, &suite::plain_names).await;
    }

    #[tokio::test(start_paused = true)]
    async fn blobs_larger_than_a_seconds_worth_are_bounded_too() {
        let limit = Limit::new(1_000_000);
        // A fresh bucket's clock stands at its epoch, so it has gathered nothing yet.
        let started = Instant::now();
        let source = BytesSource::new(vec![0; 5_000_000]);
        let throttled = Throttled { source: &source, limit: &limit };
        let stream = throttled.open(0..5_000_000).await.unwrap();
        let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(parts.concat().len(), 5_000_000);
        assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
