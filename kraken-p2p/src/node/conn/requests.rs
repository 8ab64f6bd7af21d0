//! What may come over a connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kraken_core::PieceIndex;

/// The payloads that may come: how often each piece was asked for and not answered yet.
///
/// A request that is taken back stays in here: its answer may be on the way already, and nobody
/// says that it is not. There is at most one entry for each piece of the torrent.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<PieceIndex, u32>>);

impl Requests {
    /// Notes a request.
    pub(super) fn open(&self, index: PieceIndex) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = requests.entry(index).or_default();
        *times = times.saturating_add(1);
    }

    /// Ends a request; whether there was one.
    pub(super) fn end(&self, index: PieceIndex) -> bool {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = requests.get_mut(&index) else { return false };
        *times -= 1;
        if *times == 0 {
            requests.remove(&index);
        }
        true
    }
}
