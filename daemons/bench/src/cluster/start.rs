//! How a cluster is started: who listens where, with which flags, in which order.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraken_core::{Error, Result};
use serde_json::Value;

use super::Client;
use super::config::{Configs, agent_flags, free_ports, origin_flags};
use crate::cgroup::Cgroups;
use crate::client::{Ask, Blob, Inside};
use crate::net::{Host, Network};
use crate::process::Process;
use crate::scenario::{Rate, Scenario, Storage};
use crate::system::System;

/// What all processes of a cluster are started with.
pub(super) struct Start<'a> {
    system: &'a System,
    cold: Option<Storage>,
    configs: Configs<'a>,
    cgroups: Option<Cgroups>,
    /// This program.
    kraken: PathBuf,
    hub: Place<'a>,
    origins: Vec<Place<'a>>,
    agents: Vec<Place<'a>>,
}

/// A host and the ports on it.
struct Place<'a> {
    host: &'a Host,
    ports: Ports,
}

/// The ports of a host, all different from every other host's where hosts share their ports.
#[derive(Debug, Clone, Copy)]
struct Ports {
    /// Where HTTP is: an agent's server, an origin's blob server, the tracker.
    http: u16,
    /// Where peers connect to.
    peer: u16,
    /// An agent's registry; on the first origin's host, or on the hub, the storage.
    other: u16,
}

impl<'a> Start<'a> {
    /// A start that puts all files under `dir`, which is absolute.
    pub(super) fn new(
        system: &'a System,
        scenario: &Scenario,
        network: &'a Network,
        dir: &'a Path,
    ) -> Result<Self> {
        if scenario.origins == 0 {
            return Err(Error::invalid(format!("{} has no origin: it needs one", scenario.name)));
        }
        let kraken = std::env::current_exe().map_err(|e| Error::io("find this program", e))?;
        let mut ports = Ports::of_hosts(network, 1 + scenario.origins + scenario.agents)?;
        let mut place = |name: &str| {
            let ports = ports.pop().expect("there are ports for all");
            Place { host: network.host(name), ports }
        };
        Ok(Self {
            system,
            cold: scenario.cold,
            configs: Configs::new(system.tuned, scenario.piece_len, dir)?,
            cgroups: Cgroups::create(&COUNTED)?,
            kraken,
            hub: place("hub"),
            origins: (0..scenario.origins).map(|n| place(&format!("origin{n}"))).collect(),
            agents: (0..scenario.agents).map(|n| place(&format!("agent{n}"))).collect(),
        })
    }

    /// A program on the tracker's host, which reaches all others.
    pub(super) fn hub(&self) -> Result<Inside> {
        self.inside(&self.hub, HELPER)
    }

    /// The storage, empty and answering.
    pub(super) async fn testfs(&self, hub: &mut Inside) -> Result<Process> {
        let addr = self.storage();
        let mut command = self.storage_place().host.command(&self.kraken);
        command.arg(TESTFS).arg(format!("--port={}", addr.port()));
        command.arg("--root").arg(self.configs.dir().join(TESTFS));
        if let Some(Storage { rate, latency }) = self.cold {
            let Rate(rate) = rate.unwrap_or(Rate(0));
            command.arg(format!("--egress-bytes-per-sec={rate}"));
            command.arg(format!("--latency={}us", latency.as_micros()));
        }
        let process = Process::start(TESTFS, TESTFS, command, self.configs.dir())?;
        self.count(&process)?;
        healthy(hub, &process, addr).await?;
        Ok(process)
    }

    /// The tracker, answering.
    pub(super) async fn tracker(&self, hub: &mut Inside) -> Result<Process> {
        let port = self.hub.ports.http;
        let config = self.configs.tracker(port, &self.origin_addrs());
        let process = self.role(("tracker", 0), &self.hub, &config, &[format!("--port={port}")])?;
        healthy(hub, &process, self.hub.http()).await?;
        Ok(process)
    }

    /// All origins, answering.
    pub(super) async fn origins(&self, hub: &mut Inside) -> Result<Vec<Process>> {
        let all = self.origin_addrs();
        let start = |(number, place): (usize, &Place<'_>)| {
            let (ports, addr) = (place.ports, place.host.addr);
            let config = self.configs.origin(&place.host.name, ports.http, &all, self.storage());
            let flags = origin_flags(addr.into(), ports.http, ports.peer);
            self.role(("origin", number), place, &config, &flags)
        };
        // None is healthy in the others' eyes before all have been started.
        let origins: Vec<Process> =
            self.origins.iter().enumerate().map(start).collect::<Result<_>>()?;
        all_healthy(hub, &origins, &self.origins).await?;
        Ok(origins)
    }

    /// All agents, answering.
    pub(super) async fn agents(&self, hub: &mut Inside) -> Result<Vec<Process>> {
        let tracker = self.hub.http();
        let start = |(number, place): (usize, &Place<'_>)| {
            let ports = place.ports;
            let config = self.configs.agent(&place.host.name, ports.other, tracker);
            let ip = place.host.addr.into();
            let flags = agent_flags(ip, ports.http, ports.peer, ports.other);
            self.role(("agent", number), place, &config, &flags)
        };
        let agents: Vec<Process> =
            self.agents.iter().enumerate().map(start).collect::<Result<_>>()?;
        all_healthy(hub, &agents, &self.agents).await?;
        Ok(agents)
    }

    /// A program beside each agent.
    pub(super) fn clients(&self) -> Result<Vec<Client>> {
        let client = |place: &Place<'_>| {
            Ok(Client {
                inside: self.inside(place, CLIENT)?,
                server: (Ipv4Addr::LOCALHOST, place.ports.http).into(),
                registry: (Ipv4Addr::LOCALHOST, place.ports.other).into(),
            })
        };
        self.agents.iter().map(client).collect()
    }

    /// Uploads the blob on the first origin's own host, past its link, and waits until all origins
    /// have it and it is written back.
    pub(super) async fn fill_origins(&self, hub: &mut Inside, blob: &Blob) -> Result<()> {
        let first = &self.origins[0];
        let mut uploader = self.inside(first, HELPER)?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, first.ports.http));
        let (blob, count) = (|| blob.clone(), self.origins.len());
        let fill = async {
            uploader.ask::<()>(&Ask::Owners { addr, blob: blob(), count }).await?;
            uploader.ask::<()>(&Ask::Upload { addr, blob: blob() }).await?;
            for origin in &self.origins {
                hub.ask::<()>(&Ask::Holds { addr: origin.http(), blob: blob() }).await?;
            }
            hub.ask::<()>(&Ask::Stored { addr: self.storage(), blob: blob() }).await
        };
        fill.await.map_err(|e| e.context("give the origins the blob"))
    }

    /// Puts the blob into the storage, past its rate, and nowhere else.
    pub(super) async fn fill_storage(&self, hub: &mut Inside, blob: &Blob) -> Result<()> {
        let ask = Ask::Store { addr: self.storage(), blob: blob.clone() };
        hub.ask::<()>(&ask).await.map_err(|e| e.context("give the storage the blob"))
    }

    /// What counts CPU time, for as long as the processes live.
    pub(super) fn into_cgroups(self) -> Option<Cgroups> {
        self.cgroups
    }

    fn origin_addrs(&self) -> Vec<SocketAddr> {
        self.origins.iter().map(Place::http).collect()
    }

    pub(super) fn storage(&self) -> SocketAddr {
        let place = self.storage_place();
        (place.host.addr, place.ports.other).into()
    }

    /// On an origin's host writing back takes nothing from a link; what is fetched takes its way
    /// over each origin's.
    fn storage_place(&self) -> &Place<'a> {
        if self.cold.is_some() { &self.hub } else { &self.origins[0] }
    }

    fn inside(&self, place: &Place<'_>, role: &'static str) -> Result<Inside> {
        let inside = Inside::start(role, place.host, &self.kraken, self.configs.dir())?;
        if role == CLIENT {
            self.count(inside.process())?;
        }
        Ok(inside)
    }

    /// Starts a program of the system; its files are named by its host.
    fn role(
        &self,
        (role, number): (&'static str, usize),
        place: &Place<'_>,
        config: &Value,
        flags: &[String],
    ) -> Result<Process> {
        let name = &place.host.name;
        let path = self.configs.write(name, config)?;
        let mut command = self.system.command(role, number, place.host);
        command.arg("--config").arg(path).args(flags);
        command.env("TMPDIR", self.configs.dir());
        let process = Process::start(name, role, command, self.configs.dir())?;
        self.count(&process)?;
        Ok(process)
    }

    /// Counts what a process uses for its role.
    fn count(&self, process: &Process) -> Result<()> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        cgroups.add(process.role(), process.id())
    }
}

impl Place<'_> {
    fn http(&self) -> SocketAddr {
        (self.host.addr, self.ports.http).into()
    }
}

impl Ports {
    /// Those of so many hosts.
    fn of_hosts(network: &Network, count: usize) -> Result<Vec<Self>> {
        if network.is_namespaced() {
            return Ok(vec![Self { http: 16002, peer: 16001, other: 16000 }; count]);
        }
        let ports = free_ports(3 * count)?;
        let ports = ports.chunks_exact(3);
        Ok(ports.map(|ports| Self { http: ports[0], peer: ports[1], other: ports[2] }).collect())
    }
}

async fn all_healthy(hub: &mut Inside, processes: &[Process], places: &[Place<'_>]) -> Result<()> {
    for (process, place) in processes.iter().zip(places) {
        healthy(hub, process, place.http()).await?;
    }
    Ok(())
}

/// Waits until the server of a process answers, or fails with the end of its log.
async fn healthy(hub: &mut Inside, process: &Process, addr: SocketAddr) -> Result<()> {
    let ended = async {
        loop {
            process.check()?;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let ask = Ask::Health { addr };
    tokio::select! {
        ended = ended => ended,
        healthy = hub.ask::<()>(&ask) => healthy.map_err(|e| {
            let (name, log) = (process.name(), process.log_end());
            e.context(format!("wait for {name} (its log ends with:\n{log}\n)"))
        }),
    }
}

/// The roles whose CPU time is counted.
pub(super) const COUNTED: [&str; 5] = ["agent", "origin", "tracker", TESTFS, CLIENT];

/// The role of what pulls from agents.
pub(super) const CLIENT: &str = "client";

/// The role of what helps to set up.
const HELPER: &str = "helper";

/// The role of the storage; also the subcommand of this program, and a directory.
const TESTFS: &str = "testfs";

/// How soon a process that ends while it starts is noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_share_their_ports_have_all_different_ones() {
        let ports = Ports::of_hosts(&Network::loopback(&[]), 5).unwrap();
        let mut all: Vec<u16> =
            ports.iter().flat_map(|ports| [ports.http, ports.peer, ports.other]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 15);
    }
}
