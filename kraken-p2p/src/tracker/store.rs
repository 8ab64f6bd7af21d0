//! Where a tracker remembers who has announced what.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kraken_core::{InfoHash, PeerInfo, Result, Time};

use super::limits;
use super::peers::PeerTable;

/// Where a tracker remembers who has announced what. Called for every announce, by many tasks at
/// once.
///
/// Cancel safe: a dropped call has either taken effect or not. Entries that are not updated are
/// forgotten after a time that is the store's own.
#[async_trait]
pub trait PeerStore: fmt::Debug + Send + Sync + 'static {
    /// Notes that `peer` has announced itself. Idempotent; a later call for the same peer id
    /// replaces the earlier one.
    async fn update(&self, info_hash: InfoHash, peer: &PeerInfo, now: Time) -> Result<()>;

    /// At most `limit` peers of the torrent, in random order; a store that can does so by `seed`
    /// alone. Whoever asks may be among them.
    async fn sample(
        &self,
        info_hash: &InfoHash,
        limit: usize,
        seed: u64,
        now: Time,
    ) -> Result<Vec<PeerInfo>>;

    /// How much is remembered, for gauges; `None` from a store that cannot tell at once. Does not
    /// block.
    fn counts(&self) -> Option<PeerCounts> {
        None
    }
}

/// How much a peer store remembers, some of it perhaps expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCounts {
    /// Pairs of blob and peer.
    pub peers: usize,
    /// Blobs that have peers.
    pub torrents: usize,
}

/// A peer store in memory: what it knows is gone with the process, and comes back with the next
/// announces.
#[derive(Debug)]
pub struct MemoryPeerStore {
    /// Torrents are spread over tables by their info hash, so that not all announces wait for one
    /// lock. Each lock is held for one call on its table and never across an await.
    tables: [Mutex<PeerTable>; TABLES],
}

impl MemoryPeerStore {
    /// An empty store of at most `peers_max` (blob, peer) pairs (see [`limits::PEERS_MAX`]), each
    /// kept for `ttl` after it was last seen. A sixteenth of the room is each torrent's at most.
    pub fn new(ttl: Duration, peers_max: usize) -> Self {
        let peers_max = peers_max.div_ceil(TABLES);
        Self { tables: std::array::from_fn(|_| Mutex::new(PeerTable::new(ttl, peers_max))) }
    }

    /// How many (blob, peer) pairs there are, some of them perhaps expired: for a gauge.
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| lock(table).len()).sum()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self, info_hash: &InfoHash) -> MutexGuard<'_, PeerTable> {
        let [first, ..] = *info_hash.as_bytes();
        lock(&self.tables[usize::from(first) % TABLES])
    }
}

impl Default for MemoryPeerStore {
    /// uber/kraken's five hours, and all the room there may be.
    fn default() -> Self {
        Self::new(TTL_DEFAULT, limits::PEERS_MAX)
    }
}

#[async_trait]
impl PeerStore for MemoryPeerStore {
    async fn update(&self, info_hash: InfoHash, peer: &PeerInfo, now: Time) -> Result<()> {
        self.table(&info_hash).update(info_hash, peer, now);
        Ok(())
    }

    async fn sample(
        &self,
        info_hash: &InfoHash,
        limit: usize,
        seed: u64,
        now: Time,
    ) -> Result<Vec<PeerInfo>> {
        Ok(self.table(info_hash).sample(info_hash, limit, seed, now))
    }

    fn counts(&self) -> Option<PeerCounts> {
        let mut counts = PeerCounts::default();
        for table in &self.tables {
            let table = lock(table);
            counts.peers += table.len();
            counts.torrents += table.torrents();
        }
        Some(counts)
    }
}

/// A panic in a call on a table leaves entries that are at worst stale.
fn lock(table: &Mutex<PeerTable>) -> MutexGuard<'_, PeerTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

const TABLES: usize = 16;

/// How long a peer is remembered by default (uber/kraken's `peerstore.local.ttl`).
pub const TTL_DEFAULT: Duration = Duration::from_secs(5 * 60 * 60);
