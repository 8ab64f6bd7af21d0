//! Which requests of one connection are under way, and since when there is none.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::body::BoxError;
use crate::metrics::Counted;

/// The requests of one connection; clones are of the same one.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Mutex<State>>);

/// A request, from its head until this is dropped.
#[derive(Debug)]
pub(super) struct Stream(Streams);

/// The body of an answer, during which its request is under way.
#[derive(Debug)]
pub(super) struct Held {
    body: Counted,
    _stream: Stream,
}

/// What a connection does with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A request is under way.
    Busy,
    /// None has been since then.
    Idle(Instant),
    /// There never was one.
    Unasked,
}

#[derive(Debug)]
struct State {
    open: usize,
    /// When the last request ended.
    ended: Option<Instant>,
}

impl Streams {
    /// Those of a connection that has just begun.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { open: 0, ended: None })))
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Stream {
        self.state().open += 1;
        Stream(self.clone())
    }

    /// What the connection does at this moment.
    pub(super) fn now(&self) -> Use {
        match *self.state() {
            State { open: 0, ended: None } => Use::Unasked,
            State { open: 0, ended: Some(ended) } => Use::Idle(ended),
            State { .. } => Use::Busy,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Goes on until `body` is sent.
    pub(super) fn hold(self, body: Counted) -> Held {
        Held { body, _stream: self }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        state.ended = Some(Instant::now());
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
