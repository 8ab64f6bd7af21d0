//! The programs that a load needs: a tracker and an origin, and for some an agent.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use kraken_backends::limits::UPLOAD_CHUNK_LEN;
use kraken_backends::{BytesSource, Origin};
use kraken_core::http::{Client, ClientConfig, Request};
use kraken_core::{Digest, Error, ErrorKind, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::cluster::config::{Configs, agent_flags, free_ports, origin_flags};
use crate::net::{HostSpec, Network};
use crate::process::Process;
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
        let configs = Configs::new(system.tuned, PIECE_LEN, dir)?;
        let network = Network::loopback(&[HostSpec { name: HOST.to_owned(), link: None }]);
        let starter = Starter { system, configs, network };
        let ports = free_ports(6)?;
        let (origin, origin_peer, tracker) = (ports[0], ports[1], ports[2]);
        let (agent, agent_peer, registry) = (ports[3], ports[4], ports[5]);
        let ip = Ipv4Addr::LOCALHOST;
        let addr = |port| SocketAddr::from((ip, port));
        // Nothing is written back: nobody needs to be there.
        let config = starter.configs.origin("origin0", origin, &[addr(origin)], addr(1));
        let flags = origin_flags(ip.into(), origin, origin_peer);
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
            let flags = agent_flags(ip.into(), agent, agent_peer, registry);
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
    pub(super) async fn give(&self, manifest: &str, digest: &Digest) -> Result<SocketAddr> {
        let Some((_, registry)) = &self.agent else {
            return Err(Error::new(ErrorKind::Internal, "there is no agent to read from"));
        };
        let origin =
            Origin::new(&self.origin_addr.to_string(), self.http.clone(), UPLOAD_CHUNK_LEN);
        let source = BytesSource::new(manifest.to_owned());
        origin.upload(&REPOSITORY.parse()?, digest, &source).await?;
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
        let mut command = self.system.command(role, 0, self.network.host(HOST));
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
    let begun = Instant::now();
    loop {
        process.check()?;
        let Err(error) = http.send(Request::get(&url).head_timeout(LOOK_MAX)).await else {
            return Ok(());
        };
        if begun.elapsed() > START_MAX {
            let (name, log) = (process.name(), process.log_end());
            return Err(error.context(format!("wait for {name} (its log ends with:\n{log}\n)")));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
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

/// Of a blob's pieces; manifests are smaller.
const PIECE_LEN: u64 = 4 << 20;

/// How long a program may take to start.
const START_MAX: Duration = Duration::from_secs(60);

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
