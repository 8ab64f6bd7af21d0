//! All roles of a cluster, started through the constructors that the daemons use.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use kraken_agent::{Agent, AgentConfig};
use kraken_build_index::{BuildIndex, BuildIndexConfig};
use kraken_common::Hosts;
use kraken_core::{Error, Result};
use kraken_origin::{Origin, OriginConfig};
use kraken_proxy::{Proxy, ProxyConfig};
use kraken_tracker::{Tracker, TrackerConfig};
use serde_json::json;

use super::Args;

/// Holds all addresses, once the cluster is ready.
pub(super) const ADDRESSES_FILE: &str = "cluster.json";

/// The ports between one agent and the next.
const AGENT_PORT_STEP: u16 = 1000;

/// A running cluster.
pub(super) struct Cluster {
    pub(super) proxy: Proxy,
    pub(super) agents: Vec<Agent>,
    pub(super) origin: Origin,
    build_index: BuildIndex,
    tracker: Tracker,
}

impl Cluster {
    /// Starts every role; each needs the addresses of the ones before it.
    pub(super) async fn start(args: &Args, data_dir: &Path) -> Result<Self> {
        let at = |offset: u16| -> Result<SocketAddr> {
            let port = match args.port_base {
                0 => 0,
                base => base.checked_add(offset).ok_or_else(|| {
                    Error::invalid(format!(
                        "--port-base {base} leaves no port for {} agents",
                        args.agents
                    ))
                })?,
            };
            Ok(SocketAddr::new(args.listen, port))
        };
        let hint = |error: Error| match is_taken(&error) {
            true => error.context("--port-base N moves all ports, 0 takes free ones"),
            false => error,
        };
        let origin = Origin::start(OriginConfig::local(at(2)?, at(1)?, &data_dir.join("origin")))
            .await
            .map_err(hint)?;
        let origins = vec![origin.addr().to_string()];
        let tracker = Tracker::start(TrackerConfig {
            listen: at(3)?,
            ..TrackerConfig::new(origins.clone())?
        })
        .await
        .map_err(hint)?;
        let build_index = BuildIndex::start(BuildIndexConfig {
            listen: at(4)?,
            ..BuildIndexConfig::local(&data_dir.join("build-index"), Hosts::fixed(origins.clone())?)
        })
        .await
        .map_err(hint)?;
        let build_indexes = vec![build_index.addr().to_string()];
        let proxy =
            ProxyConfig::local(at(0)?, &data_dir.join("proxy"), origins, build_indexes.clone())?;
        let proxy = Proxy::start(proxy).await.map_err(hint)?;
        let mut agents = Vec::new();
        for number in 1..=args.agents {
            let base = number
                .checked_mul(AGENT_PORT_STEP)
                .ok_or_else(|| Error::invalid("too many agents"))?;
            let config = AgentConfig::local(
                [at(base)?, at(base + 1)?, at(base + 2)?],
                &data_dir.join(format!("agent-{number}")),
                vec![tracker.addr().to_string()],
                build_indexes.clone(),
            )?;
            agents.push(Agent::start(config).await.map_err(hint)?);
        }
        Ok(Self { proxy, agents, origin, build_index, tracker })
    }

    /// Writes `<data-dir>/cluster.json`, whole or not at all.
    pub(super) fn write_addresses(&self, data_dir: &Path) -> Result<()> {
        let agents: Vec<_> = self
            .agents
            .iter()
            .map(|agent| {
                json!({
                    "registry": agent.registry_addr().to_string(),
                    "peer": agent.peer_addr().to_string(),
                    "server": agent.server_addr().to_string(),
                })
            })
            .collect();
        let addresses = json!({
            "proxy": self.proxy.addr().to_string(),
            "origin": {
                "http": self.origin.addr().to_string(),
                "peer": self.origin.peer_addr().to_string(),
            },
            "tracker": self.tracker.addr().to_string(),
            "build_index": self.build_index.addr().to_string(),
            "agents": agents,
        });
        let (path, part) =
            (data_dir.join(ADDRESSES_FILE), data_dir.join(format!("{ADDRESSES_FILE}.part")));
        std::fs::write(&part, format!("{addresses:#}\n"))
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|error| Error::io(format!("write {}", path.display()), error))
    }

    /// The lines to copy and paste.
    pub(super) fn instructions(&self) -> String {
        let mut text = String::new();
        let proxy = self.proxy.addr();
        let agent = self.agents.first().map_or(proxy, Agent::registry_addr);
        let lines = [
            String::from("\nThe cluster is ready. Push through the proxy, pull from any agent:\n"),
            format!("  docker tag alpine {proxy}/library/alpine:1"),
            format!("  docker push {proxy}/library/alpine:1"),
            format!("  docker pull {agent}/library/alpine:1"),
            format!("  ctr image pull --plain-http {agent}/library/alpine:1"),
            format!("  podman pull --tls-verify=false {agent}/library/alpine:1"),
            String::from("  skopeo copy --dest-tls-verify=false docker-archive:alpine.tar \\"),
            format!("    docker://{proxy}/library/alpine:1"),
            String::from("\nCtrl-C stops it."),
        ];
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Ends every role, those first that ask others.
    pub(super) async fn close(self) {
        let mut failures = Vec::new();
        for agent in self.agents {
            failures.extend(agent.close().await.err());
        }
        failures.extend(self.proxy.close().await.err());
        failures.extend(self.build_index.close().await.err());
        failures.extend(self.tracker.close().await.err());
        failures.extend(self.origin.close().await.err());
        for error in failures {
            tracing::warn!(%error, "a role did not end in order");
        }
    }
}

/// Whether the reason is a port that somebody else has.
fn is_taken(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}
