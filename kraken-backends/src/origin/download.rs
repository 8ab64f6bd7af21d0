//! Downloads from the owners of a blob, which go on where one of them breaks off.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result};

use super::OriginCluster;
use crate::limits;
use crate::source::BlobStream;

/// An origin's answer: the bytes from where they were asked for.
pub(super) struct Part {
    /// The length of the whole blob, if it was told.
    pub(super) len: Option<u64>,
    pub(super) stream: BlobStream,
}

/// A download and where it has got to.
struct Download {
    cluster: OriginCluster,
    namespace: Namespace,
    digest: Digest,
    stream: BlobStream,
    len: Option<u64>,
    position: u64,
    /// Where the range that is wanted ends; the whole blob if there is none.
    end: Option<u64>,
    resumes: u32,
}

/// Opens the blob at the first owner that has it.
pub(super) async fn download(
    cluster: &OriginCluster,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<(Option<u64>, BlobStream)> {
    let download = Download::open(cluster, namespace, digest, 0, None).await?;
    Ok((download.len, download.into_stream()))
}

/// Opens a range of the blob at the first owner that has it.
pub(super) async fn download_range(
    cluster: &OriginCluster,
    namespace: &Namespace,
    digest: &Digest,
    range: Range<u64>,
) -> Result<BlobStream> {
    if range.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let download = Download::open(cluster, namespace, digest, range.start, Some(range.end)).await?;
    Ok(download.into_stream())
}

impl Download {
    async fn open(
        cluster: &OriginCluster,
        namespace: &Namespace,
        digest: &Digest,
        start: u64,
        end: Option<u64>,
    ) -> Result<Self> {
        let part = open(cluster, namespace, digest, start, end).await?;
        Ok(Self {
            cluster: cluster.clone(),
            namespace: namespace.clone(),
            digest: *digest,
            stream: part.stream,
            len: part.len,
            position: start,
            end,
            resumes: 0,
        })
    }

    fn into_stream(self) -> BlobStream {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.next().await?.map(|chunk| (chunk, download)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.end.or(self.len) != Some(self.position) {
            let error = match self.stream.try_next().await {
                Ok(Some(mut chunk)) => {
                    let wanted = self.end.map_or(u64::MAX, |end| end - self.position);
                    chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
                    self.position += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(None) => return self.ended(),
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

    /// The end of a stream, which must not come before that of the blob.
    fn ended(&self) -> Result<Option<Bytes>> {
        match self.end.or(self.len) {
            Some(len) => Err(Error::new(
                ErrorKind::Mismatch,
                format!("download {}: ended at byte {} of {len}", self.digest, self.position),
            )),
            None => Ok(None),
        }
    }

    async fn resume(&mut self, cause: Error) -> Result<()> {
        let part = open(&self.cluster, &self.namespace, &self.digest, self.position, self.end)
            .await
            .map_err(|error| error.context(format!("go on after {cause}")))?;
        if let (Some(before), Some(now)) = (self.len, part.len)
            && before != now
        {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("download {}: {before} bytes at one origin, {now} at another", self.digest),
            ));
        }
        self.len = self.len.or(part.len);
        self.stream = part.stream;
        Ok(())
    }
}

/// The stream without its first `count` bytes.
pub(super) fn skip(stream: BlobStream, count: u64) -> BlobStream {
    let kept = stream.scan(count, |left, chunk| {
        future::ready(Some(chunk.map(|mut chunk| {
            let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
            *left -= skipped as u64;
            chunk.split_off(skipped)
        })))
    });
    kept.try_filter(|chunk| future::ready(!chunk.is_empty())).boxed()
}

async fn open(
    cluster: &OriginCluster,
    namespace: &Namespace,
    digest: &Digest,
    start: u64,
    end: Option<u64>,
) -> Result<Part> {
    cluster
        .ask_owners(digest, move |origin| async move {
            cluster.poll(|| origin.open(namespace, digest, start, end)).await
        })
        .await
}
