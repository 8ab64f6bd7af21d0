//! When which torrent is announced.

use std::collections::VecDeque;
use std::time::Duration;

use kraken_core::{Digest, Time};

/// The torrents that are to be announced, one at each tick of a single timer.
#[derive(Debug)]
pub(super) struct AnnounceQueue {
    ready: VecDeque<Digest>,
    /// Those whose announce, by a tick, is under way.
    pending: Vec<Digest>,
    default_interval: Duration,
    /// What the tracker said; it holds from the next tick on.
    interval: Duration,
    pub(super) tick_at: Time,
}

impl AnnounceQueue {
    pub(super) fn new(default_interval: Duration, tick_at: Time) -> Self {
        Self {
            ready: VecDeque::new(),
            pending: Vec::new(),
            default_interval,
            interval: default_interval,
            tick_at,
        }
    }

    pub(super) fn add(&mut self, torrent: Digest) {
        self.ready.push_back(torrent);
    }

    /// The announce that the last tick was for is over.
    pub(super) fn ready(&mut self, torrent: &Digest) {
        if let Some(place) = self.pending.iter().position(|pending| pending == torrent) {
            self.pending.swap_remove(place);
            self.ready.push_back(*torrent);
        }
    }

    pub(super) fn eject(&mut self, torrent: &Digest) {
        self.pending.retain(|pending| pending != torrent);
        self.ready.retain(|ready| ready != torrent);
    }

    /// A tick: the first torrent that is not saturated. Those that are go to the end of the queue.
    pub(super) fn tick(
        &mut self,
        now: Time,
        mut saturated: impl FnMut(&Digest) -> bool,
    ) -> Option<Digest> {
        self.tick_at = now + self.interval;
        let passed = self.ready.iter().take_while(|torrent| saturated(torrent)).count();
        self.ready.rotate_left(passed);
        if passed == self.ready.len() {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.pending.push(next);
        Some(next)
    }

    pub(super) fn set_interval(&mut self, interval: Duration) {
        let believed = !interval.is_zero() && interval <= INTERVAL_MAX;
        self.interval = if believed { interval } else { self.default_interval };
    }
}

/// Longer intervals are not believed.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::sha256(name.as_bytes())
    }

    #[test]
    fn one_torrent_a_tick_and_none_that_is_saturated() {
        let [a, b, c] = ["a", "b", "c"].map(digest);
        let mut queue = AnnounceQueue::new(Duration::from_secs(5), Time::ZERO);
        for torrent in [a, b, c] {
            queue.add(torrent);
        }
        let at = Time::from_millis;
        assert_eq!(queue.tick(at(1000), |torrent| *torrent == a), Some(b));
        assert_eq!(queue.tick_at, at(6000));
        assert_eq!(queue.tick(at(6000), |_| false), Some(c));
        queue.set_interval(Duration::from_secs(3));
        assert_eq!(queue.tick(at(11_000), |_| true), None);
        assert_eq!(queue.tick_at, at(14_000));
        queue.ready(&b);
        queue.ready(&b);
        assert_eq!(queue.tick(at(14_000), |_| false), Some(a));
        queue.eject(&c);
        queue.ready(&c);
        assert_eq!(queue.tick(at(17_000), |_| false), Some(b));
        assert_eq!(queue.tick(at(20_000), |_| false), None);
        queue.set_interval(Duration::from_secs(61));
        assert_eq!(queue.tick(at(23_000), |_| false), None);
        assert_eq!(queue.tick_at, at(28_000));
    }
}
