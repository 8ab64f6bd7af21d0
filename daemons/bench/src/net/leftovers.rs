//! Namespaces by name, of this process or of one that died, and their end.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kraken_core::{Error, Result};

use super::tools::Tools;
use crate::process;

/// What the names of a process's namespaces begin with.
pub(super) fn prefix(process: u32, serial: u32) -> String {
    if serial == 0 { format!("krb{process}") } else { format!("krb{process}.{serial}") }
}

/// The process that made the namespace of this name, if a bench did.
pub(super) fn maker(name: &str) -> Option<u32> {
    let (prefix, _) = name.strip_prefix("krb")?.split_once('-')?;
    let (process, serial) = prefix.split_once('.').unwrap_or((prefix, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(process) && is_number(serial)).then(|| process.parse().ok())?
}

/// Names of the namespaces whose makers are gone.
pub(super) fn of_the_dead() -> Result<Vec<String>> {
    let mut names = all()?;
    names.retain(|name| maker(name).is_some_and(|process| !process::is_alive(process)));
    Ok(names)
}

/// Names of the namespaces with this prefix and a dash.
pub(super) fn with_prefix(prefix: &str) -> Result<Vec<String>> {
    let mut names = all()?;
    names.retain(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')));
    Ok(names)
}

/// Kills what runs in the namespaces of these names, and removes them with all their devices.
pub(super) fn remove(tools: &Tools, names: &[String]) -> Result<()> {
    kill_inside(names)?;
    let lines: String = names.iter().map(|name| format!("netns delete {name}\n")).collect();
    tools.ip_batch_of_all(&lines).map_err(|error| error.context("removing network namespaces"))
}

fn all() -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(NAMESPACES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(format!("listing {NAMESPACES}"), error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io(format!("listing {NAMESPACES}"), error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn kill_inside(names: &[String]) -> Result<()> {
    // A namespace is known by its inode. One that is no mount (it was removed half-way) has a
    // plain file's, which no process has.
    let identity = |path: &Path| Some(std::fs::metadata(path).ok()?).map(|at| (at.dev(), at.ino()));
    let ours: BTreeSet<_> =
        names.iter().filter_map(|name| identity(&Path::new(NAMESPACES).join(name))).collect();
    let own = identity(Path::new("/proc/self/ns/net"));
    let entries = std::fs::read_dir("/proc").map_err(|error| Error::io("listing /proc", error))?;
    // Processes come and go while this lists them: one that cannot be read has gone.
    for entry in entries.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let found = identity(&entry.path().join("ns/net"));
        if found != own && found.is_some_and(|namespace| ours.contains(&namespace)) {
            kill(process);
        }
    }
    Ok(())
}

fn kill(process: i32) {
    if let Some(process) = rustix::process::Pid::from_raw(process) {
        // It may be gone by now, which is as good.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";
