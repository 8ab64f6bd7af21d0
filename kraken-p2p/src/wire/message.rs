//! The messages of the peer wire protocol.

use bytes::Bytes;
use kraken_core::{Digest, InfoHash, Namespace, PeerId, PieceIndex, PieceProof};

/// What this side can do beyond uber/kraken's protocol: field 100 of the handshake's bitfield
/// message, a sub-message `{1: uint64}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// A cancel that comes in time is answered: the piece will not be sent.
    pub const CANCELS_ANSWERED: u64 = 1;
    /// Blobs that have no sums yet: info hashes of such, [`Message::PieceProof`] and
    /// [`Message::Final`].
    pub const PROVISIONAL: u64 = 2;

    /// Whether all of these bits are set.
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }
}

/// The first message of each side: uber/kraken's `BITFIELD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The sender's id.
    pub peer_id: PeerId,
    /// The torrent's info hash as the sender knows it.
    pub info_hash: InfoHash,
    /// The blob.
    pub digest: Digest,
    /// The namespace to look the blob up in; only the dialer sends one.
    pub namespace: Namespace,
    /// The sender's pieces in wire form, not yet checked against the torrent's number of pieces
    /// (see [`kraken_core::Bitfield::from_wire`]).
    pub bitfield: Bytes,
    /// The ids of the sender's other peers in this torrent (keys of `remoteBitfields`); never sent
    /// by us, at most [`crate::limits::REMOTE_PEERS_MAX`] taken.
    pub remote_peers: Vec<PeerId>,
    /// `None` from a peer that does not send field 100, such as uber/kraken's.
    pub capabilities: Option<Capabilities>,
}

/// One message. Piece bytes travel outside the frame, after [`Message::PiecePayload`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `BITFIELD`: the handshake; unexpected later.
    Handshake(Box<Handshake>),
    /// `PIECE_REQUEST`: offset is 0 and length the piece's exact length, else it is refused.
    PieceRequest {
        /// The piece.
        index: PieceIndex,
        /// Bytes into the piece; always 0.
        offset: u32,
        /// The piece's length in bytes.
        length: u32,
    },
    /// `PIECE_PAYLOAD`: `length` raw bytes follow the frame.
    PiecePayload {
        /// The piece.
        index: PieceIndex,
        /// Bytes into the piece; always 0.
        offset: u32,
        /// How many bytes follow.
        length: u32,
    },
    /// `ANNOUCE_PIECE` (sic): the sender has one more piece.
    AnnouncePiece {
        /// The piece.
        index: PieceIndex,
    },
    /// `CANCEL_PIECE`: the sender no longer waits for the piece.
    CancelPiece {
        /// The piece.
        index: PieceIndex,
    },
    /// `ERROR`: a request cannot be served.
    Error {
        /// The piece.
        index: PieceIndex,
        /// What failed.
        code: ErrorCode,
        /// For the log; cut at [`crate::limits::ERROR_TEXT_MAX`].
        text: String,
    },
    /// `COMPLETE`: the sender has the whole blob, verified.
    Complete,
    /// Ours, type 100: what vouches for the piece whose payload comes next, of a blob that has no
    /// sums yet. Only to peers with [`Capabilities::PROVISIONAL`].
    PieceProof {
        /// The piece.
        index: PieceIndex,
        /// Not yet checked.
        proof: Box<PieceProof>,
    },
    /// Ours, type 101: the sender knows the blob's sums now. Only to peers with
    /// [`Capabilities::PROVISIONAL`].
    Final {
        /// The torrent's info hash with them.
        info_hash: InfoHash,
    },
    /// Ours, type 102: the sender waits for these pieces of a blob that has no sums yet, and the
    /// receiver brings it: they should come before others. Only to peers with
    /// [`Capabilities::PROVISIONAL`].
    WantPieces {
        /// The first piece.
        index: PieceIndex,
        /// How many.
        count: u32,
    },
    /// A type of message this side does not know, by number; skipped.
    Unknown(u64),
}

/// The code of a [`Message::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// `PIECE_REQUEST_FAILED`.
    PieceRequestFailed,
    /// A code this side does not know.
    Unknown(u64),
}
