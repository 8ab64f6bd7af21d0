//! What goes into and comes out of the swarm.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use kraken_core::{Bitfield, Digest, InfoHash, Namespace, PeerInfo, PieceIndex, TorrentMeta};

use crate::wire::{Handshake, Message};

/// A connection, from the decision to dial or accept until it is closed. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Something that waits for bytes of a torrent: a reader, or a whole download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DemandId(pub u64);

/// A torrent to add.
#[derive(Debug, Clone)]
pub struct TorrentSpec {
    /// The blob and how it is cut. Torrents are keyed by its digest, info hashes are its aliases.
    pub meta: TorrentMeta,
    /// Sent in handshakes, so that an origin can look the blob up.
    pub namespace: Namespace,
    /// The pieces on disk that may be seeded.
    pub have: Bitfield,
    /// Whether the blob is verified as a whole.
    pub complete: bool,
}

/// The answer of a tracker.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    /// Peers to try; may include this node itself.
    pub peers: Vec<PeerInfo>,
    /// How long until the next announce; zero means the default.
    pub interval: Duration,
    /// Whether this node is to fetch for its zone: pieces at random that nobody near has.
    pub bridge: bool,
}

/// What the driver must do. Outputs of one connection are to be carried out in order.
#[derive(Debug)]
pub enum Output {
    /// Announce to the tracker; answer with `handle_announced`.
    Announce {
        /// The torrent.
        torrent: Digest,
        /// The info hash to announce under.
        info_hash: InfoHash,
        /// Whether the whole blob is here and verified.
        complete: bool,
        /// Whether nothing has come for a while although it is wanted.
        starved: bool,
    },
    /// Connect, send the handshake, read the reply; answer with `handle_dialed`.
    Dial {
        /// The connection to be.
        conn: ConnId,
        /// Whom to dial.
        peer: PeerInfo,
        /// What to send.
        handshake: Box<Handshake>,
    },
    /// Send a message. A `PieceRequest` also tells the driver which payload it may accept.
    Send {
        /// On which connection.
        conn: ConnId,
        /// What; never a handshake or a payload.
        message: Message,
    },
    /// Send the payload header and the bytes of a piece; answer with `handle_piece_sent`.
    SendPiece {
        /// On which connection.
        conn: ConnId,
        /// Of which torrent.
        torrent: Digest,
        /// Which piece.
        index: PieceIndex,
        /// Whether the receiver lacks sums: what vouches for the piece goes before it, or it cannot
        /// be sent.
        proven: bool,
    },
    /// Close the connection; no `handle_closed` is expected for it.
    Close {
        /// Which connection.
        conn: ConnId,
        /// For the log.
        reason: CloseReason,
    },
    /// All pieces are here: verify the blob and commit it; answer with `handle_committed`.
    Commit {
        /// The torrent.
        torrent: Digest,
    },
    /// Somebody knows sums of a blob of which there are none here, or vouches for pieces in a way
    /// that is not understood: ask for its metainfo. Add it, if it is final; nothing is to be
    /// answered.
    Refresh {
        /// The torrent.
        torrent: Digest,
    },
    /// A peer, or somebody here, waits for these pieces of a blob without sums, of which some may
    /// not be here yet: whoever brings it should bring them first. Nothing is to be answered.
    Wanted {
        /// The torrent.
        torrent: Digest,
        /// Which pieces; not none.
        pieces: Range<u32>,
    },
    /// The blob failed its digest: throw it away, open it anew, answer with `handle_discarded`.
    Discard {
        /// The torrent.
        torrent: Digest,
    },
    /// The blob is complete and verified.
    Completed {
        /// The torrent.
        torrent: Digest,
    },
    /// The download is given up (its blob failed its digest too often) or has been idle too long;
    /// the swarm has forgotten it.
    Dropped {
        /// The torrent.
        torrent: Digest,
        /// Why.
        reason: String,
    },
}

/// What came of the bytes of a requested piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceOutcome {
    /// Written, checked and marked.
    Stored,
    /// It was marked on disk already, whoever brought it: the bytes were thrown away.
    Present,
    /// Another connection was writing it, or its file is gone: the bytes were thrown away.
    Duplicate,
    /// A sum did not match. With `lied`, its CRC32 matched and its BLAKE3 did not: no accident.
    Corrupt {
        /// Whether CRC32 alone would have let it pass.
        lied: bool,
    },
    /// Of a blob that has no sums, and nothing vouches for it that counts here: thrown away. That
    /// may be nobody's fault.
    Unproven,
    /// The local disk refused it.
    StorageFailed,
}

/// Why an incoming handshake is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No such torrent here: look it up in storage, add it, and try once more.
    UnknownTorrent,
    /// The handshake contradicts the torrent or the protocol.
    Invalid(String),
    /// The peer is banned for this torrent.
    Banned,
    /// No room: the peer should try others, and may try again.
    Full,
    /// There is a connection with this peer for this torrent already.
    AlreadyConnected,
    /// The handshake is this node's own.
    Myself,
    /// Seeding is switched off.
    NotSeeding,
    /// There are no sums yet, and the peer takes nothing without: try again when there are.
    Provisional,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed it or the network did.
    Remote(String),
    /// Connecting or the handshake failed, or the peer refused by closing.
    HandshakeFailed(String),
    /// The peer broke the protocol.
    Protocol(String),
    /// The peer sent a piece that fails its BLAKE3: banned for the torrent.
    Lied,
    /// Nothing useful went over it for too long.
    Idle,
    /// It stopped taking bytes.
    Stalled,
    /// Both sides have everything.
    BothComplete,
    /// The torrent was removed, discarded, or seeding was switched off.
    TorrentGone,
    /// The node is closing.
    Shutdown,
    /// Made way for a better one.
    Replaced,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(text) => write!(f, "closed by the peer: {text}"),
            Self::HandshakeFailed(text) => write!(f, "handshake failed: {text}"),
            Self::Protocol(text) => write!(f, "protocol violation: {text}"),
            Self::Lied => f.write_str("a piece failed its BLAKE3"),
            Self::Idle => f.write_str("idle"),
            Self::Stalled => f.write_str("stalled"),
            Self::BothComplete => f.write_str("both sides are complete"),
            Self::TorrentGone => f.write_str("the torrent is gone"),
            Self::Shutdown => f.write_str("shutting down"),
            Self::Replaced => f.write_str("made way for a better connection"),
        }
    }
}
