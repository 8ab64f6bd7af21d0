//! Every bound of scenario files, with its reason.

use std::time::Duration;

/// More than that is no scenario; the ones kept here have some hundred bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// As many as anyone can look at; each has tables of its own on every host that wants it.
pub(crate) const BLOBS_MAX: usize = 10_000;

/// As many kinds of hosts as a report can tell apart for anyone; each may name all blobs, whose
/// numbers together are 20 MB then, where a file of a mebibyte has room for twenty thousand groups.
pub(crate) const GROUPS_MAX: usize = 256;

/// Half of the addresses that hosts have in the simulator: those that die may be replaced.
pub(crate) const HOSTS_MAX: usize = 1 << 21;

/// More are no origins.
pub(crate) const ORIGINS_MAX: usize = 10_000;

/// More are no trackers.
pub(crate) const TRACKERS_MAX: usize = 10_000;

/// As long as a table has room for.
pub(crate) const NAME_CHARS_MAX: usize = 60;

/// Every portion is an event: of smaller ones a gigabyte would take days.
pub(crate) const PORTION_MIN: u64 = 1 << 10;

/// Longer than any piece.
pub(crate) const PORTION_MAX: u64 = 1 << 32;

/// Below that a piece of 4 MiB takes more than an hour.
pub(crate) const RATE_MIN: f64 = 1e3;

/// No link is as fast; and a slice on it takes some nanoseconds still.
pub(crate) const RATE_MAX: f64 = 1e12;

/// A run's times fit the clock several times over.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(1000 * 3600);
