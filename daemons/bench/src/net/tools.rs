//! The programs that make namespaces, devices and caps: `ip` and `tc`.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kraken_core::{Error, ErrorKind, Result};

/// Where `ip` and `tc` are, found by a process that may use them.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) ip: PathBuf,
    tc: PathBuf,
}

impl Tools {
    pub(super) fn find() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "making network namespaces needs root; run this as root, or without links of \
                 their own (--loopback)",
            ));
        }
        Ok(Self { ip: program("ip")?, tc: program("tc")? })
    }

    /// Makes a namespace; `false` if there is one of this name.
    pub(super) fn add_namespace(&self, name: &str) -> Result<bool> {
        let output = output(Command::new(&self.ip).args(["netns", "add", name]), "")?;
        if !output.status.success() && stderr(&output).contains("File exists") {
            return Ok(false);
        }
        checked(&self.ip, &output).map_err(|error| error.context("making network namespaces"))?;
        Ok(true)
    }

    /// What one command of `ip` prints in a namespace.
    pub(super) fn ip_in(&self, namespace: &str, words: &[&str]) -> Result<String> {
        let output = output(Command::new(&self.ip).args(["-n", namespace]).args(words), "")?;
        checked(&self.ip, &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Commands of `ip`, one a line; it stops at the first that fails.
    pub(super) fn ip_batch(&self, namespace: Option<&str>, lines: &str) -> Result<()> {
        match namespace {
            Some(namespace) => batch(&self.ip, &["-n", namespace], lines),
            None => batch(&self.ip, &[], lines),
        }
    }

    /// Commands of `ip`, one a line, all of them, whichever fail.
    pub(super) fn ip_batch_of_all(&self, lines: &str) -> Result<()> {
        batch(&self.ip, &["-force"], lines)
    }

    /// Commands of `tc`, one a line; it stops at the first that fails.
    pub(super) fn tc_batch(&self, namespace: &str, lines: &str) -> Result<()> {
        batch(&self.tc, &["-n", namespace], lines)
    }

    /// The namespace's kernel keeps nothing of a connection for the next one to the same host: a
    /// run must not begin with what the run before it, of another system, learned of the links.
    pub(super) fn forget_connections(&self, namespace: &str) -> Result<()> {
        let mut command = Command::new(&self.ip);
        command.args(["netns", "exec", namespace, "sh", "-c"]);
        command.arg("echo 1 >/proc/sys/net/ipv4/tcp_no_metrics_save");
        checked(&self.ip, &output(&mut command, "")?)
    }
}

/// `PATH` and where the programs of root are, which not every `PATH` has.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_absolute() && file.is_file());
    found.ok_or_else(|| {
        Error::not_found(format!(
            "looking for `{name}`, which makes the hosts' links: it is not installed; \
             install iproute2, or run without links (--loopback)"
        ))
    })
}

fn output(command: &mut Command, stdin: &str) -> Result<Output> {
    let failed = {
        let program = command.get_program().to_owned();
        move |error| Error::io(format!("running {}", program.display()), error)
    };
    // A group of its own: Ctrl-C in a terminal must not end it half-way through a removal.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(&failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends early does not read the rest; its status and words say why.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    child.wait_with_output().map_err(failed)
}

/// Runs the lines; the error has the line that failed, which the programs tell by its number.
fn batch(program: &Path, words: &[&str], lines: &str) -> Result<()> {
    let output = output(Command::new(program).args(words).args(["-batch", "-"]), lines)?;
    checked(program, &output).map_err(|error| {
        let said = stderr(&output);
        let number = said.lines().find_map(|line| line.strip_prefix("Command failed -:"));
        let number = number.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(0);
        let Some(line) = lines.lines().nth(number.saturating_sub(1)) else { return error };
        let hint = if line.contains("congctl") { CONGESTION_HINT } else { "" };
        error.context(format!("running `{line}`{hint}"))
    })
}

fn checked(program: &Path, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = stderr(output);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = HINTS.iter().find(|(words, _)| said.contains(words)).map_or("", |(_, hint)| hint);
    let name = program.file_name().unwrap_or(program.as_os_str()).display();
    Err(Error::new(ErrorKind::Io, format!("`{name}` failed ({}): {said}{hint}", output.status)))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `ip` and `tc` say of a kernel or a container that lacks something, and how to mend it.
const HINTS: [(&str, &str); 3] = [
    (
        "Operation not permitted",
        "; this root may not (a container?): give it CAP_NET_ADMIN and CAP_SYS_ADMIN, or run \
         without links (--loopback)",
    ),
    ("qdisc kind is unknown", "; the kernel has no token bucket: modprobe sch_tbf"),
    ("Unknown device type", "; the kernel has no such device: modprobe veth bridge"),
];
const CONGESTION_HINT: &str = " (has the kernel this congestion control? modprobe tcp_cubic)";
