//! The body of a request, which breaks off when its client sends next to nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::BoxError;
use crate::limits;

/// The body of a request, as every handler gets it.
///
/// It fails once somebody has waited for the server's limit while its client sent less than
/// [`limits::READ_BYTES_MIN`]; then nothing more of it is read, and the server answers 408 in place
/// of any other refusal.
#[derive(Debug)]
pub struct RequestBody<B = Incoming> {
    /// Gone once it was broken off, which tells hyper to read no more.
    incoming: Option<B>,
    stall_max: Duration,
    /// Runs while the next frame is waited for; since when that is.
    silence: Option<(Pin<Box<Sleep>>, Instant)>,
    /// How much longer may be waited until enough bytes have come.
    left: Duration,
    /// How many have come of those.
    taken: usize,
    stall: Stall,
}

/// Whether a request's body was broken off: what its server looks at when the handler is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stall(Arc<AtomicBool>);

impl<B> RequestBody<B> {
    pub(crate) fn new(incoming: B, stall_max: Duration, stall: Stall) -> Self {
        let incoming = Some(incoming);
        Self { incoming, stall_max, silence: None, left: stall_max, taken: 0, stall }
    }

    /// `len` bytes have come, as late as they were waited for.
    fn progress(&mut self, len: usize) {
        if let Some((_, since)) = self.silence.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.taken = self.taken.saturating_add(len);
        if self.taken >= limits::READ_BYTES_MIN {
            (self.taken, self.left) = (0, self.stall_max);
        }
    }

    fn stalled(&self) -> BoxError {
        let (min, max) = (limits::READ_BYTES_MIN, self.stall_max);
        let text = format!("the client has sent less than {min} bytes in {max:?}");
        io::Error::new(io::ErrorKind::TimedOut, text).into()
    }
}

impl Stall {
    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> http_body::Body for RequestBody<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(Some(Err(self.stalled())));
        };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.progress(data.map_or(0, Bytes::len));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.left;
        let (silence, _) = self
            .silence
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(left)), Instant::now()));
        ready!(silence.as_mut().poll(cx));
        self.incoming = None;
        self.stall.0.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(self.stalled())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_some_and(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// A body of some bytes after each of the pauses, which begin when it is asked for.
    struct Paused(Vec<(u64, usize)>, Option<Pin<Box<Sleep>>>);

    impl http_body::Body for Paused {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            let Some((secs, len)) = self.0.first().copied() else {
                return Poll::Ready(None);
            };
            let pause = Duration::from_secs(secs);
            let pause = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(pause.as_mut().poll(cx));
            self.1 = None;
            self.0.remove(0);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; len])))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slowness_does_not_break_it_off_while_enough_bytes_come() {
        let stall = Stall::default();
        let stall_max = Duration::from_secs(10);
        let half = limits::READ_BYTES_MIN / 2;
        let pauses = vec![(4, half), (4, half), (9, 2 * half), (9, 1)];
        let slow = RequestBody::new(Paused(pauses, None), stall_max, stall.clone());
        assert_eq!(slow.collect().await.unwrap().to_bytes().len(), 4 * half + 1);
        assert!(!stall.happened());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_byte_now_and_then_break_it_off() {
        let stall_max = Duration::from_secs(10);
        for pauses in [vec![(4, 1), (11, 1)], vec![(4, 1), (4, 1), (4, 1), (4, 1)]] {
            let stall = Stall::default();
            let mut body = RequestBody::new(Paused(pauses, None), stall_max, stall.clone());
            assert!(body.frame().await.unwrap().is_ok());
            // What somebody else took is not the client's silence.
            tokio::time::sleep(2 * stall_max).await;
            assert!(!stall.happened());
            let error = loop {
                if let Err(error) = body.frame().await.expect("it goes on for ever") {
                    break error.to_string();
                }
            };
            assert!(error.contains("less than 1024 bytes in 10s"), "{error}");
            assert!(stall.happened());
            assert!(body.frame().await.unwrap().is_err());
        }
    }
}
