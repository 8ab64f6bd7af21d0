//! Writing blobs back to the backend: from a queue that is rebuilt at start from sidecars.
//!
//! The sidecars `_persist` and `_namespace` are there before a blob is visible, so a blob that was
//! taken is never forgotten. A blob may be pending for several namespaces, each a write-back of its
//! own; `_persist` goes when the last backend has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kraken_backends::{FileSource, ObjectName};
use kraken_common::blocking;
use kraken_core::store::Sidecar;
use kraken_core::{Digest, ErrorKind, Namespace, Result};

use crate::parts::Parts;
use crate::queue::WriteBack;

/// The sidecars that a pushed blob is committed with; the namespace first, so that whoever sees
/// that a blob must be written back sees where to.
pub(crate) fn sidecars(namespace: &Namespace) -> Vec<Sidecar> {
    vec![Sidecar::namespace(namespace), Sidecar::persist()]
}

/// Makes sure that a blob that is here is written back: what a push of it again asks for.
pub(crate) async fn ensure(parts: &Parts, digest: &Digest, namespace: &Namespace) -> Result<()> {
    let (store, wanted, to) = (parts.store.clone(), *digest, namespace.clone());
    blocking("write a blob back", move || store.add_write_back(&wanted, &to)).await?;
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
            for namespace in store.write_backs(&digest)? {
                left.push((digest, namespace));
            }
        }
        Ok(left)
    })
    .await?;
    if !left.is_empty() {
        tracing::info!(write_backs = left.len(), "write-backs taken up");
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
            let (worker, task) = (Arc::clone(parts), task.key);
            parts.tasks.spawn(async move {
                let stop = worker.stop.clone();
                stop.run_until_cancelled(attempt(&worker, &task)).await;
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
async fn attempt(parts: &Parts, task: &WriteBack) {
    let started = Instant::now();
    let WriteBack { digest, namespace } = task;
    let result = write(parts, digest, namespace).await;
    let queue = &parts.write_back;
    match result {
        Ok(()) => {
            let ms = started.elapsed().as_millis();
            tracing::info!(%digest, %namespace, ms, "written back");
            queue.with(|tasks| tasks.done(task, queue.now()));
        }
        Err(error) => {
            tracing::warn!(%digest, %namespace, %error, "write-back failed");
            queue.with(|tasks| tasks.failed(task, queue.now()));
        }
    }
    queue.changed.notify_one();
}

/// Uploads a blob unless the backend has it, then takes the namespace off what is pending.
///
/// A push to the same namespace meanwhile asks for nothing more: the backend has the blob by then.
async fn write(parts: &Parts, digest: &Digest, namespace: &Namespace) -> Result<()> {
    let (store, wanted, to) = (parts.store.clone(), *digest, namespace.clone());
    let found = blocking("write a blob back", move || {
        let pending = store.write_backs(&wanted)?.contains(&to);
        Ok((store.blob(&wanted)?, pending))
    })
    .await?;
    let blob = match found {
        (Some(blob), true) => blob,
        (Some(_), false) => return Ok(()),
        (None, _) => {
            tracing::error!(%digest, %namespace, "a blob to be written back is gone");
            return Ok(());
        }
    };
    let backend = parts.router.route(namespace)?;
    let name = ObjectName::from(digest);
    match backend.stat(namespace, &name).await {
        Ok(stat) if stat.len == blob.len() => {}
        Ok(_) => backend.upload(namespace, &name, &FileSource::new(blob.file())?).await?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            backend.upload(namespace, &name, &FileSource::new(blob.file())?).await?;
        }
        Err(error) => return Err(error),
    }
    let (store, wanted, to) = (parts.store.clone(), *digest, namespace.clone());
    blocking("write a blob back", move || store.end_write_back(&wanted, &to)).await.map(drop)
}
