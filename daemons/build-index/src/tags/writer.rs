//! The task that brings the journal's puts to the backend, and looks for one that is away.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kraken_backends::{BackendTags, LocalDisk, TagStore as _};
use kraken_common::backends::WriteBackConfig;
use kraken_core::retry::{RetryConfig, RetryQueue};
use kraken_core::{Error, ErrorKind, Result, Tag, Time};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::limits;
use crate::tags::remote::{BackendId, Remote};

/// The task, as it runs.
#[derive(Debug)]
pub(crate) struct Writer(JoinHandle<()>);

/// What the task works with.
pub(super) struct Writing {
    pub(super) remote: Arc<Remote>,
    pub(super) journal: Journal,
    /// What the backend was last given.
    pub(super) copies: Arc<BackendTags<LocalDisk>>,
    pub(super) cancel: CancellationToken,
    pub(super) config: WriteBackConfig,
    /// What keeps other processes from the journal.
    pub(super) _lock: Arc<File>,
}

/// When each tag is written next. At most one write of a tag is under way, so an older put never
/// lands after a newer one.
struct Schedule {
    queue: RetryQueue<Tag, Lane>,
    /// The tags that are in a lane of second tries.
    again: BTreeSet<Tag>,
    epoch: Instant,
    retry_initial: Duration,
}

/// Tags that wait for one another. What failed leaves the lane of first tries, so that neither a
/// tag that the backend does not take nor a backend that is away holds up what has not been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    First(BackendId),
    Again(BackendId),
}

impl Writer {
    pub(super) fn spawn(writing: Writing) -> Self {
        Self(tokio::spawn(async move {
            let cancel = writing.cancel.clone();
            // Broken off at any point, what is not written stays in the journal.
            let both = async { tokio::join!(writing.run(), writing.remote.probe()) };
            cancel.run_until_cancelled(both).await;
        }))
    }

    /// Waits for the task's end, which [`Tags::stop`](super::Tags::stop) brings about.
    pub(crate) async fn join(self) -> Result<()> {
        self.0.await.map_err(|e| Error::new(ErrorKind::Internal, "write tags back").with_source(e))
    }
}

impl Writing {
    /// Writes puts back, each tag by itself, for ever.
    async fn run(&self) {
        let mut schedule = Schedule::new(&self.config);
        let mut changes = self.journal.changes();
        let mut writes = FuturesUnordered::new();
        loop {
            for tag in self.journal.take_new() {
                let backend = self.remote.backend_of(&tag);
                schedule.push(tag, backend);
            }
            while let Some(tag) = schedule.next() {
                writes.push(async {
                    let written = self.write(&tag).await;
                    (tag, written)
                });
            }
            tokio::select! {
                Some((tag, written)) = writes.next() => match written {
                    true => schedule.done(&tag),
                    false => schedule.failed(&tag, self.remote.backend_of(&tag)),
                },
                // The journal lives as long as this, so its end is none.
                _ = changes.changed() => {}
                () = tokio::time::sleep(schedule.pause()) => {}
            }
        }
    }

    /// Whether the backend and the copy have the latest put of the tag now. Broken off at any point
    /// it stays in the journal, and is written again.
    async fn write(&self, tag: &Tag) -> bool {
        // Written already, if it was put again while it was being written.
        let Some(put) = self.journal.latest_put(tag) else { return true };
        let write = async {
            self.remote.put(tag, &put.digest).await?;
            self.copies.put(tag, &put.digest).await
        };
        let written = match timeout(limits::WRITE_MAX, write).await {
            Ok(Ok(())) => self.journal.settle(&put).await,
            Ok(Err(e)) => Err(e),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the backend takes too long")),
        };
        if let Err(e) = &written {
            tracing::warn!(%tag, error = %e, "tag not written back, to be tried again");
        }
        written.is_ok()
    }
}

impl Schedule {
    fn new(config: &WriteBackConfig) -> Self {
        let at_once = config.at_once.max(1);
        let retry_initial = config.retry_initial();
        let queue = RetryQueue::new(RetryConfig {
            retry_initial,
            retry_interval: config.retry_interval,
            probe_interval: config.probe_interval.min(config.retry_interval),
            // The journal bounds how many there are; none may be forgotten.
            tasks_max: usize::MAX,
            // A backend that hangs fills both of its lanes, and leaves the rest to the others.
            in_flight_max: at_once.saturating_mul(2).saturating_add(config.spare),
            lane_in_flight_max: at_once,
        });
        Self { queue, again: BTreeSet::new(), epoch: Instant::now(), retry_initial }
    }

    /// There is a new put of the tag, to be tried now.
    fn push(&mut self, tag: Tag, backend: BackendId) {
        // One under way is not removed; it is written once more after that.
        if self.again.contains(&tag) && self.queue.remove(&tag) {
            self.again.remove(&tag);
        }
        let now = self.now();
        self.queue.push(tag, Lane::First(backend), now, now);
    }

    fn next(&mut self) -> Option<Tag> {
        self.queue.next(self.now()).map(|task| task.key)
    }

    fn done(&mut self, tag: &Tag) {
        if self.queue.done(tag, self.now()) {
            self.again.remove(tag);
        }
    }

    fn failed(&mut self, tag: &Tag, backend: BackendId) {
        let now = self.now();
        if self.again.contains(tag) {
            self.queue.failed(tag, now);
        } else if self.queue.done(tag, now) {
            self.again.insert(tag.clone());
            self.queue.push(tag.clone(), Lane::Again(backend), now + self.retry_initial, now);
        }
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        self.queue.poll_timeout().map_or(Duration::MAX, |at| at.since(self.now()))
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }
}
