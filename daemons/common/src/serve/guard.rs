//! A clock that gives up on a client that has stopped reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// Watches the writes of a socket: one that the socket does not take for `stall_max` fails. What a
/// connection waits for before it has something to write is not its business: that may be the
/// client's next request, a slow answer, or a disk.
#[derive(Debug)]
pub(super) struct StallGuard {
    stall_max: Duration,
    /// Runs while a write is pending.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl StallGuard {
    pub(super) fn new(stall_max: Duration) -> Self {
        Self { stall_max, stalled: None }
    }

    /// Passes on what a write to the socket came to, but turns a wait that has become too long into
    /// an error.
    pub(super) fn watch<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let stall_max = self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        if stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client has taken no bytes for {stall_max:?}"),
            )));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, DuplexStream};

    use super::*;

    async fn write(guard: &mut StallGuard, socket: &mut DuplexStream) -> io::Result<usize> {
        poll_fn(|cx| {
            let written = Pin::new(&mut *socket).poll_write(cx, &[0; 4]);
            guard.watch(cx, written)
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_fails_and_progress_resets_the_clock() {
        let (mut near, mut far) = tokio::io::duplex(4);
        let mut guard = StallGuard::new(Duration::from_secs(10));
        let slow_reader = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(6)).await;
                far.read_exact(&mut [0; 4]).await.unwrap();
            }
        };
        let writer = async {
            for _ in 0..5 {
                assert_eq!(write(&mut guard, &mut near).await.unwrap(), 4);
            }
        };
        tokio::join!(writer, slow_reader);
        let error = write(&mut guard, &mut near).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
