//! Every bound of the proxy, with its reason.

use std::time::Duration;

/// Bytes of an upload gathered before they are written to disk at once: small writes cost twice,
/// and a thousand pushes that each hold a mebibyte are a gibibyte.
pub(crate) const WRITE_LEN: usize = 1 << 20;

/// A session that nobody has touched for so long is dropped when the next one begins: clients that
/// resume do so within minutes, and those that went away leave their bytes on the disk.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

/// Most children of one manifest that the origins are asked for at once: an index of a hundred
/// images is done in seven rounds, and a thousand pushes do not ask for everything at once.
pub(crate) const CHILDREN_AT_ONCE: usize = 16;
