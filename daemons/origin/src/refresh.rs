//! Fetching blobs from the backend when they are first asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use kraken_backends::ObjectName;
use kraken_common::blocking;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result};

use crate::parts::Parts;
use crate::{replicate, uploads};

/// Most fetches under way at once; more are answered `Unavailable`.
const FETCHES_MAX: usize = 64;

/// How long a failed fetch is remembered and told to those who poll.
const FAILURE_TTL: Duration = Duration::from_secs(15);

/// Most failures remembered; the oldest go first.
const FAILURES_MAX: usize = 1024;

/// The fetches under way and the failures of late.
#[derive(Debug, Default)]
pub(crate) struct Refreshes(Mutex<BTreeMap<Digest, State>>);

#[derive(Debug)]
enum State {
    Fetching,
    Failed { at: Instant, kind: ErrorKind, text: String },
}

impl Refreshes {
    /// Why the blob cannot be had now, or `None` when the caller must fetch it.
    fn enter(&self, digest: &Digest) -> Option<Error> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| match state {
            State::Fetching => true,
            State::Failed { at, .. } => at.elapsed() < FAILURE_TTL,
        });
        match states.get(digest) {
            Some(State::Fetching) => return Some(pending(digest)),
            Some(State::Failed { kind, text, .. }) => return Some(Error::new(*kind, text.clone())),
            None => {}
        }
        let fetching = states.values().filter(|state| matches!(state, State::Fetching)).count();
        if fetching >= FETCHES_MAX {
            let message = format!("fetch {digest}: {FETCHES_MAX} fetches are under way");
            return Some(Error::new(ErrorKind::Unavailable, message));
        }
        states.insert(*digest, State::Fetching);
        None
    }

    fn leave(&self, digest: &Digest, result: Result<()>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.remove(digest);
        if let Err(error) = result {
            let oldest = || states.iter().find(|(_, state)| matches!(state, State::Failed { .. }));
            if states.len() >= FAILURES_MAX
                && let Some((&oldest, _)) = oldest()
            {
                states.remove(&oldest);
            }
            let (kind, text) = (error.kind(), error.to_string());
            states.insert(*digest, State::Failed { at: Instant::now(), kind, text });
        }
    }
}

/// Starts fetching a blob unless that is going on; what to answer meanwhile: `Pending`, `NotFound`,
/// or why it cannot be fetched.
pub(crate) async fn request(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Error {
    if let Err(error) = stat_backend(parts, namespace, digest).await {
        return error;
    }
    start(parts, namespace, digest).unwrap_or_else(|| pending(digest))
}

/// Starts fetching a blob without asking first whether the backend has it; why not, if not.
pub(crate) fn start(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Option<Error> {
    if let Some(error) = parts.refreshes.enter(digest) {
        return Some(error);
    }
    let (task, namespace, digest) = (Arc::clone(parts), namespace.clone(), *digest);
    parts.tasks.spawn(async move {
        let stop = task.stop.clone();
        let result = match stop.run_until_cancelled(fetch(&task, &namespace, &digest)).await {
            Some(result) => result,
            None => Err(Error::new(ErrorKind::Cancelled, "the origin is closing")),
        };
        if let Err(error) = &result {
            tracing::warn!(%digest, %namespace, %error, "fetch from the backend failed");
        }
        task.refreshes.leave(&digest, result);
    });
    None
}

/// The blob's length at the backend.
pub(crate) async fn stat_backend(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<u64> {
    let backend = parts.router.route(namespace)?;
    Ok(backend.stat(namespace, &object_name(digest)).await?.len)
}

/// The name of a blob at its backend.
pub(crate) fn object_name(digest: &Digest) -> ObjectName {
    ObjectName::from(digest)
}

/// Downloads, verifies and commits the blob, then copies it to the other owners.
async fn fetch(parts: &Arc<Parts>, namespace: &Namespace, digest: &Digest) -> Result<()> {
    let started = Instant::now();
    let backend = parts.router.route(namespace)?;
    let name = object_name(digest);
    let stat = backend.stat(namespace, &name).await?;
    let mut bytes = backend.download(namespace, &name, None, stat.version.as_ref()).await?;
    let (store, algorithm) = (parts.store.clone(), digest.algorithm());
    let upload = blocking("fetch a blob", move || store.create_upload(algorithm)).await?;
    let received = async {
        while let Some(chunk) = bytes.try_next().await? {
            let writer = upload.clone();
            blocking("fetch a blob", move || writer.append(&chunk)).await?;
        }
        uploads::commit_upload(parts, upload.clone(), digest, Vec::new()).await
    };
    let blob = match received.await {
        Ok(blob) => blob,
        Err(error) => {
            blocking("fetch a blob", move || upload.cancel()).await?;
            return Err(error);
        }
    };
    tracing::info!(%digest, %namespace, bytes = blob.len(), ms = started.elapsed().as_millis(),
        "fetched from the backend");
    replicate::transfer(parts, &blob).await;
    Ok(())
}

fn pending(digest: &Digest) -> Error {
    Error::new(ErrorKind::Pending, format!("{digest} is being fetched"))
}
