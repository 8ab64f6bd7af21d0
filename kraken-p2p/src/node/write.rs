//! Received bytes to disk: the part that runs on blocking threads.

use std::sync::Arc;

use kraken_core::{MetaInfo, PieceIndex, PieceProof, TorrentMeta};

use super::buffers::Buffer;
use super::lease::HeldLease;
use super::limits::PROGRESS_LEN;
use super::shaping::Clock;
use super::torrent::Torrent;
use crate::storage::Proof;
use crate::swarm::PieceOutcome;

/// One buffer of one piece, to be written; with the sums, the last one.
#[derive(Debug)]
pub(super) struct PieceWrite {
    pub(super) torrent: Arc<Torrent>,
    pub(super) lease: Arc<HeldLease>,
    pub(super) clock: Clock,
    pub(super) index: PieceIndex,
    /// Where in the blob.
    pub(super) at: u64,
    pub(super) buffer: Buffer,
    /// How many bytes of the buffer.
    pub(super) filled: usize,
    pub(super) sums: Option<RunningSums>,
    /// What came with the piece to vouch for it, already checked.
    pub(super) proof: Option<Arc<PieceProof>>,
}

/// The sums of a piece's bytes so far.
#[derive(Debug, Default)]
pub(super) struct RunningSums {
    crc32: crc32fast::Hasher,
    blake3: Option<Box<blake3::Hasher>>,
}

impl PieceWrite {
    /// Writes, and after the last buffer checks and marks. `None`: written, and more is to come.
    pub(super) fn run(self) -> Option<PieceOutcome> {
        let Some(_open) = self.torrent.writable() else {
            return Some(PieceOutcome::Duplicate);
        };
        let Some(guard) = self.lease.lock() else {
            return Some(PieceOutcome::Duplicate);
        };
        let bytes = self.buffer.get(..self.filled).unwrap_or_default();
        let begun = self.clock.now();
        if let Err(error) = self.torrent.file.write_at(self.at, bytes) {
            return Some(self.failed("write", &error));
        }
        let now = self.clock.now();
        self.torrent.add_disk_time(now.since(begun));
        if self.filled as u64 >= PROGRESS_LEN {
            self.lease.touch(now);
        }
        let sums = self.sums.as_ref()?;
        let marked = match (self.torrent.meta(), &self.proof) {
            (TorrentMeta::Final(meta), _) => match sums.check(&meta, self.index) {
                Ok(proof) => self.torrent.file.mark(self.index, proof),
                Err(outcome) => return Some(outcome),
            },
            (TorrentMeta::Provisional(_), Some(proof)) => match sums.check_proof(proof) {
                Ok(()) => self.torrent.file.mark_proven(self.index, proof),
                Err(outcome) => return Some(outcome),
            },
            (TorrentMeta::Provisional(_), None) => return Some(PieceOutcome::Unproven),
        };
        if let Err(error) = marked {
            return Some(self.failed("mark", &error));
        }
        self.lease.set_marked(&guard);
        Some(PieceOutcome::Stored)
    }

    fn failed(&self, what: &str, error: &kraken_core::Error) -> PieceOutcome {
        let digest = self.torrent.digest;
        tracing::warn!(%digest, index = %self.index, %error, "cannot {what} a piece");
        PieceOutcome::StorageFailed
    }
}

impl RunningSums {
    /// Of no bytes; BLAKE3 only where there is one to compare with.
    pub(super) fn new(with_blake3: bool) -> Self {
        Self {
            crc32: crc32fast::Hasher::new(),
            blake3: with_blake3.then(|| Box::new(blake3::Hasher::new())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc32.update(bytes);
        if let Some(blake3) = &mut self.blake3 {
            blake3.update(bytes);
        }
    }

    /// CRC32 and BLAKE3; zeros for the latter where it was not asked for.
    pub(super) fn finish(self) -> (u32, [u8; 32]) {
        let blake3 = self.blake3.map_or([0; 32], |blake3| *blake3.finalize().as_bytes());
        (self.crc32.finalize(), blake3)
    }

    /// Whether the piece is the one that its origin vouches for.
    fn check_proof(&self, proof: &PieceProof) -> Result<(), PieceOutcome> {
        if proof.crc32 != self.crc32.clone().finalize() {
            return Err(PieceOutcome::Corrupt { lied: false });
        }
        match &self.blake3 {
            Some(blake3) if *blake3.finalize().as_bytes() == proof.blake3 => Ok(()),
            _ => Err(PieceOutcome::Corrupt { lied: true }),
        }
    }

    /// What the sums prove of the piece, if they match.
    pub(super) fn check(&self, meta: &MetaInfo, index: PieceIndex) -> Result<Proof, PieceOutcome> {
        if meta.crc32_of(index) != Some(self.crc32.clone().finalize()) {
            return Err(PieceOutcome::Corrupt { lied: false });
        }
        match (meta.blake3_of(index), &self.blake3) {
            (None, _) => Ok(Proof::Crc32Only),
            (Some(want), Some(blake3)) if *blake3.finalize().as_bytes() == want => {
                Ok(Proof::PieceVerified)
            }
            (Some(_), _) => Err(PieceOutcome::Corrupt { lied: true }),
        }
    }
}
