//! Which connection may write which piece: one at a time, and never a marked one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use kraken_core::{Bitfield, PieceIndex, Time};

use super::limits::STALL_AFTER;

/// The pieces of one torrent that are being written, and those that are marked.
#[derive(Debug)]
pub(super) struct Leases {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    marked: Bitfield,
    written: BTreeMap<PieceIndex, Arc<Lease>>,
}

/// The lock of one piece while anyone writes it.
#[derive(Debug)]
struct Lease {
    /// Goes up with each take-over; whoever holds an older number has lost the piece. Changed only
    /// with both the table's lock and `writing` held.
    turn: AtomicU64,
    /// Held over each write and the mark. Whoever holds it may take the table's lock; whoever holds
    /// the table's lock may only try to take it.
    writing: Mutex<()>,
    /// When the holder last got on, in nanoseconds.
    progress: AtomicU64,
}

/// One connection's right to write one piece, until it is dropped or taken over.
///
/// Jobs that write share it, so that a lease does not end before the last write has.
#[derive(Debug)]
pub(super) struct HeldLease {
    leases: Arc<Leases>,
    lease: Arc<Lease>,
    index: PieceIndex,
    turn: u64,
}

/// Proof that the piece's lock is held and the lease is the holder's.
#[derive(Debug)]
pub(super) struct WriteGuard<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);

impl Leases {
    /// For a torrent of which `marked` is on disk.
    pub(super) fn new(marked: Bitfield) -> Arc<Self> {
        let table = Table { marked, written: BTreeMap::new() };
        Arc::new(Self { table: Mutex::new(table) })
    }

    /// The right to write `index`; `None` when it is marked, or when somebody who is still getting
    /// on writes it.
    pub(super) fn acquire(self: &Arc<Self>, index: PieceIndex, now: Time) -> Option<HeldLease> {
        let mut table = self.table();
        if table.marked.contains(index) {
            return None;
        }
        if let Some(lease) = table.written.get(&index) {
            let quiet = now.since(Time::from_nanos(lease.progress.load(Ordering::Relaxed)));
            if quiet < STALL_AFTER {
                return None;
            }
            // Somebody at the lock is writing this moment: the disk is slow, not the peer.
            let idle = match lease.writing.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            };
            let turn = lease.turn.fetch_add(1, Ordering::Relaxed) + 1;
            drop(idle);
            lease.touch(now);
            let lease = Arc::clone(lease);
            return Some(HeldLease { leases: Arc::clone(self), lease, index, turn });
        }
        let lease = Arc::new(Lease {
            turn: AtomicU64::new(0),
            writing: Mutex::new(()),
            progress: AtomicU64::new(now.as_nanos()),
        });
        table.written.insert(index, Arc::clone(&lease));
        Some(HeldLease { leases: Arc::clone(self), lease, index, turn: 0 })
    }

    /// Whether the piece is marked: may be read and sent.
    pub(super) fn is_marked(&self, index: PieceIndex) -> bool {
        self.table().marked.contains(index)
    }

    /// Whether nobody would be given the piece to write, as far as can be said now.
    pub(super) fn is_taken(&self, index: PieceIndex, now: Time) -> bool {
        let table = self.table();
        table.marked.contains(index)
            || table.written.get(&index).is_some_and(|lease| {
                now.since(Time::from_nanos(lease.progress.load(Ordering::Relaxed))) < STALL_AFTER
            })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn touch(&self, at: Time) {
        self.progress.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }
}

impl HeldLease {
    /// Notes that the holder got on, or was held up by this side, at `at`.
    pub(super) fn touch(&self, at: Time) {
        self.lease.touch(at);
    }

    /// The piece's lock, if the lease has not been taken over. To be held over each write and over
    /// the mark; only on a blocking thread.
    pub(super) fn lock(&self) -> Option<WriteGuard<'_>> {
        let writing = self.lease.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_current().then_some(WriteGuard(writing))
    }

    /// Notes that the piece is marked on disk.
    pub(super) fn set_marked(&self, _: &WriteGuard<'_>) {
        self.leases.table().marked.set(self.index);
    }

    fn is_current(&self) -> bool {
        self.lease.turn.load(Ordering::Relaxed) == self.turn
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        let mut table = self.leases.table();
        let same = |lease: &Arc<Lease>| Arc::ptr_eq(lease, &self.lease);
        if self.is_current() && table.written.get(&self.index).is_some_and(same) {
            table.written.remove(&self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: PieceIndex = PieceIndex(1);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn one_writer_at_a_time_and_none_once_marked() {
        let leases = Leases::new(Bitfield::new(3));
        let first = leases.acquire(PIECE, at(0)).unwrap();
        assert!(leases.acquire(PIECE, at(499)).is_none());
        assert!(leases.acquire(PieceIndex(2), at(0)).is_some());
        drop(first);
        let second = leases.acquire(PIECE, at(0)).unwrap();
        second.set_marked(&second.lock().unwrap());
        drop(second);
        assert!(leases.acquire(PIECE, at(10_000)).is_none());
        assert!(leases.is_marked(PIECE));
    }

    #[test]
    fn a_stalled_holder_loses_the_piece_and_its_writes_go_nowhere() {
        let leases = Leases::new(Bitfield::new(3));
        let slow = leases.acquire(PIECE, at(0)).unwrap();
        slow.touch(at(100));
        assert!(leases.acquire(PIECE, at(599)).is_none());
        let quick = leases.acquire(PIECE, at(600)).unwrap();
        assert!(slow.lock().is_none());
        assert!(quick.lock().is_some());
        drop(slow);
        assert!(leases.acquire(PIECE, at(700)).is_none(), "the new holder's lease is still there");
        drop(quick);
        assert!(leases.acquire(PIECE, at(700)).is_some());
    }

    #[test]
    fn a_holder_at_the_lock_is_not_robbed() {
        let leases = Leases::new(Bitfield::new(3));
        let holder = leases.acquire(PIECE, at(0)).unwrap();
        let writing = holder.lock().unwrap();
        assert!(leases.acquire(PIECE, at(60_000)).is_none());
        drop(writing);
    }
}
