//! Which fetches from the backend are under way, and which have failed of late.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kraken_core::{Digest, Error, ErrorKind, Result};

use crate::limits;

/// The fetches under way and the failures of late.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    states: Mutex<BTreeMap<Digest, State>>,
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
    digest: Digest,
    /// Told to those who poll; until it is known, that it broke off.
    result: Result<()>,
}

#[derive(Debug)]
enum State {
    Fetching,
    Failed { at: Instant, kind: ErrorKind, text: String },
}

impl Fetches {
    /// The caller must fetch the blob; or why it cannot be had now.
    pub(crate) fn enter(this: &Arc<Self>, digest: &Digest) -> Result<Fetch> {
        let mut states = this.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| match state {
            State::Fetching => true,
            State::Failed { at, .. } => at.elapsed() < limits::FAILURE_TTL,
        });
        match states.get(digest) {
            Some(State::Fetching) => return Err(pending(digest)),
            Some(State::Failed { kind, text, .. }) => return Err(Error::new(*kind, text.clone())),
            None => {}
        }
        let fetching = states.values().filter(|state| matches!(state, State::Fetching)).count();
        if fetching >= limits::FETCHES_MAX {
            let max = limits::FETCHES_MAX;
            let message = format!("fetch {digest}: {max} fetches are under way");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        states.insert(*digest, State::Fetching);
        let result = Err(Error::new(ErrorKind::Internal, format!("fetch {digest}: it broke off")));
        Ok(Fetch { fetches: Arc::clone(this), digest: *digest, result })
    }

    /// A blob of so many bytes was fetched.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> FetchStats {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FetchStats {
            running: states.values().filter(|state| matches!(state, State::Fetching)).count(),
            fetched: load(&self.fetched),
            failed: load(&self.failed),
            bytes: load(&self.bytes),
        }
    }

    fn leave(&self, digest: &Digest, result: &Result<()>) {
        let ended = if result.is_ok() { &self.fetched } else { &self.failed };
        ended.fetch_add(1, Ordering::Relaxed);
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.remove(digest);
        if let Err(error) = result {
            let failed_at = |(digest, state): (&Digest, &State)| match state {
                State::Fetching => None,
                State::Failed { at, .. } => Some((*at, *digest)),
            };
            if states.len() >= limits::FAILURES_MAX
                && let Some((_, oldest)) = states.iter().filter_map(failed_at).min()
            {
                states.remove(&oldest);
            }
            let (kind, text) = (error.kind(), error.to_string());
            states.insert(*digest, State::Failed { at: Instant::now(), kind, text });
        }
    }
}

impl Fetch {
    /// The fetch has come to its end.
    pub(crate) fn end(mut self, result: Result<()>) {
        self.result = result;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.fetches.leave(&self.digest, &self.result);
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
        let enter = |bytes: &[u8]| Fetches::enter(&fetches, &Digest::sha256(bytes));
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
        assert_eq!(enter(b"one more").unwrap_err().kind(), ErrorKind::Unavailable);
        drop(held);
        assert!(enter(b"one more").is_ok());
    }
}
