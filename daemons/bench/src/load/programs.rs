//! The programs that a load needs: a tracker and an origin, and for some an agent.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use kraken_core::http::{Client, ClientConfig, Request};
use kraken_core::{Error, ErrorKind, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::cluster::config::Configs;
use crate::net::{HostSpec, Network};
use crate::process::Process;
use crate::scenario::{Scenario, Start};
use crate::system::System;

/// Running programs. Dropping it kills them.
pub(super) struct Programs {
    pub(super) tracker: Process,
    pub(super) tracker_addr: SocketAddr,
    /// Kept because the tracker asks it.
    _origin: Process,
    origin_addr: SocketAddr,
    /// An agent and where its registry is.
    pub(super) agent: Option<(Process, SocketAddr)>,
    http: Client,
}

/// What programs are started with.
struct Starter<'a> {
    system: &'a System,
    configs: Configs<'a>,
    network: Network,
}

impl Programs {
    /// Starts an origin and a tracker, `with_agent` an agent too, on loopback, and waits until they
    /// answer.
    pub(super) async fn start(system: &System, dir: &Path, with_agent: bool) -> Result<Self> {
        system.check()?;
        let scenario = scenario();
        let configs = Configs::new(system.tuned, &scenario, dir)?;
        let network = Network::loopback(&[HostSpec { name: HOST.to_owned(), link: None }]);
        let starter = Starter { system, configs, network };
        let [origin, origin_peer, tracker, agent, agent_peer, registry] = ports()?;
        let addr = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Nothing is written back: nobody needs to be there.
        let config = starter.configs.origin("origin0", origin, &[addr(origin)], addr(1));
        let flags = [
            "--blobserver-hostname=127.0.0.1".to_owned(),
            format!("--blobserver-port={origin}"),
            "--peer-ip=127.0.0.1".to_owned(),
            format!("--peer-port={origin_peer}"),
        ];
        let http = Client::new(ClientConfig::default());
        let origin_process = starter.start("origin", "origin0", &config, &flags, GENERATOR_CPU)?;
        healthy(&http, &origin_process, addr(origin)).await?;
        let config = starter.configs.tracker(tracker, &[addr(origin)]);
        // What is measured has a core of its own.
        let cpu = if with_agent { GENERATOR_CPU } else { PROGRAM_CPU };
        let flags = [format!("--port={tracker}")];
        let tracker_process = starter.start("tracker", "hub", &config, &flags, cpu)?;
        healthy(&http, &tracker_process, addr(tracker)).await?;
        let agent = if with_agent {
            let config = starter.configs.agent("agent0", registry, addr(tracker));
            let flags = [
                format!("--agent-registry-port={registry}"),
                format!("--agent-server-port={agent}"),
                "--peer-ip=127.0.0.1".to_owned(),
                format!("--peer-port={agent_peer}"),
            ];
            let process = starter.start("agent", "agent0", &config, &flags, PROGRAM_CPU)?;
            healthy(&http, &process, addr(agent)).await?;
            Some((process, addr(registry)))
        } else {
            None
        };
        Ok(Self {
            tracker: tracker_process,
            tracker_addr: addr(tracker),
            _origin: origin_process,
            origin_addr: addr(origin),
            agent,
            http,
        })
    }

    /// Gives the origin a manifest and reads it from the agent, whose registry's address it
    /// returns.
    pub(super) async fn give(&self, manifest: &str, digest: &str) -> Result<SocketAddr> {
        let Some((_, registry)) = &self.agent else {
            return Err(Error::new(ErrorKind::Internal, "there is no agent to read from"));
        };
        let origin = self.origin_addr;
        let url = format!("http://{origin}/namespace/{REPOSITORY_ESCAPED}/blobs/{digest}/uploads");
        let begun = self.http.send(Request::post(&url)).await?;
        let upload = begun
            .header("location")
            .map(|location| format!("{url}/{location}"))
            .ok_or_else(|| Error::invalid(format!("origin {origin} names no upload")))?;
        let range = format!("0-{}", manifest.len());
        let chunk = Request::patch(&upload).header("content-range", range.as_str());
        self.http.send(chunk.body(manifest.to_owned())).await?;
        self.http.send(Request::put(&upload)).await?;
        let url = format!("http://{registry}/v2/{REPOSITORY}/manifests/{digest}");
        let read = self.http.send(Request::get(url)).await?.bytes(1 << 20).await?;
        if read != manifest.as_bytes() {
            return Err(Error::new(ErrorKind::Mismatch, "the agent has another manifest"));
        }
        Ok(*registry)
    }
}

impl Starter<'_> {
    fn start(
        &self,
        role: &'static str,
        host: &str,
        config: &Value,
        flags: &[String],
        cpu: usize,
    ) -> Result<Process> {
        let path = self.configs.write(host, config)?;
        let mut command = self.system.command(role, self.network.host(HOST));
        command.arg("--config").arg(path).args(flags).env("TMPDIR", self.configs.dir());
        let dir = self.configs.dir();
        on_cpu(cpu, || Process::start(host, role, command, dir))
    }
}

/// Does `work` in a thread that runs on this core, as does every process that it starts; on any
/// core if there are not two.
pub(super) fn on_cpu<T: Send>(cpu: usize, work: impl FnOnce() -> T + Send) -> T {
    let pinned = || {
        if has_two_cpus() {
            let all = sched_getaffinity(None).unwrap_or_default();
            let mut available = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
            let mut one = CpuSet::new();
            one.set(available.nth(cpu).unwrap_or(0));
            // Without it the figures are worse, and nothing else.
            let _ = sched_setaffinity(None, &one);
        }
        work()
    };
    std::thread::scope(|scope| match scope.spawn(pinned).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Whether a program and the load on it can have a core each.
pub(super) fn has_two_cpus() -> bool {
    sched_getaffinity(None).is_ok_and(|cpus| cpus.count() >= 2)
}

/// Waits until a program answers, or has ended.
async fn healthy(http: &Client, process: &Process, addr: SocketAddr) -> Result<()> {
    let url = format!("http://{addr}/health");
    let mut left = LOOKS;
    loop {
        process.check()?;
        let Err(error) = http.send(Request::get(&url).head_timeout(LOOK_MAX)).await else {
            return Ok(());
        };
        left -= 1;
        if left == 0 {
            let (name, log) = (process.name(), process.log_end());
            return Err(error.context(format!("wait for {name} (its log ends with:\n{log}\n)")));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Free ports.
fn ports<const N: usize>() -> Result<[u16; N]> {
    let find = || -> std::io::Result<[u16; N]> {
        // All are held until the last is found, so that no two are the same.
        let mut held = Vec::new();
        let mut ports = [0; N];
        for port in &mut ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            *port = listener.local_addr()?.port();
            held.push(listener);
        }
        Ok(ports)
    };
    find().map_err(|e| Error::io("find free ports", e))
}

/// What configurations are made for.
fn scenario() -> Scenario {
    Scenario {
        name: "load".to_owned(),
        about: String::new(),
        agents: 1,
        origins: 1,
        blob_len: 1,
        piece_len: 4 << 20,
        agent_link: None,
        origin_link: None,
        start: Start::Together,
        events: Vec::new(),
    }
}

/// The core of the program that is measured, among those this process may use.
pub(super) const PROGRAM_CPU: usize = 0;

/// The core of the generator and of programs that are not measured.
pub(super) const GENERATOR_CPU: usize = 1;

/// All programs are on one host.
const HOST: &str = "load";

/// Where the manifest is.
pub(super) const REPOSITORY: &str = "library/bench";

/// The same as a segment of a path.
const REPOSITORY_ESCAPED: &str = "library%2Fbench";

/// How often a program that starts is looked at.
const LOOKS: u32 = 1200;

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
