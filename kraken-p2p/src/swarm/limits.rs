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

/// Candidates looked at for the rarest: the best of 256 is within the rarest half percent, and a
/// message stays cheap at 25,600 pieces.
pub(super) const SAMPLE: u32 = 256;

/// Pieces moved or asked for twice per look at what is overdue: a hung peer is helped out of within
/// a second, a slow network is not flooded.
pub(super) const HASTENED_PER_TICK: usize = 4;

/// One piece of so many may be asked of two peers and come in vain: three percent of the traffic,
/// however busy the machines are.
pub(super) const VAIN_SHARE: u64 = 32;

/// So many peers may be asked for the same piece, if all before the last one are silent: of many
/// hosts some have two neighbours that hang.
pub(super) const OWNERS_MAX: usize = 4;

/// In small torrents so many may: one peer that hangs does not hold up the end.
pub(super) const VAIN_MIN: u64 = 2;

/// A peer that refused so many requests in a row claims what it does not have.
pub(super) const ERRORS_MAX: u32 = 16;

/// A peer that sent so many pieces with a wrong CRC32 is banned for the torrent; one that has no
/// sums, and sent so many in a row that do not match those that are here, is let go.
pub(super) const CORRUPT_MAX: u32 = 3;

/// After so many pauses in a row because the disk refused a piece, and with them as many seconds,
/// it is given up.
pub(super) const STORAGE_FAILURES_MAX: u32 = 16;

/// Pieces told of that came during a dial; far more than can come in that time.
pub(super) const CATCH_UP_MAX: usize = 1024;

/// After so many commits that failed for another reason than the digest (half a minute in all) the
/// disk is not coming back.
pub(super) const COMMIT_FAILURES_MAX: u32 = 5;

/// How often a connection may be passed over for others whose pieces were sent less: nobody waits
/// for long.
pub(super) const PASSED_OVER_MAX: u32 = 16;

/// And how often by a node that has not all pieces itself: who is behind the crowd asks for what
/// was sent often, and with 16 came 8 % later than the others where uplinks are slower than
/// downlinks; with none the slowest of sixteen on slow links came 3 % later.
pub(super) const PASSED_OVER_BY_LEECHER_MAX: u32 = 4;

/// How often what a connection asked for first may be passed over for pieces sent less: its
/// receiver reads in order, and may have nothing to read before it comes.
pub(super) const FIRST_PASSED_OVER_MAX: u32 = 3;

/// Longer announce intervals are not believed, as in uber/kraken.
pub(super) const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Announces of a torrent that may come before their time while there are few connections: pauses
/// that double from the first one reach the longest interval.
pub(super) const EARLY_ANNOUNCES_MAX: f64 = 8.0;

/// So many are allowed again in each interval: what a tracker is asked grows by half at the most,
/// however often connections are lost.
pub(super) const EARLY_ANNOUNCES_AGAIN: f64 = 0.5;

/// Longest pause after a tracker did not answer: one that is back is found within seconds.
pub(super) const FAILED_ANNOUNCE_RETRY_MAX: Duration = Duration::from_secs(10);

/// Most pieces that an origin is told of somebody waits for and that it has not brought yet.
pub(super) const WANTS_TOLD_MAX: usize = 64;
