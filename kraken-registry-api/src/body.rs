//! Bodies in both directions.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt, stream};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Empty, Full};
use kraken_core::{Error, ErrorKind, Result, SendfileQueue};

use crate::backend::{BlobReader, ByteStream};

/// The body of every answer. An error means the connection must break: the answer is incomplete.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// The body of a request, whatever server it came through.
pub(crate) struct Upload {
    /// Its length, if the client said so.
    pub(crate) size: Option<u64>,
    /// Its bytes.
    pub(crate) bytes: ByteStream,
}

impl Upload {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let size = body.size_hint().exact();
        let broken = |error: B::Error| {
            Error::invalid("the body of the request broke off").with_source(error)
        };
        let bytes = TryStreamExt::map_err(BodyStream::new(body), broken)
            .try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())));
        Self { size, bytes: bytes.boxed() }
    }

    /// The bytes, failing with `kind` at the first past `len_max`.
    pub(crate) fn bounded(self, len_max: u64, kind: ErrorKind) -> ByteStream {
        let mut left = len_max;
        let bounded = self.bytes.map(move |bytes| {
            let bytes = bytes?;
            match left.checked_sub(bytes.len() as u64) {
                Some(rest) => left = rest,
                None => {
                    return Err(Error::new(
                        kind,
                        format!("read a body of at most {len_max} bytes"),
                    ));
                }
            }
            Ok(bytes)
        });
        // Nothing may follow an error.
        stream::try_unfold(bounded.boxed(), |mut bytes| async move {
            Ok(bytes.try_next().await?.map(|next| (next, bytes)))
        })
        .boxed()
    }
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Ranges of a blob, each after a head of text (empty but for multipart), and a tail.
///
/// Exactly the declared number of bytes leaves it, or it fails.
pub(crate) struct BlobBody {
    reader: Box<dyn BlobReader>,
    parts: VecDeque<Part>,
    /// Where the server can send files itself.
    queue: Option<SendfileQueue>,
    open: Option<Open>,
    left: u64,
}

pub(crate) enum Part {
    Text(Bytes),
    Range(Range<u64>),
}

struct Open {
    bytes: ByteStream,
    left: u64,
}

impl BlobBody {
    pub(crate) fn new(
        reader: Box<dyn BlobReader>,
        parts: VecDeque<Part>,
        queue: Option<SendfileQueue>,
    ) -> Self {
        let left = parts.iter().map(Part::len).sum();
        Self { reader, parts, queue, open: None, left }
    }

    pub(crate) fn len(&self) -> u64 {
        self.left
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            if let Some(open) = &mut self.open {
                if open.left > 0 {
                    return Poll::Ready(Some(ready!(open.poll_data(cx))));
                }
                self.open = None;
            }
            match self.parts.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => return Poll::Ready(Some(Ok(text))),
                Some(Part::Range(range)) if range.is_empty() => {}
                Some(Part::Range(range)) => {
                    let left = range.end - range.start;
                    let bytes = match &self.queue {
                        Some(queue) => self.reader.stream_to(range, queue),
                        None => self.reader.stream(range),
                    };
                    self.open = Some(Open { bytes, left });
                }
            }
        }
    }
}

impl Open {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        let bytes = loop {
            match ready!(self.bytes.poll_next_unpin(cx)).transpose()? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => break bytes,
                None => {
                    let message = format!("read a blob: it ended {} bytes early", self.left);
                    return Poll::Ready(Err(Error::new(ErrorKind::Unavailable, message)));
                }
            }
        };
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                let message = "read a blob: more bytes came than were asked for";
                return Poll::Ready(Err(Error::new(ErrorKind::Internal, message)));
            }
        }
        Poll::Ready(Ok(bytes))
    }
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Range(range) => range.end - range.start,
        }
    }
}

impl http_body::Body for BlobBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let data = ready!(this.poll_data(cx));
        match &data {
            Some(Ok(bytes)) => this.left = this.left.saturating_sub(bytes.len() as u64),
            Some(Err(_)) => {
                this.parts.clear();
                this.open = None;
            }
            None => {}
        }
        Poll::Ready(data.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
