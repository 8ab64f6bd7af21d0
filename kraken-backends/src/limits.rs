//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Longest object name, in bytes: what S3 takes as a key, less nothing; a tag needs 384 of it.
pub const OBJECT_NAME_LEN_MAX: usize = 1024;

/// Longest component of an object name, in bytes: `NAME_MAX` of every file system in use.
pub const OBJECT_NAME_COMPONENT_LEN_MAX: usize = 255;

/// Longest listing prefix taken, in bytes: no name is longer, so nothing could match.
pub const PREFIX_LEN_MAX: usize = OBJECT_NAME_LEN_MAX;

/// Names on one page when the caller does not say: uber/kraken's `list_max_keys`.
pub const PAGE_LIMIT_DEFAULT: usize = 250;

/// Names on one page at most: ten thousand names of 1 KiB are 10 MiB of answer.
pub const PAGE_LIMIT_MAX: usize = 10_000;

/// Longest continuation token, in bytes: ours are paths, S3's are about 1 KiB; they travel in URLs,
/// which servers bound at 8 KiB.
pub const PAGE_TOKEN_LEN_MAX: usize = 4096;

/// Entries read from one directory while listing: about 100 MiB of names. A directory larger than
/// that needs a store that can page.
pub const DIRECTORY_ENTRIES_MAX: usize = 1 << 20;

/// Levels of directories walked while listing: an object name of single-letter components has 512,
/// real ones a dozen; the walk holds one directory's names for each level.
pub const DIRECTORY_DEPTH_MAX: usize = 64;

/// Bytes read from a file at once: large enough that a hop to the blocking pool (some 10 µs) is
/// nothing beside it, small enough that a thousand readers hold 512 MiB at most.
pub const FILE_CHUNK_LEN: u64 = 512 << 10;

/// Attempts to put a finished file in place when another's delete removes its directory meanwhile.
pub const RENAME_ATTEMPTS_MAX: u32 = 8;

/// A temporary file older than this was left behind by a crash: no upload goes on for a day.
pub const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest content of a tag, in bytes: `sha512:` and 128 hex characters are 135.
pub const TAG_CONTENT_LEN_MAX: u64 = 256;

/// Times one download goes on after a broken stream before it is given up.
pub const RESUMES_MAX: u32 = 16;
