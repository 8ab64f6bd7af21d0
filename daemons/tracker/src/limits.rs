//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Longest `Origin-Locations` taken: origins of one blob; uber/kraken has three replicas.
pub(crate) const LOCATIONS_MAX: usize = 64;

/// Longest peer context taken from an origin, in bytes.
pub(crate) const PEER_CONTEXT_BYTES_MAX: usize = 64 << 10;

/// Blobs whose owners are remembered; a cluster rarely pulls more of them within ten seconds.
pub(crate) const LOCATIONS_CACHED_MAX: usize = 64 << 10;

/// Origins whose peer context is remembered.
pub(crate) const CONTEXTS_CACHED_MAX: usize = 4096;

/// Answers about metainfo remembered, whatever their length.
pub(crate) const METAINFO_CACHED_MAX: usize = 64 << 10;

/// Lengths of blobs remembered, some hundred bytes each.
pub(crate) const LENGTHS_CACHED_MAX: usize = 64 << 10;

/// How long an origin may take to accept a connection: a peer gives up an announce after 10 s, and
/// in that time the next origin must have been asked.
pub(crate) const ORIGIN_CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long an origin may take to say where a blob or it itself is: all from memory.
pub(crate) const ORIGIN_ANSWER_MAX: Duration = Duration::from_secs(3);

/// How long an origin may take for metainfo: it may have to ask its backend for the blob first.
pub(crate) const METAINFO_ANSWER_MAX: Duration = Duration::from_secs(30);

/// After this time without an answer another origin is asked for metainfo too: who asks waits ten
/// seconds, and one origin that hangs must not keep it from what the others say. Who is asked so
/// follows the first one, and asks the backend for nothing that comes already.
pub(crate) const METAINFO_PATIENCE: Duration = Duration::from_secs(3);

/// How long "ask again" is believed: so that a crowd asks an origin four times a second in all,
/// and nobody learns much later than that the blob has come.
pub(crate) const PENDING_TTL: Duration = Duration::from_millis(250);

/// How long a failure to get metainfo is believed: uber/kraken's nginx kept it as long.
pub(crate) const FAILURE_TTL: Duration = Duration::from_secs(1);
