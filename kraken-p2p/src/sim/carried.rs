//! What one direction of a link has carried, held against what it can.

use super::scenario::Rate;
use super::world::Nanos;

/// A token bucket beside that of the link itself, looked at after each slice: a while in which
/// there was nothing to carry makes up for nothing that comes faster later.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carried {
    /// When what it was given last was there.
    given: Nanos,
    /// When it had carried what came before that.
    until: Nanos,
    /// Bytes by which it was ahead of the long run then.
    ahead: f64,
}

impl Carried {
    /// It is given a slice that is there at `at`, or begins to come then.
    pub(super) fn begin(&mut self, at: Nanos) {
        self.given = at;
    }

    /// It has carried that; how many bytes it can have, if that is less. What takes longer than
    /// usual now may take less later.
    pub(super) fn end(&mut self, at: Nanos, bytes: u64, rate: &Rate, jitter: f64) -> Option<f64> {
        let begun = self.given.max(self.until);
        let since = |from: Nanos| (at.saturating_sub(from) + ROUNDED) as f64 / 1e9;
        let line = if rate.burst > 0 { rate.line_bytes_per_sec } else { rate.bytes_per_sec };
        let idle = (begun - self.until) as f64 / 1e9;
        let ahead = (self.ahead - idle * rate.bytes_per_sec).max(0.0);
        // With a full bucket those that wait in the line are taken for carried as they come.
        let took = since(if ahead > 0.0 { begun } else { self.given });
        let in_the_long_run = rate.burst as f64 - ahead + took * rate.bytes_per_sec;
        let most = in_the_long_run.min(since(begun) * line) / (1.0 - jitter);
        let least = bytes as f64 * (1.0 - jitter);
        self.until = self.until.max(at);
        self.ahead = (ahead + least - took * rate.bytes_per_sec).clamp(0.0, rate.burst as f64);
        exceeds(bytes, most).then_some(most)
    }
}

/// Pieces that came since some have been on order without a pause.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fetched {
    since: Nanos,
    slices: u64,
    /// Bytes of what was asked for before, and no longer, that were on their way then.
    under_way: u64,
    pub(super) bytes: u64,
}

impl Fetched {
    /// The first one is asked for, when so many bytes are on their way which may be part of it.
    pub(super) fn since(now: Nanos, under_way: u64) -> Self {
        Self { since: now, under_way, ..Self::default() }
    }

    pub(super) fn count_slice(&mut self) {
        self.slices += 1;
    }

    /// A piece is there; how many bytes can have come by now, if that is less than did.
    pub(super) fn count_piece(
        &mut self,
        now: Nanos,
        bytes: u64,
        rate: &Rate,
        jitter: f64,
    ) -> Option<f64> {
        self.bytes += bytes;
        let secs = (now - self.since + self.slices * ROUNDED) as f64 / 1e9;
        let since = (rate.burst as f64 + secs * rate.bytes_per_sec) / (1.0 - jitter);
        let most = self.under_way as f64 + since;
        exceeds(self.bytes, most).then_some(most)
    }
}

/// Whether bytes are more than there can be, and not by rounding.
fn exceeds(bytes: u64, most: f64) -> bool {
    bytes as f64 > most * 1.000_01 + 1.0
}

/// Nanoseconds are whole: what is left of one is not waited for.
const ROUNDED: Nanos = 1;

#[cfg(test)]
mod tests {
    use kraken_core::rng::Rng;

    use super::*;
    use crate::sim::rate::{Pipe, Span};

    #[test]
    fn a_while_with_nothing_to_carry_makes_up_for_nothing() {
        let rate = Rate::flat(1e6);
        let mut carried = Carried::default();
        let mut carry = |from: Nanos, to: Nanos| {
            carried.begin(from);
            carried.end(to, 1000, &rate, 0.0)
        };
        assert_eq!(carry(1_000_000, 2_000_000), None);
        assert_eq!(carry(1_500_000, 3_000_000), None);
        // It can begin no sooner than it is done with what was before.
        assert!(carry(2_500_000, 3_900_000).is_some_and(|most| (most - 900.0).abs() < 0.01));
        assert_eq!(carry(1_000_000_000, 1_001_000_000), None);
        assert!(carry(2_000_000_000, 2_000_900_000).is_some());
    }

    #[test]
    fn a_burst_comes_once_until_the_bucket_is_full_again() {
        let rate = Rate { bytes_per_sec: 1e6, burst: 1000, line_bytes_per_sec: 10e6 };
        let mut carried = Carried::default();
        let mut carry = |from: Nanos, to: Nanos| {
            carried.begin(from);
            carried.end(to, 1000, &rate, 0.0)
        };
        let second = 1_000_000_000;
        assert_eq!(carry(second, second + 100_000), None);
        assert!(carry(second + 100_000, second + 200_000).is_some());
        assert_eq!(carry(2 * second, 2 * second + 100_000), None);
        // However full it is the line is no faster.
        assert!(carry(3 * second, 3 * second + 90_000).is_some());
    }

    #[test]
    fn what_a_link_carries_is_never_too_much() {
        let (mut rng, jitter) = (Rng::new(7), 0.2);
        for (burst, line_bytes_per_sec) in [(0, 0.0), (3000, 10e6), (500_000, 3e6)] {
            let rate = Rate { bytes_per_sec: 1e6, burst, line_bytes_per_sec };
            let (mut pipe, mut carried) = (Pipe::new(rate), Carried::default());
            let mut now = 0;
            for _ in 0..20_000 {
                now += rng.below(2_000_000) as Nanos;
                let took = rng.below(3_000_000) as Nanos;
                let coming = Span { begin: now, end: now + took };
                let bytes = 1 + rng.below(2000) as u64;
                let stretch = 1.0 + jitter * (2.0 * rng.fraction() - 1.0);
                carried.begin(coming.begin);
                let end = pipe.pass(coming, bytes, stretch).end;
                assert_eq!(carried.end(end, bytes, &rate, jitter), None);
            }
        }
    }
}
