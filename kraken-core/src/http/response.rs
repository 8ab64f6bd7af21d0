//! Responses: a head, and a body that may not fall silent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};

use super::failure::{NetworkCause, NetworkError};
use super::limits::PREALLOCATED_LEN_MAX;
use crate::{Error, ErrorKind, Result};

/// A response whose status the request expected.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: ResponseBody,
}

/// A response's body: a stream of chunks that fails when the other side is silent for too long.
///
/// Time the reader takes is not silence. Dropping it before its end closes the connection, or
/// resets the stream of an HTTP/2 connection. It is also an [`http_body::Body`], so that a server
/// can pass it on.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    what: Arc<str>,
    idle_timeout: Duration,
    /// Running while a read waits.
    idle: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    ended: bool,
}

impl Response {
    pub(super) fn new(
        response: ::http::Response<Incoming>,
        what: Arc<str>,
        idle_timeout: Duration,
    ) -> Self {
        let (head, incoming) = response.into_parts();
        let body =
            ResponseBody { incoming, what, idle_timeout, idle: None, waiting: false, ended: false };
        Self { status: head.status, headers: head.headers, body }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header, if it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The length the other side declared by `Content-Length`, also in the answer to a `HEAD`.
    pub fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The whole body, refused with [`ErrorKind::TooLarge`] beyond `limit_max` bytes.
    pub async fn bytes(self, limit_max: usize) -> Result<Bytes> {
        self.body.collect(limit_max).await
    }

    /// The whole body, of at most `limit_max` bytes, as JSON.
    pub async fn json<T: DeserializeOwned>(self, limit_max: usize) -> Result<T> {
        let what = Arc::clone(&self.body.what);
        let bytes = self.bytes(limit_max).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::invalid(format!("parse answer to {what} as json")).with_source(e))
    }

    /// The body as it arrives.
    pub fn stream(self) -> ResponseBody {
        self.body
    }

    /// Head and body apart.
    pub fn into_parts(self) -> (StatusCode, HeaderMap, ResponseBody) {
        (self.status, self.headers, self.body)
    }
}

impl ResponseBody {
    /// The next chunk, or `None` at the end. Cancel safe: a chunk is returned or still to come.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.next().await.transpose()
    }

    /// The whole body, refused with [`ErrorKind::TooLarge`] beyond `limit_max` bytes.
    pub async fn collect(mut self, limit_max: usize) -> Result<Bytes> {
        let declared = self.incoming.size_hint().lower();
        if declared > limit_max as u64 {
            return Err(self.too_large(limit_max));
        }
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if first.len() as u64 == declared && self.incoming.is_end_stream() {
            return Ok(first);
        }
        let len = usize::try_from(declared).unwrap_or(limit_max).min(PREALLOCATED_LEN_MAX);
        let mut bytes = BytesMut::with_capacity(len.max(first.len()));
        let mut next = Some(first);
        while let Some(chunk) = next {
            if chunk.len() > limit_max - bytes.len() {
                return Err(self.too_large(limit_max));
            }
            bytes.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(bytes.freeze())
    }

    /// At most the first `len_max` bytes, for a message; a failure ends them.
    pub(super) async fn read_head(&mut self, len_max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len_max {
            let Ok(Some(chunk)) = self.chunk().await else { break };
            bytes.extend(chunk.iter().take(len_max - bytes.len()));
        }
        bytes
    }

    fn too_large(&self, limit_max: usize) -> Error {
        let message = format!("answer to {} is longer than {limit_max} bytes", self.what);
        Error::new(ErrorKind::TooLarge, message)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                ready!(self.poll_idle(cx));
                self.ended = true;
                let detail = format!("for {:?}", self.idle_timeout);
                let failure = NetworkError::new(NetworkCause::BodyTimeout, detail);
                return Poll::Ready(Some(Err(failure.into_error(&self.what))));
            };
            self.waiting = false;
            match frame {
                // Trailers carry nothing that Kraken reads.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    let failure = NetworkError::classify(&error, false);
                    return Poll::Ready(Some(Err(failure.into_error(&self.what))));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Ready once a read has waited for longer than the idle timeout.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle_timeout = self.idle_timeout;
        let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_timeout)));
        if !self.waiting {
            self.waiting = true;
            idle.as_mut().reset(Instant::now() + idle_timeout);
        }
        idle.as_mut().poll(cx)
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll_data(cx)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
