//! What the system says of this process.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::figures::Figures;
use super::names;

/// Adds what can be read of this process; nothing where the system has no `/proc`. Blocks.
pub(super) fn add(figures: &mut Figures) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let status = read("self/status");
    if let Some(kib) = field(&status, "VmRSS:") {
        figures.set(&names::PROCESS_RESIDENT_MEMORY_BYTES, kib.saturating_mul(1024));
    }
    if let Some(threads) = field(&status, "Threads:") {
        figures.set(&names::PROCESS_THREADS, threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory's own.
        figures.set(&names::PROCESS_OPEN_FDS, (open.count() as u64).saturating_sub(1));
    }
    if let Some(max) = field(&read("self/limits"), "Max open files") {
        figures.set(&names::PROCESS_MAX_FDS, max);
    }
    let Some(Times { started, cpu }) = times(&read("self/stat")) else { return };
    figures.set_real(&names::PROCESS_CPU_SECONDS, cpu);
    let uptime = read("uptime").split(' ').next().and_then(|secs| secs.parse::<f64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    if let (Some(uptime), Ok(now)) = (uptime, now) {
        // Rounded, so that it stays the same from one reading to the next.
        let start = (now.as_secs_f64() - uptime + started).round();
        figures.set_real(&names::PROCESS_START_TIME_SECONDS, start);
    }
}

/// In seconds.
#[derive(Debug, PartialEq)]
struct Times {
    /// From the start of the system to that of the process.
    started: f64,
    /// Of user and system together.
    cpu: f64,
}

/// The first number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// From the text of `/proc/self/stat`. The program's name, which may hold anything, ends with the
/// last parenthesis.
fn times(stat: &str) -> Option<Times> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = |at: usize| rest.split_whitespace().nth(at)?.parse::<f64>().ok();
    Some(Times {
        started: ticks(19)? / TICKS_PER_SEC,
        cpu: (ticks(11)? + ticks(12)?) / TICKS_PER_SEC,
    })
}

/// Linux tells times to programs in hundredths, whatever the kernel counts in.
const TICKS_PER_SEC: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        let stat = "7 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 1 2\n";
        assert_eq!(times(stat), Some(Times { started: 123.45, cpu: 3.0 }));
        assert_eq!(times("7 (a"), None);
        let limits = "Limit   Soft  Hard\nMax open files            1024   524288   files\n";
        assert_eq!(field(limits, "Max open files"), Some(1024));
        assert_eq!(field("Max open files  unlimited", "Max open files"), None);
        assert_eq!(field("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
    }
}
