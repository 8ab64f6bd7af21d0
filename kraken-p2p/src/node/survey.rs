//! What the driver tells of downloads.

use std::time::Duration;

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

    /// Notes how a download ended that somebody waited for; how it went, and why it did not go on.
    pub(super) fn note_ended(
        &mut self,
        now: Time,
        entry: &Entry,
        phase: DownloadPhase,
        reason: &str,
    ) {
        let Some(since) = entry.since else { return };
        let digest = &entry.torrent.digest;
        let peers = self.swarm.snapshot(digest).map_or(0, |torrent| torrent.conns.len());
        self.note(DownloadStatus { phase, ..entry.status(now, since, peers) }, reason);
    }

    /// Notes a download that has ended, and why it did not go on.
    pub(super) fn note(&mut self, status: DownloadStatus, reason: &str) {
        status.log(reason);
        let phase = status.phase;
        let totals = match phase {
            DownloadPhase::Complete => &mut self.totals.completed,
            DownloadPhase::Failed => &mut self.totals.failed,
            _ => &mut self.totals.left,
        };
        totals.add(&status);
        if phase == DownloadPhase::Left || status.blob_len.is_none() {
            // Who reads many ranges of a blob leaves it as often, and many may ask for metainfo.
            self.ended.retain(|it| it.phase != phase || it.digest != status.digest);
        }
        if self.ended.len() >= ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(status);
    }

    /// Somebody does not wait for a torrent any more. If it was the last one, and pieces are still
    /// missing, that download has ended.
    pub(super) fn note_left(&mut self, now: Time, digest: &Digest) {
        let Some(mut entry) = self.entries.remove(digest) else { return };
        let progress = entry.state.borrow().progress;
        if entry.state.receiver_count() == 0 && progress.pieces < progress.pieces_total {
            self.note_ended(now, &entry, DownloadPhase::Left, "nobody waits for it any more");
            entry.since = None;
        }
        self.entries.insert(*digest, entry);
    }
}

impl DownloadStatus {
    /// Says how it ended.
    fn log(&self, reason: &str) {
        let (times, ms) = (&self.times, |time: Duration| time.as_millis() as u64);
        macro_rules! say {
            ($message:literal $($more:tt)*) => {
                tracing::info!(
                    digest = %self.digest,
                    namespace = %self.namespace,
                    bytes = self.blob_len,
                    duration_ms = ms(self.age),
                    bytes_from_origins = self.bytes_from_origins,
                    bytes_from_peers = self.bytes_from_peers,
                    metainfo_ms = ms(times.metainfo),
                    tracker_ms = ms(times.tracker),
                    peers_ms = ms(times.peers),
                    first_piece_ms = ms(times.first_piece),
                    pieces_ms = ms(times.pieces),
                    stalled_ms = ms(times.stalled),
                    disk_ms = ms(times.disk),
                    verification_ms = ms(times.verification),
                    $($more)*
                    $message
                )
            };
        }
        match self.phase {
            DownloadPhase::Complete => say!("download complete"),
            DownloadPhase::Failed => say!("download failed" reason,),
            _ if self.age >= LEFT_LOGGED_AFTER => say!("download left" reason,),
            _ => {}
        }
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
        let disk_time = self.torrent.disk_time().saturating_sub(self.before.disk_time);
        DownloadStatus {
            digest: self.torrent.digest,
            namespace: self.torrent.namespace.clone(),
            phase,
            age: now.since(since),
            times: self.timeline.times(now, disk_time, all_here),
            blob_len: Some(geometry.blob_len()),
            bytes_verified: whole.saturating_sub(short),
            bytes_from_origins: progress.bytes_from_origins - self.before.bytes_from_origins,
            bytes_from_peers: progress.bytes_from_peers - self.before.bytes_from_peers,
            peers,
        }
    }
}

/// Ranges that were here sooner than this are no news.
const LEFT_LOGGED_AFTER: Duration = Duration::from_secs(1);

/// Downloads that have ended and are still told of.
const ENDED_KEPT: usize = 100;
