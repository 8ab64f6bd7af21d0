//! Whether the machine can do a run, and what it is and does apart from it.

mod dirty;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use kraken_core::{Error, ErrorKind, Result};
use tokio::task::{block_in_place, yield_now};

use crate::result::Machine;

pub use dirty::DirtyRatios;

/// What a run takes at most, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Of memory, page cache that must not be thrown away included.
    pub memory: u64,
    /// Of the disk with the run's directory.
    pub disk: u64,
}

/// Jiffies of all processors by `/proc/stat`, since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cpu {
    /// Ran something here, in the kernel's interrupts or in a process.
    busy: u64,
    /// Did nothing, or waited for a disk.
    idle: u64,
    /// Would have run something but the hypervisor ran another machine.
    stolen: u64,
}

/// An error unless the needs fit the available memory and the free disk of `dir`; it says by how
/// much they do not.
pub fn check(needs: &Needs, dir: &Path) -> Result<()> {
    fits(
        "memory",
        needs.memory,
        memory("MemAvailable")?,
        "fewer or smaller hosts and blobs need less",
    )?;
    let place = format!("disk space in {}", dir.display());
    fits(&place, needs.disk, disk_free(dir)?, "free some, or name another directory")
}

/// CPU seconds of the whole machine since its start, whoever used them, interrupts included.
pub fn machine_cpu_seconds() -> Result<f64> {
    Ok(read_cpu()?.busy as f64 / JIFFIES_PER_SECOND)
}

/// The fraction of all processors that is busy; blocks for `over`.
pub fn foreign_load(over: Duration) -> Result<f64> {
    let before = read_cpu()?;
    std::thread::sleep(over);
    let after = read_cpu()?;
    let busy = after.busy.saturating_sub(before.busy) + after.stolen.saturating_sub(before.stolen);
    let all = busy + after.idle.saturating_sub(before.idle);
    // Too short a time has no jiffies at all.
    Ok(if all == 0 { 0.0 } else { busy as f64 / all as f64 })
}

/// Memory that is in use until it is needed.
#[derive(Debug)]
pub struct TouchedMemory {
    /// Its pages go with it.
    _file: File,
}

impl TouchedMemory {
    /// Fills what memory is free with pages of a file without data in `dir`. Virtual machines give
    /// free memory back to their hosts within seconds, and to get it again costs several times
    /// what is done with it; the kernel hands pages of files over to whoever needs memory without
    /// the host. Takes some seconds, and blocks its thread for a moment again and again. Cancel
    /// safe: nothing stays filled.
    pub async fn fill(dir: &Path) -> Result<Self> {
        let context =
            |error| Error::io(format!("fill the page cache from {}", dir.display()), error);
        let mut file = tempfile::tempfile_in(dir).map_err(context)?;
        let len = memory("MemFree")?.saturating_sub(UNTOUCHED).min(FILL_MAX);
        file.set_len(len).map_err(context)?;
        let mut buffer = vec![0; READ_LEN];
        while block_in_place(|| file.read(&mut buffer)).map_err(context)? > 0 {
            yield_now().await;
        }
        Ok(Self { _file: file })
    }
}

/// What this machine is. Of the network it says what is without namespaces; a caller that has a
/// `Network` sets `namespaces` and `congestion` from it.
pub fn machine() -> Machine {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        cpu_model: cpu_model(&cpuinfo),
        kernel: kernel.trim().to_owned(),
        namespaces: false,
        congestion: crate::net::machine_congestion_control(),
    }
}

fn fits(what: &str, needed: u64, there: u64, mend: &str) -> Result<()> {
    if needed <= there {
        return Ok(());
    }
    let (needed_mib, there_mib) = (needed.div_ceil(MIB), there / MIB);
    let missing = needed_mib.saturating_sub(there_mib);
    Err(Error::new(
        ErrorKind::NoSpace,
        format!(
            "the run needs {needed_mib} MiB of {what}, {there_mib} MiB are there, {missing} MiB \
             too few; {mend}"
        ),
    ))
}

/// The bytes of memory that `/proc/meminfo` calls `name`.
pub fn memory(name: &str) -> Result<u64> {
    meminfo_bytes(&read("/proc/meminfo")?, name)
        .ok_or_else(|| Error::invalid(format!("reading /proc/meminfo: it does not say {name}")))
}

fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn disk_free(dir: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| {
        Error::io(format!("asking for the free disk space of {}", dir.display()), error.into())
    })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn read_cpu() -> Result<Cpu> {
    let text = read("/proc/stat")?;
    parse_cpu(&text).ok_or_else(|| Error::invalid("reading /proc/stat: its first line is no sum"))
}

fn parse_cpu(stat: &str) -> Option<Cpu> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields = line.split_whitespace().map(|field| field.parse().ok());
    let fields = fields.collect::<Option<Vec<u64>>>()?;
    // Time of guests comes after these and is in the user's time already.
    let &[user, nice, system, idle, waiting, hard, soft, stolen, ..] = fields.as_slice() else {
        return None;
    };
    let busy = [user, nice, system, hard, soft].iter().sum();
    Some(Cpu { busy, idle: idle + waiting, stolen })
}

fn cpu_model(cpuinfo: &str) -> String {
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().map(str::trim) == Some(key));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    // Not every architecture tells a name.
    value("model name").or_else(|| value("CPU part")).unwrap_or_else(|| "unknown".to_owned())
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Error::io(format!("reading {path}"), error))
}

/// What [`TouchedMemory`] leaves free, so that the kernel need not look for memory at once.
const UNTOUCHED: u64 = 256 * MIB;
/// Most that is filled: it takes some seconds. A machine with more free memory is rarely one that
/// gives it away.
const FILL_MAX: u64 = 64 << 30;
/// Of one read call: some milliseconds, after which Ctrl-C is heard.
const READ_LEN: usize = 4 << 20;
/// What `/proc` counts in, the same on every machine that this runs on.
const JIFFIES_PER_SECOND: f64 = 100.0;
const MIB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_that_do_not_fit_are_refused_with_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        check(&Needs { memory: 1 << 20, disk: 1 << 12 }, dir.path()).unwrap();
        let memory = check(&Needs { memory: u64::MAX, disk: 0 }, dir.path()).unwrap_err();
        assert_eq!(memory.kind(), ErrorKind::NoSpace);
        assert!(memory.to_string().contains("MiB of memory"), "{memory}");
        let disk = check(&Needs { memory: 0, disk: u64::MAX }, dir.path()).unwrap_err();
        assert!(disk.to_string().contains(dir.path().to_str().unwrap()), "{disk}");
        assert_eq!(
            fits("memory", 3 * MIB + 1, 2 * MIB, "take less").unwrap_err().to_string(),
            "the run needs 4 MiB of memory, 2 MiB are there, 2 MiB too few; take less"
        );
    }

    #[test]
    fn processor_time_is_summed_without_guests_and_idling() {
        let stat = "cpu  1 2 4 100 1000 8 16 32 7 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_cpu(stat), Some(Cpu { busy: 31, idle: 1100, stolen: 32 }));
        for stat in ["", "cpu 1 2 3", "cpu a b c d e f g h", "intr 5"] {
            assert_eq!(parse_cpu(stat), None, "{stat:?}");
        }
    }

    #[test]
    fn this_machine_can_be_described() {
        let before = machine_cpu_seconds().unwrap();
        let load = foreign_load(Duration::from_millis(30)).unwrap();
        assert!((0.0..=1.0).contains(&load), "{load}");
        assert!(machine_cpu_seconds().unwrap() >= before);
        let machine = machine();
        assert!(machine.cpus > 0 && !machine.kernel.is_empty(), "{machine:?}");
        assert_eq!(meminfo_bytes("MemTotal: 9 kB\nMemFree:   12 kB\n", "MemFree"), Some(12288));
        assert_eq!(cpu_model("processor : 0\nmodel name\t: Some Chip: fast\n"), "Some Chip: fast");
        assert_eq!(cpu_model(""), "unknown");
    }
}
