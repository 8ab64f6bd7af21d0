//! A socket that sends files itself.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use kraken_core::SendfileQueue;
use kraken_core::sendfile::LentFile;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::limits::FILE_CHUNK_LEN;

/// A socket, and the slices of files that stand-ins among its bytes stand for.
///
/// hyper hands bodies on without a copy because this says that it writes vectored; were they
/// copied, the queue would break the connection.
#[derive(Debug)]
pub(super) struct SendfileStream {
    socket: TcpStream,
    queue: SendfileQueue,
    /// What is under way to have the slice that is next in memory.
    fetch: Option<JoinHandle<io::Result<()>>>,
    /// So many bytes of what is next are known to be in memory, or not to be waited for.
    cached: usize,
}

/// What the slices of a server's connections are taken for: addresses that are never read.
pub(super) fn stand_in() -> Bytes {
    vec![0; FILE_CHUNK_LEN].into()
}

impl SendfileStream {
    pub(super) fn new(socket: TcpStream, stand_in: Bytes) -> Self {
        Self { socket, queue: SendfileQueue::new(stand_in), fetch: None, cached: 0 }
    }

    /// Where slices of files are lent to this connection.
    pub(super) fn queue(&self) -> &SendfileQueue {
        &self.queue
    }

    /// Sends what is next of a file.
    fn poll_send_file(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        let (file, offset) = self.queue.next(len)?;
        ready!(self.poll_cached(cx, &file, offset, len))?;
        let sent = ready!(self.poll_write_with(cx, |socket| {
            let mut at = offset;
            Ok(rustix::fs::sendfile(socket, &file, Some(&mut at), len)?)
        }))?;
        if sent == 0 {
            let text = "a file became shorter while it was sent";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        self.queue.sent(sent);
        self.cached = self.cached.saturating_sub(sent);
        Poll::Ready(Ok(sent))
    }

    /// Waits until bytes of a file are in the page cache: `sendfile` would wait for the disk, and
    /// with it all that this thread has to do.
    fn poll_cached(
        &mut self,
        cx: &mut Context<'_>,
        file: &LentFile,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<()>> {
        if self.cached == 0 && self.fetch.is_none() && !is_cached(file, offset, len) {
            let file = Arc::clone(file);
            self.fetch = Some(tokio::task::spawn_blocking(move || fetch(&file, offset, len)));
        }
        if let Some(fetch) = &mut self.fetch {
            let fetched = ready!(Pin::new(fetch).poll(cx));
            self.fetch = None;
            fetched.map_err(io::Error::other)??;
        }
        // What is in memory now is taken to stay there until it is sent.
        self.cached = len;
        Poll::Ready(Ok(()))
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_io(Interest::WRITABLE, || write(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

/// Whether the first and the last of these bytes are in the page cache, or a file system does not
/// tell: slices are much shorter than what the system reads ahead and drops at once.
fn is_cached(file: &LentFile, offset: u64, len: usize) -> bool {
    [offset, offset + len.saturating_sub(1) as u64].into_iter().all(|at| {
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
    })
}

/// Reads bytes of a file, so that they are in the page cache.
fn fetch(file: &LentFile, offset: u64, len: usize) -> io::Result<()> {
    let mut buffer = vec![0; len];
    let mut read = 0;
    while read < len {
        match rustix::io::pread(file, &mut buffer[read..], offset + read as u64) {
            // That it is too short is found when it is sent.
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl AsyncRead for SendfileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for SendfileStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Writes up to the first slice of a file, or some of that slice.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.queue.ensure_whole()?;
        let Some(first) = bufs.iter().position(|buf| self.queue.is_stand_in(buf)) else {
            return Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        };
        if bufs[..first].iter().all(|buf| buf.is_empty()) {
            let len = bufs[first].len();
            return self.poll_send_file(cx, len);
        }
        self.poll_write_with(cx, |socket| {
            // The file's bytes follow at once: no packet for a head alone.
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            let mut control = SendAncillaryBuffer::default();
            Ok(rustix::net::sendmsg(socket, &bufs[..first], &mut control, flags)?)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue.ensure_whole()?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
