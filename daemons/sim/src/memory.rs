//! How much memory a run takes.

use kraken_bench::preflight;
use kraken_core::Result;
use kraken_core::piece::PieceLengths;
use kraken_p2p::sim::{Fate, Scenario};

/// About how many bytes of memory a run of `scenario` takes at most.
pub(crate) fn estimate(scenario: &Scenario) -> u64 {
    let origins: usize = scenario.origins.iter().map(|group| group.count).sum();
    let mut bytes = origins as f64 * HOST_BYTES;
    for group in &scenario.groups {
        let replaced = matches!(group.fate, Fate::Killed { replaced: true, .. });
        let hosts = group.count as f64 * if replaced { 2.0 } else { 1.0 };
        bytes += hosts * HOST_BYTES;
        for blob in &scenario.blobs {
            let by_len = || PieceLengths::default().for_blob(blob.len);
            let piece_len = blob.piece_len.unwrap_or_else(by_len);
            let pieces = blob.len.div_ceil(piece_len) as f64;
            bytes += hosts * blob.wanted_by * (COPY_BYTES + pieces * PIECE_BYTES);
        }
    }
    bytes as u64
}

/// How many bytes of memory are there for a run.
pub(crate) fn available() -> Result<u64> {
    preflight::memory("MemAvailable")
}

/// The most memory that this process has had, in bytes.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A host's tables.
const HOST_BYTES: f64 = 8e3;

/// A blob on a host: its torrent, and its connections with what waits in them.
const COPY_BYTES: f64 = 60e3;

/// A piece of a blob on a host: its part of the torrent's tables and of what is known of the
/// neighbours'.
const PIECE_BYTES: f64 = 40.0;
