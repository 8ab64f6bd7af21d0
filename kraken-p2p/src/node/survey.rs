//! What the driver tells of the downloads under way.

use std::time::Duration;

use kraken_core::{Digest, PieceIndex, Time};

use super::driver::{Driver, Entry};
use super::running::{DownloadPhase, RunningDownload};

impl Driver {
    /// At most `limit` of the downloads that somebody waits for, those that have waited longest
    /// first.
    pub(super) fn running(&self, now: Time, limit: usize) -> Vec<RunningDownload> {
        let mut oldest: Vec<(Time, &Digest)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_running())
            .map(|(digest, entry)| (entry.since.unwrap_or(now), digest))
            .collect();
        oldest.sort_unstable();
        oldest.truncate(limit);
        let list = oldest.into_iter().filter_map(|(since, digest)| {
            let peers = self.swarm.snapshot(digest)?.conns.len();
            Some(self.entries.get(digest)?.as_running(now.since(since), peers))
        });
        list.collect()
    }
}

impl Entry {
    /// Whether somebody waits for it.
    pub(super) fn is_running(&self) -> bool {
        self.state.receiver_count() > 0 && !self.state.borrow().progress.complete
    }

    fn as_running(&self, age: Duration, peers: usize) -> RunningDownload {
        let progress = self.state.borrow().progress;
        let geometry = self.torrent.geometry;
        let last = PieceIndex(geometry.pieces().saturating_sub(1));
        let whole = u64::from(progress.pieces).saturating_mul(geometry.piece_len());
        // Only the last piece may be shorter than the others.
        let short = match progress.pieces > 0 && self.torrent.leases.is_marked(last) {
            true => geometry.piece_len().saturating_sub(geometry.len_of(last)),
            false => 0,
        };
        let phase = match (progress.pieces == progress.pieces_total, peers) {
            (true, _) => DownloadPhase::Verifying,
            (false, 0) => DownloadPhase::LookingForPeers,
            (false, _) => DownloadPhase::Downloading,
        };
        RunningDownload {
            digest: self.torrent.digest,
            namespace: self.torrent.namespace.clone(),
            phase,
            age,
            blob_len: Some(geometry.blob_len()),
            bytes_verified: whole.saturating_sub(short),
            bytes_from_origins: progress.bytes_from_origins,
            bytes_from_peers: progress.bytes_from_peers,
            peers,
        }
    }
}
