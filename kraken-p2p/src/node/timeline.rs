//! Where the time of a download goes.

use std::ops::AddAssign;
use std::time::Duration;

use kraken_core::Time;

/// Where the time of a download went, or has gone so far. All but `stalled` and `disk` follow each
/// other; together they are the time from when it was asked for until it was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DownloadTimes {
    /// Until its metainfo was here: trackers and origins, and the backend's answer of how long the
    /// blob is.
    pub metainfo: Duration,
    /// From then on until a tracker had named peers.
    pub tracker: Duration,
    /// From then on until a connection stood.
    pub peers: Duration,
    /// From then on until the first piece was here and verified.
    pub first_piece: Duration,
    /// From then on until the last one was.
    pub pieces: Duration,
    /// Of [`Self::first_piece`] and [`Self::pieces`], what went by without any piece, beyond a
    /// second each time: waiting for peers that have something.
    pub stalled: Duration,
    /// Writing pieces, several at once: it may be more than what it took.
    pub disk: Duration,
    /// From the last piece on until the whole was verified and committed.
    pub verification: Duration,
}

impl AddAssign for DownloadTimes {
    fn add_assign(&mut self, other: Self) {
        self.metainfo += other.metainfo;
        self.tracker += other.tracker;
        self.peers += other.peers;
        self.first_piece += other.first_piece;
        self.pieces += other.pieces;
        self.stalled += other.stalled;
        self.disk += other.disk;
        self.verification += other.verification;
    }
}

impl DownloadTimes {
    /// Each by its name.
    pub fn named(&self) -> [(&'static str, Duration); 8] {
        [
            ("metainfo", self.metainfo),
            ("tracker", self.tracker),
            ("peers", self.peers),
            ("first_piece", self.first_piece),
            ("pieces", self.pieces),
            ("stalled", self.stalled),
            ("disk", self.disk),
            ("verification", self.verification),
        ]
    }
}

/// What happened to a download, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    /// When somebody began to wait, before metainfo.
    begun: Time,
    metainfo: Time,
    tracker: Option<Time>,
    peers: Option<Time>,
    first_piece: Option<Time>,
    last_piece: Option<Time>,
    complete: Option<Time>,
    stalled: Duration,
}

impl Timeline {
    /// Metainfo is here, and was asked for since `begun`.
    pub(super) fn new(begun: Time, now: Time) -> Self {
        Self {
            begun,
            metainfo: now,
            tracker: None,
            peers: None,
            first_piece: None,
            last_piece: None,
            complete: None,
            stalled: Duration::ZERO,
        }
    }

    /// A tracker has answered.
    pub(super) fn on_announced(&mut self, now: Time) {
        self.tracker.get_or_insert(now);
    }

    /// A connection stands; peers that come by themselves need no tracker.
    pub(super) fn on_connected(&mut self, now: Time) {
        self.tracker.get_or_insert(now);
        self.peers.get_or_insert(now);
    }

    /// A piece is here.
    pub(super) fn on_piece(&mut self, now: Time) {
        self.on_connected(now);
        self.stalled = self.stalled_by(now);
        self.first_piece.get_or_insert(now);
        self.last_piece = Some(now);
    }

    /// All is here and committed.
    pub(super) fn on_complete(&mut self, now: Time) {
        self.complete.get_or_insert(now);
    }

    /// What it comes to by `now`, with `disk` spent on writing; `all_here` says whether no piece is
    /// missing any more.
    pub(super) fn times(&self, now: Time, disk: Duration, all_here: bool) -> DownloadTimes {
        let now = self.complete.unwrap_or(now);
        let tracker = self.tracker.unwrap_or(now);
        let peers = self.peers.unwrap_or(now);
        let first_piece = self.first_piece.unwrap_or(now);
        let last_piece = self.last_piece.filter(|_| all_here).unwrap_or(now);
        let stalled = if all_here { self.stalled } else { self.stalled_by(now) };
        DownloadTimes {
            metainfo: self.metainfo.since(self.begun),
            tracker: tracker.since(self.metainfo),
            peers: peers.since(tracker),
            first_piece: first_piece.since(peers),
            pieces: last_piece.since(first_piece),
            stalled,
            disk,
            verification: now.since(last_piece),
        }
    }

    fn stalled_by(&self, now: Time) -> Duration {
        let since = self.last_piece.or(self.peers);
        let gap = since.map_or(Duration::ZERO, |since| now.since(since));
        self.stalled + gap.saturating_sub(STALLED_AFTER)
    }
}

/// Pieces of a slow link come a second apart.
const STALLED_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn the_parts_make_the_whole() {
        let mut line = Timeline::new(at(10), at(11));
        line.on_announced(at(13));
        line.on_connected(at(16));
        line.on_announced(at(17));
        for second in [20, 21, 29] {
            line.on_piece(at(second));
        }
        let disk = Duration::from_millis(7);
        line.on_complete(at(31));
        let times = line.times(at(90), disk, true);
        let secs = Duration::from_secs;
        let expected = DownloadTimes {
            metainfo: secs(1),
            tracker: secs(2),
            peers: secs(3),
            first_piece: secs(4),
            pieces: secs(9),
            stalled: secs(3 + 7),
            disk,
            verification: secs(2),
        };
        assert_eq!(times, expected);
    }

    #[test]
    fn what_is_not_over_lasts_until_now() {
        let secs = Duration::from_secs;
        let mut line = Timeline::new(at(0), at(1));
        let times = line.times(at(4), Duration::ZERO, false);
        assert_eq!((times.tracker, times.peers, times.stalled), (secs(3), secs(0), secs(0)));
        line.on_piece(at(5));
        let times = line.times(at(9), Duration::ZERO, false);
        assert_eq!((times.first_piece, times.pieces, times.stalled), (secs(0), secs(4), secs(3)));
    }
}
