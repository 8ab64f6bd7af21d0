//! Pieces that the application brings itself: an origin has them from its backend.

use std::sync::Arc;

use bytes::Bytes;
use kraken_core::TorrentMeta;
use kraken_core::{Error, ErrorKind, Namespace, PieceIndex, PieceProof, Provisional, Result};

use super::commands::add;
use super::event::Event;
use super::inner::NodeInner;
use super::lease::HeldLease;
use super::torrent::Torrent;
use super::write::RunningSums;
use super::{Download, Node};

/// The right to write one piece of a torrent, from its first byte to its last. Until it is dropped
/// nobody else does, unless no write came for half a second.
#[derive(Debug)]
pub struct Landing {
    node: Arc<NodeInner>,
    torrent: Arc<Torrent>,
    lease: Arc<HeldLease>,
    index: PieceIndex,
    /// Where in the blob the next byte goes.
    at: u64,
    /// Of the bytes so far; none while a write is under way.
    sums: Option<RunningSums>,
}

impl Node {
    /// Opens the torrent of a blob that arrives here first and has no sums yet, or joins it.
    /// Nothing is asked of peers for it, who get each piece as it lands
    /// ([`Download::begin_piece`]); the download ends when the whole is verified, or is not the
    /// blob. While what is returned lives, nobody is asked what the blob is. `ErrorKind::Conflict`
    /// where another attempt has not come to its end. Cancel safe.
    pub async fn begin(&self, meta: Provisional, namespace: &Namespace) -> Result<Download> {
        let digest = meta.digest();
        let _turn = self.0.shared.openings.enter(&digest).await;
        if let Some(download) = self.join(&digest).await? {
            let torrent = download.torrent();
            torrent.set_brought(true);
            // Of another attempt nothing is learned; the caller sees which one it is.
            torrent.learn(TorrentMeta::Provisional(meta));
            return Ok(download.bringing());
        }
        let meta = TorrentMeta::Provisional(meta);
        let (torrent, spec) = self.open_torrent(namespace, meta).await?;
        torrent.set_brought(true);
        match add(&self.0.commands, torrent, spec, Some(self.0.shared.clock.now())).await? {
            Some(subscription) => Ok(Download::new(Arc::clone(&self.0), subscription).bringing()),
            None => {
                let text = format!("begin {digest}: dropped as soon as it was added");
                Err(Error::new(ErrorKind::Unavailable, text))
            }
        }
    }
}

impl Landing {
    pub(super) fn new(
        node: Arc<NodeInner>,
        torrent: Arc<Torrent>,
        index: PieceIndex,
    ) -> Option<Self> {
        let lease = torrent.leases.acquire(index, node.shared.clock.now())?;
        let at = torrent.geometry.range(index).start;
        let sums = Some(RunningSums::new(true));
        Some(Self { node, torrent, lease: Arc::new(lease), index, at, sums })
    }

    /// Writes the next bytes. `ErrorKind::Invalid` for more than the piece has; after an error, or
    /// a call that was dropped, the piece cannot be finished.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(mut sums) = self.sums.take() else { return Err(lost(&self.torrent)) };
        let (at, end) = (self.at, self.torrent.geometry.range(self.index).end);
        if bytes.len() as u64 > end - at {
            let text = format!("write piece {} of {}", self.index, self.torrent.digest);
            return Err(Error::invalid(format!("{text}: it is not so long")));
        }
        let len = bytes.len() as u64;
        let (torrent, lease, clock) =
            (Arc::clone(&self.torrent), Arc::clone(&self.lease), self.node.shared.clock);
        let write = move || {
            let (Some(_open), Some(_guard)) = (torrent.writable(), lease.lock()) else {
                return Err(lost(&torrent));
            };
            lease.touch(clock.now());
            sums.update(&bytes);
            torrent.file.write_at(at, &bytes).map(|()| sums)
        };
        let sums = self.node.shared.blocking.run("write a piece", write).await.flatten()?;
        self.at += len;
        self.sums = Some(sums);
        Ok(())
    }

    /// Marks the piece, all of whose bytes are written: from now on it is sent to others, with what
    /// `prove` makes of its CRC32 and its BLAKE3. `ErrorKind::Invalid` while bytes are missing,
    /// `ErrorKind::Mismatch` where there are sums and the piece is another.
    pub async fn finish(
        mut self,
        prove: impl FnOnce(u32, [u8; 32]) -> PieceProof + Send + 'static,
    ) -> Result<()> {
        let Some(sums) = self.sums.take() else { return Err(lost(&self.torrent)) };
        if self.at < self.torrent.geometry.range(self.index).end {
            let text = format!("finish piece {} of {}", self.index, self.torrent.digest);
            return Err(Error::invalid(format!("{text}: bytes are missing")));
        }
        let Self { node, torrent, lease, index, .. } = self;
        let of = Arc::clone(&torrent);
        let marks = move || mark(&of, &lease, index, sums, prove);
        // A piece that is marked must be told of, also when the caller goes away meanwhile.
        let shared = Arc::clone(&node.shared);
        let told = node.shared.tasks.spawn(async move {
            let (is_marked, marked) = shared.blocking.run("mark a piece", marks).await?;
            if is_marked {
                shared.report(Event::Landed { torrent, index }).await;
            }
            marked
        });
        let broken = |error| Error::new(ErrorKind::Internal, "mark a piece").with_source(error);
        told.await.map_err(broken)?
    }
}

/// Marks a piece, if nobody else writes it meanwhile; whether it is marked then, which may be so
/// although what follows the mark failed.
fn mark(
    torrent: &Torrent,
    lease: &HeldLease,
    index: PieceIndex,
    sums: RunningSums,
    prove: impl FnOnce(u32, [u8; 32]) -> PieceProof,
) -> (bool, Result<()>) {
    let (Some(_open), Some(guard)) = (torrent.writable(), lease.lock()) else {
        return (false, Err(lost(torrent)));
    };
    let marked = match torrent.meta() {
        TorrentMeta::Provisional(_) => {
            let (crc32, blake3) = sums.finish();
            torrent.file.mark_proven(index, &prove(crc32, blake3))
        }
        TorrentMeta::Final(meta) => match sums.check(&meta, index) {
            Ok(proof) => torrent.file.mark(index, proof),
            Err(_) => Err(other(torrent, index)),
        },
    };
    let is_marked = torrent.file.pieces().contains(index);
    if is_marked {
        lease.set_marked(&guard);
    }
    (is_marked, marked)
}

fn other(torrent: &Torrent, index: PieceIndex) -> Error {
    let text = format!("piece {index} of {} is another than its sums say", torrent.digest);
    Error::new(ErrorKind::Mismatch, text)
}

fn lost(torrent: &Torrent) -> Error {
    let text = format!("write a piece of {}: somebody else does, or it is gone", torrent.digest);
    Error::new(ErrorKind::Conflict, text)
}
