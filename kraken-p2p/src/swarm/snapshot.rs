//! What a swarm tells of itself.

use kraken_core::{Digest, InfoHash, PeerId};

use super::ConnId;

/// One torrent as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorrentSnapshot {
    /// The blob.
    pub digest: Digest,
    /// The info hash it is announced under.
    pub info_hash: InfoHash,
    /// The blob's length in bytes.
    pub blob_len: u64,
    /// How many pieces there are.
    pub pieces_total: u32,
    /// How many of them are here.
    pub pieces_have: u32,
    /// Whether the blob is verified as a whole.
    pub complete: bool,
    /// Pieces received from others and stored.
    pub pieces_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Pieces sent to others.
    pub pieces_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// How many dials are under way.
    pub dialing: usize,
    /// The connections, oldest first.
    pub conns: Vec<ConnSnapshot>,
}

/// One connection as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnSnapshot {
    /// The connection.
    pub conn: ConnId,
    /// The other side.
    pub peer_id: PeerId,
    /// Whether the other side is an origin, as far as this side knows.
    pub origin: bool,
    /// Whether this side dialled.
    pub dialed: bool,
    /// How many pieces the other side has, as far as this side knows.
    pub pieces_have: u32,
    /// Requests open with the other side.
    pub requests: usize,
    /// Requests of the other side waiting here.
    pub queued: usize,
    /// Pieces received over it and stored.
    pub pieces_received: u64,
    /// Pieces sent over it.
    pub pieces_sent: u64,
}

/// A peer that is not dialled or accepted for a torrent at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blacklisted {
    /// The torrent.
    pub torrent: Digest,
    /// The peer.
    pub peer_id: PeerId,
    /// Where it was met: its address, or the IP it dialled from.
    pub addr: String,
    /// How much longer; `None` for as long as the torrent is here (it lied).
    pub remaining: Option<std::time::Duration>,
}

/// Running totals of a swarm since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Announces asked of the driver.
    pub announces: u64,
    /// Dials asked of the driver.
    pub dials: u64,
    /// Incoming handshakes accepted.
    pub accepted: u64,
    /// Incoming handshakes refused.
    pub refused: u64,
    /// Pieces stored that came from origins.
    pub pieces_from_origins: u64,
    /// Their bytes.
    pub bytes_from_origins: u64,
    /// Pieces stored that came from agents.
    pub pieces_from_peers: u64,
    /// Their bytes.
    pub bytes_from_peers: u64,
    /// Pieces sent.
    pub pieces_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Pieces that arrived twice.
    pub pieces_duplicate: u64,
    /// Pieces that failed a sum.
    pub pieces_corrupt: u64,
    /// Requests given up because nothing came.
    pub requests_timed_out: u64,
    /// Peers banned for a torrent.
    pub bans: u64,
    /// Blobs that failed their digest.
    pub blobs_mismatched: u64,
}
