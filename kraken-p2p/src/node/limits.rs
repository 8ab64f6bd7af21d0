//! Every bound of the node, with its reason.

use std::time::Duration;

/// Most jobs of this node on the runtime's blocking threads at once: enough to keep a disk busy,
/// and an eighth of tokio's default pool, which is not ours alone.
pub(super) const BLOCKING_JOBS_MAX: usize = 64;

/// Bytes of a blob that are lent at once to a connection which sends files itself. Of a whole blob
/// so many at the end, at most, wait until its digest is proven.
pub(super) const LEND_LEN: u64 = 512 << 10;

/// Bytes of a blob that are read for a reader at once. A stream holds two at most and the server
/// two more, so that a thousand slow readers hold half a GiB. With 512 KiB they held 1.5 GiB, and
/// one fast reader over HTTP/2 got 1.6 GB/s in place of 1.3.
pub(super) const READ_LEN: u64 = 128 << 10;

/// Most events that wait for the swarm's task. When it is full the tasks that report wait, and
/// stop reading their sockets.
pub(super) const EVENTS_MAX: usize = 4096;

/// Most calls of the application that wait for the swarm's task; later ones wait to be queued.
pub(super) const COMMANDS_MAX: usize = 256;

/// Most events taken in one go before time is looked at again.
pub(super) const EVENTS_PER_TURN_MAX: usize = 64;

/// Most announces under way at once, so that ten thousand torrents do not open as many requests.
pub(super) const ANNOUNCES_MAX: usize = 64;

/// Longest time one announce may take; the tracker client has its own, shorter ones.
pub(super) const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of control messages read from a socket at once: two frames of the longest kind.
pub(super) const READ_BUFFER_LEN: usize = 64 * 1024;

/// Bytes of control messages gathered into one write.
pub(super) const WRITE_BATCH_LEN: usize = 16 * 1024;

/// Bytes that may wait in a socket until the network takes them. All that is said later waits
/// behind them: with the system's buffers of several MiB a request was up to a second late on a
/// link of 40 MiB/s, and swarms took a quarter longer.
#[cfg(target_os = "linux")]
pub(super) const UNSENT_MAX: u32 = 64 << 10;

/// Bytes received between two writes to disk: smaller buffers cost twice the CPU, larger ones win
/// nothing (measured on loopback and ext4).
pub(super) const BUFFER_LEN: usize = 1 << 20;

/// Bytes sent or received between two looks at the rate limit, and in one `sendfile`: longer calls
/// stall the runtime's thread on a cold file.
pub(super) const SLICE_LEN: usize = 256 * 1024;

/// Fresh bytes gathered before they are hashed: BLAKE3 is slow on less than a few KiB, and this
/// still fits the L2 cache.
pub(super) const HASH_STEP: usize = 64 * 1024;

/// A connection that takes no bytes for this long gives up its upload slot, and one that brings
/// none loses the piece it is writing to whoever brings it too.
pub(crate) const STALL_AFTER: Duration = Duration::from_millis(500);

/// How often the swarm is told that a piece is still coming, at most; it looks for overdue ones
/// every 200 ms.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Fewer bytes than this are no sign of life: below 8 KiB/s a peer loses the piece it is writing to
/// whoever brings it too. The swarm has a pace of its own for requests.
pub(super) const PROGRESS_LEN: u64 = 4 << 10;

/// When all buffers are out, a peer that has not filled its own in this time writes what it has and
/// stands in line again: thirty-two of them then make at most 640 small writes a second.
pub(super) const BUFFER_HOLD: Duration = Duration::from_millis(50);

/// A connection that takes no bytes for this long is closed.
pub(crate) const SEND_SILENCE_MAX: Duration = Duration::from_secs(10);

/// A connection that falls silent inside a piece for this long is closed. Longer than for sending:
/// a peer with a low rate limit pauses between slices.
pub(super) const RECEIVE_SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a dialer waits for the connection itself.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// When a quiet peer is first asked whether it is still there, and how often after that.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(15);

/// Lines a second on peers that broke the protocol: enough to see who and why, and some gigabytes a
/// month at most.
pub(super) const COMPLAINTS_PER_SEC: u32 = 10;

/// Pauses of the accept loop when the system refuses a socket: from one to the other, doubling.
pub(super) const ACCEPT_PAUSE: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(1));

/// How often the swarm is told how many bytes have gone out: often enough to follow an uplink that
/// empties, and some pieces go out meanwhile.
pub(crate) const UPLOAD_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Most ranges that peers wait for which the application has not taken up yet.
pub(super) const WANTS_MAX: usize = 64;
