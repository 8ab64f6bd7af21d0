//! The two ends of a connection: the swarm's task's, and that of the connection's own tasks.

use std::sync::Arc;

use kraken_core::{Digest, PieceIndex};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use super::torrent::Torrent;
use crate::limits;
use crate::swarm::ConnId;
use crate::wire::Message;

/// The swarm's task's end of a connection.
#[derive(Debug)]
pub(super) struct ConnLink {
    control: mpsc::Sender<Message>,
    pieces: mpsc::Sender<PieceToSend>,
    /// Ends the connection's tasks.
    pub(super) token: CancellationToken,
    pub(super) from_origin: bool,
    /// The other side, for the log.
    pub(super) peer: String,
    /// The torrent's, for the log.
    pub(super) digest: Digest,
}

/// The connection's tasks' end.
#[derive(Debug)]
pub(super) struct ConnEnd {
    pub(super) id: ConnId,
    pub(super) torrent: Arc<Torrent>,
    pub(super) from_origin: bool,
    pub(super) control: mpsc::Receiver<Message>,
    pub(super) pieces: mpsc::Receiver<PieceToSend>,
    pub(super) token: CancellationToken,
}

/// A piece that is to go out.
#[derive(Debug, Clone, Copy)]
pub(super) struct PieceToSend {
    pub(super) index: PieceIndex,
    /// With what vouches for it.
    pub(super) proven: bool,
}

/// The queue to a connection is full.
#[derive(Debug)]
pub(super) struct Full;

impl ConnLink {
    /// Both ends of a new connection; `token` ends its tasks.
    pub(super) fn new(
        token: CancellationToken,
        id: ConnId,
        torrent: Arc<Torrent>,
        peer: String,
        from_origin: bool,
    ) -> (Self, ConnEnd) {
        let (control, control_rx) = mpsc::channel(limits::SEND_QUEUE_MAX);
        let (pieces, pieces_rx) = mpsc::channel(limits::PIECE_REQUESTS_QUEUED_MAX);
        let digest = torrent.digest;
        let end = ConnEnd {
            id,
            torrent,
            from_origin,
            control: control_rx,
            pieces: pieces_rx,
            token: token.clone(),
        };
        (Self { control, pieces, token, from_origin, peer, digest }, end)
    }

    /// Queues a message; refused when the queue is full.
    pub(super) fn send(&self, message: Message) -> Result<(), Full> {
        taken(self.control.try_send(message))
    }

    /// Queues a piece; refused when the queue is full.
    pub(super) fn send_piece(&self, piece: PieceToSend) -> Result<(), Full> {
        taken(self.pieces.try_send(piece))
    }
}

/// A connection whose tasks have ended takes everything: the report of its end is on the way.
fn taken<T>(sent: Result<(), TrySendError<T>>) -> Result<(), Full> {
    match sent {
        Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        Err(TrySendError::Full(_)) => Err(Full),
    }
}
