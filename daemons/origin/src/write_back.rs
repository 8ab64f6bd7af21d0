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

use crate::limits;
use crate::parts::Parts;
use crate::queue::{Outcome, Slot, WriteBack};

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
pub(crate) async fn start(parts: &Arc<Parts>) {
    let complete = reload(parts).await;
    let task = Arc::clone(parts);
    parts.tasks.spawn(async move {
        let stop = task.stop.clone();
        stop.run_until_cancelled(run(&task, complete)).await;
    });
}

/// Pushes every blob whose sidecars say that it is not written back; whether all of them could be
/// read. One that cannot holds up no other.
async fn reload(parts: &Arc<Parts>) -> bool {
    let (store, task) = (parts.store.clone(), Arc::clone(parts));
    let pushed = blocking("take up the write-backs that are left", move || {
        let (mut pushed, mut complete) = (0_u64, true);
        for digest in store.persist_pending() {
            match store.write_backs(&digest) {
                Ok(namespaces) => {
                    for namespace in namespaces {
                        task.write_back.push(&digest, &namespace, Duration::ZERO);
                        pushed += 1;
                    }
                }
                Err(error) => {
                    tracing::error!(%digest, %error, "a blob waits: where to write it back to \
                        cannot be read");
                    complete = false;
                }
            }
        }
        Ok((pushed, complete))
    });
    match pushed.await {
        Ok((pushed, complete)) => {
            if pushed > 0 {
                tracing::info!(write_backs = pushed, "write-backs taken up");
            }
            complete
        }
        Err(error) => {
            tracing::error!(%error, "write-backs are left");
            false
        }
    }
}

/// Starts what is due, for ever; `complete` is how the first [`reload`] went.
async fn run(parts: &Arc<Parts>, complete: bool) {
    let queue = &parts.write_back;
    let after = |complete: bool| (!complete).then(|| queue.now() + limits::RELOAD_PAUSE);
    let mut reload_at = after(complete);
    loop {
        while let Some(slot) = queue.next() {
            let (attempt, stop) = (attempt(Arc::clone(parts), slot), parts.stop.clone());
            parts.tasks.spawn(async move { stop.run_until_cancelled(attempt).await });
        }
        let due = reload_at.is_some_and(|at| at <= queue.now());
        if queue.with(|tasks| tasks.poll_reload(queue.now())) || due {
            reload_at = after(reload(parts).await);
        }
        let next = queue.with(|tasks| tasks.poll_timeout());
        let wait = match next.into_iter().chain(reload_at).min() {
            Some(at) => at.since(queue.now()),
            None => Duration::MAX,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = queue.changed.notified() => {}
        }
    }
}

/// One try.
async fn attempt(parts: Arc<Parts>, mut slot: Slot) {
    let started = Instant::now();
    let WriteBack { digest, namespace } = &slot.task;
    match write(&parts, digest, namespace).await {
        Ok(outcome) => {
            let duration_ms = started.elapsed().as_millis() as u64;
            match outcome {
                Outcome::Gone => {
                    tracing::error!(%digest, %namespace, "a blob to be written back is gone");
                }
                _ => tracing::info!(%digest, %namespace, duration_ms, "written back"),
            }
            slot.outcome = outcome;
        }
        Err(error) => tracing::warn!(%digest, %namespace, %error, "write-back failed"),
    }
}

/// Uploads a blob unless the backend has it, then takes the namespace off what is pending.
///
/// A push to the same namespace meanwhile asks for nothing more: the backend has the blob by then.
async fn write(parts: &Parts, digest: &Digest, namespace: &Namespace) -> Result<Outcome> {
    let (store, wanted, to) = (parts.store.clone(), *digest, namespace.clone());
    let found = blocking("write a blob back", move || {
        let pending = store.write_backs(&wanted)?.contains(&to);
        Ok((store.blob(&wanted)?, pending))
    })
    .await?;
    let blob = match found {
        (Some(blob), true) => blob,
        (Some(_), false) => return Ok(Outcome::Written),
        (None, _) => return Ok(Outcome::Gone),
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
    blocking("write a blob back", move || store.end_write_back(&wanted, &to)).await?;
    Ok(Outcome::Written)
}
