//! The buffers that payloads are received into: a fixed size, a bounded number.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::BUFFER_LEN;

/// Lends buffers of [`BUFFER_LEN`] bytes. When all are out, who asks waits: that is what holds
/// senders back when this side's disk is slow.
#[derive(Debug)]
pub(super) struct BufferPool {
    free: Mutex<Vec<Box<[u8]>>>,
    permits: Arc<Semaphore>,
}

/// A buffer on loan; goes back to its pool when it is dropped. Its content is arbitrary.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    pool: Arc<BufferPool>,
    _permit: OwnedSemaphorePermit,
}

impl BufferPool {
    /// A pool of `bytes_max` bytes, but at least two buffers.
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        let count = (bytes_max / BUFFER_LEN).clamp(2, Semaphore::MAX_PERMITS);
        Arc::new(Self { free: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(count)) })
    }

    /// Waits for a buffer. `None` never happens while the pool lives: its semaphore is not closed.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Buffer> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = free.unwrap_or_else(|| vec![0; BUFFER_LEN].into());
        Some(Buffer { bytes, pool: Arc::clone(self), _permit: permit })
    }

    /// Whether the next who asks would have to wait: then a buffer is not to be sat on.
    pub(super) fn are_out(&self) -> bool {
        self.permits.available_permits() == 0
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_pool_makes_wait_and_buffers_come_back() {
        let pool = BufferPool::new(2 * BUFFER_LEN);
        let first = pool.take().await.unwrap();
        let _second = pool.take().await.unwrap();
        let third = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.take().await.unwrap().len() }
        });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(first);
        assert_eq!(third.await.unwrap(), BUFFER_LEN);
    }
}
