//! Bytes of files that a connection sends itself, from the page cache to the socket, instead of
//! being given them: no copy passes through this process (`sendfile(2)`).
//!
//! Bodies of HTTP answers are made of [`Bytes`]. What is lent here is therefore handed on as
//! [`Bytes`] too: they stand for bytes of a file, and are never looked at. The connection knows
//! them by their address and sends the file's in their place.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// A file as a connection is lent it.
pub type LentFile = Arc<dyn AsFd + Send + Sync>;

/// The slices of files that one connection is to send, in order; clones are of the same connection.
///
/// A server that can send files itself puts one into the extensions of each request. Whoever
/// answers may then [`lend`](Self::lend) slices of files, and must put each of the [`Bytes`] into
/// the body once, unread, in the order they were lent. Stand-ins that are dropped or copied instead
/// make every later write of the connection fail, so that it breaks and the client is told of it:
/// what a stand-in holds is never sent.
#[derive(Clone)]
pub struct SendfileQueue {
    stand_in: Bytes,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    slices: VecDeque<Slice>,
    lent: u64,
    /// Whether a stand-in went without its bytes being sent.
    is_broken: bool,
}

struct Slice {
    id: u64,
    file: LentFile,
    offset: u64,
    left: usize,
}

/// What owns a stand-in's memory, to see when it is dropped.
struct StandIn {
    id: u64,
    bytes: Bytes,
    state: Arc<Mutex<State>>,
}

impl SendfileQueue {
    /// That of a connection. Slices are lent in lengths of `stand_in` at most, whose content does
    /// not matter: zeroed memory that nobody touches costs addresses only. Connections may share
    /// one.
    pub fn new(stand_in: Bytes) -> Self {
        Self { stand_in, state: Arc::default() }
    }

    /// Has the connection send bytes of `file` from `offset` on, `len` of them or as many as can be
    /// lent at once; what stands for them, as long as they are.
    ///
    /// The bytes are read when they are sent. If the file has become shorter the connection breaks.
    pub fn lend(&self, file: LentFile, offset: u64, len: usize) -> Bytes {
        let bytes = self.stand_in.slice(..len.min(self.stand_in.len()));
        if bytes.is_empty() {
            return bytes;
        }
        let mut state = self.state();
        let (id, left) = (state.lent, bytes.len());
        state.lent += 1;
        state.slices.push_back(Slice { id, file, offset, left });
        drop(state);
        Bytes::from_owner(StandIn { id, bytes, state: Arc::clone(&self.state) })
    }

    /// For the connection: whether these bytes stand for bytes of a file.
    pub fn is_stand_in(&self, bytes: &[u8]) -> bool {
        self.stand_in.as_ptr_range().contains(&bytes.as_ptr())
    }

    /// For the connection: the file whose bytes are to be sent next and where in it they are. Fails
    /// when those are not as many as `len`, what is left of their stand-in.
    pub fn next(&self, len: usize) -> io::Result<(LentFile, u64)> {
        let state = self.state();
        state.ensure_whole()?;
        let next = state.slices.front().filter(|slice| slice.left == len);
        let next = next.map(|slice| (Arc::clone(&slice.file), slice.offset));
        next.ok_or_else(|| io::Error::other("a slice of a file is sent out of turn"))
    }

    /// For the connection: so many bytes of what is next are sent.
    pub fn sent(&self, bytes: usize) {
        let mut state = self.state();
        if let Some(slice) = state.slices.front_mut() {
            slice.offset += bytes as u64;
            slice.left = slice.left.saturating_sub(bytes);
            if slice.left == 0 {
                state.slices.pop_front();
            }
        }
    }

    /// For the connection, before it writes anything: fails once a stand-in was dropped whose bytes
    /// have not been sent.
    pub fn ensure_whole(&self) -> io::Result<()> {
        self.state().ensure_whole()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ensure_whole(&self) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("a slice of a file was lent and not sent"));
        }
        Ok(())
    }
}

impl fmt::Debug for SendfileQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "SendfileQueue({} lent, {} to be sent)", state.lent, state.slices.len())
    }
}

impl AsRef<[u8]> for StandIn {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Slices are sent in order: this one is unless it is still waiting.
        state.is_broken |= state.slices.iter().any(|slice| slice.id == self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> LentFile {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn slices_are_sent_in_the_order_they_were_lent() {
        let queue = SendfileQueue::new(vec![0; 100].into());
        let (first, second) = (queue.lend(file(), 7, 1000), queue.lend(file(), 50, 20));
        assert_eq!((first.len(), second.len()), (100, 20));
        assert!(queue.is_stand_in(&first) && queue.is_stand_in(&second));
        assert!(!queue.is_stand_in(&[0; 100]));
        assert!(queue.next(second.len()).is_err());
        assert_eq!(queue.next(first.len()).unwrap().1, 7);
        queue.sent(60);
        let rest = first.slice(60..);
        drop(first);
        assert!(queue.is_stand_in(&rest));
        assert_eq!(queue.next(rest.len()).unwrap().1, 67);
        queue.sent(40);
        drop(rest);
        assert_eq!(queue.next(second.len()).unwrap().1, 50);
        queue.sent(20);
        drop(second);
        queue.ensure_whole().unwrap();
        assert!(queue.lend(file(), 0, 0).is_empty());
    }

    #[test]
    fn what_was_lent_and_dropped_breaks_the_connection() {
        let queue = SendfileQueue::new(vec![0; 100].into());
        let lent = queue.lend(file(), 0, 10);
        let copied = Bytes::copy_from_slice(&lent);
        queue.ensure_whole().unwrap();
        drop(lent);
        assert!(!queue.is_stand_in(&copied));
        assert!(queue.ensure_whole().is_err());
        let next = queue.lend(file(), 0, 10);
        assert!(queue.next(next.len()).is_err());
    }
}
