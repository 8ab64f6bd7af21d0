//! Gives up on a backend that has fallen silent.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use kraken_core::{Error, ErrorKind, Namespace, Result};
use tokio::time::timeout;

use crate::backend::{BlobBackend, BlobStat, ListPage, Page, Version};
use crate::name::ObjectName;
use crate::source::{BlobStream, UploadSource};

/// Fails with `Unavailable` what makes no progress for a given time. It never bounds a whole
/// transfer: a slow link may take hours, as long as bytes move.
#[derive(Debug)]
pub struct Silence<B> {
    backend: B,
    longest: Duration,
}

/// A source that counts the chunks taken from it.
#[derive(Debug)]
struct Counted<'a> {
    source: &'a dyn UploadSource,
    taken: Arc<AtomicU64>,
}

impl<B: BlobBackend> Silence<B> {
    /// Wraps `backend`, which may be silent for `longest`.
    pub fn new(backend: B, longest: Duration) -> Self {
        Self { backend, longest }
    }

    async fn bounded<T>(&self, what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        match timeout(self.longest, call).await {
            Ok(result) => result,
            Err(_) => Err(silent(what, self.longest)),
        }
    }
}

#[async_trait]
impl<B: BlobBackend> BlobBackend for Silence<B> {
    async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        self.bounded("stat", self.backend.stat(namespace, name)).await
    }

    async fn download(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        let opening = self.backend.download(namespace, name, range, version);
        let opened = self.bounded("open a download", opening).await?;
        let longest = self.longest;
        let chunks = stream::try_unfold(opened, move |mut opened| async move {
            match timeout(longest, opened.try_next()).await {
                Ok(result) => Ok(result?.map(|chunk| (chunk, opened))),
                Err(_) => Err(silent("download", longest)),
            }
        });
        Ok(chunks.boxed())
    }

    async fn upload(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, taken: Arc::clone(&taken) };
        let mut upload = pin!(self.backend.upload(namespace, name, &counted));
        let mut before = 0;
        loop {
            if let Ok(result) = timeout(self.longest, upload.as_mut()).await {
                return result;
            }
            let now = taken.load(Ordering::Relaxed);
            if now == before {
                return Err(silent("upload", self.longest));
            }
            before = now;
        }
    }

    async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        self.bounded("list", self.backend.list(namespace, prefix, page)).await
    }

    async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()> {
        self.bounded("delete", self.backend.delete(namespace, name)).await
    }
}

#[async_trait]
impl UploadSource for Counted<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    async fn open(&self, range: Range<u64>) -> Result<BlobStream> {
        let taken = Arc::clone(&self.taken);
        let count = move |_: &_| {
            taken.fetch_add(1, Ordering::Relaxed);
        };
        Ok(self.source.open(range).await?.inspect(count).boxed())
    }
}

fn silent(what: &str, longest: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the backend was silent for {longest:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalDisk;
    use crate::pather::Layout;
    use crate::suite;

    #[tokio::test]
    async fn a_sound_backend_passes_the_suite_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
        let silence = Silence::new(disk, Duration::from_secs(60));
        suite::blob_backend(&silence, &suite::plain_names).await;
    }

    #[tokio::test]
    async fn an_upload_that_stands_still_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(dir.path(), Layout::Identity).await.unwrap();
        let silence = Silence::new(disk, Duration::from_millis(20));
        let (namespace, name) = ("ns".parse().unwrap(), "x".parse().unwrap());
        let error = silence.upload(&namespace, &name, &suite::StuckSource).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
