//! Every bound of the simulator, with its reason.

use std::time::Duration;

/// Hosts have addresses in 10.0.0.0/8, one each, and their replacements too.
pub(super) const HOSTS_MAX: usize = 1 << 22;

/// Sums of times stay far from what a clock of nanoseconds holds.
pub(super) const TIME_MAX: Duration = Duration::from_secs(1000 * 3600);

/// Hosts of either policy believe no longer pause between announces.
pub(super) const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Events at one moment after which a run counts as one that goes on for ever, in any case: what
/// hosts do to each other takes the time of a way, and only what they do by themselves takes none.
pub(super) const STILL_EVENTS: u64 = 1_000_000;

/// And for each host: all may join at one moment, and want so many blobs.
pub(super) const STILL_EVENTS_EACH: u64 = 1000;

/// No piece is longer.
pub(super) const SLICE_MAX: u64 = 1 << 32;

/// On slower links slices are shorter than the network's: others wait for the one that goes out,
/// and what is on the way to a slow one is two slices at least.
pub(super) const SLICE_SECS: f64 = 0.05;

/// But not shorter than this, if the network's are not: about what a packet carries.
pub(super) const SLICE_MIN: u64 = 1 << 10;

/// What is on the way on slow downlinks: TCP does not fill the queue before them any further.
pub(super) const WINDOW_SECS: f64 = 0.25;

/// More outputs after one call than these have no end.
pub(super) const OUTPUTS_MAX: u32 = 1_000_000;

/// What a piece that comes may lead to: another is asked for in its place, three others are no
/// longer asked for the same one, and one of each for what was asked of two.
pub(super) const ASKS_PER_PIECE: u64 = 6;

/// And a piece that somebody has got: it is asked of that one instead of another, and something
/// else of the other.
pub(super) const ASKS_PER_TOLD: u64 = 3;

/// And a connection that comes or ends: sixteen pieces are asked for, there or of others, and as
/// many no longer of others.
pub(super) const ASKS_PER_CONTACT: u64 = 32;

/// And a look at what is overdue: four pieces are asked of others.
pub(super) const ASKS_PER_TIMER: u64 = 8;

/// And a connection that is open: sixteen refusals in a row, and each time another piece is asked
/// for.
pub(super) const ASKS_PER_CONN: u64 = 16;

/// So often a host may ask in a second in any case, as when it begins to want something.
pub(super) const ASKS_PER_SEC: u64 = 500;

/// Messages when a connection or a dial comes and when it ends: what is there and what is on order.
pub(super) const NEWS_PER_CONTACT: u64 = 8;

/// And over an open connection within a second: sixteen pieces that were asked for in the second
/// before may be refused.
pub(super) const NEWS_PER_CONN: u64 = 16;

/// So much is borne in a second in any case: answers of trackers, commits, readers that go on.
pub(super) const NEWS_PER_SEC: u64 = 500;

/// Dials in a second in any case.
pub(super) const DIALS_PER_SEC: u64 = 100;

/// And for each torrent: all that a tracker has named, and a few.
pub(super) const DIALS_PER_TORRENT: u64 = 64;

/// So many times in a second a timer may go off in any case: announces, dials, pauses that end. No
/// run had more than a hundred.
pub(super) const TIMER_CALLS_PER_SEC: u64 = 300;

/// And so many times for each torrent: ten looks at what is overdue, and a few at the rest.
pub(super) const TIMER_CALLS_PER_TORRENT: u64 = 16;

/// Announces of one torrent that may come before their time: six pauses that double reach the
/// usual one, and a few more, one of them under the hash that it has once there are sums.
pub(super) const EARLY_ANNOUNCES_MAX: f64 = 8.0;

/// So many are allowed again in each interval.
pub(super) const EARLY_AGAIN: f64 = 0.5;

/// Violations that are kept: enough to see what is wrong.
pub(super) const VIOLATIONS_KEPT: usize = 64;

/// Hosts whose lack is told in full.
pub(super) const STARVING_KEPT: usize = 100;

/// Missing pieces that are named.
pub(super) const MISSING_KEPT: usize = 8;

/// Steps of a curve over time: an hour of tenths of a second, as many as a plot can show.
pub(super) const CURVE_STEPS_MAX: u64 = 36_000;
