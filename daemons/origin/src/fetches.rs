//! Which fetches from the backend are under way, and which have failed of late.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kraken_core::{Digest, Error, ErrorKind, Result};

/// The fetches under way and the failures of late.
#[derive(Debug, Default)]
pub(crate) struct Fetches(Mutex<BTreeMap<Digest, State>>);

#[derive(Debug)]
enum State {
    Fetching,
    Failed { at: Instant, kind: ErrorKind, text: String },
}

impl Fetches {
    /// Why the blob cannot be had now, or `None` when the caller must fetch it.
    pub(crate) fn enter(&self, digest: &Digest) -> Option<Error> {
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

    /// Ends what [`Fetches::enter`] began.
    pub(crate) fn leave(&self, digest: &Digest, result: Result<()>) {
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

/// The answer while a blob is on its way.
pub(crate) fn pending(digest: &Digest) -> Error {
    Error::new(ErrorKind::Pending, format!("{digest} is being fetched"))
}

/// Most fetches under way at once; more are answered `Unavailable`.
const FETCHES_MAX: usize = 64;

/// How long a failed fetch is remembered and told to those who poll.
const FAILURE_TTL: Duration = Duration::from_secs(15);

/// Most failures remembered; the oldest go first.
const FAILURES_MAX: usize = 1024;
