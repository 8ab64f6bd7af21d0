//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};

use kraken_core::Digest;

use crate::swarm::TorrentSnapshot;

/// Counters since the node's start, and the torrents of this moment.
#[derive(Debug, Clone, Default)]
pub struct NodeStats {
    /// Bytes of pieces received from origins, good and bad.
    pub received_from_origins: u64,
    /// Bytes of pieces received from other peers, good and bad.
    pub received_from_peers: u64,
    /// Bytes of pieces sent.
    pub sent: u64,
    /// Pieces received that were here already or being written.
    pub duplicate_pieces: u64,
    /// Pieces received whose sums did not match.
    pub corrupt_pieces: u64,
    /// Connections accepted whose handshake was refused or never came.
    pub refused: u64,
    /// Connections open now.
    pub conns: usize,
    /// The torrents, in order of their digests.
    pub torrents: Vec<(Digest, TorrentSnapshot)>,
}

/// The counters that tasks write.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received_from_origins: AtomicU64,
    pub(super) received_from_peers: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) duplicate_pieces: AtomicU64,
    pub(super) corrupt_pieces: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Counters {
    pub(super) fn add_received(&self, from_origin: bool, bytes: usize) {
        let counter =
            if from_origin { &self.received_from_origins } else { &self.received_from_peers };
        add(counter, bytes as u64);
    }

    pub(super) fn snapshot(&self) -> NodeStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NodeStats {
            received_from_origins: load(&self.received_from_origins),
            received_from_peers: load(&self.received_from_peers),
            sent: load(&self.sent),
            duplicate_pieces: load(&self.duplicate_pieces),
            corrupt_pieces: load(&self.corrupt_pieces),
            refused: load(&self.refused),
            conns: 0,
            torrents: Vec::new(),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
