//! Which fetches from the backend are under way, and which have failed of late.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kraken_core::http::is_verdict;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result, TorrentMeta};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::limits;

/// The fetches under way and the failures of late.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    state: Mutex<State>,
    fetched: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

/// How fetches stand.
#[derive(Debug)]
pub(crate) struct FetchStats {
    pub(crate) running: usize,
    /// Those that succeeded, and those that did not.
    pub(crate) fetched: u64,
    pub(crate) failed: u64,
    /// The bytes of the blobs fetched.
    pub(crate) bytes: u64,
}

/// One fetch under way, until it is dropped: also by a panic.
#[derive(Debug)]
pub(crate) struct Fetch {
    fetches: Arc<Fetches>,
    namespace: Namespace,
    digest: Digest,
    /// Told to those who poll; until it is known, that it broke off.
    result: Result<()>,
    known: watch::Sender<Option<Known>>,
}

/// What is known of a blob on its way.
#[derive(Debug, Clone)]
struct Known {
    meta: TorrentMeta,
    /// Whether this origin has it from the backend, and not from another owner.
    is_own: bool,
}

#[derive(Debug, Default)]
struct State {
    /// What is known of each blob that is being fetched; by digest alone: a blob is the same from
    /// whichever backend it comes.
    fetching: BTreeMap<Digest, watch::Receiver<Option<Known>>>,
    /// By namespace too: a backend that lacks a blob, or is away, says nothing about another one.
    failures: BTreeMap<(Digest, Namespace), Failure>,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    kind: ErrorKind,
    text: String,
    /// Whether another owner has found it, and not this one.
    is_heard: bool,
}

impl Failure {
    fn is_over(&self) -> bool {
        let ttl = if self.is_heard { limits::HEARD_FAILURE_TTL } else { limits::FAILURE_TTL };
        self.at.elapsed() >= ttl
    }

    fn to_error(&self) -> Error {
        Error::new(self.kind, self.text.clone())
    }
}

impl State {
    fn failure(&mut self, namespace: &Namespace, digest: &Digest) -> Option<&Failure> {
        self.failures.retain(|_, failure| !failure.is_over());
        self.failures.get(&(*digest, namespace.clone()))
    }
}

impl Fetches {
    /// The caller must fetch the blob from the backend of `namespace`; or why it cannot be had now.
    pub(crate) fn enter(this: &Arc<Self>, namespace: &Namespace, digest: &Digest) -> Result<Fetch> {
        let mut state = this.lock();
        if state.fetching.contains_key(digest) {
            return Err(pending(digest));
        }
        if let Some(failure) = state.failure(namespace, digest) {
            return Err(failure.to_error());
        }
        if state.fetching.len() >= limits::FETCHES_MAX {
            // Whoever waits asks again, and gets one of those that end meanwhile.
            return Err(pending(digest));
        }
        let (known, knows) = watch::channel(None);
        state.fetching.insert(*digest, knows);
        let result = Err(Error::new(ErrorKind::Internal, format!("fetch {digest}: it broke off")));
        let (fetches, namespace) = (Arc::clone(this), namespace.clone());
        Ok(Fetch { fetches, namespace, digest: *digest, result, known })
    }

    /// What is known of a blob that is being fetched, as soon as something is; `Pending` when it is
    /// not fetched, or takes too long, or why it cannot be had.
    pub(crate) async fn torrent_meta(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<TorrentMeta> {
        let knows = self.lock().fetching.get(digest).cloned();
        if let Some(mut knows) = knows {
            let known = timeout(limits::PROVISIONAL_WAIT_MAX, knows.wait_for(Option::is_some));
            if let Ok(Ok(known)) = known.await
                && let Some(Known { meta, .. }) = &*known
            {
                return Ok(meta.clone());
            }
        }
        Err(self.failure(namespace, digest).unwrap_or_else(|| pending(digest)))
    }

    /// Why a blob could not be had lately.
    pub(crate) fn failure(&self, namespace: &Namespace, digest: &Digest) -> Option<Error> {
        self.lock().failure(namespace, digest).map(Failure::to_error)
    }

    /// Why this origin itself could not bring it lately. Owners that told each other what they have
    /// heard would never forget it.
    pub(crate) fn own_failure(&self, namespace: &Namespace, digest: &Digest) -> Option<Error> {
        let mut state = self.lock();
        state.failure(namespace, digest).filter(|failure| !failure.is_heard).map(Failure::to_error)
    }

    /// What is known of a blob that this origin brings from the backend at this moment.
    pub(crate) fn brings(&self, digest: &Digest) -> Option<TorrentMeta> {
        let knows = self.lock().fetching.get(digest).cloned()?;
        let known = knows.borrow();
        known.as_ref().filter(|known| known.is_own).map(|known| known.meta.clone())
    }

    /// A blob of so many bytes was fetched.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> FetchStats {
        let running = self.lock().fetching.len();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FetchStats {
            running,
            fetched: load(&self.fetched),
            failed: load(&self.failed),
            bytes: load(&self.bytes),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, namespace: &Namespace, digest: &Digest, result: &Result<()>) {
        let ended = if result.is_ok() { &self.fetched } else { &self.failed };
        ended.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.fetching.remove(digest);
        if let Err(error) = result {
            let failures = &mut state.failures;
            let oldest = failures.iter().min_by_key(|(_, failure)| failure.at);
            if failures.len() >= limits::FAILURES_MAX
                && let Some(oldest) = oldest.map(|(key, _)| key.clone())
            {
                failures.remove(&oldest);
            }
            let failure = Failure {
                at: Instant::now(),
                kind: error.kind(),
                text: error.to_string(),
                is_heard: is_verdict(error),
            };
            failures.insert((*digest, namespace.clone()), failure);
        }
    }
}

impl Fetch {
    /// The blob that is fetched.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Tells those who ask what is known of the blob, and whether it comes from the backend.
    pub(crate) fn tell(&self, meta: TorrentMeta, is_own: bool) {
        self.known.send_replace(Some(Known { meta, is_own }));
    }

    /// The fetch has come to its end.
    pub(crate) fn end(mut self, result: Result<()>) {
        self.result = result;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.fetches.leave(&self.namespace, &self.digest, &self.result);
    }
}

/// The answer while a blob is on its way.
pub(crate) fn pending(digest: &Digest) -> Error {
    Error::new(ErrorKind::Pending, format!("{digest} is being fetched"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_ends_however_it_ends() {
        let fetches: Arc<Fetches> = Arc::default();
        let namespace: Namespace = "library/x".parse().unwrap();
        let enter = |bytes: &[u8]| Fetches::enter(&fetches, &namespace, &Digest::sha256(bytes));
        let fetch = enter(b"done").unwrap();
        assert_eq!(enter(b"done").unwrap_err().kind(), ErrorKind::Pending);
        fetch.end(Ok(()));
        let panicked = std::thread::spawn({
            let fetch = enter(b"broken").unwrap();
            move || {
                let _fetch = fetch;
                panic!("on purpose");
            }
        });
        assert!(panicked.join().is_err());
        assert!(enter(b"done").is_ok());
        assert_eq!(enter(b"broken").unwrap_err().kind(), ErrorKind::Internal);
        let held: Vec<Fetch> =
            (0..limits::FETCHES_MAX).map_while(|n| enter(&n.to_le_bytes()).ok()).collect();
        assert_eq!(held.len(), limits::FETCHES_MAX);
        assert_eq!(enter(b"one more").unwrap_err().kind(), ErrorKind::Pending);
        drop(held);
        assert!(enter(b"one more").is_ok());
    }

    #[test]
    fn a_failure_is_told_to_its_namespace_only() {
        let fetches: Arc<Fetches> = Arc::default();
        let [one, other]: [Namespace; 2] = ["one", "other"].map(|name| name.parse().unwrap());
        let digest = Digest::sha256(b"x");
        let fetch = Fetches::enter(&fetches, &one, &digest).unwrap();
        // Under way it is for both: the blob is the same.
        let kind = |namespace| Fetches::enter(&fetches, namespace, &digest).unwrap_err().kind();
        assert_eq!(kind(&other), ErrorKind::Pending);
        fetch.end(Err(Error::not_found("the backend of one lacks it")));
        assert_eq!(kind(&one), ErrorKind::NotFound);
        Fetches::enter(&fetches, &other, &digest).unwrap().end(Ok(()));
        assert_eq!(fetches.stats().fetched, 1);
        assert_eq!(kind(&one), ErrorKind::NotFound);
    }
}
