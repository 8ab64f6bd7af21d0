//! Processes of a run: each the leader of a group of its own, of which nothing outlives it.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use kraken_core::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::scratch::mark_process;

/// A running process and all that it starts. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    role: &'static str,
    pid: Pid,
    child: Child,
    log: PathBuf,
    /// Whether this program has killed it.
    killed: bool,
    /// CPU seconds at the last look, for when it is gone.
    cpu: Cell<f64>,
}

impl Process {
    /// Starts `command` with its output in a log under `dir`.
    pub(crate) fn start(
        name: &str,
        role: &'static str,
        mut command: Command,
        dir: &Path,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|e| Error::io(format!("create log {}", log.display()), e))?;
        mark_process(&mut command, dir);
        command.stdin(Stdio::null()).stdout(file.0).stderr(file.1);
        Self::spawn(name, role, command, log)
    }

    /// Starts `command` with its standard input and output in our hands and its errors in a log.
    pub(crate) fn start_piped(
        name: &str,
        role: &'static str,
        mut command: Command,
        dir: &Path,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)
            .map_err(|e| Error::io(format!("create log {}", log.display()), e))?;
        mark_process(&mut command, dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Self::spawn(name, role, command, log)?;
        let pipes = process.child.stdin.take().zip(process.child.stdout.take());
        let (stdin, stdout) = pipes.expect("both are piped");
        Ok((process, stdin, stdout))
    }

    fn spawn(name: &str, role: &'static str, mut command: Command, log: PathBuf) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        // A group of its own: what it starts dies with it, and Ctrl-C in a terminal does not reach
        // it before we have let go of it.
        let child = command.process_group(0).spawn().map_err(|e| {
            let program = command.get_program().to_string_lossy().into_owned();
            Error::io(format!("start {name} with {program}"), e)
        })?;
        let pid = Pid::from_child(&child);
        let name = name.to_owned();
        Ok(Self { name, role, pid, child, log, killed: false, cpu: Cell::new(0.0) })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn role(&self) -> &'static str {
        self.role
    }

    /// Stops it where it is, without its knowledge.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Kills it; it may take a moment to be gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.resources();
        self.killed = true;
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.pid, signal)
            .map_err(|e| Error::io(format!("send {signal:?} to {}", self.name), e.into()))
    }

    /// Fails with the end of its log if it has ended and we have not ended it.
    pub(crate) fn check(&self) -> Result<()> {
        if self.killed || !self.has_ended() {
            return Ok(());
        }
        let message = format!("{} ended; its log ends with:\n{}", self.name, self.log_end());
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Whether it has ended. It is not reaped by this, so that its number stays its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// The last lines that it logged.
    pub(crate) fn log_end(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let start = file.metadata()?.len().saturating_sub(LOG_END_LEN);
            file.seek(SeekFrom::Start(start))?;
            let mut end = Vec::new();
            file.read_to_end(&mut end)?;
            Ok(end)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
    }

    /// CPU seconds since its start, and its anonymous memory in bytes; what was last seen and
    /// nothing when it is gone.
    pub(crate) fn resources(&self) -> (f64, u64) {
        if let Some(cpu) = cpu_of(self.id()) {
            self.cpu.set(cpu);
        }
        let anonymous = read(&proc_file(self.id(), "status")).as_deref().and_then(anonymous);
        (self.cpu.get(), anonymous.unwrap_or(0))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may have nobody left in it.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let started = Instant::now();
        while started.elapsed() < DEATH_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// CPU seconds that a process has used since its start.
pub(crate) fn cpu_of(id: u32) -> Option<f64> {
    read(&proc_file(id, "stat")).as_deref().and_then(cpu_seconds)
}

fn proc_file(id: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(id.to_string()).join(name)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// User and system time of a `/proc/PID/stat`, whose second field may contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / USER_HZ)
}

/// `RssAnon` of a `/proc/PID/status`.
fn anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// What an error shows of a log.
const LOG_END_LEN: u64 = 2 << 10;

/// How long a killed process is waited for: one that hangs in the kernel must not hang us.
const DEATH_MAX: Duration = Duration::from_secs(10);

/// The unit of `/proc/PID/stat`, the same on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;

/// Whether there is such a process that has not ended; one that ended and that nobody has waited
/// for does not count.
pub(crate) fn is_alive(process: u32) -> bool {
    let stat = match std::fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat,
        Err(error) => return error.kind() != std::io::ErrorKind::NotFound,
    };
    // The state comes after the name, which is in parentheses and may have some in it.
    !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start("shell", "agent", command, dir).unwrap()
    }

    fn wait_for(what: &str, mut probe: impl FnMut() -> bool) {
        let started = Instant::now();
        while !probe() {
            assert!(started.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn what_a_process_started_dies_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell("sleep 1000 & echo $!; wait", dir.path());
        wait_for("the grandchild", || process.log_end().parse::<u32>().is_ok());
        let grandchild = process.log_end();
        drop(process);
        wait_for("its end", || {
            // Whoever adopts it may leave it a zombie.
            read(&Path::new("/proc").join(&grandchild).join("stat"))
                .is_none_or(|stat| stat.contains(") Z "))
        });
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_an_error_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell("echo out of luck >&2; exit 3", dir.path());
        wait_for("the end", || process.check().is_err());
        let error = process.check().unwrap_err().to_string();
        assert!(error.contains("shell ended") && error.contains("out of luck"), "{error}");

        let mut process = shell("sleep 1000", dir.path());
        process.check().unwrap();
        process.kill().unwrap();
        wait_for("the end", || process.has_ended());
        process.check().unwrap();
    }

    #[test]
    fn what_the_kernel_says_of_a_process_is_understood() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a"), None);
        assert_eq!(anonymous("Name:\ta\nRssAnon:\t     120 kB\nRssFile: 1 kB"), Some(120 << 10));
        assert_eq!(anonymous("Name:\ta"), None);
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        // Ended and not waited for yet: only then is it sure that nobody else has the id.
        while is_alive(id) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
    }
}
