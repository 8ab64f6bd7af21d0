//! What the driver tells of downloads.

use kraken_core::{Digest, PieceIndex, Time};

use super::driver::{Driver, Entry};
use super::running::{DownloadPhase, DownloadStatus};

impl Driver {
    /// At most `limit` of the downloads that somebody waits for, those that have waited longest
    /// first; then those that ended lately, the last ones first.
    pub(super) fn downloads(&self, now: Time, limit: usize) -> Vec<DownloadStatus> {
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
            Some(self.entries.get(digest)?.status(now, since, peers))
        });
        let mut list: Vec<_> = list.collect();
        list.extend(self.ended.iter().rev().take(limit.saturating_sub(list.len())).cloned());
        list
    }

    /// Notes how a download ended that somebody waited for; how it went.
    pub(super) fn note_ended(&mut self, now: Time, entry: &Entry, phase: DownloadPhase) {
        let Some(since) = entry.since else { return };
        let peers =
            self.swarm.snapshot(&entry.torrent.digest).map_or(0, |torrent| torrent.conns.len());
        let status = DownloadStatus { phase, ..entry.status(now, since, peers) };
        if self.ended.len() >= ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(status);
    }
}

impl Entry {
    /// Whether somebody waits for it.
    pub(super) fn is_running(&self) -> bool {
        self.state.receiver_count() > 0 && !self.state.borrow().progress.complete
    }

    pub(super) fn status(&self, now: Time, since: Time, peers: usize) -> DownloadStatus {
        let progress = self.state.borrow().progress;
        let geometry = self.torrent.geometry;
        let last = PieceIndex(geometry.pieces().saturating_sub(1));
        let whole = u64::from(progress.pieces).saturating_mul(geometry.piece_len());
        // Only the last piece may be shorter than the others.
        let short = match progress.pieces > 0 && self.torrent.leases.is_marked(last) {
            true => geometry.piece_len().saturating_sub(geometry.len_of(last)),
            false => 0,
        };
        let all_here = progress.pieces == progress.pieces_total;
        let phase = match (all_here, peers) {
            (true, _) => DownloadPhase::Verifying,
            (false, 0) => DownloadPhase::LookingForPeers,
            (false, _) => DownloadPhase::Downloading,
        };
        DownloadStatus {
            digest: self.torrent.digest,
            namespace: self.torrent.namespace.clone(),
            phase,
            age: now.since(since),
            times: self.timeline.times(now, self.torrent.disk_time(), all_here),
            blob_len: Some(geometry.blob_len()),
            bytes_verified: whole.saturating_sub(short),
            bytes_from_origins: progress.bytes_from_origins,
            bytes_from_peers: progress.bytes_from_peers,
            peers,
        }
    }
}

/// Downloads that have ended and are still told of.
const ENDED_KEPT: usize = 100;
