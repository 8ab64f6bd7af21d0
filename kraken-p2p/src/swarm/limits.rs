//! Every bound of the swarm, with its reason; those that other modules share are the crate's.

use std::time::Duration;

/// A peer whose requests timed out so often in a row is let go.
pub(super) const TIMEOUTS_MAX: u32 = 2;

/// Bytes a second below which a peer counts as silent after a while: an uplink of 512 kbit/s over
/// four pieces at once is just borne with, and one byte now and then holds no piece for ever.
pub(super) const RECEIVE_PACE_MIN: f64 = 16.0 * 1024.0;

/// Bytes after which a peer whose requests timed out counts as alive: what it must bring in a
/// timeout and the rest after it at the pace above, so that dripping in bursts wins nothing.
pub(super) const SIGN_OF_LIFE: u64 = 128 << 10;

/// Longest silence of a peer that is known to be slow: as long as a connection may be silent inside
/// a piece. Larger pieces may have longer by the configuration.
pub(super) const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);
