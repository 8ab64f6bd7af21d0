//! Every bound of this crate, with its reason.

/// Longest frame taken, in bytes: uber/kraken's limit for frames it receives.
pub const FRAME_LEN_MAX: usize = 32 * 1024;

/// Most entries of a handshake's `remoteBitfields` looked at: uber/kraken sends at most ten.
pub const REMOTE_PEERS_MAX: usize = 64;

/// Longest error text taken from a peer, in bytes; the rest is cut.
pub const ERROR_TEXT_MAX: usize = 1024;

/// Most messages queued to one connection. When it is full the connection is closed: a peer that
/// reads nothing for that long is gone or hostile.
pub const SEND_QUEUE_MAX: usize = 4096;

/// Most piece requests one peer may have waiting with us. uber/kraken sends at most five, ours at
/// most [`REQUESTS_PER_CONN_MAX`]; more is a protocol violation and closes the connection.
pub const PIECE_REQUESTS_QUEUED_MAX: usize = 128;

/// Most requests we ever have open with one peer.
pub const REQUESTS_PER_CONN_MAX: usize = 64;

/// Most torrents one node holds open; the oldest idle seeded one makes room.
pub const TORRENTS_MAX: usize = 10_000;

/// Most peers remembered as candidates per torrent: a few handouts of the tracker.
pub const CANDIDATES_MAX: usize = 512;

/// Most ban entries per torrent; the oldest goes first.
pub const BANS_MAX: usize = 1024;

/// Most connections a node holds in handshake at once.
pub const HANDSHAKES_MAX: usize = 512;

/// Most peers in one announce response taken from a tracker.
pub const HANDOUT_MAX: usize = 1000;

/// Longest announce body taken, in bytes: request or response of [`HANDOUT_MAX`] peers.
pub const ANNOUNCE_BYTES_MAX: usize = 1 << 20;
