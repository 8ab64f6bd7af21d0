//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Most connections one listener holds at once. At the bound it stops accepting, so newcomers wait
/// in the kernel's queue: 15,000 hosts behind one tracker still fit.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Connections the kernel queues while the listener is busy or full.
pub const BACKLOG_MAX: u32 = 4096;

/// Longest head of a request in bytes, and the largest read at once. A bearer token of a large
/// registry is about 16 KiB.
pub const HEAD_BYTES_MAX: usize = 128 * 1024;

/// Most header fields of a request.
pub const HEADERS_MAX: usize = 128;

/// Most streams one HTTP/2 connection may have open.
pub const STREAMS_PER_CONN_MAX: u32 = 256;

/// How long a client may take for the head of a request, and how long a connection may idle:
/// nginx, which stood before uber/kraken's servers, allowed 60 and 65 s.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a client may take none of the bytes written to it before the connection is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// How long [`READ_BYTES_MIN`] of a request's body may take: as long as nginx, which stood before
/// uber/kraken's servers, let a client send nothing.
pub const READ_STALL_MAX: Duration = Duration::from_secs(60);

/// The fewest bytes of a request's body that count as progress, where it does not end before: so
/// that a byte now and then does not keep a request open for ever. The slowest modem sends them in
/// a second.
pub const READ_BYTES_MIN: usize = 1024;

/// How often an idle HTTP/2 connection is pinged, and how long the answer may take.
pub const PING_EVERY: Duration = Duration::from_secs(30);

/// How long the requests under way at shutdown get: less than the 30 s that Kubernetes gives.
pub const DRAIN_MAX: Duration = Duration::from_secs(25);

/// How long the listener pauses when the system refuses an accept (out of descriptors): long
/// enough not to spin, short enough not to be noticed.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a file lent at once to a connection which sends files itself.
pub const FILE_CHUNK_LEN: usize = 512 * 1024;

/// Bytes of a file read at once for a response: large enough that the hop to the blocking pool is
/// cheap, small enough that a thousand slow readers, who hold four of them, fit into memory.
pub const FILE_READ_LEN: usize = 128 * 1024;

/// Bytes that wait in each HTTP/2 stream until its client takes them, and one chunk more. hyper's
/// default is three times as many.
pub const STREAM_UNSENT_MAX: usize = 128 * 1024;

/// Connections of one server that have a file's bytes read into the page cache at once: enough for
/// a disk to be busy, few beside the threads of the blocking pool that others need.
pub const FETCHES_MAX: usize = 16;

/// Bytes of each such read; they are thrown away, the page cache keeps them.
pub const FETCH_LEN: usize = 64 * 1024;

/// How long a role may take to tell its numbers: half of the 10 s that Prometheus waits by default.
pub const SAMPLE_MAX: Duration = Duration::from_secs(5);

/// Longest path of a request in bytes: two names of 1 KiB, every byte of them escaped twice.
pub const PATH_LEN_MAX: usize = 16 * 1024;

/// Most segments of a path: `/list/*` takes repositories of up to 255 bytes, so of 128 components.
pub const SEGMENTS_MAX: usize = 160;

/// Longest query of a request in bytes.
pub const QUERY_LEN_MAX: usize = 16 * 1024;

/// Most parameters of a query.
pub const QUERY_PARAMS_MAX: usize = 64;

/// Longest text of a failure put into a response, in bytes.
pub const ERROR_TEXT_MAX: usize = 4096;

/// Most hosts of one static list: uber/kraken's largest clusters have some dozens.
pub const HOSTS_MAX: usize = 1024;

/// How long what a host's name resolved to is believed where nobody says: uber/kraken's default.
pub const HOSTS_TTL: Duration = Duration::from_secs(5);

/// The shortest time between two look-ups of a name: a `ttl` of zero would ask without end.
pub const HOSTS_TTL_MIN: Duration = Duration::from_secs(1);

/// How long a start waits for a name server: the resolver itself gives up after some seconds.
pub const LOOKUP_MAX: Duration = Duration::from_secs(10);

/// Names looked up at the same time: each look-up takes a thread.
pub const LOOKUPS_AT_ONCE_MAX: usize = 16;

/// Hosts asked for their health at the same time: all origins of a large cluster.
pub const CHECKS_AT_ONCE_MAX: usize = 64;

/// The shortest pause between two rounds of health checks: none would ask without end.
pub const CHECK_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The shortest pause before what was not written back is tried again: `retry_interval: 30`, which
/// is 30 ns, would ask a backend that fails without end.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The shortest pause between two cleanups of a store: each looks at all that is in it.
pub const CLEANUP_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest body of an answer to a health check, in bytes: `OK`, or a page of a proxy between.
pub const HEALTH_BODY_MAX: usize = 64 << 10;
