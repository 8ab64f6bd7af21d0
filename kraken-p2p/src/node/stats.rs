//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kraken_core::Digest;

use super::running::DownloadStatus;
use super::timeline::DownloadTimes;
use crate::swarm::{Counters as SwarmCounters, TorrentSnapshot};

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
    /// Connections that ended, or were refused, because the peer broke the protocol or lied.
    pub violations: u64,
    /// What the swarm counted.
    pub swarm: SwarmCounters,
    /// What became of downloads.
    pub downloads: DownloadTotals,
    /// Announces that no tracker answered.
    pub announces_failed: u64,
    /// Downloads that somebody waits for now.
    pub downloads_running: usize,
    /// Connections open now.
    pub conns: usize,
    /// How many torrents there are now.
    pub torrents_len: usize,
    /// The torrents, in order of their digests; none if they were not asked for.
    pub torrents: Vec<(Digest, TorrentSnapshot)>,
}

/// What became of the downloads that somebody waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DownloadTotals {
    /// Those that were verified and committed.
    pub completed: DownloadTotal,
    /// Those that were given up.
    pub failed: DownloadTotal,
    /// Those for which nobody waited any more before all was here.
    pub left: DownloadTotal,
}

/// Downloads that ended alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DownloadTotal {
    /// How many.
    pub count: u64,
    /// Bytes of their pieces that were here in the end.
    pub bytes: u64,
    /// How long they took together, each from the first who waited.
    pub time: Duration,
    /// Where that time went.
    pub times: DownloadTimes,
}

impl DownloadTotal {
    pub(super) fn add(&mut self, download: &DownloadStatus) {
        self.count += 1;
        self.bytes += download.bytes_verified;
        self.time += download.age;
        self.times += download.times;
    }
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
            ..NodeStats::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
