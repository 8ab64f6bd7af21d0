//! Tries again what failed for a reason that passes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use kraken_core::{Error, ErrorKind, Namespace, Result};

use crate::backend::{BlobBackend, BlobStat, ListPage, Page, Version};
use crate::limits;
use crate::name::ObjectName;
use crate::source::{BlobStream, UploadSource};

/// Repeats calls that fail with `Unavailable`, all of which are idempotent.
///
/// A download whose stream breaks goes on from where it broke if the caller demanded a version:
/// only then is it certain that both parts are of one object.
#[derive(Debug)]
pub struct Retry<B> {
    backend: Arc<B>,
    config: RetryConfig,
}

/// How often and how patiently [`Retry`] tries.
#[derive(Debug, Clone)]
pub struct RetryConfig {
    /// Tries in all, the first included; at least one is made.
    pub attempts_max: u32,
    /// The pause before the second try; it doubles for each one after.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

/// A download and where it has got to.
struct Resuming<B> {
    retry: Retry<B>,
    namespace: Namespace,
    name: ObjectName,
    version: Version,
    stream: BlobStream,
    left: Range<u64>,
    resumes: u32,
}

impl<B: BlobBackend> Retry<B> {
    /// Wraps `backend`.
    pub fn new(backend: B, config: RetryConfig) -> Self {
        Self { backend: Arc::new(backend), config }
    }

    async fn repeat<T, F: Future<Output = Result<T>>>(&self, call: impl Fn() -> F) -> Result<T> {
        let mut pause = self.config.pause;
        for _ in 1..self.config.attempts_max {
            match call().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(self.config.pause_max);
                }
                result => return result,
            }
        }
        call().await
    }
}

impl<B: BlobBackend + 'static> Resuming<B> {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        // What breaks after the last byte asked for is of no interest.
        while !self.left.is_empty() {
            let error = match self.stream.try_next().await {
                Ok(chunk) => {
                    self.left.start += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                    return Ok(chunk);
                }
                Err(error) => error,
            };
            self.resumes += 1;
            if error.kind() != ErrorKind::Unavailable || self.resumes > limits::RESUMES_MAX {
                return Err(error);
            }
            self.resume(error).await?;
        }
        Ok(None)
    }

    async fn resume(&mut self, cause: Error) -> Result<()> {
        let (retry, range) = (&self.retry, self.left.clone());
        let (namespace, name, version) = (&self.namespace, &self.name, &self.version);
        self.stream = retry
            .repeat(|| retry.backend.download(namespace, name, Some(range.clone()), Some(version)))
            .await
            .map_err(|error| error.context(format!("go on with {name} after {cause}")))?;
        Ok(())
    }
}

#[async_trait]
impl<B: BlobBackend + 'static> BlobBackend for Retry<B> {
    async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        self.repeat(|| self.backend.stat(namespace, name)).await
    }

    async fn download(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        // What is left of a whole object can only be named by its length.
        let range = match (range, version) {
            (None, Some(_)) => Some(0..self.stat(namespace, name).await?.len),
            (range, _) => range,
        };
        let stream =
            self.repeat(|| self.backend.download(namespace, name, range.clone(), version)).await?;
        let (Some(left), Some(version)) = (range, version) else {
            return Ok(stream);
        };
        let resuming = Resuming {
            retry: Self { backend: Arc::clone(&self.backend), config: self.config.clone() },
            namespace: namespace.clone(),
            name: name.clone(),
            version: version.clone(),
            stream,
            left,
            resumes: 0,
        };
        let chunks = stream::try_unfold(resuming, |mut resuming| async move {
            Ok(resuming.next().await?.map(|chunk| (chunk, resuming)))
        });
        Ok(chunks.boxed())
    }

    async fn upload(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        self.repeat(|| self.backend.upload(namespace, name, source)).await
    }

    async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        self.repeat(|| self.backend.list(namespace, prefix, page)).await
    }

    async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()> {
        self.repeat(|| self.backend.delete(namespace, name)).await
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts_max: 4,
            pause: Duration::from_millis(200),
            pause_max: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::local::LocalDisk;
    use crate::pather::Layout;
    use crate::source::BytesSource;
    use crate::suite;

    fn quick() -> RetryConfig {
        RetryConfig { pause: Duration::from_millis(1), ..RetryConfig::default() }
    }

    /// A disk whose every second call fails, and whose streams break after one chunk.
    #[derive(Debug)]
    struct Flaky {
        disk: LocalDisk,
        calls: AtomicU32,
    }

    impl Flaky {
        fn call(&self) -> Result<()> {
            match self.calls.fetch_add(1, Ordering::Relaxed) % 2 {
                0 => Err(Error::new(ErrorKind::Unavailable, "call a flaky backend")),
                _ => Ok(()),
            }
        }
    }

    #[async_trait]
    impl BlobBackend for Flaky {
        async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat> {
            self.call()?;
            self.disk.stat(namespace, name).await
        }

        async fn download(
            &self,
            namespace: &Namespace,
            name: &ObjectName,
            range: Option<Range<u64>>,
            version: Option<&Version>,
        ) -> Result<BlobStream> {
            self.call()?;
            let stream = self.disk.download(namespace, name, range, version).await?;
            let broken = Error::new(ErrorKind::Unavailable, "read from a flaky backend");
            Ok(stream.take(1).chain(stream::iter([Err(broken)])).boxed())
        }

        async fn upload(
            &self,
            namespace: &Namespace,
            name: &ObjectName,
            source: &dyn UploadSource,
        ) -> Result<()> {
            self.call()?;
            self.disk.upload(namespace, name, source).await
        }

        async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
            self.call()?;
            self.disk.list(namespace, prefix, page).await
        }

        async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()> {
            self.call()?;
            self.disk.delete(namespace, name).await
        }
    }

    #[tokio::test]
    async fn a_sound_backend_passes_the_suite_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
        suite::blob_backend(&Retry::new(disk, quick()), &suite::plain_names).await;
    }

    #[tokio::test]
    async fn calls_are_repeated_and_downloads_of_a_version_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
        let retry = Retry::new(Flaky { disk, calls: AtomicU32::new(0) }, quick());
        let (namespace, name) = ("ns".parse().unwrap(), "x".parse().unwrap());
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
        retry.upload(&namespace, &name, &BytesSource::new(bytes.clone())).await.unwrap();
        let version = retry.stat(&namespace, &name).await.unwrap().version.unwrap();
        for (range, expected) in [(None, &bytes[..]), (Some(9..1_500_000), &bytes[9..1_500_000])] {
            let stream = retry.download(&namespace, &name, range, Some(&version)).await.unwrap();
            let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
            assert!(parts.concat() == expected);
        }
        let stream = retry.download(&namespace, &name, None, None).await.unwrap();
        stream.try_collect::<Vec<Bytes>>().await.unwrap_err();
    }
}
