//! One connection: a task that reads and one that writes.

mod handshake;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::BytesMut;
use kraken_core::PieceIndex;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

pub(super) use handshake::{dial, prepare, read_handshake, write_handshake};
use reader::Reader;
use writer::Writer;

use super::event::Event;
use super::shared::Shared;
use super::torrent::Torrent;
use crate::limits;
use crate::swarm::{CloseReason, ConnId};
use crate::wire::Message;

/// The swarm's task's end of a connection.
#[derive(Debug)]
pub(super) struct ConnLink {
    control: mpsc::Sender<Message>,
    pieces: mpsc::Sender<PieceIndex>,
    /// Ends the connection's tasks.
    pub(super) token: CancellationToken,
    /// The other side, for the log.
    pub(super) peer: String,
}

/// The connection's tasks' end.
#[derive(Debug)]
pub(super) struct ConnEnd {
    pub(super) id: ConnId,
    torrent: Arc<Torrent>,
    from_origin: bool,
    control: mpsc::Receiver<Message>,
    pieces: mpsc::Receiver<PieceIndex>,
    pub(super) token: CancellationToken,
}

/// The queue to a connection is full.
#[derive(Debug)]
pub(super) struct Full;

/// The requests open on a connection: the payloads that may come.
#[derive(Debug, Default)]
struct Requests(Mutex<BTreeMap<PieceIndex, u32>>);

impl ConnLink {
    /// Both ends of a new connection.
    pub(super) fn new(
        shared: &Shared,
        id: ConnId,
        torrent: Arc<Torrent>,
        peer: String,
        from_origin: bool,
    ) -> (Self, ConnEnd) {
        let (control, control_rx) = mpsc::channel(limits::SEND_QUEUE_MAX);
        let (pieces, pieces_rx) = mpsc::channel(limits::PIECE_REQUESTS_QUEUED_MAX);
        let token = shared.closing.child_token();
        let end = ConnEnd {
            id,
            torrent,
            from_origin,
            control: control_rx,
            pieces: pieces_rx,
            token: token.clone(),
        };
        (Self { control, pieces, token, peer }, end)
    }

    /// Queues a message; refused when the queue is full.
    pub(super) fn send(&self, message: Message) -> Result<(), Full> {
        taken(self.control.try_send(message))
    }

    /// Queues a piece; refused when the queue is full.
    pub(super) fn send_piece(&self, index: PieceIndex) -> Result<(), Full> {
        taken(self.pieces.try_send(index))
    }
}

impl Requests {
    /// Notes a request; `false` when there are too many.
    fn open(&self, index: PieceIndex, length: u32) -> bool {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.insert(index, length);
        requests.len() <= limits::SEND_QUEUE_MAX
    }

    /// Ends a request; its length, if there was one.
    fn end(&self, index: PieceIndex) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }
}

/// Runs a connection after its handshakes, until it ends or is cancelled. Reports its end only when
/// it ended by itself.
pub(super) async fn run(shared: Arc<Shared>, end: ConnEnd, socket: TcpStream, buffered: BytesMut) {
    let ConnEnd { id, torrent, from_origin, control, pieces, token } = end;
    let socket = Arc::new(socket);
    let requests = Arc::new(Requests::default());
    let failure = Arc::new(OnceLock::new());
    let mut writer = Writer::new(
        Arc::clone(&shared),
        Arc::clone(&socket),
        id,
        Arc::clone(&torrent),
        Arc::clone(&requests),
    );
    let writer = shared.tasks.spawn({
        let (token, failure) = (token.clone(), Arc::clone(&failure));
        async move {
            if let Some(reason) = token.run_until_cancelled(writer.run(control, pieces)).await {
                // The first failure of the two halves is the one that counts.
                let _ = failure.set(reason);
                token.cancel();
            }
        }
    });
    let mut reader =
        Reader::new(Arc::clone(&shared), socket, id, torrent, from_origin, requests, buffered);
    if let Some(reason) = token.run_until_cancelled(reader.run()).await {
        let _: Result<(), CloseReason> = failure.set(reason);
        token.cancel();
    }
    if let Err(error) = writer.await {
        tracing::error!(conn = id.0, %error, "the writer of a connection panicked");
    }
    reader.settle().await;
    if let Some(reason) = failure.get() {
        shared.report(Event::Closed { conn: id, reason: reason.clone() }).await;
    }
}

/// A connection whose tasks have ended takes everything: the report of its end is on the way.
fn taken<T>(sent: Result<(), TrySendError<T>>) -> Result<(), Full> {
    match sent {
        Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        Err(TrySendError::Full(_)) => Err(Full),
    }
}
