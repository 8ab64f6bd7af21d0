//! Bytes per CPU second from one node to another over loopback, both in this process.
//!
//! `cargo bench -p kraken-p2p --no-default-features --bench transfer`. CPU time, because wall time
//! on shared cores swings threefold. Congestion control is set per socket: a system default of BBR
//! paces loopback and makes the result bimodal. `KRAKEN_BENCH_MIB` sets the blob's size.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kraken_core::{
    Bitfield, Digest, DigestHasher, Error, ErrorKind, MetaInfo, Namespace, PeerInfo, PieceIndex,
    Result,
};
use kraken_p2p::node::{Node, NodeConfig};
use kraken_p2p::storage::{Proof, TorrentFile, TorrentStorage};
use kraken_p2p::swarm::SwarmConfig;
use kraken_p2p::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};

const PIECE_LEN: u64 = 4 << 20;
const ROUNDS: usize = 5;
/// Ticks per second of `/proc/self/stat`; the same on every Linux.
const USER_HZ: f64 = 100.0;

fn main() {
    // `cargo test` runs this too: then it only proves that it works.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let mib = std::env::var("KRAKEN_BENCH_MIB").ok().and_then(|mib| mib.parse().ok());
    let (mib, rounds) = if bench { (mib.unwrap_or(512), ROUNDS) } else { (8, 1) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut bytes = vec![0; mib << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let meta = MetaInfo::of_bytes(Digest::sha256(&bytes), &bytes, PIECE_LEN).unwrap();
    println!("one node to one node, {mib} MiB, 4 MiB pieces, median of {rounds}");
    for (name, verify, piece_digests) in [
        ("CRC32 and BLAKE3 and SHA-256", true, true),
        ("CRC32 and BLAKE3", false, true),
        ("CRC32 (uber/kraken's agents)", false, false),
    ] {
        let meta = if piece_digests { meta.clone() } else { meta.without_piece_digests() };
        for congestion in ["cubic", "reno"] {
            let mut runs: Vec<(f64, f64)> = (0..rounds)
                .map(|_| runtime.block_on(transfer(&meta, &bytes, verify, congestion)))
                .collect();
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (cpu, wall) = runs[runs.len() / 2];
            let gb = bytes.len() as f64 / 1e9;
            println!(
                "{name:30} {congestion:6} {:5.2} GB per CPU second ({:.3} s/GB), {:5.2} GB/s",
                gb / cpu,
                cpu / gb,
                gb / wall
            );
        }
    }
}

/// CPU and wall seconds of one download.
async fn transfer(meta: &MetaInfo, bytes: &[u8], verify: bool, congestion: &str) -> (f64, f64) {
    let config = NodeConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        congestion: Some(congestion.to_owned()),
        ..NodeConfig::default()
    };
    let tracker = Arc::new(Tracker { meta: meta.clone(), peers: Mutex::default() });
    let seed_storage = Storage::new(verify);
    seed_storage.put(meta, bytes);
    let origin = NodeConfig { origin: true, swarm: SwarmConfig::origin(), ..config.clone() };
    let start = async |storage, config| {
        let tracker = Arc::clone(&tracker);
        Node::builder(storage, tracker).config(config).start().await.unwrap()
    };
    let seed = start(seed_storage, origin).await;
    let seed_info = PeerInfo { complete: true, ..seed.peer_info().clone() };
    tracker.peers.lock().unwrap().push(seed_info);
    let leecher = start(Storage::new(verify), config).await;
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let namespace = "bench".parse().unwrap();
    let mut download = leecher.download(&namespace, &meta.digest()).await.unwrap();
    download.finished().await.unwrap();
    let took = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    drop(download);
    leecher.close().await;
    seed.close().await;
    took
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in brackets may hold spaces; the 12th and 13th field after it are the times.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap());
    ticks.sum::<u64>() as f64 / USER_HZ
}

#[derive(Debug)]
struct Storage {
    dir: tempfile::TempDir,
    /// Whether a commit hashes the blob.
    verify: bool,
    torrents: Mutex<BTreeMap<Digest, (MetaInfo, Arc<Stored>)>>,
}

#[derive(Debug)]
struct Stored {
    meta: MetaInfo,
    file: Arc<File>,
    verify: bool,
    state: Mutex<(Bitfield, bool)>,
}

impl Storage {
    fn new(verify: bool) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self { dir, verify, torrents: Mutex::default() })
    }

    fn put(&self, meta: &MetaInfo, bytes: &[u8]) {
        let stored = self.stored(meta);
        stored.file.write_all_at(bytes, 0).unwrap();
        *stored.state.lock().unwrap() = (Bitfield::full(meta.geometry().pieces()), true);
    }

    fn stored(&self, meta: &MetaInfo) -> Arc<Stored> {
        let mut torrents = self.torrents.lock().unwrap();
        let (_, stored) = torrents.entry(meta.digest()).or_insert_with(|| {
            let path = self.dir.path().join(meta.digest().hex());
            let mut options = File::options();
            let file = options.create(true).truncate(true).read(true).write(true);
            let file = Arc::new(file.open(path).unwrap());
            file.set_len(meta.geometry().blob_len()).unwrap();
            let state = Mutex::new((Bitfield::new(meta.geometry().pieces()), false));
            let stored = Stored { meta: meta.clone(), file, verify: self.verify, state };
            (meta.clone(), Arc::new(stored))
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
        self.file.write_all_at(bytes, offset).map_err(|e| Error::io("write", e))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| Error::io("read", e))
    }

    fn mark(&self, index: PieceIndex, _: Proof) -> Result<()> {
        self.state.lock().unwrap().0.set(index);
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        let mut hasher = DigestHasher::new(self.meta.digest().algorithm());
        let mut buffer = vec![0; 1 << 20];
        let len = self.meta.geometry().blob_len();
        let mut at = 0;
        while self.verify && at < len {
            let count = buffer.len().min((len - at) as usize);
            self.read_at(at, &mut buffer[..count])?;
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        if self.verify && hasher.finish() != self.meta.digest() {
            return Err(Error::new(ErrorKind::Mismatch, "commit"));
        }
        self.state.lock().unwrap().1 = true;
        Ok(())
    }

    fn discard(&self) -> Result<()> {
        *self.state.lock().unwrap() = (Bitfield::new(self.meta.geometry().pieces()), false);
        Ok(())
    }

    fn sendfile_source(&self) -> Option<(Arc<File>, u64)> {
        Some((Arc::clone(&self.file), 0))
    }
}

#[derive(Debug)]
struct Tracker {
    meta: MetaInfo,
    peers: Mutex<Vec<PeerInfo>>,
}

#[async_trait]
impl TrackerClient for Tracker {
    async fn announce(&self, _: AnnounceRequest) -> Result<AnnounceResponse> {
        let peers = Some(self.peers.lock().unwrap().clone());
        Ok(AnnounceResponse { peers, interval: Duration::from_secs(1).as_nanos() as i64 })
    }

    async fn metainfo(&self, _: &Namespace, _: &Digest) -> Result<MetaInfo> {
        Ok(self.meta.clone())
    }
}
