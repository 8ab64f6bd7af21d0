//! One direction of a link: bytes in, times out.

use super::scenario::Rate;
use super::world::Nanos;

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

    /// Puts in bytes that begin to come at `now`; when the last one is out. With `stretch` they
    /// take so many times as long.
    pub(super) fn put(&mut self, now: Nanos, bytes: u64, stretch: f64) -> Nanos {
        let on_line = (bytes as f64 * self.line_ns * stretch) as Nanos;
        self.out(now, self.free.max(now) + on_line, bytes, stretch)
    }

    /// Puts in bytes the last of which comes at `end`, the others before it: a line that was idle
    /// has passed them on by then. When the last one is out.
    pub(super) fn pass(&mut self, end: Nanos, bytes: u64, stretch: f64) -> Nanos {
        let on_line = (bytes as f64 * self.line_ns * stretch) as Nanos;
        let begin = end.saturating_sub(on_line);
        self.out(begin, (self.free + on_line).max(end), bytes, stretch)
    }

    fn out(&mut self, begin: Nanos, line: Nanos, bytes: u64, stretch: f64) -> Nanos {
        let mut done = line;
        if self.burst_ns > 0.0 {
            self.even = self.even.max(begin) + (bytes as f64 * self.rate_ns * stretch) as Nanos;
            done = done.max(self.even.saturating_sub(self.burst_ns as Nanos));
        }
        self.free = done;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_wait_for_those_before() {
        let mut pipe = Pipe::new(Rate::flat(1e6));
        assert_eq!(pipe.put(1000, 500, 1.0), 501_000);
        assert_eq!(pipe.put(1000, 500, 1.0), 1_001_000);
        assert_eq!(pipe.put(2_000_000, 500, 2.0), 3_000_000);
    }

    #[test]
    fn what_came_slowly_has_been_passed_on_when_its_last_byte_comes() {
        let mut pipe = Pipe::new(Rate::flat(1e6));
        assert_eq!(pipe.pass(5_000_000, 1000, 1.0), 5_000_000);
        assert_eq!(pipe.pass(5_000_000, 1000, 1.0), 6_000_000);
        assert_eq!(pipe.pass(6_500_000, 1000, 1.0), 7_000_000);
    }

    #[test]
    fn a_burst_goes_at_the_rate_of_the_line() {
        let rate = Rate { bytes_per_sec: 1e6, burst: 1000, line_bytes_per_sec: 10e6 };
        let mut pipe = Pipe::new(rate);
        assert_eq!(pipe.put(0, 1000, 1.0), 100_000);
        assert_eq!(pipe.put(0, 1000, 1.0), 1_000_000);
        assert_eq!(pipe.put(0, 1000, 1.0), 2_000_000);
        // A second later the bucket is full again, and no fuller.
        assert_eq!(pipe.put(1_000_000_000, 1000, 1.0), 1_000_100_000);
        assert_eq!(pipe.put(1_000_100_000, 1000, 1.0), 1_001_000_000);
    }
}
