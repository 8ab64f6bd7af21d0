//! Every bound of the proxy, with its reason.

use std::time::Duration;

/// Bytes of an upload gathered before they are written to disk at once: small writes cost twice,
/// and a thousand pushes that each hold a mebibyte are a gibibyte.
pub(crate) const WRITE_LEN: usize = 1 << 20;

/// How long the next bytes of an upload may be waited for while others are gathered: those that
/// come without a pause fill a batch, and of a client that has fallen silent nothing is in memory.
pub(crate) const GATHER_PAUSE_MAX: Duration = Duration::from_millis(100);

/// A session that nobody has touched for so long is dropped: clients that resume do so within
/// minutes, and those that went away leave their bytes on the disk.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

/// How often idle sessions are looked for: beside an hour it is soon, and the look is cheap.
pub(crate) const SESSION_SWEEP_EVERY: Duration = Duration::from_secs(300);

/// Most children of one manifest that the origins are asked for at once: an index of a hundred
/// images is done in seven rounds, and a thousand pushes do not ask for everything at once.
pub(crate) const CHILDREN_AT_ONCE: usize = 16;
