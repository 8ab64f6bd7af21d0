//! Blobs from the backend, passed on to peers piece by piece as they come.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use kraken_backends::{BlobBackend, BlobStat, ObjectName, Version};
use kraken_common::blocking;
use kraken_core::{
    AttemptId, Bitfield, Digest, Error, ErrorKind, Geometry, Namespace, PieceIndex, Provisional,
    Result, TorrentMeta,
};
use kraken_p2p::node::{Download, Landing};
use tokio::sync::mpsc;

use crate::fetches::Fetch;
use crate::key;
use crate::limits;
use crate::parts::Parts;
use crate::replicate;

/// How a pull has ended that did not fail.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// The blob is verified and committed.
    Whole,
    /// The backend has another object under its name than when it was looked for; what came of the
    /// one before is thrown away.
    Changed(BlobStat),
    /// An owner before this one brings the blob too, or any has all of it, which is enough.
    Elsewhere,
}

/// Brings a blob that the backend has to an end: verified and committed. What came of it before is
/// gone on with, as long as the backend has the same version. If this origin `may_yield`, it stops
/// when it finds that an owner before it does the same, or that one has done so.
pub(crate) async fn pull(
    parts: &Parts,
    namespace: &Namespace,
    stat: &BlobStat,
    under_way: &Fetch,
    may_yield: bool,
) -> Result<Pulled> {
    let digest = under_way.digest();
    let backend = parts.router.route(namespace)?;
    let (download, meta) = begin(parts, namespace, &digest, stat).await?;
    under_way.tell(download.metainfo(), true);
    if parts.streams {
        replicate::ask_to_follow(parts, namespace, &digest);
    }
    let at = AtomicU64::new(0);
    let early = Mutex::default();
    let pull =
        Pull { parts, namespace, backend, stat, download: &download, meta: &meta, at, early };
    match pull.bring(may_yield).await? {
        Pulled::Whole => settle(parts, namespace, backend, stat, download).await,
        otherwise => Ok(otherwise),
    }
}

/// Waits until a blob whose pieces are all here is verified.
async fn settle(
    parts: &Parts,
    namespace: &Namespace,
    backend: &dyn BlobBackend,
    stat: &BlobStat,
    mut download: Download,
) -> Result<Pulled> {
    let digest = download.digest();
    let Err(error) = download.finished().await else { return Ok(Pulled::Whole) };
    drop(download);
    parts.node.remove(&digest).await?;
    if error.kind() != ErrorKind::Mismatch {
        // What came is kept: the disk, or whatever it was, may do better later.
        return Err(error);
    }
    discard(parts, &digest).await?;
    if let Some(now) = changed(backend, namespace, &digest, stat).await {
        tracing::warn!(%digest, %namespace, %error, "the backend has another object now");
        return Ok(Pulled::Changed(now));
    }
    let text = format!("the backend of {namespace} has other bytes under {digest}: {error}");
    Err(Error::new(ErrorKind::Mismatch, text))
}

/// What the backend has now, if that is another object.
async fn changed(
    backend: &dyn BlobBackend,
    namespace: &Namespace,
    digest: &Digest,
    stat: &BlobStat,
) -> Option<BlobStat> {
    let now = backend.stat(namespace, &ObjectName::from(digest)).await.ok()?;
    (now != *stat).then_some(now)
}

/// The torrent of a blob that arrives: what was begun of the same version, or a new attempt.
async fn begin(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    stat: &BlobStat,
) -> Result<(Download, Provisional)> {
    let geometry = Geometry::new(stat.len, parts.piece_lengths.for_blob(stat.len))?;
    let version = stat.version.as_ref().map_or("", Version::as_str).to_owned();
    let (store, wanted) = (parts.store.clone(), *digest);
    let before = blocking("look for a blob", move || store.arriving(&wanted)).await?;
    let before = before.and_then(|blob| blob.torrent_meta());
    let keys = vec![parts.key.public()];
    let (digest, own) = (*digest, |attempt| {
        Provisional::new(*digest, geometry, version.clone(), attempt, keys.clone())
    });
    let united = match before {
        Some(TorrentMeta::Provisional(before)) => before.united_with(&own(before.attempt())?),
        _ => None,
    };
    let meta = match united {
        Some(meta) => meta,
        None => own(AttemptId(key::random()?))?,
    };
    let download = match parts.node.begin(meta.clone(), namespace).await {
        Ok(download) if is_of(&download, &meta) || has_sums(&download) => download,
        Err(error) if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Mismatch) => {
            return Err(error);
        }
        // What an earlier attempt left is open still.
        Ok(_) | Err(_) => {
            parts.node.remove(&digest).await?;
            discard(parts, &digest).await?;
            parts.node.begin(meta.clone(), namespace).await?
        }
    };
    Ok((download, meta))
}

fn is_of(download: &Download, meta: &Provisional) -> bool {
    matches!(download.metainfo(), TorrentMeta::Provisional(of) if of.attempt() == meta.attempt())
}

/// Whether all came somewhere and fitted together, but is not all here, or not verified yet: what
/// is missing is held against the sums.
fn has_sums(download: &Download) -> bool {
    download.metainfo().as_final().is_some()
}

/// Throws away what there is of a blob that is not complete.
pub(crate) async fn discard(parts: &Parts, digest: &Digest) -> Result<()> {
    let (store, digest) = (parts.store.clone(), *digest);
    blocking("discard a blob", move || match store.arriving(&digest)? {
        Some(blob) if !blob.is_complete() => blob.discard(),
        _ => Ok(()),
    })
    .await
}

/// One blob on its way.
struct Pull<'a> {
    parts: &'a Parts,
    namespace: &'a Namespace,
    backend: &'a dyn BlobBackend,
    stat: &'a BlobStat,
    download: &'a Download,
    meta: &'a Provisional,
    /// Where the run from the first missing piece on has got to.
    at: AtomicU64,
    /// Pieces on their way before their turn.
    early: Mutex<BTreeSet<u32>>,
}

impl Pull<'_> {
    fn pieces_here(&self) -> u32 {
        self.download.file().pieces().count()
    }

    /// Brings all pieces, however often the backend breaks off, within bounds.
    async fn bring(&self, may_yield: bool) -> Result<Pulled> {
        let (parts, namespace, digest) = (self.parts, self.namespace, self.meta.digest());
        let mut attempts = 0;
        let mut had = self.pieces_here();
        let mut wanted = self.download.wanted();
        let mut elsewhere = pin!(self.comes_elsewhere());
        loop {
            let ended = tokio::select! {
                ended = self.all(&mut wanted) => ended,
                () = &mut elsewhere, if may_yield => return Ok(Pulled::Elsewhere),
            };
            let Err(error) = ended else { return Ok(Pulled::Whole) };
            let has = self.pieces_here();
            attempts = if has > had { 1 } else { attempts + 1 };
            had = has;
            if let Some(now) = changed(self.backend, namespace, &digest, self.stat).await {
                tracing::warn!(%digest, %namespace, %error, "the backend has another object now");
                parts.node.remove(&digest).await?;
                discard(parts, &digest).await?;
                return Ok(Pulled::Changed(now));
            }
            // Of what is wrong some may be better after a while.
            let hopeless = matches!(error.kind(), ErrorKind::Mismatch | ErrorKind::NotFound);
            if hopeless || attempts >= limits::PULL_ATTEMPTS_MAX {
                // Who reads is told that no more comes; what came is gone on with by the next
                // fetch.
                parts.node.remove(&digest).await?;
                if hopeless {
                    discard(parts, &digest).await?;
                }
                let what = format_args!("fetch {digest} from the backend of {namespace}");
                return Err(error.context(what));
            }
            tracing::warn!(%digest, %namespace, %error, attempts, "the backend broke off");
            tokio::time::sleep(limits::PULL_PAUSE * attempts).await;
        }
    }

    /// Brings all that is missing, from the first byte on, and beside that what somebody waits for
    /// before its turn.
    async fn all(&self, wanted: &mut mpsc::Receiver<Range<u64>>) -> Result<()> {
        self.early().clear();
        let mut missing = pin!(self.missing());
        let mut before_their_turn = FuturesUnordered::new();
        loop {
            let has_room = before_their_turn.len() < limits::RANGES_AT_ONCE_MAX;
            tokio::select! {
                result = &mut missing => return result,
                Some(range) = wanted.recv(), if has_room => {
                    before_their_turn.push(self.before_its_turn(range));
                }
                Some(result) = before_their_turn.next() => {
                    // It comes in its turn.
                    if let Err(error) = result {
                        let (digest, namespace) = (self.meta.digest(), self.namespace);
                        tracing::warn!(%digest, %namespace, %error, "a range of a blob broke off");
                    }
                }
            }
        }
    }

    async fn missing(&self) -> Result<()> {
        let geometry = self.meta.geometry();
        loop {
            let before = self.pieces_here();
            if before == geometry.pieces() {
                return Ok(());
            }
            if let Some(run) = runs_missing(&self.coming(), geometry).into_iter().next() {
                self.at.store(geometry.range(PieceIndex(run.start)).start, Relaxed);
                self.run(run, true).await?;
            }
            if self.pieces_here() == before {
                // Somebody writes them, or has broken off.
                tokio::time::sleep(limits::OTHERS_LOOK_EVERY).await;
            }
        }
    }

    /// The pieces that are here, or on their way before their turn.
    fn coming(&self) -> Bitfield {
        let mut coming = self.download.file().pieces();
        for index in &*self.early() {
            coming.set(PieceIndex(*index));
        }
        coming
    }

    /// Whether so many pieces from this one on, of a run that ends before `end`, are here already
    /// or come by themselves that it is better to ask for what is behind them.
    fn passes_by(&self, index: PieceIndex, end: u32) -> bool {
        let geometry = self.meta.geometry();
        let coming = self.coming();
        let missing = (index.0..end).find(|index| !coming.contains(PieceIndex(*index)));
        let Some(behind) = missing.map(|at| geometry.range(PieceIndex(at)).start) else {
            return true;
        };
        behind - geometry.range(index).start > limits::PASS_BY_MAX
    }

    /// Returns when an owner before this one says that it brings the same, or any that it is there.
    async fn comes_elsewhere(&self) {
        loop {
            tokio::time::sleep(limits::ELSEWHERE_LOOK_EVERY).await;
            let digest = self.meta.digest();
            let before = self.parts.membership.owners_before(&digest);
            for owner in self.parts.membership.other_owners(&digest) {
                let known =
                    self.parts.cluster.origin(&owner).known_meta(self.namespace, &digest).await;
                match known {
                    Ok(TorrentMeta::Final(_)) => {
                        tracing::info!(%digest, owner, "that owner has the blob");
                        return;
                    }
                    // Of another attempt this origin's peers can make no use.
                    Ok(TorrentMeta::Provisional(meta))
                        if meta.attempt() == self.meta.attempt() && before.contains(&owner) =>
                    {
                        tracing::info!(%digest, owner, "that owner brings it too: it goes on");
                        return;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Brings the pieces of a range, unless they come soon.
    async fn before_its_turn(&self, range: Range<u64>) -> Result<()> {
        let geometry = self.meta.geometry();
        let end = range.end.min(range.start.saturating_add(limits::BEFORE_ITS_TURN_MAX));
        if range.start >= end {
            return Ok(());
        }
        let piece = |at: u64| (at / geometry.piece_len()) as u32;
        let wanted = piece(range.start)..piece(end - 1) + 1;
        for run in runs_missing(&self.coming(), geometry) {
            let run = run.start.max(wanted.start)..run.end.min(wanted.end);
            let at = geometry.range(PieceIndex(piece(self.at.load(Relaxed)))).start;
            let soon = at..at + limits::SOON_BYTES;
            if !run.is_empty() && !soon.contains(&geometry.range(PieceIndex(run.start)).start) {
                self.early().extend(run.clone());
                let came = self.run(run.clone(), false).await;
                self.early().retain(|index| !run.contains(index));
                came?;
            }
        }
        Ok(())
    }

    fn early(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings one run of pieces; `in_turn` is the one that all others are before.
    async fn run(&self, pieces: Range<u32>, in_turn: bool) -> Result<()> {
        let geometry = self.meta.geometry();
        let start = geometry.range(PieceIndex(pieces.start)).start;
        let end = geometry.range(PieceIndex(pieces.end - 1)).end;
        // Not every backend knows ranges.
        let whole = start == 0 && end == geometry.blob_len();
        let part = (!whole).then_some(start..end);
        let name = ObjectName::from(&self.meta.digest());
        let version = self.stat.version.as_ref();
        let mut bytes = self.backend.download(self.namespace, &name, part, version).await?;
        let mut at = start;
        // Of a piece that is here already, or that somebody else writes, bytes only go by.
        let mut landing: Option<Landing> = None;
        while let Some(mut chunk) = bytes.try_next().await? {
            if at + chunk.len() as u64 > end {
                return Err(self.wrong_length(at + chunk.len() as u64 - start, end - start));
            }
            while !chunk.is_empty() {
                let index = PieceIndex((at / geometry.piece_len()) as u32);
                let range = geometry.range(index);
                let now = chunk.split_to(((range.end - at) as usize).min(chunk.len()));
                if at == range.start {
                    if in_turn && self.passes_by(index, pieces.end) {
                        return Ok(());
                    }
                    landing = self.download.begin_piece(index);
                }
                at += now.len() as u64;
                if in_turn {
                    self.at.store(at, Relaxed);
                }
                if let Some(landing) = &mut landing {
                    landing.write(now).await?;
                }
                if at == range.end
                    && let Some(landing) = landing.take()
                {
                    let (key, meta) = (Arc::clone(&self.parts.key), self.meta.clone());
                    let prove = move |crc32, blake3| key.prove(&meta, index, crc32, blake3);
                    landing.finish(prove).await?;
                }
            }
        }
        if at < end {
            return Err(self.wrong_length(at - start, end - start));
        }
        Ok(())
    }

    fn wrong_length(&self, found: u64, expected: u64) -> Error {
        let (namespace, digest) = (self.namespace, self.meta.digest());
        let text = format!("the backend of {namespace} sent {found} for {expected} of {digest}");
        Error::new(ErrorKind::Mismatch, text)
    }
}

/// The runs of pieces that are not here.
fn runs_missing(here: &Bitfield, geometry: Geometry) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for index in geometry.indexes().filter(|index| !here.contains(*index)) {
        match runs.last_mut() {
            Some(run) if run.end == index.0 => run.end += 1,
            _ => runs.push(index.0..index.0 + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_brought_in_runs() {
        let geometry = Geometry::new(45, 10).unwrap();
        let mut here = Bitfield::new(5);
        assert_eq!(runs_missing(&here, geometry), vec![Range { start: 0, end: 5 }]);
        here.set(PieceIndex(1));
        here.set(PieceIndex(4));
        assert_eq!(runs_missing(&here, geometry), [0..1, 2..4]);
        assert_eq!(runs_missing(&Bitfield::full(5), geometry), []);
    }
}
