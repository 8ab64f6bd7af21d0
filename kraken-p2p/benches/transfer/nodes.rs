//! Two nodes of this project, on real stores.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kraken_core::store::{Store, StoreConfig};
use kraken_core::{
    Algorithm, Bitfield, Digest, DigestHasher, MetaInfo, Namespace, PeerInfo, PieceIndex, Result,
};
use kraken_p2p::node::{Node, NodeConfig};
use kraken_p2p::storage::{Proof, Readable, StoreStorage, TorrentFile, TorrentStorage};
use kraken_p2p::swarm::SwarmConfig;
use kraken_p2p::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};
use tempfile::TempDir;

use crate::Checks;
use crate::sample::{Sample, Start};

/// A node that has a blob, and what others must know to fetch it.
#[derive(Debug)]
pub(crate) struct Seed {
    _dir: TempDir,
    node: Node,
    file: Arc<File>,
    meta: MetaInfo,
    congestion: &'static str,
}

/// The store, but for the hash of the whole: [`StoreStorage`] has no switch to leave it out.
///
/// Bytes go through the store's own blob; marks are kept here, as the store keeps them (a bit and
/// a byte on disk); a commit only says that it is done.
#[derive(Debug)]
struct Unhashed {
    store: StoreStorage,
    dir: std::path::PathBuf,
}

#[derive(Debug)]
struct UnhashedFile {
    blob: Arc<dyn TorrentFile>,
    status: File,
    state: Mutex<(Bitfield, bool)>,
}

/// Introduces the seed to everyone.
#[derive(Debug)]
struct Tracker {
    meta: MetaInfo,
    seed: PeerInfo,
}

impl Seed {
    /// Makes a blob and a node that seeds it.
    pub(crate) async fn start(
        dir: &Path,
        mib: usize,
        piece_len: u64,
        congestion: &'static str,
    ) -> Self {
        let dir = tempfile::tempdir_in(dir).unwrap();
        // Durable: nothing is left to be flushed while the clock runs.
        let store = Store::open(StoreConfig::under(dir.path())).unwrap();
        let upload = store.create_upload(Algorithm::Sha256).unwrap();
        let mut noise = blake3::Hasher::new().finalize_xof();
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        let mut chunk = vec![0; 1 << 20];
        for _ in 0..mib {
            noise.fill(&mut chunk);
            hasher.update(&chunk);
            upload.append(&chunk).unwrap();
        }
        let digest = hasher.finish();
        upload.commit(&digest, &[]).unwrap();
        let blob = store.blob(&digest).unwrap().unwrap();
        let meta = blob.compute_metainfo(piece_len).unwrap();
        store.put_metainfo(&meta).unwrap();
        let nobody = PeerInfo {
            peer_id: kraken_core::PeerId::new([0; 20]),
            ip: String::new(),
            port: 0,
            origin: false,
            complete: false,
        };
        let tracker = Arc::new(Tracker { meta: meta.clone(), seed: nobody });
        let config =
            NodeConfig { origin: true, swarm: SwarmConfig::origin(), ..config(congestion) };
        let storage = Arc::new(StoreStorage::new(store));
        let node = Node::builder(storage, tracker).config(config).start().await.unwrap();
        Self { _dir: dir, node, file: blob.file(), meta, congestion }
    }

    /// The blob's bytes.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What its sockets use.
    pub(crate) fn congestion(&self) -> &'static str {
        self.congestion
    }

    /// The blob's metainfo.
    pub(crate) fn meta(&self) -> &MetaInfo {
        &self.meta
    }

    /// Has a new node fetch the blob; from the wish to the commit.
    pub(crate) async fn download(&self, dir: &Path, checks: Checks) -> Sample {
        let dir = tempfile::tempdir_in(dir).unwrap();
        // As the agent opens its store.
        let config_ = StoreConfig { durable: false, ..StoreConfig::under(dir.path()) };
        let store = StoreStorage::new(Store::open(config_).unwrap());
        let storage: Arc<dyn TorrentStorage> = match checks {
            Checks::Sha256 => Arc::new(store),
            Checks::Crc32 | Checks::Blake3 => {
                Arc::new(Unhashed { store, dir: dir.path().to_owned() })
            }
        };
        let meta = match checks {
            Checks::Crc32 => self.meta.without_piece_digests(),
            Checks::Blake3 | Checks::Sha256 => self.meta.clone(),
        };
        let seed = PeerInfo { complete: true, ..self.node.peer_info().clone() };
        let tracker = Arc::new(Tracker { meta, seed });
        let builder = Node::builder(storage, tracker).config(config(self.congestion));
        let node = builder.start().await.unwrap();
        let namespace = "bench".parse().unwrap();
        let start = Start::now();
        let mut download = node.download(&namespace, &self.meta.digest()).await.unwrap();
        download.finished().await.unwrap();
        let sample = start.over(self.meta.geometry().blob_len());
        drop(download);
        node.close().await;
        sample
    }

    pub(crate) async fn close(self) {
        self.node.close().await;
    }
}

fn config(congestion: &str) -> NodeConfig {
    NodeConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        congestion: Some(congestion.to_owned()),
        ..NodeConfig::default()
    }
}

impl TorrentStorage for Unhashed {
    fn open(&self, meta: &MetaInfo, namespace: &Namespace) -> Result<Arc<dyn TorrentFile>> {
        let blob = self.store.open(meta, namespace)?;
        let status = tempfile::tempfile_in(&self.dir).unwrap();
        let state = Mutex::new((Bitfield::new(meta.geometry().pieces()), false));
        Ok(Arc::new(UnhashedFile { blob, status, state }))
    }

    /// Never asked for what it has: each node fetches one blob once.
    fn find(&self, _: &Digest, _: &Namespace) -> Result<Option<(MetaInfo, Arc<dyn TorrentFile>)>> {
        Ok(None)
    }
}

impl TorrentFile for UnhashedFile {
    fn pieces(&self) -> Bitfield {
        self.state.lock().unwrap().0.clone()
    }

    fn is_complete(&self) -> bool {
        self.state.lock().unwrap().1
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.blob.write_at(offset, bytes)
    }

    fn read_marked_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.blob.read_marked_at(offset, buf)
    }

    fn readable_to(&self, start: u64) -> u64 {
        self.blob.readable_to(start)
    }

    fn readable(&self, range: Range<u64>) -> Readable {
        self.blob.readable(range)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.blob.read_at(offset, buf)
    }

    fn mark(&self, index: PieceIndex, _: Proof) -> Result<()> {
        self.status.write_all_at(&[1], u64::from(index.0)).unwrap();
        self.state.lock().unwrap().0.set(index);
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        self.state.lock().unwrap().1 = true;
        Ok(())
    }

    fn discard(&self) -> Result<()> {
        self.blob.discard()
    }

    fn sendfile_source(&self) -> Option<(Arc<File>, u64)> {
        self.blob.sendfile_source()
    }
}

#[async_trait]
impl TrackerClient for Tracker {
    async fn announce(&self, _: AnnounceRequest) -> Result<AnnounceResponse> {
        let interval = Duration::from_secs(1).as_nanos() as i64;
        Ok(AnnounceResponse { peers: Some(vec![self.seed.clone()]), interval, bridge: false })
    }

    async fn metainfo(&self, _: &Namespace, _: &Digest) -> Result<MetaInfo> {
        Ok(self.meta.clone())
    }
}
