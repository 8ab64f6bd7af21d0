//! What may come over a connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kraken_core::PieceIndex;

use crate::limits;

/// The requests open on a connection: the payloads that may come.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<PieceIndex, u32>>);

impl Requests {
    /// Notes a request; `false` when there are too many.
    pub(super) fn open(&self, index: PieceIndex, length: u32) -> bool {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.insert(index, length);
        requests.len() <= limits::SEND_QUEUE_MAX
    }

    /// Ends a request; its length, if there was one.
    pub(super) fn end(&self, index: PieceIndex) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }
}
