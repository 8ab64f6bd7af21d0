//! A range of a file as a body.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use kraken_core::{SendfileQueue, SpareChunks};
use tokio::task::JoinHandle;

use crate::limits::FILE_READ_LEN;

/// A range of a file. One read is under way ahead of the client; dropping the body leaves that one
/// read to end by itself on the blocking pool.
pub(super) struct FileBody {
    file: Arc<File>,
    /// Where the next read starts.
    offset: u64,
    /// Bytes not yet asked of the file.
    unread: u64,
    /// Bytes not yet given to the client.
    left: u64,
    read: Option<JoinHandle<io::Result<Bytes>>>,
    spare: SpareChunks,
}

/// A range of a file that the connection sends itself.
pub(super) struct LentFile {
    queue: SendfileQueue,
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl FileBody {
    pub(super) fn new(file: File, start: u64, len: u64) -> Self {
        let (file, spare) = (Arc::new(file), SpareChunks::new());
        Self { file, offset: start, unread: len, left: len, read: None, spare }
    }

    fn start_read(&mut self) {
        if self.unread == 0 {
            return;
        }
        let len = usize::try_from(self.unread).map_or(FILE_READ_LEN, |n| n.min(FILE_READ_LEN));
        let (file, offset, spare) = (Arc::clone(&self.file), self.offset, self.spare.clone());
        self.offset += len as u64;
        self.unread -= len as u64;
        self.read = Some(tokio::task::spawn_blocking(move || {
            let mut chunk = spare.take(len);
            file.read_exact_at(&mut chunk, offset)?;
            Ok(spare.lend(chunk))
        }));
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.read.is_none() {
            self.start_read();
        }
        let Some(read) = &mut self.read else { return Poll::Ready(None) };
        let chunk = match Pin::new(read).poll(cx) {
            Poll::Ready(chunk) => chunk.map_err(io::Error::other).and_then(|chunk| chunk),
            Poll::Pending => return Poll::Pending,
        };
        self.read = None;
        match chunk {
            Ok(chunk) => {
                self.left -= chunk.len() as u64;
                self.start_read();
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Err(e) => {
                self.unread = 0;
                Poll::Ready(Some(Err(e)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl LentFile {
    pub(super) fn new(queue: SendfileQueue, file: File, start: u64, len: u64) -> Self {
        Self { queue, file: Arc::new(file), offset: start, left: len }
    }
}

impl http_body::Body for LentFile {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = usize::try_from(self.left).unwrap_or(usize::MAX);
        let chunk = self.queue.lend(self.file.clone(), self.offset, len);
        self.offset += chunk.len() as u64;
        self.left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
