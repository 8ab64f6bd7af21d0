//! An origin as it runs.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use kraken_backends::OriginCluster;
use kraken_backends::origin::OriginConfig as ClusterConfig;
use kraken_common::{Role, Server, Serving, blocking};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::ring::Ring;
use kraken_core::store::{Store, StoreConfig};
use kraken_core::{Digest, Error, ErrorKind, MetaInfo, Namespace, Result};
use kraken_p2p::node::Node;
use kraken_p2p::storage::StoreStorage;
use kraken_p2p::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::OriginConfig;
use crate::parts::Parts;
use crate::queue::WriteBackQueue;
use crate::refresh;
use crate::server;

/// A running origin. Dropping it does not end it in order; [`Origin::close`] does.
#[derive(Debug)]
pub struct Origin {
    parts: Arc<Parts>,
    serving: Serving,
}

impl Origin {
    /// Opens the store, takes up the write-backs that an earlier run left, seeds and listens.
    pub async fn start(config: OriginConfig) -> Result<Self> {
        let server = Server::bind(config.listen, "the origin", "listen")?;
        let name = config.name.clone().unwrap_or_else(|| server.addr().to_string());
        let ring = ring(&config, &name)?;
        let router = Arc::new(config.router().await?);
        let piece_lengths = config.piece_lengths()?;
        let store = open_store(&config).await?;
        // A handshake for a blob that is not here starts its refresh; the parts exist only after
        // the node, so the hook finds them through a cell.
        let cell: Arc<std::sync::OnceLock<Weak<Parts>>> = Arc::default();
        let found = Arc::clone(&cell);
        let refresh = move |digest: &Digest, namespace: &Namespace| {
            if let Some(parts) = found.get().and_then(Weak::upgrade) {
                refresh::start(&parts, namespace, digest);
            }
        };
        let storage = StoreStorage::new(store.clone()).on_missing(Arc::new(refresh));
        let node = Node::builder(Arc::new(storage), Arc::new(NoTracker))
            .config(config.node())
            .start()
            .await
            .map_err(|error| error.context("`peer_listen`"))?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let write_back = Arc::new(WriteBackQueue::new(config.retry_pauses()));
        let client = Client::new(ClientConfig::default());
        let members = ring.members().to_vec();
        let cluster = OriginCluster::new(members, client, ClusterConfig::default())?;
        let parts = Arc::new(Parts {
            name,
            node,
            store,
            router,
            ring,
            cluster,
            piece_lengths,
            fetches: Arc::default(),
            write_back,
            tasks,
            stop,
        });
        let _ = cell.set(Arc::downgrade(&parts));
        crate::write_back::start(&parts).await;
        let serving = server.spawn({
            let parts = Arc::clone(&parts);
            move |request| server::answer(Arc::clone(&parts), request)
        });
        Ok(Self { parts, serving })
    }

    /// Where the HTTP endpoints are.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// Where peers connect to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.parts.node.local_addr()
    }

    /// The origin's part in the swarm.
    pub fn node(&self) -> &Node {
        &self.parts.node
    }

    /// Lets requests under way end, stops seeding, joins every task. Write-backs that are not done
    /// are taken up at the next start.
    pub async fn close(self) -> Result<()> {
        self.serving.close().await;
        self.parts.stop.cancel();
        self.parts.tasks.close();
        self.parts.tasks.wait().await;
        self.parts.node.close().await;
        Ok(())
    }
}

impl Role for Origin {
    type Config = OriginConfig;

    const NAME: &'static str = "kraken-origin";

    fn start(config: OriginConfig) -> impl Future<Output = Result<Self>> + Send {
        Self::start(config)
    }

    fn close(self) -> impl Future<Output = Result<()>> + Send {
        self.close()
    }
}

fn ring(config: &OriginConfig, name: &str) -> Result<Ring> {
    let mut members = config.cluster.clone();
    if members.is_empty() {
        members.push(name.to_owned());
    }
    if !members.iter().any(|member| member == name) {
        return Err(Error::invalid(format!(
            "this origin, {name}, is not in its cluster {members:?}: set name to how the cluster \
             lists it"
        )));
    }
    let mut ring = Ring::new(config.max_replica);
    ring.set_members(members);
    Ok(ring)
}

async fn open_store(config: &OriginConfig) -> Result<Store> {
    let under = StoreConfig::under(&config.data_dir);
    let store = StoreConfig { capacity_bytes: config.capacity_bytes, download_dir: None, ..under };
    blocking("open the store", move || Store::open(store)).await
}

/// An origin neither announces nor downloads from the swarm.
#[derive(Debug)]
struct NoTracker;

#[async_trait]
impl TrackerClient for NoTracker {
    async fn announce(&self, _: AnnounceRequest) -> Result<AnnounceResponse> {
        Err(Error::new(ErrorKind::Unsupported, "an origin does not announce"))
    }

    async fn metainfo(&self, _: &Namespace, _: &Digest) -> Result<MetaInfo> {
        Err(Error::new(ErrorKind::Unsupported, "an origin asks no tracker"))
    }
}
