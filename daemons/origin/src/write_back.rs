//! Writing blobs back to the backend: from a queue that is rebuilt at start from sidecars.
//!
//! The sidecars `_persist` and `_namespace` are there before a blob is visible, so a blob that was
//! taken is never forgotten; they go when the backend has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kraken_backends::{FileSource, ObjectName};
use kraken_common::blocking;
use kraken_core::store::{Sidecar, Store};
use kraken_core::{Digest, ErrorKind, Namespace, Result};

use crate::parts::Parts;

/// The sidecars that a pushed blob is committed with; the namespace first, so that whoever sees
/// that a blob must be written back sees where to.
pub(crate) fn sidecars(namespace: &Namespace) -> Vec<Sidecar> {
    vec![Sidecar::namespace(namespace), Sidecar::persist()]
}

/// Makes sure that a blob that is here is written back: what a push of it again asks for.
pub(crate) async fn ensure(parts: &Parts, digest: &Digest, namespace: &Namespace) -> Result<()> {
    let (store, wanted, sidecars) = (parts.store.clone(), *digest, sidecars(namespace));
    blocking("write a blob back", move || {
        sidecars.iter().try_for_each(|sidecar| store.set_metadata(&wanted, sidecar))
    })
    .await?;
    parts.write_back.push(digest, namespace, Duration::ZERO);
    Ok(())
}

/// Takes up what an earlier run left and starts the task that writes back.
pub(crate) async fn start(parts: &Arc<Parts>) -> Result<()> {
    reload(parts).await?;
    let task = Arc::clone(parts);
    parts.tasks.spawn(async move {
        let stop = task.stop.clone();
        stop.run_until_cancelled(run(&task)).await;
    });
    Ok(())
}

/// Pushes every blob whose sidecar says that it is not written back.
async fn reload(parts: &Arc<Parts>) -> Result<()> {
    let store = parts.store.clone();
    let left = blocking("write a blob back", move || {
        let mut left = Vec::new();
        for digest in store.persist_pending() {
            left.push((digest, namespace_of(&store, &digest)?));
        }
        Ok(left)
    })
    .await?;
    if !left.is_empty() {
        tracing::info!(blobs = left.len(), "write-backs taken up");
    }
    for (digest, namespace) in left {
        parts.write_back.push(&digest, &namespace, Duration::ZERO);
    }
    Ok(())
}

async fn run(parts: &Arc<Parts>) {
    let queue = &parts.write_back;
    loop {
        while let Some(task) = queue.with(|tasks| tasks.next(queue.now())) {
            let (worker, digest) = (Arc::clone(parts), task.key);
            parts.tasks.spawn(async move {
                let stop = worker.stop.clone();
                stop.run_until_cancelled(attempt(&worker, &digest)).await;
            });
        }
        if queue.with(|tasks| tasks.poll_reload(queue.now()))
            && let Err(error) = reload(parts).await
        {
            tracing::error!(%error, "read the write-backs that are left");
        }
        let wait = match queue.with(|tasks| tasks.poll_timeout()) {
            Some(at) => at.since(queue.now()),
            None => Duration::MAX,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = queue.changed.notified() => {}
        }
    }
}

/// One try; the queue is told how it went.
async fn attempt(parts: &Parts, digest: &Digest) {
    let started = Instant::now();
    let result = write(parts, digest).await;
    let queue = &parts.write_back;
    match result {
        Ok(()) => {
            tracing::info!(%digest, ms = started.elapsed().as_millis(), "written back");
            queue.with(|tasks| tasks.done(digest, queue.now()));
        }
        Err(error) => {
            tracing::warn!(%digest, %error, "write-back failed");
            queue.with(|tasks| tasks.failed(digest, queue.now()));
        }
    }
    queue.changed.notify_one();
}

/// Uploads a blob unless the backend has it, then takes its `_persist` away.
async fn write(parts: &Parts, digest: &Digest) -> Result<()> {
    let (store, wanted) = (parts.store.clone(), *digest);
    let found = blocking("write a blob back", move || {
        Ok((store.blob(&wanted)?, namespace_of(&store, &wanted)?))
    })
    .await?;
    let (Some(blob), namespace) = found else {
        tracing::error!(%digest, "a blob to be written back is gone");
        return Ok(());
    };
    let backend = parts.router.route(&namespace)?;
    let name = ObjectName::from(digest);
    match backend.stat(&namespace, &name).await {
        Ok(stat) if stat.len == blob.len() => {}
        Ok(_) => backend.upload(&namespace, &name, &FileSource::new(blob.file())?).await?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            backend.upload(&namespace, &name, &FileSource::new(blob.file())?).await?;
        }
        Err(error) => return Err(error),
    }
    let (store, wanted) = (parts.store.clone(), *digest);
    blocking("write a blob back", move || store.remove_metadata(&wanted, Sidecar::PERSIST))
        .await
        .map(drop)
}

/// Where a blob is written back to. uber/kraken's data has no such sidecar: its queue was a
/// database; then it is the empty namespace, which a backend for everything matches.
fn namespace_of(store: &Store, digest: &Digest) -> Result<Namespace> {
    match store.namespace(digest)? {
        Some(namespace) => Ok(namespace),
        None => "".parse(),
    }
}
