//! The tokio shell round the swarm.
//!
//! One task owns the [`crate::swarm::Swarm`]; each connection has a task that reads and one that
//! writes; disk work runs on the runtime's blocking threads, a bounded number of jobs at once. A
//! [`Node`] runs on the caller's runtime, installs nothing global, and ends with [`Node::close`].
#![allow(clippy::disallowed_methods, reason = "the node is the shell that does the I/O")]

mod blocking;
mod buffers;
mod commands;
mod complaints;
mod config;
mod conn;
mod download;
mod driver;
mod event;
mod inner;
mod landing;
mod lease;
pub(crate) mod limits;
mod link;
mod listen;
mod no_news;
mod openings;
mod output;
mod recalled;
mod refresh;
mod running;
mod shaping;
mod shared;
mod stats;
mod stream;
mod subscription;
mod survey;
#[cfg(test)]
mod tests;
mod timeline;
mod torrent;
mod write;

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use kraken_core::{Digest, Error, ErrorKind, MetaInfo, Namespace, PeerInfo, Result, TorrentMeta};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub use config::{NodeConfig, PeerIdFactory};
pub use download::Download;
pub use landing::Landing;
pub use running::{DownloadPhase, DownloadStatus};
pub use stats::{DownloadTotal, DownloadTotals, NodeStats};
pub use stream::BlobStream;
pub use subscription::Progress;
pub use timeline::DownloadTimes;

use commands::add;
use driver::Driver;
use event::{Command, Event};
use inner::NodeInner;
use running::Asking;
use shared::Shared;
use torrent::Torrent;

use crate::storage::TorrentStorage;
use crate::swarm::{Blacklisted, Swarm, TorrentSpec};
use crate::tracker::TrackerClient;

/// A peer: downloads blobs, and sends what it has to others. Cheap to clone.
///
/// When the last clone and the last [`Download`] are dropped its tasks end by themselves;
/// [`Node::close`] also waits for them.
#[derive(Debug, Clone)]
pub struct Node(Arc<NodeInner>);

/// Sets a node up; see [`Node::builder`].
#[derive(Debug)]
pub struct NodeBuilder {
    storage: Arc<dyn TorrentStorage>,
    tracker: Arc<dyn TrackerClient>,
    config: NodeConfig,
}

impl NodeBuilder {
    /// Replaces the configuration.
    #[must_use]
    pub fn config(mut self, config: NodeConfig) -> Self {
        self.config = config;
        self
    }

    /// Listens and starts the node's tasks on the current tokio runtime.
    pub async fn start(self) -> Result<Node> {
        let Self { storage, tracker, config } = self;
        let listen = config.listen;
        let refused = |error| {
            let text = format!("listen for peers: {listen} cannot be had; choose another address");
            Error::io(text, error)
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        conn::set_congestion(&listener, config.congestion.as_deref()).map_err(|error| {
            let name = config.congestion.as_deref().unwrap_or_default();
            Error::io(format!("set the congestion control {name:?} for peers"), error)
        })?;
        let local_addr = listener.local_addr().map_err(refused)?;
        let ip = match &config.announce_ip {
            Some(ip) => ip.clone(),
            None => own_ip(local_addr.ip()).to_string(),
        };
        let port = local_addr.port();
        let peer_id = config.peer_id.make(&ip, port);
        let local = PeerInfo { peer_id, ip, port, origin: config.origin, complete: false };
        let swarm = Swarm::new(config.swarm.clone(), local.clone(), config::random_u64());
        let (events, events_rx) = mpsc::channel(limits::EVENTS_MAX);
        let (commands, commands_rx) = mpsc::channel(limits::COMMANDS_MAX);
        let shared = Arc::new(Shared::new(config, local, storage, tracker, events));
        let driver = Driver::new(Arc::clone(&shared), swarm, events_rx, commands_rx);
        shared.tasks.spawn(driver.run());
        let accept = listen::run(Arc::clone(&shared), listener, commands.clone());
        shared.tasks.spawn(accept);
        tracing::info!(peer_id = %shared.local.peer_id, %local_addr, "node started");
        Ok(Node(Arc::new(NodeInner { shared, commands, local_addr })))
    }
}

impl Node {
    /// A node that keeps pieces in `storage` and finds peers through `tracker`.
    pub fn builder(
        storage: Arc<dyn TorrentStorage>,
        tracker: Arc<dyn TrackerClient>,
    ) -> NodeBuilder {
        NodeBuilder { storage, tracker, config: NodeConfig::default() }
    }

    /// Starts to download a blob, or joins a download of it. A blob that storage already has is
    /// complete at once and is seeded. Cancel safe.
    pub async fn download(&self, namespace: &Namespace, digest: &Digest) -> Result<Download> {
        let download = self.open(namespace, digest).await?;
        download.set_demand(0..download.geometry().blob_len());
        Ok(download)
    }

    /// As [`Node::download`], but nothing is asked for yet: that is for [`Download::stream`], or
    /// [`Download::set_demand`], to do. Returns as soon as the blob's length is known and there is
    /// room for it. Cancel safe.
    pub async fn open(&self, namespace: &Namespace, digest: &Digest) -> Result<Download> {
        if let Some(download) = self.join(digest).await? {
            return Ok(download);
        }
        let asked_at = Some(self.0.shared.clock.now());
        let (_turn, (torrent, spec)) = match self.find_complete(namespace, digest).await? {
            Some(found) => (None, found),
            None => {
                let meta = self.wait_for_metainfo(namespace, digest).await?;
                let turn = self.0.shared.openings.enter(digest).await;
                if let Some(download) = self.join(digest).await? {
                    return Ok(download);
                }
                (Some(turn), self.open_torrent(namespace, meta).await?)
            }
        };
        match add(&self.0.commands, torrent, spec, asked_at).await? {
            Some(subscription) => Ok(Download::new(Arc::clone(&self.0), subscription)),
            None => Err(Error::new(
                ErrorKind::Unavailable,
                format!("download {digest}: dropped as soon as it was added"),
            )),
        }
    }

    /// Adds a torrent that is complete in storage, to send it to others.
    pub async fn seed(&self, meta: &MetaInfo) -> Result<()> {
        let namespace = "".parse()?;
        let Some((torrent, spec)) = self.find_complete(&namespace, &meta.digest()).await? else {
            return Err(Error::not_found(format!("seed {}: not complete here", meta.digest())));
        };
        if torrent.meta().info_hash() != meta.info_hash() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("seed {}: storage has it with other metainfo", meta.digest()),
            ));
        }
        add(&self.0.commands, torrent, spec, None).await?;
        Ok(())
    }

    /// Forgets a torrent and closes its connections; its downloads fail, its bytes stay in storage.
    /// Whether it was here.
    pub async fn remove(&self, digest: &Digest) -> Result<bool> {
        self.0.call("remove", |answer| Command::Remove { digest: *digest, answer }).await
    }

    /// Starts or stops sending pieces to others.
    pub async fn set_seeding(&self, on: bool) -> Result<()> {
        self.0.call("set seeding", |answer| Command::SetSeeding { on, answer }).await
    }

    /// Changes the most bytes of pieces sent per second; zero is no limit. Waits already granted
    /// are waited out.
    pub fn set_egress_limit(&self, bytes_per_sec: u64) {
        self.0.shared.egress.set_rate(bytes_per_sec);
    }

    /// Ends every task of the node, and waits for them: connections are closed, disk work that has
    /// begun runs to its end, downloads that are not complete fail.
    pub async fn close(&self) {
        self.0.shared.closing.cancel();
        self.0.shared.tasks.close();
        self.0.shared.tasks.wait().await;
    }

    /// What it counted so far, and every torrent with its connections.
    pub async fn stats(&self) -> Result<NodeStats> {
        self.0.call("stats", |answer| Command::Stats { torrents: true, answer }).await
    }

    /// As [`Node::stats`], but without describing the torrents, of which there may be thousands:
    /// for whoever asks every few seconds.
    pub async fn totals(&self) -> Result<NodeStats> {
        self.0.call("totals", |answer| Command::Stats { torrents: false, answer }).await
    }

    /// At most `limit` of the downloads that somebody waits for, those that have waited longest
    /// first; then those that ended lately, up to 100, the last ones first.
    pub async fn downloads(&self, limit: usize) -> Result<Vec<DownloadStatus>> {
        let running = self.0.call("downloads", |answer| Command::Downloads { limit, answer });
        let mut downloads = running.await?;
        let asking = self.0.shared.asking.list(self.0.shared.clock.now());
        downloads.extend(asking);
        // Those that ended stay in their order.
        let order = |download: &DownloadStatus| match download.phase {
            DownloadPhase::Complete | DownloadPhase::Failed | DownloadPhase::Left => {
                (true, Reverse(Duration::ZERO))
            }
            _ => (false, Reverse(download.age)),
        };
        downloads.sort_by_key(order);
        downloads.truncate(limit);
        Ok(downloads)
    }

    /// Whom it will not dial or accept at the moment.
    pub async fn blacklist(&self) -> Result<Vec<Blacklisted>> {
        self.0.call("blacklist", |answer| Command::Blacklist { answer }).await
    }

    /// Asks the task that owns the swarm for a sign of life.
    pub async fn probe(&self, limit: Duration) -> Result<()> {
        let probe = self.0.call("probe", |answer| Command::Probe { answer });
        timeout(limit, probe).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, format!("probe: no answer in {limit:?}")))
        })
    }

    /// Where it accepts connections.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// This node as it announces itself.
    pub fn peer_info(&self) -> &PeerInfo {
        &self.0.shared.local
    }

    /// Joins a download that is there.
    async fn join(&self, digest: &Digest) -> Result<Option<Download>> {
        let joined = self.0.call("download", |answer| Command::Join { digest: *digest, answer });
        let subscription = joined.await?;
        Ok(subscription.map(|subscription| Download::new(Arc::clone(&self.0), subscription)))
    }

    /// The torrent from storage, if it is complete there: then nobody writes it any more.
    async fn find_complete(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<Option<(Arc<Torrent>, TorrentSpec)>> {
        let storage = Arc::clone(&self.0.shared.storage);
        let (namespace, digest) = (namespace.clone(), *digest);
        let find = move || match storage.find(&digest, &namespace)? {
            Some((meta, file)) if file.is_complete() => {
                let torrent = Torrent::new(TorrentMeta::Final(meta), namespace, file);
                let spec = torrent.spec();
                Ok(Some((torrent, spec)))
            }
            _ => Ok(None),
        };
        self.0.shared.blocking.run("look for a blob", find).await.flatten()
    }

    /// The metainfo as the tracker knows it, without sums if the blob still arrives.
    async fn ask_for_metainfo(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<TorrentMeta> {
        let shared = &self.0.shared;
        let ask = async {
            if shared.storage.takes_provisional() && shared.config.stream {
                return shared.tracker.torrent_meta(namespace, digest).await;
            }
            shared.tracker.metainfo(namespace, digest).await.map(TorrentMeta::Final)
        };
        let meta = match shared.closing.run_until_cancelled(ask).await {
            Some(meta) => meta?,
            None => return Err(commands::closed("download")),
        };
        if meta.digest() != *digest {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("download {digest}: the tracker sent the metainfo of {}", meta.digest()),
            ));
        }
        Ok(meta)
    }

    /// The same, told of as a download.
    async fn wait_for_metainfo(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<TorrentMeta> {
        let shared = &self.0.shared;
        let asked = Asking::enter(&shared.asking, digest, namespace, shared.clock.now());
        let meta = self.ask_for_metainfo(namespace, digest).await;
        // That there is no such blob is an answer, not a failure.
        if let Err(error) = &meta
            && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Cancelled)
            && let Some(status) = asked.failed(shared.clock.now())
        {
            let (status, reason) = (Box::new(status), error.to_string());
            shared.report(Event::Unopened { status, reason }).await;
        }
        meta
    }

    /// The torrent opened in storage, in the caller's turn and when the swarm has none.
    async fn open_torrent(
        &self,
        namespace: &Namespace,
        meta: TorrentMeta,
    ) -> Result<(Arc<Torrent>, TorrentSpec)> {
        let shared = &self.0.shared;
        let (storage, namespace) = (Arc::clone(&shared.storage), namespace.clone());
        let old = shared.openings.latest(&meta.digest());
        let open = move || {
            if let Some(old) = old {
                old.end();
            }
            let torrent = Torrent::open(&*storage, meta, namespace)?;
            let spec = torrent.spec();
            Ok((torrent, spec))
        };
        shared.blocking.run("open a torrent", open).await.flatten()
    }
}

/// The address others are told when none is configured. No packet is sent to find it.
fn own_ip(listening: IpAddr) -> IpAddr {
    if !listening.is_unspecified() {
        return listening;
    }
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address of the range for documentation: any outside address shows the route.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    route().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |addr| addr.ip())
}
