//! An origin as it runs.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use kraken_backends::origin::OriginConfig as ClusterConfig;
use kraken_backends::{Layout, OriginCluster};
use kraken_common::{Cleaner, Role, Server, Serving, backends, blocking};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::store::{Area, Store, StoreConfig};
use kraken_core::{Digest, Error, Namespace, Result};
use kraken_p2p::node::Node;
use kraken_p2p::storage::StoreStorage;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::OriginConfig;
use crate::followed::Followed;
use crate::membership::Membership;
use crate::parts::Parts;
use crate::queue::WriteBackQueue;
use crate::{key, metrics, refresh, server};

/// A running origin. Dropping it does not end it in order; [`Origin::close`] does.
#[derive(Debug)]
pub struct Origin {
    parts: Arc<Parts>,
    serving: Serving,
    cleaner: Cleaner,
}

impl Origin {
    /// Finds itself in its ring, opens the store, takes up the write-backs that an earlier run
    /// left, seeds and listens.
    pub async fn start(config: OriginConfig) -> Result<Self> {
        let server = Server::bind(config.listen, "the origin", BLOBSERVER_PORT)?;
        let areas = [
            (Area::Uploads, config.upload_cleanup),
            (Area::Downloads, config.upload_cleanup),
            (Area::Cache, config.cache_cleanup),
        ];
        let parts = open(config, server.addr()).await?;
        crate::write_back::start(&parts).await;
        let task = Arc::clone(&parts);
        parts.tasks.spawn(async move { task.stop.run_until_cancelled(follow(&task)).await });
        let metrics = metrics::of(Arc::clone(&parts));
        let server = server.with_metrics(&metrics, metrics::ROUTES).exposing(metrics);
        let serving = server.spawn({
            let parts = Arc::clone(&parts);
            move |request| server::answer(Arc::clone(&parts), request)
        });
        let cleaner = Cleaner::start(&parts.store, areas);
        Ok(Self { parts, serving, cleaner })
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
        self.cleaner.close().await;
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

/// All that an origin that listens at `addr` consists of, but for its tasks.
async fn open(config: OriginConfig, addr: SocketAddr) -> Result<Arc<Parts>> {
    let membership = Membership::join(config.ring, addr.to_string()).await?;
    let members = membership.members();
    let client = Client::new(ClientConfig::default());
    let (router, bandwidths) =
        backends::open(&config.backends, Layout::ShardedDockerBlob, &client).await?;
    bandwidths.divide(members.len());
    let open = move || {
        let arriving = place_of_arriving(&config.store)?;
        let download_dir = Some(arriving.clone());
        let store = Store::open(StoreConfig { download_dir, ..config.store })?;
        Ok((store, key::load(&arriving)?))
    };
    let (store, key) =
        blocking("open the store", open).await.map_err(|error: Error| error.context("castore"))?;
    // A handshake for a blob that is not here starts its refresh; the parts exist only after the
    // node, so the hook finds them through a cell.
    let cell: Arc<OnceLock<Weak<Parts>>> = Arc::default();
    let found = Arc::clone(&cell);
    let refresh = move |digest: &Digest, namespace: &Namespace| {
        if let Some(parts) = found.get().and_then(Weak::upgrade) {
            refresh::start(&parts, namespace, digest);
        }
    };
    let storage = StoreStorage::new(store.clone()).on_missing(Arc::new(refresh));
    let cluster = OriginCluster::new(members, client.clone(), ClusterConfig::default())?;
    let followed = Arc::new(Followed::new(store.clone(), cluster.clone()));
    let node = Node::builder(Arc::new(storage), Arc::clone(&followed) as _)
        .config(config.node)
        .start()
        .await
        .map_err(|error| error.context(format_args!("`{PEER_PORT}`")))?;
    let parts = Arc::new(Parts {
        membership,
        place: (config.zone, config.cluster_name),
        node,
        store,
        router: Arc::new(router),
        bandwidths,
        cluster,
        client,
        piece_lengths: config.piece_lengths,
        fetches: Arc::default(),
        followed,
        key: Arc::new(key),
        streams: config.stream,
        write_back: Arc::new(WriteBackQueue::new(&config.write_back)),
        write_back_stagger: config.write_back_stagger,
        fetch_bytes_max: config.fetch_bytes_max,
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    });
    let _ = cell.set(Arc::downgrade(&parts));
    Ok(parts)
}

/// Where blobs are that arrive: as configured, or inside the directory of complete ones where that
/// cannot be written or is on another file system, as with a volume for each directory. Blocks.
fn place_of_arriving(store: &StoreConfig) -> Result<PathBuf> {
    let configured = store.download_dir.as_ref();
    let configured = configured.ok_or_else(|| Error::invalid("there is no download_dir"))?;
    let device = |dir: &Path| std::fs::create_dir_all(dir).and_then(|()| Ok(dir.metadata()?.dev()));
    let why = match (device(configured), device(&store.cache_dir)) {
        (Ok(own), Ok(cache)) if own != cache => "it is on another file system".to_owned(),
        (Err(error), Ok(_)) => error.to_string(),
        // What is wrong with the other directory the store says.
        (_, _) => return Ok(configured.clone()),
    };
    let inside = store.cache_dir.join("arriving");
    let (dir, instead) = (configured.display(), inside.display());
    tracing::warn!(%dir, why, %instead, "blobs that arrive are elsewhere");
    Ok(inside)
}

/// Follows the ring for ever.
async fn follow(parts: &Parts) {
    let change = |members: Vec<String>| {
        parts.bandwidths.divide(members.len());
        if let Err(error) = parts.cluster.set_hosts(members) {
            tracing::warn!(%error, "copies go to the origins that were there before");
        }
    };
    parts.membership.follow(parts.client.clone(), change).await;
}

/// The flags that move the ports, for errors.
const BLOBSERVER_PORT: &str = "--blobserver-port";
const PEER_PORT: &str = "--peer-port";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn blobs_arrive_among_complete_ones_where_there_is_no_other_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::config::store_under(dir.path());
        let beside = dir.path().join("arriving");
        assert_eq!(place_of_arriving(&store).unwrap(), beside);
        std::fs::remove_dir(&beside).unwrap();
        std::fs::write(&beside, "no directory").unwrap();
        let inside = place_of_arriving(&store).unwrap();
        assert_eq!(inside, store.cache_dir.join("arriving"));
        drop(Store::open(StoreConfig { download_dir: Some(inside), ..store }).unwrap());
    }

    #[tokio::test]
    async fn a_blob_that_is_gone_is_not_counted_as_written_back() {
        let dir = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let config = OriginConfig::local(any, any, dir.path());
        let origin = Origin::start(config).await.unwrap();
        let queue = Arc::clone(&origin.parts.write_back);
        queue.push(&Digest::sha256(b"gone"), &"library/x".parse().unwrap(), Duration::ZERO);
        while queue.pending() > 0 {
            tokio::task::yield_now().await;
        }
        let stats = queue.stats();
        assert_eq!((stats.written, stats.gone, stats.failed), (0, 1, 0));
        origin.close().await.unwrap();
    }
}
