//! Every bound of the HTTP client, with its reason.

use std::time::Duration;

/// A request body is handed to the connection in chunks of at most this many bytes, so that taking
/// one shows progress: at 128 KiB a 60 s silence is a link below 18 kbit/s.
pub const CHUNK_LEN_MAX: usize = 128 << 10;

/// Bytes of an unexpected answer's body kept in the error's text: enough for a message, little
/// enough for a log line.
pub const STATUS_BODY_LEN_MAX: usize = 1 << 10;

/// Longest wait for those bytes: they only explain a failure that is known already.
pub const STATUS_BODY_WAIT_MAX: Duration = Duration::from_secs(2);

/// The connection's read buffer, which also bounds a response head. Whoever passes a blob on holds
/// several for each slow reader; hyper's default, 400 KiB, made fast ones no faster.
pub const READ_BUF_LEN_MAX: usize = 128 << 10;

/// Headers in a response head: cloud stores send some forty.
pub const HEADERS_MAX: usize = 128;

/// Attempts after the first one in [`Client::send_retry`](super::Client::send_retry): those of
/// uber/kraken.
pub const RETRIES_MAX: u32 = 2;

/// The pause before each of those attempts, as in uber/kraken.
pub const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A declared length preallocates at most this many bytes: the declaration may be a lie.
pub const PREALLOCATED_LEN_MAX: usize = 1 << 20;
