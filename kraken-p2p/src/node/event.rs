//! What the swarm's task is told and asked.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use kraken_core::{Digest, PieceIndex, Result, Time, TorrentMeta};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::link::ConnEnd;
use super::running::DownloadStatus;
use super::stats::NodeStats;
use super::subscription::Subscription;
use super::torrent::Torrent;
use crate::swarm::{
    Announced, Blacklisted, CloseReason, ConnId, PieceOutcome, Refused, TorrentSpec,
};
use crate::wire::{Handshake, Message};

/// Something that happened; reported by a task of the node.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody connected and sent a handshake.
    Incoming {
        ip: IpAddr,
        handshake: Box<Handshake>,
        answer: oneshot::Sender<Result<Accepted, Refused>>,
    },
    /// A dial ended, well or not.
    Dialed { conn: ConnId, result: Result<Box<Dialed>, CloseReason> },
    /// A message came, other than a payload.
    Message { conn: ConnId, message: Message },
    /// A requested payload came.
    Piece {
        conn: ConnId,
        torrent: Arc<Torrent>,
        index: PieceIndex,
        outcome: PieceOutcome,
        from_origin: bool,
    },
    /// Some bytes of a requested payload came, or had to wait for this side.
    PieceProgress { conn: ConnId, bytes: u64 },
    /// A payload went out, or could not.
    PieceSent { conn: ConnId, index: PieceIndex, sent: Result<(), ()> },
    /// A connection takes no bytes.
    Stalled { conn: ConnId },
    /// A connection ended by itself.
    Closed { conn: ConnId, reason: CloseReason },
    /// A tracker answered, or did not.
    Announced { torrent: Digest, result: Result<Announced> },
    /// A blob was verified and committed, or was not.
    Committed { torrent: Digest, result: Result<()> },
    /// Metainfo was asked for again, and storage has taken it; or there is none.
    Refreshed { torrent: Arc<Torrent>, result: Result<TorrentMeta> },
    /// The application wrote a piece.
    Landed { torrent: Arc<Torrent>, index: PieceIndex },
    /// Somebody who waited for metainfo was told why there is none.
    Unopened { status: Box<DownloadStatus>, reason: String },
    /// A blob was thrown away and opened anew, or was not.
    Discarded { torrent: Arc<Torrent>, result: Result<Arc<Torrent>> },
}

/// Something the application wants.
#[derive(Debug)]
pub(super) enum Command {
    /// Joins a torrent that is there.
    Join { digest: Digest, answer: oneshot::Sender<Option<Subscription>> },
    /// Adds a torrent, unless one of this digest is there; for who asked at that time it is joined
    /// too.
    Add {
        torrent: Arc<Torrent>,
        spec: Box<TorrentSpec>,
        asked_at: Option<Time>,
        answer: oneshot::Sender<Result<Option<Subscription>>>,
    },
    /// Forgets a torrent.
    Remove { digest: Digest, answer: oneshot::Sender<bool> },
    /// Switches seeding.
    SetSeeding { on: bool, answer: oneshot::Sender<()> },
    /// Counts; with `torrents` it describes every torrent.
    Stats { torrents: bool, answer: oneshot::Sender<NodeStats> },
    /// Lists at most so many downloads.
    Downloads { limit: usize, answer: oneshot::Sender<Vec<DownloadStatus>> },
    /// Lists who is shunned.
    Blacklist { answer: oneshot::Sender<Vec<Blacklisted>> },
    /// Answers.
    Probe { answer: oneshot::Sender<()> },
}

/// An accepted connection: what to reply, and the task's end of it.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) reply: Handshake,
    pub(super) end: ConnEnd,
}

/// A dialled connection after both handshakes.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) reply: Handshake,
    pub(super) socket: TcpStream,
    /// What came after the handshake.
    pub(super) buffered: BytesMut,
}
