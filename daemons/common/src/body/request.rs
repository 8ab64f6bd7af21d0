//! The body of a request, which breaks off when its client falls silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::BoxError;

/// The body of a request, as every handler gets it.
///
/// It fails once its client has sent nothing for the server's limit while somebody waited for it;
/// then nothing more of it is read, and the server answers 408 in place of any other refusal.
#[derive(Debug)]
pub struct RequestBody<B = Incoming> {
    /// Gone once it was broken off, which tells hyper to read no more.
    incoming: Option<B>,
    stall_max: Duration,
    /// Runs while the next frame is waited for.
    silence: Option<Pin<Box<Sleep>>>,
    stall: Stall,
}

/// Whether a request's body was broken off: what its server looks at when the handler is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stall(Arc<AtomicBool>);

impl<B> RequestBody<B> {
    pub(crate) fn new(incoming: B, stall_max: Duration, stall: Stall) -> Self {
        Self { incoming: Some(incoming), stall_max, silence: None, stall }
    }

    fn stalled(&self) -> BoxError {
        let text = format!("the client has sent nothing for {:?}", self.stall_max);
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
            self.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let stall_max = self.stall_max;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
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

    /// A body of one byte after each of the pauses, which begin when it is asked for.
    struct Paused(Vec<u64>, Option<Pin<Box<Sleep>>>);

    impl http_body::Body for Paused {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            let Some(pause) = self.0.first().copied().map(Duration::from_secs) else {
                return Poll::Ready(None);
            };
            let pause = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(pause.as_mut().poll(cx));
            self.1 = None;
            self.0.remove(0);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_breaks_it_off_and_slowness_does_not() {
        let stall_max = Duration::from_secs(10);
        let stall = Stall::default();
        let slow = RequestBody::new(Paused(vec![9, 9, 9], None), stall_max, stall.clone());
        assert_eq!(slow.collect().await.unwrap().to_bytes(), "xxx");
        assert!(!stall.happened());

        let mut silent = RequestBody::new(Paused(vec![9, 11], None), stall_max, stall.clone());
        assert!(silent.frame().await.unwrap().is_ok());
        // What somebody else took is not the client's silence.
        tokio::time::sleep(2 * stall_max).await;
        assert!(!stall.happened());
        for _ in 0..2 {
            let error = silent.frame().await.unwrap().unwrap_err().to_string();
            assert!(error.contains("nothing for 10s"), "{error}");
            assert!(stall.happened());
        }
    }
}
