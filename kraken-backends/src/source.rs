//! What an upload reads from: anything that can be opened again.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use kraken_core::{Error, ErrorKind, Result};

use crate::limits;

/// The bytes of a blob, in order. It ends after exactly the bytes that were asked for; anything
/// else that stops it is an `Err`, after which it is not polled again.
pub type BlobStream = BoxStream<'static, Result<Bytes>>;

/// Bytes of a known length that can be opened any number of times, in parts, also at once: what a
/// retry or the next host in order needs.
///
/// Contract: `len` never changes and `open` always yields the same bytes; a source that cannot
/// keep that promise fails the stream. Implemented by whoever uploads; called by backends and the
/// clients of remote clusters.
#[async_trait]
pub trait UploadSource: fmt::Debug + Send + Sync {
    /// The number of bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range`, which lies inside `0..len`.
    async fn open(&self, range: Range<u64>) -> Result<BlobStream>;
}

/// A source in memory, for tags, manifests and other small things.
#[derive(Clone)]
pub struct BytesSource(Bytes);

/// A source in a file, read where it stands; the file is held open, so unlinking or renaming it
/// meanwhile does no harm.
#[derive(Debug, Clone)]
pub struct FileSource {
    file: Arc<File>,
    len: u64,
}

impl BytesSource {
    /// From bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

impl FileSource {
    /// Opens the file at `path`.
    pub async fn open_path(path: &Path) -> Result<Self> {
        let file = tokio::fs::File::open(path)
            .await
            .map_err(|error| Error::io(format!("open {}", path.display()), error))?;
        Self::new(Arc::new(file.into_std().await))
    }

    /// From an open file; its length is what it is now.
    pub fn new(file: Arc<File>) -> Result<Self> {
        let len = file.metadata().map_err(|error| Error::io("stat an upload's file", error))?.len();
        Ok(Self { file, len })
    }
}

#[async_trait]
impl UploadSource for BytesSource {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn open(&self, range: Range<u64>) -> Result<BlobStream> {
        check_range(&range, self.len())?;
        // Inside the length of bytes in memory, so both ends fit.
        let bytes = self.0.slice(range.start as usize..range.end as usize);
        Ok(stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed())
    }
}

#[async_trait]
impl UploadSource for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    async fn open(&self, range: Range<u64>) -> Result<BlobStream> {
        check_range(&range, self.len)?;
        Ok(stream_file(Arc::clone(&self.file), range))
    }
}

impl fmt::Debug for BytesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BytesSource({} bytes)", self.0.len())
    }
}

/// The bytes of `range` of an open file, read on the blocking pool. A file that ends early fails
/// the stream with `Mismatch`: it is not the file whose length was asked.
pub(crate) fn stream_file(file: Arc<File>, range: Range<u64>) -> BlobStream {
    stream::try_unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let len = (range.end - range.start).min(limits::FILE_CHUNK_LEN);
        let (reader, start) = (Arc::clone(&file), range.start);
        let chunk =
            tokio::task::spawn_blocking(move || read_at(&reader, start, len)).await.map_err(
                |error| Error::new(ErrorKind::Cancelled, "read a file").with_source(error),
            )??;
        let rest = range.start + chunk.len() as u64..range.end;
        Ok(Some((chunk, (file, rest))))
    })
    .boxed()
}

/// Exactly `len` bytes at `start`; `len` is at most [`limits::FILE_CHUNK_LEN`].
fn read_at(file: &File, start: u64, len: u64) -> Result<Bytes> {
    let mut chunk = vec![0; len as usize];
    match file.read_exact_at(&mut chunk, start) {
        Ok(()) => Ok(chunk.into()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Error::new(
            ErrorKind::Mismatch,
            format!("read {len} bytes at {start}: the file has become shorter"),
        )),
        Err(error) => Err(Error::io(format!("read {len} bytes at {start}"), error)),
    }
}

fn check_range(range: &Range<u64>, len: u64) -> Result<()> {
    if range.start <= range.end && range.end <= len {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "open bytes {}..{} of a source of {len}",
            range.start, range.end
        )))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn read(source: &dyn UploadSource, range: Range<u64>) -> Vec<u8> {
        let parts: Vec<Bytes> = source.open(range).await.unwrap().try_collect().await.unwrap();
        parts.concat()
    }

    #[tokio::test]
    async fn sources_open_again_and_in_parts() {
        let bytes: Vec<u8> = (0..1_300_000_u32).map(|n| n as u8).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, &bytes).unwrap();
        let file = FileSource::open_path(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let memory = BytesSource::new(bytes.clone());
        for source in [&file as &dyn UploadSource, &memory] {
            assert_eq!(source.len(), 1_300_000);
            assert_eq!(read(source, 0..1_300_000).await, bytes);
            assert_eq!(read(source, 5..600_000).await, bytes[5..600_000]);
            assert!(read(source, 7..7).await.is_empty());
            assert!(source.open(0..1_300_001).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_file_that_shrank_fails_the_stream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [0; 100]).unwrap();
        let source = FileSource::open_path(&path).await.unwrap();
        std::fs::write(&path, [0; 10]).unwrap();
        let result: Result<Vec<Bytes>> = source.open(0..100).await.unwrap().try_collect().await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Mismatch);
    }
}
