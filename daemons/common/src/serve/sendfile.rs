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
use tokio::sync::Semaphore;

use super::guard::StallGuard;
use crate::limits::{FETCH_LEN, FETCHES_MAX, FILE_CHUNK_LEN, WRITE_STALL_MAX};

/// A socket, and the slices of files that stand-ins among its bytes stand for. It gives up on a
/// client that has stopped reading.
///
/// hyper hands bodies on without a copy because this says that it writes vectored; were they
/// copied, the queue would break the connection.
pub(super) struct SendfileStream {
    socket: TcpStream,
    /// Sees only the socket's writes: time that the disk takes is not the client's.
    guard: StallGuard,
    queue: SendfileQueue,
    /// What is under way to have the slice that is next in memory.
    fetch: Option<Fetch>,
    /// How many connections of the server may wait for the disk at once.
    disk: Arc<Semaphore>,
    /// So many bytes of what is next are known to be in memory, or not to be waited for.
    cached: usize,
}

/// A read of bytes that are not in memory.
type Fetch = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// What the connections of a server share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    stand_in: Bytes,
    disk: Arc<Semaphore>,
}

impl Shared {
    /// The stand-in's content is never read: it costs addresses only.
    pub(super) fn new() -> Self {
        let disk = Arc::new(Semaphore::new(FETCHES_MAX));
        Self { stand_in: vec![0; FILE_CHUNK_LEN].into(), disk }
    }
}

impl SendfileStream {
    pub(super) fn new(socket: TcpStream, shared: &Shared) -> Self {
        let guard = StallGuard::new(WRITE_STALL_MAX);
        let queue = SendfileQueue::new(shared.stand_in.clone());
        Self { socket, guard, queue, fetch: None, disk: Arc::clone(&shared.disk), cached: 0 }
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
            let (file, disk) = (Arc::clone(file), Arc::clone(&self.disk));
            self.fetch = Some(Box::pin(async move {
                // It is never closed.
                let permit = disk.acquire_owned().await.map_err(io::Error::other)?;
                let read = move || {
                    let _permit = permit;
                    fetch(&file, offset, len)
                };
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
            }));
        }
        if let Some(fetch) = &mut self.fetch {
            let fetched = ready!(fetch.as_mut().poll(cx));
            self.fetch = None;
            fetched?;
        }
        // What is in memory now is taken to stay there until it is sent.
        self.cached = len;
        Poll::Ready(Ok(()))
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let written = poll_write_with(&self.socket, cx, write);
        self.guard.watch(cx, written)
    }
}

fn poll_write_with(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || write(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return Poll::Ready(written),
        }
    }
}

/// Whether the first and the last of these bytes are in the page cache, or a file system does not
/// tell. A hole between the two is possible and rare; it costs this thread one read.
fn is_cached(file: &LentFile, offset: u64, len: usize) -> bool {
    [offset, offset + len.saturating_sub(1) as u64].into_iter().all(|at| {
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
    })
}

/// Reads bytes of a file, so that they are in the page cache.
fn fetch(file: &LentFile, offset: u64, len: usize) -> io::Result<()> {
    let mut buffer = vec![0; len.min(FETCH_LEN)];
    let mut read = 0;
    while read < len {
        let part = buffer.len().min(len - read);
        match rustix::io::pread(file, &mut buffer[..part], offset + read as u64) {
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
            let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
            return self.guard.watch(cx, written);
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
