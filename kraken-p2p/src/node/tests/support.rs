//! A storage in a temporary directory, a tracker in a struct, and a peer played by hand.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use kraken_core::{
    Bitfield, Digest, Error, ErrorKind, MetaInfo, Namespace, PeerId, PeerInfo, PieceIndex,
    Provisional, Result, TorrentMeta,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::{Node, NodeConfig};
use crate::storage::{Proof, Readable, TorrentFile, TorrentStorage};
use crate::swarm::SwarmConfig;
use crate::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};
use crate::wire::{self, Handshake, Message};

pub(super) const PIECE_LEN: u64 = 3 << 19;

/// Bytes that are no two alike for a while, and their metainfo.
pub(super) fn blob(len: usize, seed: u64) -> (Vec<u8>, MetaInfo) {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    let meta = MetaInfo::of_bytes(Digest::sha256(&bytes), &bytes, PIECE_LEN).unwrap();
    (bytes, meta)
}

#[derive(Debug)]
pub(super) struct Storage {
    dir: tempfile::TempDir,
    /// Whether files are lent for `sendfile`.
    lend: bool,
    torrents: Mutex<BTreeMap<Digest, (MetaInfo, Arc<Stored>)>>,
}

#[derive(Debug)]
pub(super) struct Stored {
    meta: MetaInfo,
    file: Arc<File>,
    lend: bool,
    state: Mutex<(Bitfield, bool)>,
    discards: AtomicU32,
}

impl Storage {
    pub(super) fn new(lend: bool) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self { dir, lend, torrents: Mutex::default() })
    }

    /// Puts a complete blob in.
    pub(super) fn put(&self, meta: &MetaInfo, bytes: &[u8]) {
        let stored = self.stored(meta);
        stored.file.write_all_at(bytes, 0).unwrap();
        *stored.state.lock().unwrap() = (Bitfield::full(meta.geometry().pieces()), true);
    }

    /// A complete blob's bytes.
    pub(super) fn bytes(&self, digest: &Digest) -> Vec<u8> {
        let (meta, stored) = self.torrents.lock().unwrap()[digest].clone();
        assert!(stored.is_complete());
        let mut bytes = vec![0; meta.geometry().blob_len() as usize];
        stored.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// How often a blob was thrown away.
    pub(super) fn discards(&self, digest: &Digest) -> u32 {
        let torrents = self.torrents.lock().unwrap();
        torrents.get(digest).map_or(0, |(_, stored)| stored.discards.load(Ordering::Relaxed))
    }

    fn stored(&self, meta: &MetaInfo) -> Arc<Stored> {
        let mut torrents = self.torrents.lock().unwrap();
        let (_, stored) = torrents.entry(meta.digest()).or_insert_with(|| {
            let path = self.dir.path().join(meta.digest().hex());
            let mut options = File::options();
            let file = options.create(true).truncate(true).read(true).write(true);
            let file = file.open(path).unwrap();
            file.set_len(meta.geometry().blob_len()).unwrap();
            let state = Mutex::new((Bitfield::new(meta.geometry().pieces()), false));
            let (meta, lend) = (meta.clone(), self.lend);
            (
                meta.clone(),
                Arc::new(Stored {
                    meta,
                    file: Arc::new(file),
                    lend,
                    state,
                    discards: AtomicU32::new(0),
                }),
            )
        });
        Arc::clone(stored)
    }
}

impl TorrentStorage for Storage {
    fn open(&self, meta: &MetaInfo, _: &Namespace) -> Result<Arc<dyn TorrentFile>> {
        Ok(self.stored(meta))
    }

    fn find(
        &self,
        digest: &Digest,
        _: &Namespace,
    ) -> Result<Option<(MetaInfo, Arc<dyn TorrentFile>)>> {
        let torrents = self.torrents.lock().unwrap();
        Ok(torrents.get(digest).map(|(meta, stored)| (meta.clone(), Arc::clone(stored) as _)))
    }
}

impl TorrentFile for Stored {
    fn pieces(&self) -> Bitfield {
        self.state.lock().unwrap().0.clone()
    }

    fn is_complete(&self) -> bool {
        self.state.lock().unwrap().1
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let first = PieceIndex((offset / self.meta.geometry().piece_len()) as u32);
        assert!(!self.pieces().contains(first), "piece {first} is written after it was marked");
        self.file.write_all_at(bytes, offset).map_err(|e| Error::io("write", e))
    }

    fn read_marked_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| Error::io("read", e))
    }

    /// Nothing can be read before the whole is here.
    fn readable_to(&self, start: u64) -> u64 {
        if self.is_complete() { self.meta.geometry().blob_len() } else { start }
    }

    fn readable(&self, _: Range<u64>) -> Readable {
        let ready = if self.is_complete() { Ok(()) } else { Err(Error::invalid("never ready")) };
        Box::pin(std::future::ready(ready))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read_marked_at(offset, buf)
    }

    fn mark(&self, index: PieceIndex, _: Proof) -> Result<()> {
        assert!(self.state.lock().unwrap().0.set(index), "piece {index} is marked twice");
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        let mut bytes = vec![0; self.meta.geometry().blob_len() as usize];
        self.read_marked_at(0, &mut bytes)?;
        if Digest::sha256(&bytes) != self.meta.digest() {
            return Err(Error::new(ErrorKind::Mismatch, "commit"));
        }
        self.state.lock().unwrap().1 = true;
        Ok(())
    }

    fn discard(&self) -> Result<()> {
        self.discards.fetch_add(1, Ordering::Relaxed);
        *self.state.lock().unwrap() = (Bitfield::new(self.meta.geometry().pieces()), false);
        Ok(())
    }

    fn sendfile_source(&self) -> Option<(Arc<File>, u64)> {
        self.lend.then(|| (Arc::clone(&self.file), 0))
    }
}

/// Hands everyone to everyone.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    metas: Mutex<BTreeMap<Digest, MetaInfo>>,
    /// Of blobs that still arrive.
    arriving: Mutex<BTreeMap<Digest, Provisional>>,
    peers: Mutex<BTreeMap<Digest, Vec<PeerInfo>>>,
    /// How often metainfo was asked for.
    asked: AtomicU32,
    /// What was said last.
    pub(super) zone: Mutex<String>,
}

impl Tracker {
    pub(super) fn add(&self, meta: &MetaInfo, peer: PeerInfo) {
        self.metas.lock().unwrap().insert(meta.digest(), meta.clone());
        let mut peers = self.peers.lock().unwrap();
        let peers = peers.entry(meta.digest()).or_default();
        peers.retain(|known| known.peer_id != peer.peer_id);
        peers.push(peer);
    }

    /// A blob is there no more.
    pub(super) fn forget(&self, digest: &Digest) {
        self.arriving.lock().unwrap().remove(digest);
    }

    /// How often metainfo was asked for.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// A blob arrives at an origin.
    pub(super) fn arrives(&self, meta: &Provisional, origin: PeerInfo) {
        self.arriving.lock().unwrap().insert(meta.digest(), meta.clone());
        let mut peers = self.peers.lock().unwrap();
        let peers = peers.entry(meta.digest()).or_default();
        if !peers.contains(&origin) {
            peers.push(origin);
        }
    }
}

#[async_trait]
impl TrackerClient for Tracker {
    async fn announce(&self, request: AnnounceRequest) -> Result<AnnounceResponse> {
        let digest = request.digest.unwrap();
        *self.zone.lock().unwrap() = request.zone;
        let mut peers = self.peers.lock().unwrap();
        let known = peers.entry(digest).or_default();
        let peers = known.clone();
        known.retain(|peer| peer.peer_id != request.peer.peer_id);
        known.push(request.peer);
        Ok(AnnounceResponse { peers: Some(peers), interval: 20_000_000, bridge: false })
    }

    async fn metainfo(&self, _: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        let metas = self.metas.lock().unwrap();
        metas.get(digest).cloned().ok_or_else(|| Error::not_found("metainfo"))
    }

    async fn torrent_meta(&self, of: &Namespace, digest: &Digest) -> Result<TorrentMeta> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let arriving = self.arriving.lock().unwrap().get(digest).cloned();
        match (self.metainfo(of, digest).await, arriving) {
            (Err(_), Some(meta)) => Ok(TorrentMeta::Provisional(meta)),
            (answer, _) => answer.map(TorrentMeta::Final),
        }
    }
}

/// A node with its storage.
pub(super) struct Host {
    pub(super) node: Node,
    pub(super) storage: Arc<Storage>,
}

pub(super) fn loopback() -> NodeConfig {
    NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..NodeConfig::default() }
}

impl Host {
    pub(super) async fn agent(tracker: &Arc<Tracker>) -> Self {
        Self::start(tracker, loopback(), true).await
    }

    /// An origin that has the blob and that the tracker knows.
    pub(super) async fn origin(tracker: &Arc<Tracker>, meta: &MetaInfo, bytes: &[u8]) -> Self {
        let config = NodeConfig { origin: true, swarm: SwarmConfig::origin(), ..loopback() };
        let host = Self::start(tracker, config, true).await;
        host.storage.put(meta, bytes);
        tracker.add(meta, PeerInfo { complete: true, ..host.node.peer_info().clone() });
        host
    }

    pub(super) async fn start(tracker: &Arc<Tracker>, config: NodeConfig, lend: bool) -> Self {
        let storage = Storage::new(lend);
        let builder = Node::builder(Arc::clone(&storage) as _, Arc::clone(tracker) as _);
        Self { node: builder.config(config).start().await.unwrap(), storage }
    }

    /// Downloads and compares.
    pub(super) async fn pull(&self, meta: &MetaInfo, bytes: &[u8]) -> crate::node::Progress {
        let mut download = self.node.download(&namespace(), &meta.digest()).await.unwrap();
        soon(download.finished()).await.unwrap();
        assert!(self.storage.bytes(&meta.digest()) == bytes, "the bytes differ");
        download.progress()
    }
}

pub(super) fn namespace() -> Namespace {
    "library/test".parse().unwrap()
}

/// Fails a test that hangs.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it hangs")
}

/// A peer played by hand.
pub(super) struct Played {
    pub(super) socket: TcpStream,
    buffer: BytesMut,
}

impl Played {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, buffer: BytesMut::new() }
    }

    pub(super) async fn dial(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect(to).await.unwrap())
    }

    pub(super) async fn send(&mut self, message: Message) {
        let mut frame = BytesMut::new();
        wire::encode(&message, &mut frame);
        self.socket.write_all(&frame).await.unwrap();
    }

    /// The next message; `None` when the other side has hung up.
    pub(super) async fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = wire::decode_frame(&mut self.buffer).unwrap() {
                return Some(message);
            }
            if soon(self.socket.read_buf(&mut self.buffer)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The bytes of a payload whose header was received.
    pub(super) async fn payload(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert_ne!(soon(self.socket.read_buf(&mut self.buffer)).await.unwrap(), 0);
        }
        self.buffer.split_to(length).to_vec()
    }
}

pub(super) fn handshake(meta: &MetaInfo, peer_id: PeerId, have: &Bitfield) -> Message {
    Message::Handshake(Box::new(Handshake {
        peer_id,
        info_hash: meta.info_hash(),
        digest: meta.digest(),
        namespace: namespace(),
        bitfield: have.to_wire().into(),
        remote_peers: Vec::new(),
        capabilities: None,
    }))
}
