//! The directory that holds the data of a command's runs, and goes with it.

use std::ffi::OsStr;
use std::fs::{DirEntry, File, remove_dir_all};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
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
        remove_leftovers(parent).map_err(failed)?;
        // It gets its name once it is locked, or it would seem to be a leftover meanwhile.
        let hidden = format!(".{PREFIX}");
        let made = tempfile::Builder::new().prefix(&hidden).tempdir_in(parent).map_err(failed)?;
        let mut lock = File::create_new(made.path().join(LOCK)).map_err(failed)?;
        lock.write_all(MARK).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        let name = made.path().file_name().unwrap_or_default().to_string_lossy();
        let dir = parent.join(name.trim_start_matches('.'));
        std::fs::rename(made.path(), &dir).map_err(failed)?;
        let _ = TempDir::keep(made);
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
        // What cannot be looked at is being removed, or not ours.
        if let Ok(Some(_lock)) = leftover(&entry) {
            kill_inside(&entry.path())?;
            remove(&entry.path());
        }
    }
    Ok(())
}

/// The lock of a directory of this user's that a bench has made and nobody uses any more. Nothing
/// less may be removed, with all that is in it.
fn leftover(entry: &DirEntry) -> std::io::Result<Option<File>> {
    let own = entry.metadata()?.uid() == rustix::process::geteuid().as_raw();
    let is_dir = entry.file_type()?.is_dir();
    if !own || !is_dir || !entry.file_name().to_string_lossy().starts_with(PREFIX) {
        return Ok(None);
    }
    // What is no file may be somebody's pipe, and opening it must not wait.
    let flags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).bits() as i32;
    let mut lock = File::options().read(true).custom_flags(flags).open(entry.path().join(LOCK))?;
    let mut mark = [0; MARK.len() + 1];
    if !lock.metadata()?.is_file() {
        return Ok(None);
    }
    let read = lock.read(&mut mark)?;
    let is_mark = mark[..read] == *MARK;
    let free = is_mark && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    Ok(free.then_some(lock))
}

/// Has a process be known as one that a bench has started to work in `dir`, below a [`Scratch`].
pub(crate) fn mark_process(command: &mut Command, dir: &Path) {
    command.env(PROCESS_MARK, dir);
}

/// Kills the processes that a bench which was killed has started to work below `dir`.
fn kill_inside(dir: &Path) -> std::io::Result<()> {
    let below = |variable: &[u8]| {
        let value = variable.strip_prefix(PROCESS_MARK.as_bytes())?.strip_prefix(b"=")?;
        Path::new(OsStr::from_bytes(value)).starts_with(dir).then_some(())
    };
    // Processes come and go while this lists them: one that cannot be read has gone.
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(process) = id.and_then(Pid::from_raw) else { continue };
        let Ok(variables) = std::fs::read(entry.path().join("environ")) else { continue };
        if variables.split(|byte| *byte == 0).any(|variable| below(variable).is_some()) {
            // It may be gone by now, which is as good.
            let _ = kill_process(process, Signal::KILL);
        }
    }
    Ok(())
}

const PREFIX: &str = "kraken-bench-";
const LOCK: &str = "lock";

/// What is in the lock: a directory that only looks like a bench's has not got it.
const MARK: &[u8] = b"the directory of a bench, which removes it\n";

/// What processes of benches have in their environment: the directory they work in.
const PROCESS_MARK: &str = "KRAKEN_BENCH_DIR";

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
        std::fs::write(dead.join(LOCK), MARK).unwrap();
        let strangers = parent.path().join("kraken-bench-results");
        std::fs::create_dir(&strangers).unwrap();
        std::fs::write(strangers.join(LOCK), "mine").unwrap();
        let linked = tempfile::tempdir().unwrap();
        std::fs::write(linked.path().join(LOCK), MARK).unwrap();
        std::os::unix::fs::symlink(linked.path(), parent.path().join("kraken-bench-link")).unwrap();
        std::fs::create_dir(parent.path().join("another")).unwrap();
        for pipe in ["another", "kraken-bench-pipe"].map(|name| parent.path().join(name)) {
            let _ = std::fs::create_dir(&pipe);
            let kind = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, pipe.join(LOCK), kind, mode, 0).unwrap();
        }
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").current_dir(&dead);
        let mut visitor = sleep.spawn().unwrap();
        mark_process(&mut sleep, &dead.join("run1-0"));
        let mut orphan = sleep.spawn().unwrap();
        let first = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(!orphan.wait().unwrap().success(), "it was killed");
        assert!(visitor.try_wait().unwrap().is_none(), "it only looked at what was left");
        visitor.kill().unwrap();
        visitor.wait().unwrap();
        assert!(strangers.exists() && linked.path().join(LOCK).exists());
        let second = Scratch::new(&parent.path().join("deeper").join("still")).unwrap();
        let third = Scratch::new(parent.path()).unwrap();
        assert!(first.dir.exists() && second.dir.exists() && third.dir.exists());
        let sub = first.sub("run").unwrap();
        std::fs::write(sub.path().join("file"), "data").unwrap();
        let path = sub.path().to_owned();
        drop(sub);
        assert!(!path.exists() && first.dir.exists());
        drop((first, second, third));
        assert_eq!(count(), 5, "what is not ours");
    }

    #[test]
    fn where_none_can_be_made_the_place_is_named() {
        let error = Scratch::new(Path::new("/proc/none")).unwrap_err().to_string();
        assert!(error.starts_with("make a directory in /proc/none: "), "{error}");
    }
}
