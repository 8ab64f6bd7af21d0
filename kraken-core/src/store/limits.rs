//! Every bound of the store, with its reason.

/// Uploads open at once, unless the configuration says otherwise: each holds a directory and, once
/// it has bytes, a file descriptor, and clients that never finish must not take all of those.
pub const UPLOADS_MAX: usize = 4096;

/// Parts of one upload that are apart: senders write a few chunks at once, nearly in order. Each
/// part is some 50 bytes in memory, and may take a block of the file system more than is counted,
/// so that all uploads together are 200 MB and 16 GiB off at the very most.
pub const UPLOAD_PARTS_MAX: usize = 1024;

/// Readers that wait for parts of one blob: each is some hundred bytes, and each newly readable
/// piece looks at all of them.
pub const WAITERS_MAX: usize = 16_384;

/// A sidecar's longest name; uber/kraken's longest is `_last_access_time`.
pub const SIDECAR_NAME_LEN_MAX: usize = 64;

/// A sidecar's longest content, but for metainfo (see [`crate::limits::METAINFO_BYTES_MAX`]) and
/// `_status`: all are a line.
pub const SIDECAR_BYTES_MAX: usize = 64 << 10;

/// Bytes read at once to verify: large enough that system calls do not count, small enough for
/// the second-level cache.
pub const READ_LEN: usize = 512 << 10;

/// Pieces hashed for the blob's digest when one is marked: one keeps pace, the second catches up
/// after a gap, and the caller is never held for longer than two.
pub const HASHED_PER_MARK: usize = 2;

/// `_last_access_time` is written at most this often, in seconds, as in uber/kraken.
pub const ACCESS_WRITE_SECS: u64 = 300;

/// What is evicted at least when the disk itself is full, in bytes: one eviction should do for
/// some hundred writes.
pub const EVICT_LEN_MIN: u64 = 64 << 20;
