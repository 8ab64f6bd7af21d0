//! A system's processes on a run's hosts: one tracker, origins, agents, and a client beside each
//! agent.
//!
//! The storage that origins write back to is our testfs for every system: it is not what is
//! measured, and uber/kraken's leaves its files behind when it is killed. It is on the first
//! origin's host, so that writing back takes nothing from a link, and has ended when agents pull.
//! Where the blob is cold it is on the hub, and the blob is put there alone.

pub(crate) mod config;
mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kraken_core::{Error, Result};

use self::start::{COUNTED, Start};
use crate::cgroup::Cgroups;
use crate::client::{Ask, Blob, Inside};
use crate::lab::Lab;
use crate::process::{Process, cpu_of};
use crate::scenario::Scenario;
use crate::system::System;

/// The processes of a run. Dropping it kills them all.
pub(crate) struct Cluster {
    testfs: Process,
    /// A program that reaches the storage, and where that is, if the blob is fetched from it.
    storage: Option<(Inside, SocketAddr)>,
    tracker: Process,
    origins: Vec<Process>,
    agents: Vec<Process>,
    /// The programs on the agents' hosts, while nobody has taken them.
    clients: Vec<Option<Client>>,
    /// Numbers of the clients' processes.
    client_ids: Vec<u32>,
    /// By role, the most anonymous memory that a process had.
    anonymous_max: BTreeMap<String, u64>,
    /// After the processes: a group must be empty to be removed.
    cgroups: Option<Cgroups>,
}

/// A program on an agent's host.
pub(crate) struct Client {
    pub(crate) inside: Inside,
    /// Where the agent's server is for it.
    pub(crate) server: SocketAddr,
    /// Where the agent's registry is for it.
    pub(crate) registry: SocketAddr,
}

impl Cluster {
    /// Starts everything, waits until it is healthy, and gives the origins the blob.
    ///
    /// Cancel safe: what was started is killed.
    pub(crate) async fn start(
        system: &System,
        scenario: &Scenario,
        lab: &Lab<'_>,
        blob: &Blob,
    ) -> Result<Self> {
        system.check()?;
        let dir = std::path::absolute(lab.dir)
            .map_err(|e| Error::io(format!("find {}", lab.dir.display()), e))?;
        let start = Start::new(system, scenario, lab.network, &dir)?;
        let mut hub = start.hub()?;
        let testfs = start.testfs(&mut hub).await?;
        let origins = start.origins(&mut hub).await?;
        match scenario.cold {
            Some(_) => start.fill_storage(&mut hub, blob).await?,
            None => start.fill_origins(&mut hub, blob).await?,
        }
        let tracker = start.tracker(&mut hub).await?;
        let agents = start.agents(&mut hub).await?;
        let clients = start.clients()?;
        let client_ids = clients.iter().map(|client| client.inside.process().id()).collect();
        let storage = scenario.cold.map(|_| (hub, start.storage()));
        Ok(Self {
            testfs,
            storage,
            tracker,
            origins,
            agents,
            clients: clients.into_iter().map(Some).collect(),
            client_ids,
            anonymous_max: BTreeMap::new(),
            cgroups: start.into_cgroups(),
        })
    }

    /// The program on an agent's host, once.
    pub(crate) fn take_client(&mut self, agent: usize) -> Option<Client> {
        self.clients.get_mut(agent)?.take()
    }

    /// Stops an agent where it is.
    pub(crate) fn freeze_agent(&mut self, agent: usize) -> Result<()> {
        self.agents[agent].freeze()
    }

    /// Kills an origin.
    pub(crate) fn kill_origin(&mut self, origin: usize) -> Result<()> {
        self.origins[origin].kill()
    }

    /// Bytes that the storage has sent, if the blob is fetched from it.
    pub(crate) async fn storage_sent(&mut self) -> Result<Option<u64>> {
        match &mut self.storage {
            Some((hub, addr)) => hub.ask(&Ask::Sent { addr: *addr }).await.map(Some),
            None => Ok(None),
        }
    }

    /// Fails if a process has ended that should not have; notes how much memory each has.
    pub(crate) fn sample(&mut self) -> Result<()> {
        let mut seen = Vec::new();
        for process in self.processes() {
            process.check()?;
            seen.push((process.role(), process.resources().1));
        }
        for (role, anonymous) in seen {
            let max = self.anonymous_max.entry(role.to_owned()).or_default();
            *max = anonymous.max(*max);
        }
        Ok(())
    }

    /// By role, the most anonymous memory that a process had when sampled.
    pub(crate) fn anonymous_max(&self) -> BTreeMap<String, u64> {
        self.anonymous_max.clone()
    }

    /// CPU seconds by role since the start.
    pub(crate) fn cpu(&self) -> Result<BTreeMap<String, f64>> {
        let mut cpu = BTreeMap::new();
        for role in COUNTED {
            let used = match &self.cgroups {
                Some(cgroups) => cgroups.cpu_seconds(role)?,
                None => self.cpu_of_processes(role),
            };
            cpu.insert(role.to_owned(), used);
        }
        Ok(cpu)
    }

    fn cpu_of_processes(&self, role: &str) -> f64 {
        if role == start::CLIENT {
            return self.client_ids.iter().filter_map(|id| cpu_of(*id)).sum();
        }
        let processes = self.processes().filter(|process| process.role() == role);
        processes.map(|process| process.resources().0).sum()
    }

    /// All but the clients.
    fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.testfs, &self.tracker].into_iter().chain(&self.origins).chain(&self.agents)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // All at once; each is waited for when it is dropped itself.
        let processes = [&mut self.testfs, &mut self.tracker].into_iter();
        for process in processes.chain(&mut self.origins).chain(&mut self.agents) {
            let _ = process.kill();
        }
    }
}
