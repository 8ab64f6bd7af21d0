//! `kraken dev`: the proof, and what it leaves behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The program; killed when a test fails half-way.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `kraken dev` on free ports, with its temporary files below `dir`.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kraken"));
    command.args(["dev", "--port-base", "0"]).args(args).env("TMPDIR", dir).stdin(Stdio::null());
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn the_proof_passes_prints_its_table_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ended = command(dir.path(), &["--once"]).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{}: {out}{err}", ended.status);
    let rows: Vec<&str> = out.lines().skip_while(|line| !line.starts_with("agent")).collect();
    assert_eq!(rows.len(), 3, "{out}");
    for (number, row) in rows.iter().enumerate().skip(1) {
        let columns: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(columns.first(), Some(&number.to_string().as_str()), "{out}");
        assert_eq!(columns.last(), Some(&"yes"), "{out}");
    }
    assert!(is_empty(dir.path()));
}

#[test]
fn an_interrupted_proof_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = Dev(command(dir.path(), &[]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("data directory: "), "{first}");
    let second = lines.next().unwrap().unwrap();
    assert!(second.starts_with("the cluster runs"), "{second}");
    let pid = dev.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let status = dev.0.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{rest:?}");
    assert!(is_empty(dir.path()));
}

#[test]
fn a_port_already_taken_is_named_with_the_flag_that_moves_all() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The build-index's port is the fifth.
    let (port, base) = (taken.local_addr().unwrap().port(), taken.local_addr().unwrap().port() - 4);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kraken"));
    command.args(["dev", "--port-base", &base.to_string()]).env("TMPDIR", dir.path());
    let ended = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let err = String::from_utf8_lossy(&ended.stderr);
    // Another program may have one of the ports below it.
    assert!(err.contains("--port-base"), "{err}");
    assert!(err.contains(&port.to_string()) || err.contains("in use"), "{err}");
    assert!(is_empty(dir.path()));
}
