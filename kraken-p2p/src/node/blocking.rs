//! Work that blocks: on the runtime's blocking threads, a bounded number of jobs at once.

use std::sync::Arc;

use kraken_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::limits;

/// Runs jobs on the blocking threads of the runtime the node was started on.
#[derive(Debug, Clone)]
pub(super) struct Blocking {
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    runtime: Handle,
}

/// Room for one job.
pub(super) type Permit = OwnedSemaphorePermit;

impl Blocking {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits::BLOCKING_JOBS_MAX)),
            tasks,
            runtime: Handle::current(),
        }
    }

    /// Runs `job` once there is room. When the caller goes away after the job has begun it runs to
    /// its end all the same, and the node's close waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let begun = self.begin(self.permit(what).await?, job);
        begun.await.map_err(|error| Error::new(ErrorKind::Internal, what).with_source(error))
    }

    /// Waits until there is room for a job. Cancel safe.
    pub(super) async fn permit(&self, what: &'static str) -> Result<Permit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| Error::new(ErrorKind::Cancelled, format!("{what}: closing")))
    }

    /// Room for a job, if there is some at once.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Begins `job`, which runs to its end whether or not anybody waits for it.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        permit: Permit,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let job = move || {
            let _permit = permit;
            job()
        };
        self.tasks.spawn_blocking_on(job, &self.runtime)
    }
}
