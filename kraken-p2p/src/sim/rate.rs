//! One direction of a link: bytes in, times out.

use super::scenario::Rate;
use super::world::Nanos;

/// When bytes go by: the first and the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: Nanos,
    pub(super) end: Nanos,
}

/// A token bucket on a line; what is put in comes out in order.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    /// Nanoseconds a byte takes on the line.
    line_ns: f64,
    /// Nanoseconds a byte takes in the long run.
    rate_ns: f64,
    /// How far ahead of the long run a burst may be.
    burst_ns: f64,
    /// When the line has nothing more to do.
    free: Nanos,
    /// When the long run has caught up.
    even: Nanos,
}

impl Pipe {
    /// An idle one with a full bucket.
    pub(super) fn new(rate: Rate) -> Self {
        let rate_ns = 1e9 / rate.bytes_per_sec;
        let line_ns = if rate.burst == 0 { rate_ns } else { 1e9 / rate.line_bytes_per_sec };
        Self { line_ns, rate_ns, burst_ns: rate.burst as f64 * rate_ns, free: 0, even: 0 }
    }

    /// Puts in bytes that are all there at `now`; when they come out. With `stretch` they take so
    /// many times as long.
    pub(super) fn put(&mut self, now: Nanos, bytes: u64, stretch: f64) -> Span {
        self.pass(Span { begin: now, end: now }, bytes, stretch)
    }

    /// Puts in bytes as they come, and passes them on meanwhile; when they come out.
    pub(super) fn pass(&mut self, coming: Span, bytes: u64, stretch: f64) -> Span {
        let on_line = (bytes as f64 * self.line_ns * stretch) as Nanos;
        let begin = self.free.max(coming.begin);
        let mut end = (begin + on_line).max(coming.end);
        if self.burst_ns > 0.0 {
            let in_the_long_run = (bytes as f64 * self.rate_ns * stretch) as Nanos;
            self.even = self.even.max(coming.begin) + in_the_long_run;
            end = end.max(self.even.saturating_sub(self.burst_ns as Nanos));
        }
        self.free = end;
        Span { begin, end }
    }
}

impl Span {
    /// The same bytes after a way that takes so long.
    pub(super) fn later(self, by: Nanos) -> Self {
        Self { begin: self.begin + by, end: self.end + by }
    }

    /// Bytes that took so long, the last of which goes by at `end`.
    pub(super) fn until(end: Nanos, took: Nanos) -> Self {
        Self { begin: end.saturating_sub(took), end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When bytes that are there at a time have come out.
    fn put(pipe: &mut Pipe, now: Nanos, bytes: u64, stretch: f64) -> Nanos {
        pipe.put(now, bytes, stretch).end
    }

    #[test]
    fn bytes_take_their_time_and_wait_for_those_before() {
        let mut pipe = Pipe::new(Rate::flat(1e6));
        assert_eq!(put(&mut pipe, 1000, 500, 1.0), 501_000);
        assert_eq!(pipe.put(1000, 500, 1.0), Span { begin: 501_000, end: 1_001_000 });
        assert_eq!(put(&mut pipe, 2_000_000, 500, 2.0), 3_000_000);
    }

    #[test]
    fn what_comes_slowly_is_passed_on_as_it_comes() {
        let mut pipe = Pipe::new(Rate::flat(1e6));
        let slow = Span { begin: 3_000_000, end: 5_000_000 };
        assert_eq!(pipe.pass(slow, 1000, 1.0), slow);
        assert_eq!(pipe.pass(slow, 1000, 1.0), Span { begin: 5_000_000, end: 6_000_000 });
        let later = Span { begin: 4_500_000, end: 6_500_000 };
        assert_eq!(pipe.pass(later, 1000, 1.0), Span { begin: 6_000_000, end: 7_000_000 });
    }

    #[test]
    fn what_comes_fast_takes_the_time_of_the_line() {
        let mut pipe = Pipe::new(Rate::flat(1e6));
        let fast = Span { begin: 5_000_000, end: 5_100_000 };
        assert_eq!(pipe.pass(fast, 1000, 1.0), Span { begin: 5_000_000, end: 6_000_000 });
        // However long it was idle.
        let fast = fast.later(60_000_000);
        assert_eq!(pipe.pass(fast, 1000, 1.0).end, 66_000_000);
    }

    #[test]
    fn a_burst_goes_at_the_rate_of_the_line() {
        let rate = Rate { bytes_per_sec: 1e6, burst: 1000, line_bytes_per_sec: 10e6 };
        let mut pipe = Pipe::new(rate);
        assert_eq!(put(&mut pipe, 0, 1000, 1.0), 100_000);
        assert_eq!(put(&mut pipe, 0, 1000, 1.0), 1_000_000);
        assert_eq!(put(&mut pipe, 0, 1000, 1.0), 2_000_000);
        // A second later the bucket is full again, and no fuller.
        assert_eq!(put(&mut pipe, 1_000_000_000, 1000, 1.0), 1_000_100_000);
        assert_eq!(put(&mut pipe, 1_000_100_000, 1000, 1.0), 1_001_000_000);
    }
}
