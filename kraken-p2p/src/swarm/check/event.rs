//! What a swarm can be told.

use std::net::IpAddr;
use std::ops::Range;

use kraken_core::{Digest, Error, ErrorKind, PieceIndex, Time};

use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, PieceOutcome, Refused, Swarm, SwarmConfig,
    TorrentSpec,
};
use crate::wire::{Handshake, Message};

/// One call of a swarm's.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Added(Box<TorrentSpec>),
    Removed(Digest),
    Demand(Digest, DemandId, Option<Range<u64>>),
    Seeding(bool),
    Config(Box<SwarmConfig>),
    Shutdown,
    Announced(Digest, Result<Announced, ErrorKind>),
    Dialed(ConnId, Result<Handshake, CloseReason>),
    Incoming(IpAddr, Handshake),
    Message(ConnId, Message),
    Piece(Digest, ConnId, PieceIndex, PieceOutcome),
    Landed(Digest, PieceIndex),
    Progress(ConnId, u64),
    Sent(ConnId, PieceIndex, bool),
    Stalled(ConnId),
    UploadProgress(u64),
    Closed(ConnId, CloseReason),
    Committed(Digest, Result<(), ErrorKind>),
    Discarded(Digest, Result<(), ErrorKind>),
    Timeout,
}

/// What the call returned, of those that return something.
#[derive(Debug)]
pub(super) enum Answer {
    Nothing,
    Added(Result<(), Error>),
    Removed(bool),
    Incoming(Result<(ConnId, Handshake), Refused>),
}

impl Event {
    /// Makes the call.
    pub(super) fn tell(self, swarm: &mut Swarm, now: Time) -> Answer {
        let failed = |kind| Error::new(kind, "played");
        match self {
            Self::Added(spec) => return Answer::Added(swarm.add_torrent(now, *spec)),
            Self::Removed(digest) => return Answer::Removed(swarm.remove_torrent(now, &digest)),
            Self::Demand(digest, id, None) => swarm.clear_demand(now, &digest, id),
            Self::Demand(digest, id, bytes) => swarm.set_demand(now, &digest, id, bytes),
            Self::Seeding(on) => swarm.set_seeding(now, on),
            Self::Config(config) => swarm.set_config(now, *config),
            Self::Shutdown => swarm.shutdown(now),
            Self::Announced(digest, result) => {
                swarm.handle_announced(now, &digest, result.map_err(failed));
            }
            Self::Dialed(conn, result) => swarm.handle_dialed(now, conn, result),
            Self::Incoming(ip, handshake) => {
                return Answer::Incoming(swarm.handle_incoming(now, ip, &handshake));
            }
            Self::Message(conn, message) => swarm.handle_message(now, conn, message),
            Self::Piece(digest, conn, index, outcome) => {
                swarm.handle_piece(now, &digest, conn, index, outcome);
            }
            Self::Landed(digest, index) => swarm.handle_landed(now, &digest, index),
            Self::Progress(conn, bytes) => swarm.handle_piece_progress(now, conn, bytes),
            Self::Sent(conn, index, sent) => {
                let result = if sent { Ok(()) } else { Err(()) };
                swarm.handle_piece_sent(now, conn, index, result);
            }
            Self::Stalled(conn) => swarm.handle_stalled(now, conn),
            Self::UploadProgress(bytes) => swarm.handle_upload_progress(now, bytes),
            Self::Closed(conn, reason) => swarm.handle_closed(now, conn, reason),
            Self::Committed(digest, result) => {
                swarm.handle_committed(now, &digest, result.map_err(failed));
            }
            Self::Discarded(digest, result) => {
                swarm.handle_discarded(now, &digest, result.map_err(failed));
            }
            Self::Timeout => swarm.handle_timeout(now),
        }
        Answer::Nothing
    }
}
