//! CPU time by role: a control group for each, wherever the processes of the role are.

use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraken_core::{Error, ErrorKind, Result};

use crate::process;

/// A control group for each role; they are removed when this is dropped.
///
/// Processes that are still in them go back to where this program is. Of the two kinds version 2
/// is taken where there is one, because counting in it never changes how processes are scheduled.
#[derive(Debug)]
pub struct Cgroups {
    /// Of all roles, of this process.
    dir: PathBuf,
    kind: Kind,
    roles: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `cpuacct.usage` in nanoseconds.
    Version1,
    /// `usage_usec` in `cpu.stat`, which is there without any controller.
    Version2,
}

/// Where groups of a kind can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    kind: Kind,
    /// Where this process is in it.
    dir: PathBuf,
}

impl Cgroups {
    /// Makes a group for each role; `None` where this user may not or the system has none.
    ///
    /// Groups of benches that died before they could remove them are removed as well.
    pub fn create(roles: &[&str]) -> Result<Option<Self>> {
        for hierarchy in hierarchies()? {
            if let Some(made) = Self::create_in(&hierarchy, roles)? {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    /// Moves a process into its role's group; its threads and future children are in it then.
    pub fn add(&self, role: &str, pid: u32) -> Result<()> {
        let file = self.dir_of(role)?.join(PROCESSES);
        std::fs::write(&file, pid.to_string()).map_err(|error| {
            Error::io(format!("counting process {pid} as {role} in {}", file.display()), error)
        })
    }

    /// CPU seconds of all processes of the role while they were in its group.
    pub fn cpu_seconds(&self, role: &str) -> Result<f64> {
        let (name, parse): (_, fn(&str) -> Option<f64>) = match self.kind {
            Kind::Version1 => ("cpuacct.usage", version1_seconds),
            Kind::Version2 => ("cpu.stat", version2_seconds),
        };
        let file = self.dir_of(role)?.join(name);
        let failed = || format!("reading the CPU time of {role} from {}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|error| Error::io(failed(), error))?;
        parse(&text).ok_or_else(|| Error::invalid(format!("{}: it says {text:?}", failed())))
    }

    fn create_in(hierarchy: &Hierarchy, roles: &[&str]) -> Result<Option<Self>> {
        remove_leftovers(&hierarchy.dir);
        let id = std::process::id();
        for serial in 0..GROUPS_MAX {
            let dir = hierarchy.dir.join(group_name(id, serial));
            match std::fs::create_dir(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => continue,
                Err(error) if is_refusal(&error) => return Ok(None),
                Err(error) => return Err(failed_to_make(&dir, error)),
            }
            // From here on an error removes what was made.
            let mut made = Self { dir, kind: hierarchy.kind, roles: Vec::new() };
            for role in roles {
                let dir = made.dir.join(role);
                std::fs::create_dir(&dir).map_err(|error| failed_to_make(&dir, error))?;
                made.roles.push((*role).to_owned());
            }
            return Ok(Some(made));
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "making control groups: {GROUPS_MAX} of process {id} are in {}; rmdir them",
                hierarchy.dir.display()
            ),
        ))
    }

    fn dir_of(&self, role: &str) -> Result<PathBuf> {
        if self.roles.iter().any(|known| known == role) {
            return Ok(self.dir.join(role));
        }
        Err(Error::not_found(format!("finding the control group of role {role:?}")))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        remove_group(&self.dir);
    }
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map_err(|error| Error::io(format!("reading {path}"), error))
    };
    Ok(parse_hierarchies(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?))
}

/// The best first: version 2, then version 1.
fn parse_hierarchies(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for mount in mounts.lines() {
        let Some((place, what)) = mount.split_once(" - ") else { continue };
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(mounted)) = (place.next(), place.next()) else { continue };
        let mut what = what.split(' ');
        let kind = match (what.next(), what.nth(1)) {
            (Some("cgroup2"), _) => Kind::Version2,
            (Some("cgroup"), Some(options)) if options.split(',').any(|o| o == "cpuacct") => {
                Kind::Version1
            }
            _ => continue,
        };
        let inside = own_group(own, kind).and_then(|own| own.strip_prefix(root));
        let dir = Path::new(mounted).join(inside.unwrap_or("").trim_start_matches('/'));
        found.push(Hierarchy { kind, dir });
    }
    found.sort_by_key(|hierarchy| hierarchy.kind != Kind::Version2);
    found
}

/// The group of this process by `/proc/self/cgroup`.
fn own_group(own: &str, kind: Kind) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_it = match kind {
            Kind::Version1 => controllers.split(',').any(|name| name == "cpuacct"),
            Kind::Version2 => controllers.is_empty(),
        };
        is_it.then_some(path)
    })
}

fn version1_seconds(text: &str) -> Option<f64> {
    Some(Duration::from_nanos(text.trim().parse().ok()?).as_secs_f64())
}

fn version2_seconds(text: &str) -> Option<f64> {
    let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(micros.trim().parse().ok()?).as_secs_f64())
}

fn group_name(process: u32, serial: u32) -> String {
    if serial == 0 {
        format!("{GROUP_PREFIX}{process}")
    } else {
        format!("{GROUP_PREFIX}{process}.{serial}")
    }
}

/// The process that made the group of this name, if a bench did.
fn maker(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(GROUP_PREFIX)?;
    rest.split_once('.').map_or(rest, |(process, _)| process).parse().ok()
}

/// Best effort: what stays is an empty directory of the kernel, found again by the next start.
fn remove_leftovers(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let of = entry.file_name().to_str().and_then(maker);
        if of.is_some_and(|process| !process::is_alive(process)) {
            remove_group(&entry.path());
        }
    }
}

fn remove_group(dir: &Path) {
    let Some(parent) = dir.parent() else { return };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_emptied(&entry.path(), parent);
        }
    }
    remove_emptied(dir, parent);
}

/// Removes a group after its processes were moved `to` another one; those that are just being
/// killed leave it by themselves, a moment later.
fn remove_emptied(dir: &Path, to: &Path) {
    for _ in 0..REMOVALS_MAX {
        let inside = std::fs::read_to_string(dir.join(PROCESSES)).unwrap_or_default();
        for process in inside.lines() {
            let _ = std::fs::write(to.join(PROCESSES), process);
        }
        match std::fs::remove_dir(dir) {
            Err(error) if error.kind() == IoErrorKind::ResourceBusy => {
                std::thread::sleep(REMOVAL_PAUSE);
            }
            _ => return,
        }
    }
}

fn is_refusal(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        IoErrorKind::PermissionDenied | IoErrorKind::ReadOnlyFilesystem | IoErrorKind::NotFound
    )
}

fn failed_to_make(dir: &Path, error: std::io::Error) -> Error {
    Error::io(format!("making the control group {}", dir.display()), error)
}

const GROUP_PREFIX: &str = "kraken-bench-";
/// At the same time in one process: only tests have more than one.
const GROUPS_MAX: u32 = 16;
const PROCESSES: &str = "cgroup.procs";
/// A killed process with much memory takes a while to go: half a second in all.
const REMOVALS_MAX: usize = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
