//! A blob as somebody reads it, while it arrives or afterwards.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use kraken_core::{Digest, Error, ErrorKind, Result, SendfileQueue, SpareChunks, TorrentMeta};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::blocking::Permit;
use super::inner::NodeInner;
use super::limits::{LEND_LEN, READ_LEN};
use super::subscription::{State, Subscription};
use super::torrent::Torrent;

/// Bytes of a blob in order, each as soon as it may be read; see [`super::Download::stream`].
///
/// Every byte is vouched for: it is of a piece that matched its BLAKE3, or of a blob that matched
/// its digest. A stream of the whole blob gives its last bytes, up to 512 KiB, only when the blob
/// is verified and committed: whoever has got them all has got the blob. A stream of a part does
/// not wait for that, so its bytes are vouched for by the metainfo and not by the digest.
///
/// When the blob turns out to be a false one, or the download ends, the stream fails. What it has
/// given by then cannot be taken back; one that has given nothing yet goes on with the bytes that
/// are fetched in place of the false ones.
///
/// It keeps a demand for its bytes until it is dropped, and holds two chunks at most: the one
/// given, which is the caller's, and the next.
pub struct BlobStream {
    node: Arc<NodeInner>,
    subscription: Subscription,
    /// What it reads; a discard makes another.
    torrent: Arc<Torrent>,
    /// Whether the blob is known to be committed.
    complete: bool,
    range: Range<u64>,
    /// Where the next byte to be given is.
    at: u64,
    /// Bytes from here on are given only when the blob is complete.
    tail: u64,
    /// The read of the next chunk.
    read: Option<JoinHandle<Result<Bytes>>>,
    spare: SpareChunks,
    /// The connection that sends chunks itself, where it can.
    queue: Option<SendfileQueue>,
    /// The error, once there was one: nothing can follow it.
    failure: Option<(ErrorKind, String)>,
}

impl BlobStream {
    pub(super) fn new(node: Arc<NodeInner>, subscription: Subscription, range: Range<u64>) -> Self {
        let torrent = Arc::clone(&subscription.state.borrow().torrent);
        let whole = 0..torrent.geometry.blob_len();
        let tail = if range == whole { range.end.saturating_sub(LEND_LEN) } else { range.end };
        let outside = range.start > range.end || range.end > whole.end;
        let failure = outside.then(|| {
            let text = format!("read bytes {range:?} of a blob of {}", whole.end);
            (ErrorKind::Invalid, text)
        });
        if !outside && !range.is_empty() {
            // Without piece digests nothing can be read before all of it is here.
            let by_piece = match torrent.meta() {
                TorrentMeta::Final(meta) => meta.sums().blake3.is_some(),
                // Each piece comes with what vouches for it.
                TorrentMeta::Provisional(_) => true,
            };
            subscription.set_demand(if by_piece { range.clone() } else { whole });
        }
        let at = range.start;
        Self {
            node,
            subscription,
            torrent,
            complete: false,
            range,
            at,
            tail,
            read: None,
            spare: SpareChunks::new(),
            queue: None,
            failure,
        }
    }

    /// Lends chunks to a connection that sends files itself, instead of reading them, where the
    /// storage has a file to lend ([`crate::storage::TorrentFile::sendfile_source`]). They are to
    /// go out over that connection, and in their order.
    #[must_use]
    pub fn lent_to(mut self, queue: SendfileQueue) -> Self {
        self.queue = Some(queue);
        self
    }

    /// The blob.
    pub fn digest(&self) -> Digest {
        self.subscription.digest()
    }

    /// The next bytes, at most 128 KiB, or 512 KiB that are lent, and never none; `None` after the
    /// last. After an error it gives the same error again.
    ///
    /// Cancel safe: a call that is dropped loses no bytes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some((kind, text)) = &self.failure {
            return Err(Error::new(*kind, text.clone()));
        }
        if self.at >= self.range.end {
            return Ok(None);
        }
        let chunk = self.next().await.map_err(|error| {
            let error = error.context(format_args!("download {}", self.digest()));
            self.failure = Some((error.kind(), error.outermost().to_owned()));
            self.read = None;
            error
        })?;
        self.at += chunk.len() as u64;
        if self.queue.is_none()
            && let Some(range) = self.ready()
            && let Some(permit) = self.node.shared.blocking.try_permit()
        {
            self.begin_read(range, permit);
        }
        Ok(Some(chunk))
    }

    async fn next(&mut self) -> Result<Bytes> {
        loop {
            let Some(read) = &mut self.read else {
                let range = self.wait().await?;
                if let Some(chunk) = self.lend(&range) {
                    return Ok(chunk);
                }
                let permit = self.node.shared.blocking.permit(READ).await?;
                self.begin_read(range, permit);
                continue;
            };
            let read = read.await;
            self.read = None;
            match read.map_err(|error| Error::new(ErrorKind::Internal, READ).with_source(error))? {
                Err(error) if self.is_discarded(&error) => {}
                chunk => return chunk,
            }
        }
    }

    /// Waits until there is something to be given, and says what.
    async fn wait(&mut self) -> Result<Range<u64>> {
        let mut discarded = false;
        loop {
            self.look()?;
            if let Some(range) = self.ready() {
                return Ok(range);
            }
            let (at, complete) = (self.at, self.complete);
            let readable = self.torrent.file.readable(at..at + 1);
            let ready = tokio::select! {
                // Before the file, which only says that it was thrown away and not why.
                biased;
                news = news(&mut self.subscription.state, &self.torrent), if !complete => {
                    discarded = false;
                    news
                }
                ready = readable, if !discarded && (complete || at < self.tail) => ready,
            };
            match ready {
                Err(error) if self.is_discarded(&error) => discarded = true,
                ready => ready?,
            }
        }
    }

    /// Sees what became of the torrent.
    fn look(&mut self) -> Result<()> {
        if self.complete {
            return Ok(());
        }
        let state = self.subscription.state.borrow();
        if !Arc::ptr_eq(&state.torrent, &self.torrent) {
            if self.at > self.range.start {
                let text = "the blob failed its digest when bytes of it had been read";
                return Err(Error::new(ErrorKind::Mismatch, text));
            }
            self.torrent = Arc::clone(&state.torrent);
        }
        state.failed()?;
        self.complete = state.progress.complete;
        Ok(())
    }

    /// What may be given next at this moment.
    fn ready(&self) -> Option<Range<u64>> {
        let allowed = if self.complete { self.range.end } else { self.tail };
        if self.at >= allowed {
            return None;
        }
        let readable = self.torrent.file.readable_to(self.at).min(allowed);
        let len = if self.queue.is_some() { LEND_LEN } else { READ_LEN };
        let end = readable.min(self.at + len);
        (end > self.at).then_some(self.at..end)
    }

    /// Has the connection send these bytes, or the first of them.
    fn lend(&self, range: &Range<u64>) -> Option<Bytes> {
        let queue = self.queue.as_ref()?;
        let (file, base) = self.torrent.file.sendfile_source()?;
        Some(queue.lend(file, base + range.start, (range.end - range.start) as usize))
    }

    fn begin_read(&mut self, range: Range<u64>, permit: Permit) {
        let (torrent, spare) = (Arc::clone(&self.torrent), self.spare.clone());
        let read = move || {
            let mut bytes = spare.take((range.end - range.start) as usize);
            torrent.file.read_at(range.start, &mut bytes)?;
            Ok(spare.lend(bytes))
        };
        self.read = Some(self.node.shared.blocking.begin(permit, read));
    }

    /// Whether the torrent was discarded when nothing of it had been given: then it comes anew.
    fn is_discarded(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Cancelled && self.at == self.range.start && !self.complete
    }
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { range, at, complete, .. } = self;
        write!(f, "BlobStream({} {range:?} at {at}, complete: {complete})", self.digest())
    }
}

/// Waits until it is known what became of the torrent. Cancel safe. Its error is none that a
/// discard could be taken for.
async fn news(state: &mut watch::Receiver<State>, torrent: &Arc<Torrent>) -> Result<()> {
    let is_news = |state: &State| {
        let is_over = state.progress.complete || state.failure.is_some();
        is_over || !Arc::ptr_eq(&state.torrent, torrent)
    };
    let closing = |_| Error::new(ErrorKind::Internal, "the node's task ended abnormally");
    state.wait_for(is_news).await.map(drop).map_err(closing)
}

/// What its jobs are.
const READ: &str = "read a blob";
