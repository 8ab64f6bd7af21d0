//! Downloads as an operator sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kraken_core::{Digest, Namespace, Time};

use super::timeline::DownloadTimes;

/// A download that somebody waits for, or waited for until lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadStatus {
    /// The blob.
    pub digest: Digest,
    /// Whose blob it was asked for as.
    pub namespace: Namespace,
    /// How far it is.
    pub phase: DownloadPhase,
    /// How long somebody has waited, or did.
    pub age: Duration,
    /// Where that time went.
    pub times: DownloadTimes,
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
    /// Nothing: the blob is here.
    Complete,
    /// Nothing: it was given up.
    Failed,
    /// Nothing: nobody waits for it any more, and it is not all here.
    Left,
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
    pub(super) fn list(&self, now: Time) -> Vec<DownloadStatus> {
        let mut first = BTreeMap::new();
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, namespace, since) in calls.calls.values() {
            first.entry(*digest).or_insert_with(|| (namespace.clone(), *since));
        }
        drop(calls);
        let list = first.into_iter().map(|(digest, (namespace, since))| {
            DownloadStatus::asking(digest, namespace, now.since(since))
        });
        list.collect()
    }
}

impl DownloadStatus {
    /// Of a blob whose metainfo has been waited for that long.
    fn asking(digest: Digest, namespace: Namespace, age: Duration) -> Self {
        Self {
            digest,
            namespace,
            phase: DownloadPhase::AskingForMetainfo,
            age,
            times: DownloadTimes { metainfo: age, ..DownloadTimes::default() },
            blob_len: None,
            bytes_verified: 0,
            bytes_from_origins: 0,
            bytes_from_peers: 0,
            peers: 0,
        }
    }
}

impl Asked {
    /// There is no metainfo.
    pub(super) fn failed(&self, now: Time) -> Option<DownloadStatus> {
        let calls = self.asking.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (digest, namespace, since) = calls.calls.get(&self.number)?;
        let status = DownloadStatus::asking(*digest, namespace.clone(), now.since(*since));
        Some(DownloadStatus { phase: DownloadPhase::Failed, ..status })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut calls = self.asking.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.calls.remove(&self.number);
    }
}
