//! The half of a connection that reads: frames to the swarm, payloads to disk.

use std::io;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use kraken_core::{ErrorKind, PieceIndex, PieceProof, Time, TorrentMeta};
use rustix::fs::Advice;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, timeout};

use super::requests::Requests;
use crate::node::buffers::Buffer;
use crate::node::event::Event;
use crate::node::lease::HeldLease;
use crate::node::limits::{
    BUFFER_HOLD, HASH_STEP, PROGRESS_EVERY, PROGRESS_LEN, READ_BUFFER_LEN, RECEIVE_SILENCE_MAX,
    SLICE_LEN, STALL_AFTER,
};
use crate::node::shared::Shared;
use crate::node::stats;
use crate::node::torrent::Torrent;
use crate::node::write::{PieceWrite, RunningSums};
use crate::swarm::{CloseReason, ConnId, PieceOutcome};
use crate::wire::{self, Message};

pub(super) struct Reader {
    shared: Arc<Shared>,
    socket: Arc<TcpStream>,
    conn: ConnId,
    torrent: Arc<Torrent>,
    from_origin: bool,
    requests: Arc<Requests>,
    /// Read and not yet looked at.
    buffered: BytesMut,
    /// Bytes the rate limit has granted and that have not come yet.
    granted: usize,
    /// Bytes of payloads of which the swarm was not told.
    unreported: u64,
    /// When it was last told of some.
    reported_at: Time,
    /// The write under way; the next one waits for it. `Some` outcome: the piece ended early.
    pending: Option<JoinHandle<Option<PieceOutcome>>>,
    /// What vouches for the piece whose payload comes next.
    proof: Option<(PieceIndex, Arc<PieceProof>)>,
}

/// A piece as it comes in.
struct Incoming {
    index: PieceIndex,
    /// Where in the blob the next write goes.
    at: u64,
    /// Bytes still to come.
    left: usize,
    sums: RunningSums,
    lease: Arc<HeldLease>,
    proof: Option<Arc<PieceProof>>,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: Arc<TcpStream>,
        conn: ConnId,
        torrent: Arc<Torrent>,
        from_origin: bool,
        requests: Arc<Requests>,
        buffered: BytesMut,
    ) -> Self {
        Self {
            shared,
            socket,
            conn,
            torrent,
            from_origin,
            requests,
            buffered,
            granted: 0,
            unreported: 0,
            reported_at: Time::ZERO,
            pending: None,
            proof: None,
        }
    }

    /// Reads until something fails; why.
    pub(super) async fn run(&mut self) -> CloseReason {
        loop {
            let done = match wire::decode_frame(&mut self.buffered) {
                Ok(Some(Message::PiecePayload { index, offset, length })) => {
                    self.payload(index, offset, length).await
                }
                Ok(Some(message)) => self.message(message).await,
                Ok(None) => self.read_more().await,
                Err(error) => Err(CloseReason::Protocol(error.to_string())),
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    /// Waits for the write under way; an outcome if it ended its piece before the last byte.
    pub(super) async fn settle(&mut self) -> Option<PieceOutcome> {
        let pending = self.pending.as_mut()?;
        let outcome = pending.await.unwrap_or(Some(PieceOutcome::StorageFailed));
        self.pending = None;
        outcome
    }

    async fn message(&mut self, message: Message) -> Result<(), CloseReason> {
        match message {
            Message::PieceProof { index, proof } => {
                self.proof = Some((index, Arc::new(*proof)));
                return Ok(());
            }
            Message::PieceRequest { index, .. } => self.advise(index),
            Message::Error { index, .. } => {
                self.requests.end(index);
            }
            _ => {}
        }
        self.report(Event::Message { conn: self.conn, message }).await
    }

    /// Has the system read a piece ahead while its request waits for its turn.
    fn advise(&self, index: PieceIndex) {
        let range = self.torrent.geometry.range(index);
        if let Some(len) = NonZeroU64::new(range.end - range.start)
            && let Some((file, base)) = self.torrent.file.sendfile_source()
        {
            // Advice only: a file system that takes none still has the bytes.
            let _ = rustix::fs::fadvise(&*file, base + range.start, Some(len), Advice::WillNeed);
        }
    }

    /// Takes a payload, if it was asked for; pieces are asked for whole only.
    async fn payload(
        &mut self,
        index: PieceIndex,
        offset: u32,
        length: u32,
    ) -> Result<(), CloseReason> {
        let range = self.torrent.geometry.range(index);
        let exact = u64::from(length) == range.end - range.start;
        if offset != 0 || !exact || !self.requests.end(index) {
            return Err(CloseReason::Protocol(format!(
                "{length} bytes of piece {index} that were not asked for"
            )));
        }
        let left = length as usize;
        let proof = self.proof.take().filter(|(of, _)| *of == index).map(|(_, proof)| proof);
        let meta = self.torrent.meta();
        if let Err(outcome) = vouched_for(&meta, index, proof.as_deref()) {
            return self.skip(index, left, outcome).await;
        }
        if self.torrent.leases.is_taken(index, self.shared.clock.now()) {
            return self.skip(index, left, PieceOutcome::Duplicate).await;
        }
        // The buffer first: a lease is not to be held while waiting for memory.
        let buffer = self.buffer(None).await?;
        let Some(lease) = self.torrent.leases.acquire(index, self.shared.clock.now()) else {
            drop(buffer);
            return self.skip(index, left, PieceOutcome::Duplicate).await;
        };
        let has_blake3 = meta.as_final().is_none_or(|meta| meta.blake3_of(index).is_some());
        let (sums, lease) = (RunningSums::new(has_blake3), Arc::new(lease));
        let piece = Incoming { index, at: range.start, left, sums, lease, proof };
        self.receive(piece, buffer).await
    }

    /// Receives a payload into buffers; each is written while the next one fills.
    async fn receive(&mut self, mut piece: Incoming, first: Buffer) -> Result<(), CloseReason> {
        let mut first = Some(first);
        while piece.left > 0 {
            let mut buffer = match first.take() {
                Some(buffer) => buffer,
                None => {
                    // A silent peer does not sit on a buffer.
                    self.readable().await?;
                    self.buffer(Some(&piece.lease)).await?
                }
            };
            let filled = self.fill(&mut buffer, &mut piece).await?;
            if filled == 0 {
                continue;
            }
            if let Some(outcome) = self.settle_for(&piece.lease).await {
                return self.skip(piece.index, piece.left, outcome).await;
            }
            self.write(buffer, filled, &mut piece);
        }
        Ok(())
    }

    /// Fills a buffer; or what there is of it when the peer falls silent, or is slow while others
    /// wait for buffers. How many bytes.
    async fn fill(
        &mut self,
        buffer: &mut Buffer,
        piece: &mut Incoming,
    ) -> Result<usize, CloseReason> {
        let want = piece.left.min(buffer.len());
        let (mut filled, mut hashed) = (0, 0);
        let since = Instant::now();
        let mut came = since;
        while filled < want {
            self.pace(want - filled, Some(&piece.lease)).await;
            let end = want.min(filled + self.granted);
            let room = &mut buffer[filled..end];
            let count = if self.buffered.is_empty() {
                match self.socket.try_read(room) {
                    Ok(0) => return Err(end_of_stream()),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let due = self.shared.buffers.are_out() && since.elapsed() >= BUFFER_HOLD;
                        if due || came.elapsed() >= STALL_AFTER {
                            break;
                        }
                        if let Ok(Err(error)) = timeout(BUFFER_HOLD, self.socket.readable()).await {
                            return Err(CloseReason::Remote(error.to_string()));
                        }
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(CloseReason::Remote(error.to_string())),
                }
            } else {
                let count = room.len().min(self.buffered.len());
                self.buffered.copy_to_slice(&mut room[..count]);
                count
            };
            filled += count;
            came = Instant::now();
            self.note(count, Some(&piece.lease));
            if filled - hashed >= HASH_STEP {
                piece.sums.update(&buffer[hashed..filled]);
                hashed = filled;
            }
            consume_budget().await;
        }
        piece.sums.update(&buffer[hashed..filled]);
        piece.left -= filled;
        Ok(filled)
    }

    /// Has a buffer written on a blocking thread. After the last one the piece is checked, marked
    /// and reported there.
    fn write(&mut self, buffer: Buffer, filled: usize, piece: &mut Incoming) {
        let last = piece.left == 0;
        let write = PieceWrite {
            torrent: Arc::clone(&self.torrent),
            lease: Arc::clone(&piece.lease),
            clock: self.shared.clock,
            index: piece.index,
            at: piece.at,
            buffer,
            filled,
            sums: last.then(|| std::mem::take(&mut piece.sums)),
            proof: piece.proof.clone(),
        };
        piece.at += filled as u64;
        let (shared, conn, from_origin) = (Arc::clone(&self.shared), self.conn, self.from_origin);
        let (torrent, index) = (Arc::clone(&self.torrent), piece.index);
        self.pending = Some(self.shared.tasks.spawn(async move {
            let outcome = match shared.blocking.run("write a piece", || write.run()).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    let digest = torrent.digest;
                    tracing::error!(%digest, %index, %error, "lost a write");
                    Some(PieceOutcome::StorageFailed)
                }
            };
            if !last {
                return outcome;
            }
            let outcome = outcome.unwrap_or(PieceOutcome::StorageFailed);
            count(&shared, outcome);
            shared.report(Event::Piece { conn, torrent, index, outcome, from_origin }).await;
            None
        }));
    }

    /// Throws the rest of a payload away and reports what came of it.
    async fn skip(
        &mut self,
        index: PieceIndex,
        mut left: usize,
        outcome: PieceOutcome,
    ) -> Result<(), CloseReason> {
        while left > 0 {
            if self.buffered.is_empty() {
                self.pace(left, None).await;
                self.readable().await?;
                self.read_now()?;
            }
            let count = left.min(self.buffered.len());
            self.buffered.advance(count);
            self.note(count, None);
            left -= count;
        }
        count(&self.shared, outcome);
        let (conn, from_origin) = (self.conn, self.from_origin);
        let torrent = Arc::clone(&self.torrent);
        self.report(Event::Piece { conn, torrent, index, outcome, from_origin }).await
    }

    /// Reads more of the frames.
    async fn read_more(&mut self) -> Result<(), CloseReason> {
        if self.buffered.is_empty() {
            // Ten thousand idle connections would otherwise hold as many buffers.
            self.buffered = BytesMut::new();
        }
        match self.socket.readable().await {
            Ok(()) => self.read_now(),
            Err(error) => Err(CloseReason::Remote(error.to_string())),
        }
    }

    fn read_now(&mut self) -> Result<(), CloseReason> {
        self.buffered.reserve(READ_BUFFER_LEN.saturating_sub(self.buffered.len()));
        match self.socket.try_read_buf(&mut self.buffered) {
            Ok(0) => Err(end_of_stream()),
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(CloseReason::Remote(error.to_string())),
        }
    }

    /// Waits for bytes inside a payload.
    async fn readable(&self) -> Result<(), CloseReason> {
        match timeout(RECEIVE_SILENCE_MAX, self.socket.readable()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CloseReason::Remote(error.to_string())),
            Err(_) => Err(CloseReason::Remote("silent inside a piece".to_owned())),
        }
    }

    /// Waits for a buffer.
    async fn buffer(&mut self, lease: Option<&HeldLease>) -> Result<Buffer, CloseReason> {
        let pool = Arc::clone(&self.shared.buffers);
        let buffer = self.ours(lease, pool.take()).await;
        buffer.ok_or(CloseReason::Shutdown)
    }

    /// As [`Reader::settle`], while the piece goes on.
    async fn settle_for(&mut self, lease: &HeldLease) -> Option<PieceOutcome> {
        loop {
            match timeout(PROGRESS_EVERY, self.settle()).await {
                Ok(outcome) => return outcome,
                Err(_) => self.say_alive(Some(lease), 0),
            }
        }
    }

    /// Waits until the node's rate limit has granted at least a byte, out of the next `want`.
    async fn pace(&mut self, want: usize, lease: Option<&HeldLease>) {
        if self.granted > 0 {
            return;
        }
        self.granted = want.clamp(1, SLICE_LEN);
        let wait = self.shared.ingress.reserve(self.granted);
        if !wait.is_zero() {
            self.ours(lease, sleep(wait)).await;
        }
    }

    /// Waits for something of this side's inside a payload: the pause is not the peer's, and
    /// nobody is to take the piece over for it.
    async fn ours<T>(&mut self, lease: Option<&HeldLease>, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        loop {
            match timeout(PROGRESS_EVERY, what.as_mut()).await {
                Ok(result) => return result,
                Err(_) => self.say_alive(lease, 0),
            }
        }
    }

    /// Notes that bytes of a payload came. A trickle of them is no progress.
    fn note(&mut self, count: usize, lease: Option<&HeldLease>) {
        self.granted = self.granted.saturating_sub(count);
        self.shared.counters.add_received(self.from_origin, count);
        self.unreported += count as u64;
        if self.unreported >= PROGRESS_LEN {
            self.say_alive(lease, self.unreported);
        }
    }

    /// Keeps the lease on a piece, and now and then tells the swarm that its request is alive: so
    /// many bytes came, or with none this side pauses.
    fn say_alive(&mut self, lease: Option<&HeldLease>, bytes: u64) {
        let now = self.shared.clock.now();
        if let Some(lease) = lease {
            lease.touch(now);
        }
        if now.since(self.reported_at) < PROGRESS_EVERY {
            return;
        }
        let event = Event::PieceProgress { conn: self.conn, bytes };
        // While the swarm's task is behind this can wait for the next bytes.
        if self.shared.events.try_send(event).is_ok() {
            self.unreported -= bytes;
            self.reported_at = now;
        }
    }

    async fn report(&self, event: Event) -> Result<(), CloseReason> {
        if self.shared.report(event).await { Ok(()) } else { Err(CloseReason::Shutdown) }
    }
}

/// Whether a piece may be taken: there are sums, or an origin vouches for it.
fn vouched_for(
    meta: &TorrentMeta,
    index: PieceIndex,
    proof: Option<&PieceProof>,
) -> Result<(), PieceOutcome> {
    let TorrentMeta::Provisional(meta) = meta else { return Ok(()) };
    match proof.map(|proof| meta.check(index, proof)) {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) if error.kind() == ErrorKind::Mismatch => {
            Err(PieceOutcome::Corrupt { lied: true })
        }
        // Another attempt or an unknown key: what is known here may be old.
        Some(Err(_)) | None => Err(PieceOutcome::Unproven),
    }
}

fn end_of_stream() -> CloseReason {
    CloseReason::Remote("end of stream".to_owned())
}

fn count(shared: &Shared, outcome: PieceOutcome) {
    match outcome {
        PieceOutcome::Present | PieceOutcome::Duplicate => {
            stats::add(&shared.counters.duplicate_pieces, 1);
        }
        PieceOutcome::Corrupt { .. } => stats::add(&shared.counters.corrupt_pieces, 1),
        PieceOutcome::Stored | PieceOutcome::Unproven | PieceOutcome::StorageFailed => {}
    }
}
