//! Request bodies: what a caller hands in, and what the connection takes.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::limits::CHUNK_LEN_MAX;
use crate::{Error, ErrorKind, Result};

/// The body of a request.
#[derive(Default)]
pub struct Body {
    source: Source,
}

/// A stream of a body's chunks.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

type Opening = Pin<Box<dyn Future<Output = Result<ByteStream>> + Send>>;

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Bytes(Bytes),
    Reopen {
        len: Option<u64>,
        open: Arc<dyn Fn() -> Opening + Send + Sync>,
    },
    Once {
        len: Option<u64>,
        stream: ByteStream,
    },
}

/// A body on its way out, as hyper takes it.
pub(super) struct OutBody {
    chunk: Bytes,
    stream: Option<ByteStream>,
    left: Option<u64>,
    progress: Arc<Progress>,
}

/// What the sender of a request learns of its body while hyper owns it.
pub(super) struct Progress {
    last: Mutex<Instant>,
    failure: Mutex<Option<Error>>,
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that `open` can produce anew for each attempt; `len` is its length, if known.
    ///
    /// A body of known length that turns out shorter or longer fails the request.
    pub fn reopen<F, Fut, S>(len: impl Into<Option<u64>>, open: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S>> + Send + 'static,
        S: Stream<Item = Result<Bytes>> + Send + 'static,
    {
        let open = move || -> Opening {
            let opening = open();
            Box::pin(async move { Ok(Box::pin(opening.await?) as ByteStream) })
        };
        Self { source: Source::Reopen { len: len.into(), open: Arc::new(open) } }
    }

    /// A body that can be sent once; `len` is its length, if known.
    pub fn stream(
        len: impl Into<Option<u64>>,
        stream: impl Stream<Item = Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self { source: Source::Once { len: len.into(), stream: Box::pin(stream) } }
    }

    /// The length, if known.
    pub fn len(&self) -> Option<u64> {
        match &self.source {
            Source::Empty => Some(0),
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Reopen { len, .. } | Source::Once { len, .. } => *len,
        }
    }

    /// Whether there is no body, or one known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The same body once more, unless it can be sent only once.
    pub fn try_clone(&self) -> Option<Self> {
        let source = match &self.source {
            Source::Empty => Source::Empty,
            Source::Bytes(bytes) => Source::Bytes(bytes.clone()),
            Source::Reopen { len, open } => Source::Reopen { len: *len, open: Arc::clone(open) },
            Source::Once { .. } => return None,
        };
        Some(Self { source })
    }

    pub(super) async fn open(self, progress: Arc<Progress>) -> Result<OutBody> {
        let left = self.len();
        let (chunk, stream) = match self.source {
            Source::Empty => (Bytes::new(), None),
            Source::Bytes(bytes) => (bytes, None),
            Source::Reopen { open, .. } => (Bytes::new(), Some(open().await?)),
            Source::Once { stream, .. } => (Bytes::new(), Some(stream)),
        };
        Ok(OutBody { chunk, stream, left, progress })
    }
}

impl OutBody {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        while self.chunk.is_empty() {
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(None);
            };
            let Some(chunk) = ready!(stream.as_mut().poll_next(cx)) else {
                self.stream = None;
                return Poll::Ready(match self.left {
                    None | Some(0) => None,
                    Some(left) => Some(Err(Error::new(
                        ErrorKind::Mismatch,
                        format!("request body ended {left} bytes before its declared length"),
                    ))),
                });
            };
            self.chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            if self.left.is_some_and(|left| self.chunk.len() as u64 > left) {
                let message = "request body is longer than its declared length";
                return Poll::Ready(Some(Err(Error::new(ErrorKind::Mismatch, message))));
            }
        }
        let chunk = self.chunk.split_to(self.chunk.len().min(CHUNK_LEN_MAX));
        self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { last: Mutex::new(Instant::now()), failure: Mutex::default() })
    }

    /// When the connection last took some of the body.
    pub(super) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the body itself failed with, once.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn advance(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn fail(&self, error: Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl http_body::Body for OutBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(chunk) = ready!(self.poll_chunk(cx)) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match chunk {
            Ok(chunk) => {
                self.progress.advance();
                Ok(Frame::data(chunk))
            }
            Err(error) => {
                let kind = error.kind();
                // Whoever sent the request gets the error itself; hyper needs only some error.
                self.progress.fail(error);
                Err(Error::new(kind, "request body failed"))
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0) || (self.chunk.is_empty() && self.stream.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { source: Source::Bytes(bytes) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}
