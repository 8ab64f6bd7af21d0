//! An agent as it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::service::Service as _;
use kraken_backends::BuildIndex;
use kraken_common::{Body, RequestBody, Role, Server, Serving, blocking};
use kraken_core::Result;
use kraken_core::http::{Client, ClientConfig};
use kraken_core::store::{Store, StoreConfig};
use kraken_p2p::node::Node;
use kraken_p2p::storage::StoreStorage;
use kraken_p2p::tracker::{HttpTrackerClient, TrackerClient};
use kraken_registry_api::Registry;

use crate::config::AgentConfig;
use crate::parts::Parts;
use crate::registry::AgentRegistry;
use crate::server;

/// A running agent. Dropping it does not end it in order; [`Agent::close`] does.
#[derive(Debug)]
pub struct Agent {
    parts: Arc<Parts>,
    registry: Serving,
    server: Serving,
}

impl Agent {
    /// Opens the store, joins the swarm and listens. Blobs of an earlier run are there at once;
    /// downloads that were cut off go on when they are asked for.
    pub async fn start(config: AgentConfig) -> Result<Self> {
        let registry = Server::bind(config.registry_listen, "the registry", "registry_listen")?;
        let server = Server::bind(config.server_listen, "the agent server", "server_listen")?;
        let store = open_store(&config).await?;
        let tracker: Arc<dyn TrackerClient> =
            Arc::new(HttpTrackerClient::new(config.trackers.clone())?);
        let http = Client::new(ClientConfig::default());
        let build_index = BuildIndex::new(config.build_indexes.clone(), http.clone())?;
        let storage = Arc::new(StoreStorage::new(store.clone()));
        let node = Node::builder(storage, Arc::clone(&tracker))
            .config(config.node())
            .start()
            .await
            .map_err(|error| error.context("`peer_listen`"))?;
        let parts =
            Arc::new(Parts { node, store, tracker, build_index, http, trackers: config.trackers });

        let service = Registry::new(AgentRegistry::new(Arc::clone(&parts)));
        let registry = registry.spawn(move |request: Request<RequestBody>| {
            let answer = service.call(request);
            async move {
                match answer.await {
                    Ok(response) => response.map(Body::new),
                    Err(never) => match never {},
                }
            }
        });
        let server = server.spawn({
            let parts = Arc::clone(&parts);
            move |request| server::answer(Arc::clone(&parts), request)
        });
        Ok(Self { parts, registry, server })
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

    /// Lets requests under way end, leaves the swarm, joins every task.
    pub async fn close(self) -> Result<()> {
        // Pulls that wait for the swarm end with the node, so it goes first.
        self.parts.node.close().await;
        self.registry.close().await;
        self.server.close().await;
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

async fn open_store(config: &AgentConfig) -> Result<Store> {
    let under = StoreConfig::under(&config.data_dir);
    // What is lost to a power failure here is fetched again.
    let store = StoreConfig { capacity_bytes: config.capacity_bytes, durable: false, ..under };
    blocking("open the store", move || Store::open(store)).await
}
