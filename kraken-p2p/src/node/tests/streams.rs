//! Blobs that are read while they arrive.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kraken_core::store::{Store, StoreConfig};
use kraken_core::{Bitfield, Digest, ErrorKind, MetaInfo, PeerId, PeerInfo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::support::{
    Host, PIECE_LEN, Played, Tracker, blob, handshake, loopback, namespace, soon,
};
use super::{BLOB_LEN, peer, start_liar};
use crate::node::limits::{LEND_LEN, READ_LEN};
use crate::node::{BlobStream, Download, DownloadPhase, Node};
use crate::storage::StoreStorage;
use crate::swarm::TorrentSnapshot;
use crate::wire::Message;

const LEN: u64 = BLOB_LEN as u64;

/// A node on a real store.
struct Agent {
    node: Node,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Agent {
    async fn start(tracker: &Arc<Tracker>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { durable: false, ..StoreConfig::under(dir.path()) };
        let store = Store::open(config).unwrap();
        let storage = Arc::new(StoreStorage::new(store.clone()));
        let node = Node::builder(storage, Arc::clone(tracker) as _).config(loopback());
        Self { node: node.start().await.unwrap(), store, _dir: dir }
    }

    async fn open(&self, meta: &MetaInfo) -> Download {
        soon(self.node.open(&namespace(), &meta.digest())).await.unwrap()
    }

    /// Its only torrent, once it is so.
    async fn until(&self, is_so: impl Fn(&TorrentSnapshot) -> bool) -> TorrentSnapshot {
        let wait = async {
            loop {
                let (_, torrent) = self.node.stats().await.unwrap().torrents.swap_remove(0);
                if is_so(&torrent) {
                    return torrent;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(wait).await
    }
}

/// A peer that has every piece and sends those that are not held back.
struct Seeder {
    held: watch::Sender<BTreeSet<u32>>,
    asked: Arc<Mutex<Vec<u32>>>,
    task: JoinHandle<()>,
}

impl Seeder {
    async fn start(
        tracker: &Tracker,
        meta: &MetaInfo,
        bytes: &[u8],
        held: impl IntoIterator<Item = u32>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tracker.add(meta, PeerInfo { peer_id: PeerId::new([9; 20]), port, ..peer() });
        let (held, watched) = watch::channel(held.into_iter().collect());
        let asked = Arc::default();
        let seed = seed(listener, meta.clone(), bytes.to_vec(), watched, Arc::clone(&asked));
        Self { held, asked, task: tokio::spawn(seed) }
    }

    fn hold(&self, held: impl IntoIterator<Item = u32>) {
        self.held.send_replace(held.into_iter().collect());
    }

    /// What it was asked for, each time.
    fn asked(&self) -> Vec<u32> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort_unstable();
        asked
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn seed(
    listener: TcpListener,
    meta: MetaInfo,
    bytes: Vec<u8>,
    mut held: watch::Receiver<BTreeSet<u32>>,
    asked: Arc<Mutex<Vec<u32>>>,
) {
    loop {
        let mut peer = Played::new(listener.accept().await.unwrap().0);
        let Some(Message::Handshake(_)) = peer.receive().await else { continue };
        let all = Bitfield::full(meta.geometry().pieces());
        peer.send(handshake(&meta, PeerId::new([9; 20]), &all)).await;
        let mut waiting = Vec::new();
        loop {
            let now = held.borrow_and_update().clone();
            let mut out = bytes::BytesMut::new();
            waiting.retain(|&(index, length): &(kraken_core::PieceIndex, u32)| {
                if now.contains(&index.0) {
                    return true;
                }
                let range = meta.geometry().range(index);
                let payload = Message::PiecePayload { index, offset: 0, length };
                crate::wire::encode(&payload, &mut out);
                out.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
                false
            });
            if peer.socket.write_all(&out).await.is_err() {
                break;
            }
            tokio::select! {
                message = peer.receive() => match message {
                    Some(Message::PieceRequest { index, length, .. }) => {
                        asked.lock().unwrap().push(index.0);
                        waiting.push((index, length));
                    }
                    Some(_) => {}
                    None => break,
                },
                _ = held.changed() => {}
            }
        }
    }
}

/// Reads on until there are `until` bytes.
async fn read_to(stream: &mut BlobStream, bytes: &mut Vec<u8>, until: u64) {
    while (bytes.len() as u64) < until {
        let chunk = soon(stream.chunk()).await.unwrap().expect("it ends early");
        assert!(!chunk.is_empty() && chunk.len() as u64 <= READ_LEN);
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len() as u64, until);
}

async fn read(mut stream: BlobStream, range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    read_to(&mut stream, &mut bytes, range.end - range.start).await;
    assert_eq!(stream.chunk().await.unwrap(), None);
    bytes
}

/// Gives it time to do what it must not.
async fn waits(stream: &mut BlobStream) -> bool {
    timeout(Duration::from_millis(100), stream.chunk()).await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_flow_before_the_last_piece_is_here_and_the_last_ones_when_all_is_proven() {
    let (bytes, meta) = blob(BLOB_LEN, 1);
    let tracker = Arc::new(Tracker::default());
    let seeder = Seeder::start(&tracker, &meta, &bytes, [3, 7]).await;
    let agent = Agent::start(&tracker).await;
    let mut download = agent.open(&meta).await;
    let (mut stream, mut read) = (download.stream(0..LEN), Vec::new());
    read_to(&mut stream, &mut read, 3 * PIECE_LEN).await;
    assert!(waits(&mut stream).await);
    seeder.hold([7]);
    // The last piece is shorter than what is held back.
    read_to(&mut stream, &mut read, LEN - LEND_LEN).await;
    assert!(waits(&mut stream).await && !download.progress().complete);
    assert_eq!(agent.node.totals().await.unwrap().downloads_running, 1);
    assert!(agent.store.blob(&meta.digest()).unwrap().is_none());
    seeder.hold([]);
    read_to(&mut stream, &mut read, LEN).await;
    assert!(download.progress().complete && read == bytes);
    assert!(agent.store.blob(&meta.digest()).unwrap().is_some());
    // It reads what it has opened, whatever becomes of the torrent.
    let mut again = download.stream(0..LEN);
    assert!(agent.node.remove(&meta.digest()).await.unwrap());
    let mut read = Vec::new();
    read_to(&mut again, &mut read, LEN).await;
    assert!(read == bytes && again.chunk().await.unwrap().is_none());
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_fails_its_digest_is_never_given_whole() {
    let (bytes, _) = blob(BLOB_LEN, 2);
    let meta = MetaInfo::of_bytes(Digest::sha256(b"other"), &bytes, PIECE_LEN).unwrap();
    let tracker = Arc::new(Tracker::default());
    let seeder = Seeder::start(&tracker, &meta, &bytes, [7]).await;
    let agent = Agent::start(&tracker).await;
    let download = agent.open(&meta).await;
    let (mut stream, mut read) = (download.stream(0..LEN), Vec::new());
    read_to(&mut stream, &mut read, LEN - LEND_LEN).await;
    assert!(waits(&mut stream).await);
    seeder.hold([]);
    for _ in 0..2 {
        let error = soon(stream.chunk()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(error.to_string().contains(&meta.digest().to_string()), "{error}");
    }
    assert!(agent.store.blob(&meta.digest()).unwrap().is_none());
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_piece_digests_everything_waits_for_the_whole() {
    let (bytes, meta) = blob(BLOB_LEN, 3);
    let meta = meta.without_piece_digests();
    let tracker = Arc::new(Tracker::default());
    let seeder = Seeder::start(&tracker, &meta, &bytes, [7]).await;
    let agent = Agent::start(&tracker).await;
    let download = agent.open(&meta).await;
    let mut stream = download.stream(10..20);
    agent.until(|torrent| torrent.pieces_have == 7).await;
    assert!(waits(&mut stream).await);
    seeder.hold([]);
    assert!(read(stream, 10..20).await == bytes[10..20]);
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_given_nothing_goes_on_with_what_comes_in_place_of_lies() {
    let (bytes, meta) = blob(BLOB_LEN, 4);
    let meta = meta.without_piece_digests();
    let tracker = Arc::new(Tracker::default());
    let (_, lies) = start_liar(&tracker, &meta, &bytes).await;
    let agent = Agent::start(&tracker).await;
    let download = agent.open(&meta).await;
    let reading = tokio::spawn(read(download.stream(0..LEN), 0..LEN));
    let discarded = async {
        while agent.node.totals().await.unwrap().swarm.blobs_mismatched == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(discarded).await;
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    assert!(soon(reading).await.unwrap() == bytes);
    lies.abort();
    agent.node.close().await;
    origin.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_blob_share_its_download() {
    let (bytes, meta) = blob(BLOB_LEN, 5);
    let tracker = Arc::new(Tracker::default());
    let seeder = Seeder::start(&tracker, &meta, &bytes, []).await;
    let agent = Agent::start(&tracker).await;
    let (one, other) = (agent.open(&meta).await, agent.open(&meta).await);
    let middle = PIECE_LEN + 5..4 * PIECE_LEN + 7;
    let (whole, same, part) = tokio::join!(
        read(one.stream(0..LEN), 0..LEN),
        read(other.stream(0..LEN), 0..LEN),
        read(other.stream(middle.clone()), middle.clone()),
    );
    assert!(whole == bytes && same == bytes);
    assert!(part == bytes[middle.start as usize..middle.end as usize]);
    assert_eq!(seeder.asked(), (0..8).collect::<Vec<_>>());
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_a_cold_blob_costs_the_pieces_it_touches() {
    let (bytes, meta) = blob(BLOB_LEN, 6);
    let tracker = Arc::new(Tracker::default());
    let seeder = Seeder::start(&tracker, &meta, &bytes, []).await;
    let agent = Agent::start(&tracker).await;
    let download = agent.open(&meta).await;
    let range = 3 * PIECE_LEN + 100..5 * PIECE_LEN - 100;
    let part = read(download.stream(range.clone()), range.clone()).await;
    assert!(part == bytes[range.start as usize..range.end as usize]);
    let last = LEN - 1..LEN;
    assert!(read(download.stream(last.clone()), last).await == bytes[BLOB_LEN - 1..]);
    assert_eq!(seeder.asked(), [3, 4, 7]);
    assert!(!agent.until(|torrent| torrent.pieces_have == 3).await.complete);
    for outside in [0..LEN + 1, LEN + 1..LEN + 1] {
        let error = download.stream(outside).chunk().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(download.stream(LEN..LEN).chunk().await.unwrap(), None);
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_dropped_takes_its_demand_with_it() {
    let (bytes, meta) = blob(BLOB_LEN, 7);
    let tracker = Arc::new(Tracker::default());
    let seeder = Seeder::start(&tracker, &meta, &bytes, 0..8).await;
    let agent = Agent::start(&tracker).await;
    let download = agent.open(&meta).await;
    let stream = download.stream(0..LEN);
    drop(download);
    let asked = async {
        while seeder.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(asked).await;
    assert_eq!(agent.node.downloads(9).await.unwrap().len(), 1);
    drop(stream);
    let list = agent.node.downloads(9).await.unwrap();
    assert_eq!((list.len(), list[0].phase), (1, DownloadPhase::Left));
    seeder.hold([]);
    let is_quiet = |torrent: &TorrentSnapshot| torrent.conns.iter().all(|conn| conn.requests == 0);
    let pieces = agent.until(is_quiet).await.pieces_have as usize;
    assert!(pieces < 8 && seeder.asked().len() == pieces, "{pieces} of {:?}", seeder.asked());
    // What came for those who have left is not told of the next one.
    let before = agent.node.downloads(9).await.unwrap();
    drop(agent.open(&meta).await);
    let list = agent.node.downloads(9).await.unwrap();
    assert!(before.len() == 1 && list.len() == 1 && before[0].age != list[0].age);
    let came = list[0].bytes_from_peers + list[0].bytes_from_origins;
    assert_eq!((came, list[0].times.disk), (0, Duration::ZERO));
    agent.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_the_torrent_and_the_node() {
    let (bytes, meta) = blob(BLOB_LEN, 8);
    let tracker = Arc::new(Tracker::default());
    let _seeder = Seeder::start(&tracker, &meta, &bytes, [2]).await;
    let agent = Agent::start(&tracker).await;
    for removed in [true, false] {
        let download = agent.open(&meta).await;
        let (mut stream, mut read) = (download.stream(0..LEN), Vec::new());
        read_to(&mut stream, &mut read, 2 * PIECE_LEN).await;
        let end = async {
            match removed {
                true => assert!(agent.node.remove(&meta.digest()).await.unwrap()),
                false => agent.node.close().await,
            }
        };
        let (chunk, ()) = tokio::join!(soon(stream.chunk()), end);
        assert_eq!(chunk.unwrap_err().kind(), ErrorKind::Cancelled);
        let late = soon(download.stream(0..LEN).chunk()).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
