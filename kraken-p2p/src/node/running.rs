//! The downloads under way, as an operator sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kraken_core::{Digest, Namespace, PieceIndex, Time};

use super::driver::{Driver, Entry};

/// A download that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningDownload {
    /// The blob.
    pub digest: Digest,
    /// Whose blob it was asked for as.
    pub namespace: Namespace,
    /// How far it is.
    pub phase: DownloadPhase,
    /// How long somebody has waited.
    pub age: Duration,
    /// The blob's length in bytes; `None` until its metainfo is here.
    pub blob_len: Option<u64>,
    /// Bytes of pieces that are here and match their sums, also of earlier runs.
    pub bytes_verified: u64,
    /// Bytes of pieces that came from origins.
    pub bytes_from_origins: u64,
    /// Bytes of pieces that came from other peers.
    pub bytes_from_peers: u64,
    /// How many peers are connected for it.
    pub peers: usize,
}

/// What a download waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadPhase {
    /// A tracker's answer: what the blob's pieces are.
    AskingForMetainfo,
    /// A connection with a peer.
    LookingForPeers,
    /// Pieces.
    Downloading,
    /// Every piece is here, and the whole is checked against its digest.
    Verifying,
}

/// The calls that wait for metainfo: at most as many as there are callers.
#[derive(Debug, Default)]
pub(super) struct Asking(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    calls: BTreeMap<u64, (Digest, Namespace, Time)>,
}

/// A call that waits for metainfo, until it is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    asking: Arc<Asking>,
    number: u64,
}

impl Asking {
    pub(super) fn enter(
        this: &Arc<Self>,
        digest: &Digest,
        namespace: &Namespace,
        now: Time,
    ) -> Asked {
        let mut calls = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = calls.next;
        calls.next += 1;
        calls.calls.insert(number, (*digest, namespace.clone(), now));
        Asked { asking: Arc::clone(this), number }
    }

    /// Of each blob that is asked for, the call that has waited longest.
    pub(super) fn list(&self, now: Time) -> Vec<RunningDownload> {
        let mut first = BTreeMap::new();
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, namespace, since) in calls.calls.values() {
            first.entry(*digest).or_insert_with(|| (namespace.clone(), *since));
        }
        drop(calls);
        let list = first.into_iter().map(|(digest, (namespace, since))| RunningDownload {
            digest,
            namespace,
            phase: DownloadPhase::AskingForMetainfo,
            age: now.since(since),
            blob_len: None,
            bytes_verified: 0,
            bytes_from_origins: 0,
            bytes_from_peers: 0,
            peers: 0,
        });
        list.collect()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut calls = self.asking.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.calls.remove(&self.number);
    }
}

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
        let geometry = self.torrent.meta.geometry();
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
            digest: self.torrent.meta.digest(),
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
