//! One role as a child process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::{PATIENCE, http};

/// A free port that stays ours: bound but not listened on, so that the system gives it to nobody
/// while a role, which binds with `SO_REUSEADDR`, may still listen on it, again and again.
pub(crate) struct Port {
    addr: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// A port of the loopback address.
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { addr: socket.local_addr().unwrap(), _held: socket }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A role: its command line and its configuration, and its process while it runs.
pub(crate) struct Role {
    name: String,
    kind: &'static str,
    /// The flags that the next start is given beside `--config`.
    pub(crate) flags: Vec<String>,
    /// The file that the next start is given, in uber/kraken's keys (all JSON is YAML).
    pub(crate) config: Value,
    /// Where `/health` is.
    pub(crate) http: SocketAddr,
    /// The ports it listens on.
    pub(crate) reserved: Vec<Port>,
    /// Put in front of its command line; must replace itself by the role.
    pub(crate) wrapper: Vec<String>,
    config_path: PathBuf,
    log_path: PathBuf,
    child: Option<Child>,
}

impl Role {
    /// A role that does not run yet.
    pub(crate) fn new(
        dir: &Path,
        name: &str,
        kind: &'static str,
        ports: &[(&str, SocketAddr)],
        config: Value,
        http: SocketAddr,
    ) -> Self {
        let ports = ports.iter().map(|(flag, addr)| format!("--{flag}={}", addr.port()));
        let log = "--log=info,kraken_p2p=debug".to_owned();
        Self {
            name: name.to_owned(),
            kind,
            flags: ports.chain(["--bind=127.0.0.1".to_owned(), log]).collect(),
            config,
            http,
            reserved: Vec::new(),
            wrapper: Vec::new(),
            config_path: dir.join(format!("{name}.yaml")),
            log_path: dir.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Starts it and waits until it is healthy.
    pub(crate) fn start(&mut self) {
        self.spawn();
        let started = Instant::now();
        loop {
            if http::try_get(self.http, "/health").is_ok_and(|answer| answer.status == 200) {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            assert!(started.elapsed() < PATIENCE, "{} is not healthy", self.name);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Starts it and waits until it ends; how, and what it logged.
    pub(crate) fn run_to_end(&mut self) -> (ExitStatus, String) {
        self.spawn();
        (self.wait(), self.log())
    }

    /// Asks it to end, with SIGTERM, and waits until it does; how.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {pid}: {sent}");
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                self.child = None;
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "{} does not end", self.name);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Ends it as a power failure would: SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Kills it and starts it again with its present configuration.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Its anonymous memory at this moment, in bytes.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        let id = self.child.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// What it logged so far, in all its runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut config = self.config.clone();
        let plain = json!({"disabled": true});
        merge(&mut config, &json!({"tls": {"server": plain, "client": plain}}));
        fs::write(&self.config_path, config.to_string()).unwrap();
        let log = File::options().create(true).append(true).open(&self.log_path).unwrap();
        let program = env!("CARGO_BIN_EXE_kraken").to_owned();
        let words: Vec<String> =
            self.wrapper.iter().cloned().chain([program, self.kind.to_owned()]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        // A file server has no configuration.
        if self.kind != "testfs" {
            command.arg("--config").arg(&self.config_path);
        }
        let child = command
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {}\n{}", self.name, self.log());
        }
    }
}

/// Lays `extra` over `into`: objects key by key, all else as a whole.
pub(crate) fn merge(into: &mut Value, extra: &Value) {
    match (into, extra) {
        (Value::Object(into), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, extra) => into.clone_from(extra),
    }
}
