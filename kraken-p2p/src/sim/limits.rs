//! Every bound of the simulator, with its reason.

use std::time::Duration;

/// Hosts have addresses in 10.0.0.0/8, one each, and their replacements too.
pub(super) const HOSTS_MAX: usize = 1 << 22;

/// Sums of times stay far from what a clock of nanoseconds holds.
pub(super) const TIME_MAX: Duration = Duration::from_secs(1000 * 3600);

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

/// Messages that a piece may lead to at its receiver and its sender: asked for, taken back,
/// refused, with as many again for what is asked of two.
pub(super) const NEWS_PER_PIECE: u64 = 6;

/// And a connection or a dial when it comes and when it ends: both ends ask, take back and refuse
/// what is on order.
pub(super) const NEWS_PER_CONTACT: u64 = 8;

/// And an open connection within a second: while its pieces do not come what it asked for, sixteen
/// pieces at the most, is taken back and asked of others. A slow origin's at the end of a blob had
/// nine of these.
pub(super) const NEWS_PER_CONN: u64 = 16;

/// So much is borne in a second in any case: answers of trackers, commits, readers that go on.
/// Beyond those three few runs had more than a hundred.
pub(super) const NEWS_PER_SEC: u64 = 500;

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
