//! CPU and wall time of something, per byte.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What moving some bytes took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// CPU seconds per 10^9 bytes, of all threads of the process, user and system.
    cpu_per_gb: f64,
    /// 10^9 bytes per second of wall time.
    rate: f64,
}

/// The times at which something began.
#[derive(Debug)]
pub(crate) struct Start {
    cpu: Duration,
    wall: Instant,
}

/// Samples of the same thing.
#[derive(Debug, Default)]
pub(crate) struct Series(Vec<Sample>);

impl Start {
    pub(crate) fn now() -> Self {
        Self { cpu: cpu_time(), wall: Instant::now() }
    }

    pub(crate) fn over(self, bytes: u64) -> Sample {
        let gb = bytes as f64 / 1e9;
        let cpu = cpu_time().saturating_sub(self.cpu).as_secs_f64();
        Sample { cpu_per_gb: cpu / gb, rate: gb / self.wall.elapsed().as_secs_f64() }
    }
}

impl Series {
    pub(crate) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Median CPU seconds per GB.
    pub(crate) fn median(&self) -> f64 {
        median(self.0.iter().map(|sample| sample.cpu_per_gb))
    }

    /// Least CPU seconds per GB.
    pub(crate) fn least(&self) -> f64 {
        self.0.iter().map(|sample| sample.cpu_per_gb).fold(f64::INFINITY, f64::min)
    }

    /// Both, to be read.
    pub(crate) fn cpu_per_gb(&self) -> String {
        format!("{:.3} ({:.3})", self.median(), self.least())
    }

    /// Median GB per second of wall time.
    pub(crate) fn rate(&self) -> f64 {
        median(self.0.iter().map(|sample| sample.rate))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The sum of what `getrusage` calls user and system time, to the nanosecond.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
