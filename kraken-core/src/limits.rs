//! Every bound of this crate, with its reason.

/// Pieces are at least this long, in bytes, unless the blob is shorter: below it the announcements
/// of pieces outweigh the pieces. Test vectors use five bytes, so the bound is one.
pub const PIECE_LEN_MIN: u64 = 1;

/// Pieces are at most this long, in bytes: lengths travel as `int32` on the wire.
pub const PIECE_LEN_MAX: u64 = 1 << 30;

/// A blob has at most this many pieces: their bitfield (31,250 bytes) must fit a handshake, and
/// uber/kraken takes frames of at most 32 KiB. 4 TB at the default piece length of large blobs.
pub const PIECES_MAX: u64 = 250_000;

/// A blob's longest length, in bytes (16 TiB): piece count and length bounds multiplied out stay
/// far inside `u64`, and a claimed length beyond it is a lie.
pub const BLOB_LEN_MAX: u64 = 1 << 44;

/// Longest metainfo document taken, in bytes: 250,000 sums of at most 11 characters, 32-byte
/// digests in base64, and some frame.
pub const METAINFO_BYTES_MAX: usize = 16 << 20;

/// Longest provisional metainfo document taken, in bytes: a few names and numbers, and its keys.
pub const PROVISIONAL_BYTES_MAX: usize = 8 << 10;

/// Longest version of a backend's object in provisional metainfo, in bytes: entity tags and
/// generations are far shorter.
pub const VERSION_LEN_MAX: usize = 1024;

/// Origins whose proofs count for one blob: its owners, more than any ring gives it.
pub const ORIGIN_KEYS_MAX: usize = 64;

/// A repository name's longest length, as in docker/distribution.
pub const REPOSITORY_LEN_MAX: usize = 255;

/// A tag's longest length (OCI distribution-spec).
pub const TAG_LEN_MAX: usize = 128;

/// A namespace's longest length: uber/kraken uses tags and repositories as namespaces.
pub const NAMESPACE_LEN_MAX: usize = 1024;

/// Chunks that a reader of a file keeps the memory of: the two it has at any moment, the one given
/// and the next.
pub const SPARE_CHUNKS_MAX: usize = 2;
