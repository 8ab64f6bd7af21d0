//! Every bound of the tracker, with its reason.

/// Most (blob, peer) pairs a peer store in memory remembers; the longest unseen goes first.
/// 15,000 hosts with 256 blobs each within five hours, at some 300 bytes a pair: about 1 GiB.
pub const PEERS_MAX: usize = 4 << 20;

/// Most expired entries a call on a peer store clears away. A call adds at most one, so two would
/// catch up in time; this many catch up soon, and still cost less than the call's own work.
pub(super) const SWEEP_MAX: usize = 32;

/// Longest announce request taken, in bytes: uber/kraken's clients send some 700.
pub const ANNOUNCE_REQUEST_BYTES_MAX: usize = 16 << 10;

/// Longest host in an announce, in bytes: that of a DNS name.
pub const HOST_LEN_MAX: usize = 253;

/// Longest `name` in an announce, in bytes: `sha512:` and its hex are 135.
pub const NAME_LEN_MAX: usize = 192;

/// Longest name of a zone in an announce, in bytes.
pub const ZONE_LEN_MAX: usize = 192;

/// Most zones of torrents whose bridges are remembered; of those beyond all peers are told of
/// everyone.
pub const ZONES_MAX: usize = 100_000;

/// Most bridges of one zone of a torrent, however many starve.
pub const BRIDGES_MAX: usize = 100;
