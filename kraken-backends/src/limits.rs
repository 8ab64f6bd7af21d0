//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Longest object name, in bytes: S3 takes keys of that length; the longest tag has 384.
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

/// How long a host that did not answer is asked after the others. It is never left out, so one
/// that comes back early is found.
pub const FAILED_HOST_LAST: Duration = Duration::from_secs(10);

/// Owners taken from one answer to `/blobs/{digest}/locations`: uber/kraken names three.
pub const OWNERS_MAX: usize = 32;

/// How long an origin has to say what it knows of a blob: who asks begins without it then.
pub const ORIGIN_KNOWN: Duration = Duration::from_millis(500);

/// How long an origin may take to answer from memory: uber/kraken's timeout for that. One that
/// needs longer is overloaded or gone, and the next is asked.
pub const ORIGIN_QUICK: Duration = Duration::from_secs(5);

/// How long an origin may take to answer what it may have to ask its backend for: uber/kraken's
/// timeout for that.
pub const ORIGIN_PATIENT: Duration = Duration::from_secs(15);

/// How long an origin may take until a blob is hashed and copied to other replicas or a remote
/// cluster: uber/kraken's timeout for that; a layer of 100 GiB over 1 Gbit/s takes as long.
pub const ORIGIN_COMMIT: Duration = Duration::from_secs(15 * 60);

/// The pause after an origin's first 202, which means that it fetches from its backend:
/// uber/kraken's.
pub const POLL_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two questions to an origin that answers 202: uber/kraken's. A
/// download waits no longer than that for nothing.
pub const POLL_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long one origin may go on answering 202 before the next is asked: uber/kraken's.
pub const POLL_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// How much longer each such pause is than the one before: uber/kraken's multiplier, which reaches
/// the longest in seven steps.
pub const POLL_GROWTH: f64 = 1.3;

/// Longest name of an upload taken from an origin: uber/kraken's is a UUID of 36 characters.
pub const UPLOAD_ID_LEN_MAX: usize = 256;

/// Longest peer context taken, in bytes: six short fields; keys of extensions may join them.
pub const PEER_CONTEXT_BYTES_MAX: usize = 64 << 10;

/// Bytes of one chunk of an upload to an origin: uber/kraken's `uploadChunkSize`. Chunks stream, so
/// it bounds what one request may lose, not memory.
pub const UPLOAD_CHUNK_LEN: u64 = 32 << 20;

/// Longest listing taken from a build-index in one answer, in bytes: a build-index that cannot page
/// answers with all its tags, and 384-byte names make 150,000 of them.
pub const LISTING_BYTES_MAX: usize = 64 << 20;

/// Longest listing taken from a testfs, in bytes: ours lists 100,000 files at most, whose paths
/// would have to be of 670 bytes on average to make more.
pub const FILE_LISTING_BYTES_MAX: usize = 64 << 20;

/// Tags of one repository, or of a build-index that cannot page, before a listing is given up.
pub const TAGS_LISTED_MAX: usize = 1 << 20;

/// Longest host name taken from a build-index's `/origin`, in bytes: a DNS name and a port.
pub const ORIGIN_NAME_LEN_MAX: usize = 512;
