//! The body of every response, and reading the bodies of requests within bounds.

mod file;
mod request;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use kraken_core::{Error, ErrorKind, Result, SendfileQueue};

pub use self::request::RequestBody;
pub(crate) use self::request::Stall;

/// What the body of a response may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response: any [`http_body::Body`] of [`Bytes`], boxed.
pub struct Body(UnsyncBoxBody<Bytes, BoxError>);

impl Body {
    /// Boxes `body`.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }

    /// No bytes.
    pub fn empty() -> Self {
        Self::new(Empty::new())
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::new(Full::new(bytes.into()))
    }

    /// Bytes as they come; a failure breaks the connection.
    pub fn stream(bytes: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self::new(StreamBody::new(bytes.map(|chunk| chunk.map(Frame::data))))
    }

    /// Bytes `start..start + len` of `file`, read in chunks on the blocking pool as the client
    /// takes them. If the file turns out to be shorter the body fails, so the connection breaks
    /// rather than ending a response that looks complete.
    pub fn file(file: std::fs::File, start: u64, len: u64) -> Self {
        Self::new(file::FileBody::new(file, start, len))
    }

    /// The same, sent by the connection itself if it can: `queue` is what the request's extensions
    /// have.
    pub fn file_to(
        queue: Option<&SendfileQueue>,
        file: std::fs::File,
        start: u64,
        len: u64,
    ) -> Self {
        match queue {
            Some(queue) => Self::new(file::LentFile::new(queue.clone(), file, start, len)),
            None => Self::file(file, start, len),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The chunks of a request's body, in order, bounded in their sum; a [`RequestBody`] bounds the
/// silence between them.
///
/// Cancel safe: a dropped [`Chunks::next`] loses no bytes.
#[derive(Debug)]
pub struct Chunks<B> {
    body: B,
    taken: u64,
    len_max: u64,
}

impl<B> Chunks<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// The chunks of `body`, which fails with [`ErrorKind::TooLarge`] past `len_max` bytes.
    pub fn new(body: B, len_max: u64) -> Self {
        Self { body, taken: 0, len_max }
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame
                .map_err(|e| Error::new(ErrorKind::Invalid, "read request body").with_source(e))?;
            let Ok(data) = frame.into_data() else { continue };
            self.taken = self.taken.saturating_add(data.len() as u64);
            if self.taken > self.len_max {
                return Err(too_large(self.len_max));
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

/// Reads all of `body`: at most `len_max` bytes, else [`ErrorKind::TooLarge`], before anything of
/// a body that announces more is read.
pub async fn read_bounded<B>(body: B, len_max: usize) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let len_max = len_max as u64;
    if body.size_hint().lower() > len_max {
        return Err(too_large(len_max));
    }
    let mut chunks = Chunks::new(body, len_max);
    let Some(first) = chunks.next().await? else { return Ok(Bytes::new()) };
    let Some(second) = chunks.next().await? else { return Ok(first) };
    let mut all = BytesMut::with_capacity(first.len() + second.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(chunk) = chunks.next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

fn too_large(len_max: u64) -> Error {
    Error::new(ErrorKind::TooLarge, format!("read request body: more than {len_max} bytes"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::limits;

    #[tokio::test]
    async fn a_file_body_is_exactly_the_range() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> =
            (0..limits::FILE_CHUNK_LEN * 2 + 77).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        for (start, len) in [(0, bytes.len()), (5, 0), (1, limits::FILE_CHUNK_LEN), (70, 900_000)] {
            let body = Body::file(file.try_clone().unwrap(), start as u64, len as u64);
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(len as u64));
            let read = body.collect().await.unwrap().to_bytes();
            assert!(read == bytes[start..start + len], "{start}+{len}");
        }
        let past = Body::file(file, bytes.len() as u64 - 10, 11);
        assert!(past.collect().await.is_err());
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(read_bounded(body(), 5).await.unwrap(), "12345");
        assert_eq!(read_bounded(body(), 4).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(read_bounded(Empty::<Bytes>::new(), 0).await.unwrap(), "");
        let mut chunks = Chunks::new(body(), 4);
        assert_eq!(chunks.next().await.unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
