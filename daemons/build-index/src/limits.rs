//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Indexes inside indexes: an index of indexes exists, deeper ones are an attack.
pub(crate) const NESTING_MAX: usize = 4;

/// Blobs and manifests below one tag: 64 platforms of 127 layers each are 8192.
pub(crate) const DEPENDENCIES_MAX: usize = 16 << 10;

/// Manifests read at once for one put: 8 of the longest are 64 MiB.
pub(crate) const MANIFESTS_AT_ONCE_MAX: usize = 8;

/// Blobs asked after at once for one put: enough to hide the round trip, few enough that one put
/// does not take all connections to an origin.
pub(crate) const STATS_AT_ONCE_MAX: usize = 16;

/// How long an origin may take to fetch a manifest from its backend: uber/kraken's clients give up
/// a put after 30 s.
pub(crate) const MANIFEST_WAIT_MAX: Duration = Duration::from_secs(20);

/// Longest body of an internal request in bytes: the digests of all dependencies of a tag.
pub(crate) const INTERNAL_BODY_BYTES_MAX: usize = 4 << 20;

/// Tags in one answer to a listing that asked for no limit; the rest is behind the `next` link,
/// which every client follows. About 10 MiB.
pub(crate) const LISTED_AT_ONCE_MAX: usize = 50_000;

/// Tags in the journal, not yet in the backend. When it is full puts are refused (507): a backend
/// that has been away for so many pushes needs a person.
pub(crate) const UNWRITTEN_MAX: usize = 100_000;

/// How long one write to the backend may take before it is tried again: it is one line, and within
/// [`WRITE_THROUGH_MAX`] there is time for a second try.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(10);

/// How long a put waits for the backend where puts are written through; clients wait 30 s.
pub(crate) const WRITE_THROUGH_MAX: Duration = Duration::from_secs(25);

/// How long the backend may take to tell a tag, all tries included: clients give each build-index
/// 10 s, and go on to the next after a failure.
pub(crate) const FIND_MAX: Duration = Duration::from_secs(5);

/// The pause between two questions to a backend that is away. Meanwhile copies are answered that
/// another build-index may have replaced; asked more often, it would not come back sooner.
pub(crate) const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// How long a listing waits for tags put before it to reach the backend, where listings come from.
pub(crate) const LISTING_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long neighbours may take to be told of a put, all together.
pub(crate) const NEIGHBORS_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest line of the journal in bytes: a tag of 384 and a digest of 135.
pub(crate) const JOURNAL_LINE_LEN_MAX: u64 = 1024;
