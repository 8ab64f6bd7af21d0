//! The numbers of a store.

use kraken_core::store::StoreStats;

use super::figures::Figures;
use super::names;

impl Figures {
    /// Notes what a store holds.
    pub fn add_store(&mut self, stats: &StoreStats) {
        self.set(&names::STORE_USED_BYTES, stats.used_bytes);
        if let Some(capacity) = stats.capacity_bytes {
            self.set(&names::STORE_CAPACITY_BYTES, capacity);
        }
        self.set_with(&names::STORE_BLOBS, &["complete"], stats.complete as u64);
        self.set_with(&names::STORE_BLOBS, &["arriving"], stats.arriving as u64);
        self.set(&names::STORE_EVICTED_BLOBS, stats.evicted_blobs);
        self.set(&names::STORE_EVICTED_BYTES, stats.evicted_bytes);
    }
}
