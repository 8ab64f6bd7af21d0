//! Readers that wait for bytes to become readable, on std wakers.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, ErrorKind, Result};
use crate::range_set::RangeSet;
use crate::store::blob::Blob;
use crate::store::limits;

/// Waits until bytes of a [`Blob`] may be read, or until the whole is verified.
///
/// It holds at most one place in the blob's list of waiters, however often it is polled, and gives
/// it back when it is ready or dropped; so it is cancel safe. As a [`Future`] it waits for what it
/// was made for; [`Readable::poll_readable`] reuses it for one range after another. Ready with
/// `ErrorKind::Cancelled` when the blob was thrown away, which no later poll changes. Never blocks.
#[derive(Debug)]
pub struct Readable {
    blob: Arc<Blob>,
    target: Target,
    place: Option<u64>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Every byte of the range may be read.
    Range(Range<u64>),
    /// The blob as a whole is verified and committed.
    Complete,
}

impl Readable {
    pub(super) fn new(blob: Arc<Blob>, target: Target) -> Self {
        Self { blob, target, place: None }
    }

    /// Ready when every byte of `range` may be read; replaces what was waited for before.
    pub fn poll_readable(&mut self, range: Range<u64>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.target = Target::Range(range);
        self.poll_target(cx)
    }

    /// The blob waited for.
    pub fn blob(&self) -> &Arc<Blob> {
        &self.blob
    }

    fn poll_target(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.blob.poll_target(&self.target, &mut self.place, cx.waker())
    }
}

impl Future for Readable {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_target(cx)
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.blob.forget_waiter(place);
        }
    }
}

/// The waiters of one blob.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: u64,
    places: BTreeMap<u64, (Target, Waker)>,
}

impl Waiters {
    /// Takes a place, or the one held before, for `target`. What comes back is to be dropped where
    /// no lock is held: a waker may drop the task that waits.
    pub(super) fn wait(
        &mut self,
        place: &mut Option<u64>,
        target: &Target,
        waker: &Waker,
    ) -> Result<Option<Waker>> {
        if let Some((held, old)) = place.and_then(|id| self.places.get_mut(&id)) {
            held.clone_from(target);
            let stale = !old.will_wake(waker);
            return Ok(stale.then(|| std::mem::replace(old, waker.clone())));
        }
        if self.places.len() >= limits::WAITERS_MAX {
            let text = format!("more than {} readers wait", limits::WAITERS_MAX);
            return Err(Error::new(ErrorKind::NoSpace, text));
        }
        self.next += 1;
        self.places.insert(self.next, (target.clone(), waker.clone()));
        *place = Some(self.next);
        Ok(None)
    }

    /// Gives a place back; the waker is to be dropped where no lock is held.
    pub(super) fn forget(&mut self, place: u64) -> Option<Waker> {
        self.places.remove(&place).map(|(_, waker)| waker)
    }

    /// Takes out the wakers of those whose range may be read now.
    pub(super) fn take_readable(&mut self, readable: &RangeSet) -> Vec<Waker> {
        self.places
            .extract_if(.., |_, (target, _)| match target {
                Target::Range(range) => readable.contains(range),
                Target::Complete => false,
            })
            .map(|(_, (_, waker))| waker)
            .collect()
    }

    /// Takes out every waker.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.places).into_values().map(|(_, waker)| waker).collect()
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
