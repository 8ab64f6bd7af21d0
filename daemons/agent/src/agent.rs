//! An agent as it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use kraken_backends::BuildIndex;
use kraken_common::metrics::routes;
use kraken_common::{Cleaner, Companion, Hosts, RequestBody, Role, Server, Serving, blocking};
use kraken_core::Result;
use kraken_core::http::{Client, ClientConfig};
use kraken_core::store::{Area, Store};
use kraken_p2p::node::Node;
use kraken_p2p::storage::StoreStorage;
use kraken_p2p::tracker::{HttpTrackerClient, TrackerClient};
use kraken_registry_api::Registry;

use crate::config::AgentConfig;
use crate::finishing::Finishing;
use crate::parts::Parts;
use crate::recent::RecentManifests;
use crate::registry::AgentRegistry;
use crate::{access, metrics, server};

/// A running agent. Dropping it does not end it in order; [`Agent::close`] does.
#[derive(Debug)]
pub struct Agent {
    pub(crate) parts: Arc<Parts>,
    registry: Serving,
    server: Serving,
    /// Follows the hosts of trackers and build-indexes.
    following: Companion,
    cleaner: Cleaner,
}

impl Agent {
    /// Opens the store, joins the swarm and listens. Blobs of an earlier run are there at once;
    /// downloads that were cut off go on when they are asked for.
    pub async fn start(config: AgentConfig) -> Result<Self> {
        let registry = Server::bind(config.registry_listen, "the registry", REGISTRY_PORT)?;
        let server = Server::bind(config.server_listen, "the agent server", SERVER_PORT)?;
        let store = config.store.clone();
        let store = blocking("open the store", move || Store::open(store)).await;
        let store = store.map_err(|error| error.context("store"))?;
        let http = Client::new(ClientConfig::default());
        let (parts, following) = join(&config, store, http).await?;
        let zone = &config.node.zone;
        tracing::info!(registry = %registry.addr(), server = %server.addr(), zone, "agent serves");

        let metrics = metrics::of(Arc::clone(&parts));
        let registry = registry.with_metrics(&metrics, routes::REGISTRY);
        let server = server.with_metrics(&metrics, metrics::ROUTES).exposing(metrics);
        let service = Registry::new(AgentRegistry::new(Arc::clone(&parts)));
        let allowed = Arc::new(config.allowed_clients);
        let registry = registry.spawn(move |request: Request<RequestBody>| {
            let (service, allowed) = (service.clone(), Arc::clone(&allowed));
            async move { access::answer(&service, &allowed, request).await }
        });
        let server = server.spawn({
            let parts = Arc::clone(&parts);
            move |request| server::answer(Arc::clone(&parts), request)
        });
        let areas =
            [(Area::Downloads, config.download_cleanup), (Area::Cache, config.cache_cleanup)];
        let cleaner = Cleaner::start(&parts.store, areas);
        Ok(Self { parts, registry, server, following, cleaner })
    }

    /// Where docker and containerd pull from.
    pub fn registry_addr(&self) -> SocketAddr {
        self.registry.addr()
    }

    /// Where the HTTP endpoints are.
    pub fn server_addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Where peers connect to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.parts.node.local_addr()
    }

    /// The agent's part in the swarm.
    pub fn node(&self) -> &Node {
        &self.parts.node
    }

    /// Lets requests under way end, those of both ports at the same time; leaves the swarm, joins
    /// every task.
    pub async fn close(self) -> Result<()> {
        self.following.close().await;
        self.cleaner.close().await;
        // In this order: neither port accepts any more when the node begins to end. Pulls that wait
        // for the swarm end with it, so that only bytes under way are waited for.
        tokio::join!(
            biased;
            self.registry.close(),
            self.server.close(),
            self.parts.node.close(),
        );
        if let Some(finishing) = &self.parts.finishing {
            finishing.close().await;
        }
        Ok(())
    }
}

impl Role for Agent {
    type Config = AgentConfig;

    const NAME: &'static str = "kraken-agent";

    fn start(config: AgentConfig) -> impl Future<Output = Result<Self>> + Send {
        Self::start(config)
    }

    fn close(self) -> impl Future<Output = Result<()>> + Send {
        self.close()
    }
}

/// Finds the hosts to ask, starts the node, and begins to follow the hosts.
async fn join(config: &AgentConfig, store: Store, http: Client) -> Result<(Arc<Parts>, Companion)> {
    let trackers = resolve(&config.trackers, "tracker.hosts").await?;
    let build_indexes = resolve(&config.build_indexes, "build_index.hosts").await?;
    let tracker_client = config.tracker_client.clone();
    let tracker = HttpTrackerClient::with_client(http.clone(), trackers.clone(), tracker_client)
        .map_err(|error| error.context("tracker.hosts"))?;
    let tracker = Arc::new(tracker);
    let health = config.build_index_health;
    let build_index = BuildIndex::with_health(build_indexes.clone(), health, http.clone())
        .map_err(|error| error.context("build_index.hosts"))?;
    let storage = Arc::new(StoreStorage::new(store.clone()));
    let node = Node::builder(storage, Arc::clone(&tracker) as Arc<dyn TrackerClient>)
        .config(config.node.clone())
        .start()
        .await
        .map_err(|error| error.context(format_args!("`{PEER_PORT}`")))?;
    let following = Companion::spawn({
        let sources = (config.trackers.clone(), config.build_indexes.clone());
        let (tracker, build_index) = (Arc::clone(&tracker), build_index.clone());
        async move {
            let trackers = sources.0.follow(trackers, |hosts| tracker.set_trackers(hosts));
            let build_indexes = sources.1.follow(build_indexes, |hosts| {
                if let Err(error) = build_index.set_hosts(hosts) {
                    tracing::warn!(%error, "build-indexes stay as they were");
                }
            });
            tokio::join!(trackers, build_indexes);
        }
    });
    let recent = RecentManifests::default();
    let finishing = config.finish_downloads.then(Finishing::default);
    let parts = Parts { node, store, tracker, build_index, http, recent, finishing };
    Ok((Arc::new(parts), following))
}

/// The hosts under `key` at this moment.
async fn resolve(hosts: &Hosts, key: &str) -> Result<Vec<String>> {
    hosts.at_start().await.map_err(|error| error.context(key))
}

/// The flags that move the ports, for errors.
const REGISTRY_PORT: &str = "--agent-registry-port";
const SERVER_PORT: &str = "--agent-server-port";
const PEER_PORT: &str = "--peer-port";
