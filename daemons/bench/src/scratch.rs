//! The directory that holds the data of a command's runs, and goes with it.

use std::fs::{File, remove_dir_all};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraken_core::{Error, Result};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A new directory; removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: PathBuf,
    /// Held while the directory is in use: whoever can take it has found a leftover.
    _lock: File,
}

impl Scratch {
    /// Makes one below `parent`, and removes those whose process was killed.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("make a directory in {}", parent.display()), error);
        std::fs::create_dir_all(parent).map_err(failed)?;
        // One that is made while another bench looks for leftovers would seem to be one.
        let turn = File::open(parent).map_err(failed)?;
        flock(&turn, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        remove_leftovers(parent).map_err(failed)?;
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).map_err(failed)?;
        let lock = File::create_new(dir.path().join(LOCK)).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        let dir = TempDir::keep(dir);
        Ok(Self { dir, _lock: lock })
    }

    /// An empty directory of this name; removed once it is dropped.
    pub(crate) fn sub(&self, name: &str) -> Result<Sub> {
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir)
            .map_err(|error| Error::io(format!("make the directory {}", dir.display()), error))?;
        Ok(Sub { dir })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// A part of a [`Scratch`].
#[derive(Debug)]
pub(crate) struct Sub {
    dir: PathBuf,
}

impl Sub {
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Sub {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// A process that was just killed may still make a file: tried again.
fn remove(dir: &Path) {
    for _ in 0..REMOVE_TRIES {
        match remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
}

fn remove_leftovers(parent: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // One without a lock is being made or removed. What is no file may be somebody's pipe, and
        // opening it must not wait.
        let flags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).bits() as i32;
        let lock = File::options().read(true).custom_flags(flags).open(entry.path().join(LOCK));
        let Ok(lock) = lock else { continue };
        if lock.metadata()?.is_file()
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let dir = std::fs::canonicalize(entry.path())?;
            kill_inside(&dir)?;
            remove(&dir);
        }
    }
    Ok(())
}

/// Kills the processes whose working directory is below `dir`: those of a bench that was killed,
/// each of which was started in a directory of its own.
fn kill_inside(dir: &Path) -> std::io::Result<()> {
    // Processes come and go while this lists them: one that cannot be read has gone.
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(process) = id.and_then(Pid::from_raw) else { continue };
        if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|at| at.starts_with(dir)) {
            // It may be gone by now, which is as good.
            let _ = kill_process(process, Signal::KILL);
        }
    }
    Ok(())
}

const PREFIX: &str = "kraken-bench-";
const LOCK: &str = "lock";

/// Two seconds: what is killed has ended by then.
const REMOVE_TRIES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_all_that_is_in_it_and_takes_those_of_the_dead_along() {
        let parent = tempfile::tempdir().unwrap();
        let count = || std::fs::read_dir(parent.path()).unwrap().count();
        let dead = parent.path().join("kraken-bench-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        std::fs::create_dir(parent.path().join("another")).unwrap();
        for pipe in ["another", "kraken-bench-pipe"].map(|name| parent.path().join(name)) {
            let _ = std::fs::create_dir(&pipe);
            let kind = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, pipe.join(LOCK), kind, mode, 0).unwrap();
        }
        let mut orphan = std::process::Command::new("sleep");
        let mut orphan = orphan.arg("1000").current_dir(&dead).spawn().unwrap();
        let first = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(!orphan.wait().unwrap().success(), "it was killed");
        let second = Scratch::new(&parent.path().join("deeper").join("still")).unwrap();
        let third = Scratch::new(parent.path()).unwrap();
        assert!(first.dir.exists() && second.dir.exists() && third.dir.exists());
        let sub = first.sub("run").unwrap();
        std::fs::write(sub.path().join("file"), "data").unwrap();
        let path = sub.path().to_owned();
        drop(sub);
        assert!(!path.exists() && first.dir.exists());
        drop((first, second, third));
        assert_eq!(count(), 3, "the three directories that are not ours");
    }

    #[test]
    fn where_none_can_be_made_the_place_is_named() {
        let error = Scratch::new(Path::new("/proc/none")).unwrap_err().to_string();
        assert!(error.starts_with("make a directory in /proc/none: "), "{error}");
    }
}
