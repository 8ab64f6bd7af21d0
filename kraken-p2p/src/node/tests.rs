//! Nodes over loopback, and peers played by hand.

#[cfg(feature = "store")]
mod arriving;
mod conns;
mod ends;
#[cfg(feature = "store")]
mod room;
#[cfg(feature = "store")]
mod streams;
mod support;

use std::sync::Arc;

use kraken_core::{
    Bitfield, Digest, Error, ErrorKind, MetaInfo, Namespace, PeerId, PeerInfo, PieceIndex, Result,
    Time,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::running::Asking;
use super::{DownloadPhase, Node, NodeConfig, PeerIdFactory};
use crate::tracker::{AnnounceRequest, AnnounceResponse, TrackerClient};
use crate::wire::Message;
use support::{
    Host, PIECE_LEN, Played, Storage, Tracker, blob, handshake, loopback, namespace, soon,
};

const BLOB_LEN: usize = 7 * PIECE_LEN as usize + 12_345;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_seed_and_two_leechers_end_with_equal_bytes() {
    let (bytes, meta) = blob(BLOB_LEN, 1);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    let (a, b) = (Host::agent(&tracker).await, Host::agent(&tracker).await);
    let (first, second) = tokio::join!(a.pull(&meta, &bytes), b.pull(&meta, &bytes));
    for progress in [first, second] {
        assert_eq!(progress.pieces, 8);
        assert_eq!(progress.pieces_total, 8);
        let received = progress.bytes_from_origins + progress.bytes_from_peers;
        assert_eq!(received, BLOB_LEN as u64);
    }
    let stats = origin.node.stats().await.unwrap();
    assert!(stats.sent >= first.bytes_from_origins + second.bytes_from_origins);
    assert_eq!(stats.torrents.len(), 1);
    let totals = a.node.totals().await.unwrap();
    let completed = totals.downloads.completed;
    assert_eq!((completed.count, completed.bytes), (1, BLOB_LEN as u64));
    assert!(!completed.time.is_zero() && totals.swarm.announces > 0);
    assert_eq!((totals.torrents_len, totals.torrents.len(), totals.downloads_running), (1, 0, 0));
    let [ended] = a.node.downloads(9).await.unwrap().try_into().unwrap();
    assert_eq!((ended.phase, ended.bytes_verified), (DownloadPhase::Complete, BLOB_LEN as u64));
    let parts = ended.times.named().into_iter().filter(|(part, _)| !BESIDE.contains(part));
    assert_eq!(parts.map(|(_, time)| time).sum::<Duration>(), ended.age);
    for host in [a, b, origin] {
        host.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_without_a_file_to_lend_and_a_rate_limit_work_too() {
    let (bytes, meta) = blob(BLOB_LEN, 2);
    let tracker = Arc::new(Tracker::default());
    let limited = NodeConfig {
        egress_bytes_per_sec: 64 << 20,
        ingress_bytes_per_sec: 64 << 20,
        buffers_bytes_max: 0,
        ..loopback()
    };
    let seed = Host::start(&tracker, limited.clone(), false).await;
    seed.storage.put(&meta, &bytes);
    seed.node.seed(&meta).await.unwrap();
    tracker.add(&meta, PeerInfo { complete: true, ..seed.node.peer_info().clone() });
    let leecher = Host::start(&tracker, limited, false).await;
    let progress = leecher.pull(&meta, &bytes).await;
    assert_eq!(progress.bytes_from_peers, BLOB_LEN as u64);
    leecher.node.close().await;
    seed.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_feed_a_third_when_the_origin_no_longer_seeds() {
    let (bytes, meta) = blob(BLOB_LEN, 3);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    let (a, b) = (Host::agent(&tracker).await, Host::agent(&tracker).await);
    tokio::join!(a.pull(&meta, &bytes), b.pull(&meta, &bytes));
    origin.node.set_seeding(false).await.unwrap();
    let c = Host::agent(&tracker).await;
    let progress = c.pull(&meta, &bytes).await;
    assert_eq!(progress.bytes_from_origins, 0);
    assert_eq!(progress.bytes_from_peers, BLOB_LEN as u64);
    for host in [a, b, c, origin] {
        host.node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_forges_crc32_is_banned_and_the_blob_comes_from_others() {
    let (bytes, meta) = blob(BLOB_LEN, 4);
    let tracker = Arc::new(Tracker::default());
    let (liar, lies) = start_liar(&tracker, &meta, &bytes).await;
    let victim = Host::agent(&tracker).await;
    let mut download = victim.node.download(&namespace(), &meta.digest()).await.unwrap();
    let banned = async {
        loop {
            let blacklist = victim.node.blacklist().await.unwrap();
            if blacklist.iter().any(|b| b.peer_id == liar && b.remaining.is_none()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(banned).await;
    assert!(victim.node.stats().await.unwrap().corrupt_pieces >= 1);
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    soon(download.finished()).await.unwrap();
    assert!(victim.storage.bytes(&meta.digest()) == bytes);
    lies.abort();
    victim.node.close().await;
    origin.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_that_crc32_lets_pass_end_with_the_blob_and_origins_give_it_anew() {
    let (bytes, meta) = blob(BLOB_LEN, 11);
    let meta = meta.without_piece_digests();
    let tracker = Arc::new(Tracker::default());
    let (_, lies) = start_liar(&tracker, &meta, &bytes).await;
    let victim = Host::agent(&tracker).await;
    let mut download = victim.node.download(&namespace(), &meta.digest()).await.unwrap();
    let discarded = async {
        while victim.storage.discards(&meta.digest()) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(discarded).await;
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    soon(download.finished()).await.unwrap();
    assert!(victim.storage.bytes(&meta.digest()) == bytes);
    assert_eq!(download.progress().pieces, 8);
    lies.abort();
    victim.node.close().await;
    origin.node.close().await;
}

/// Starts a peer that lies; its id and its task.
async fn start_liar(
    tracker: &Tracker,
    meta: &MetaInfo,
    bytes: &[u8],
) -> (PeerId, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer_id = PeerId::new([9; 20]);
    let port = listener.local_addr().unwrap().port();
    tracker.add(meta, PeerInfo { peer_id, port, ..peer() });
    let lies = tell_lies(listener, meta.clone(), bytes.to_vec(), peer_id);
    (peer_id, tokio::spawn(lies))
}

/// Serves pieces with the right CRC32 and wrong bytes.
async fn tell_lies(listener: TcpListener, meta: MetaInfo, bytes: Vec<u8>, me: PeerId) {
    loop {
        let mut peer = Played::new(listener.accept().await.unwrap().0);
        let Some(Message::Handshake(_)) = peer.receive().await else { continue };
        peer.send(handshake(&meta, me, &Bitfield::full(meta.geometry().pieces()))).await;
        while let Some(message) = peer.receive().await {
            let Message::PieceRequest { index, length, .. } = message else { continue };
            let range = meta.geometry().range(index);
            let mut piece = bytes[range.start as usize..range.end as usize].to_vec();
            forge(&mut piece);
            assert_eq!(Some(crc32fast::hash(&piece)), meta.crc32_of(index));
            let mut frame = bytes::BytesMut::new();
            crate::wire::encode(&Message::PiecePayload { index, offset: 0, length }, &mut frame);
            frame.extend_from_slice(&piece);
            if peer.socket.write_all(&frame).await.is_err() {
                break;
            }
        }
    }
}

/// Adds the CRC's own polynomial, which changes bytes and leaves the sum.
fn forge(bytes: &mut [u8]) {
    let polynomial = (0xEDB8_8320_u64 << 1 | 1).to_le_bytes();
    for (byte, flip) in bytes.iter_mut().zip(&polynomial[..5]) {
        *byte ^= flip;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_played_leecher_is_served_and_hung_up_on_when_it_sends_what_nobody_asked_for() {
    let (bytes, meta) = blob(BLOB_LEN, 5);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    let mut peer = Played::dial(origin.node.local_addr()).await;
    let have = Bitfield::new(meta.geometry().pieces());
    peer.send(handshake(&meta, PeerId::new([3; 20]), &have)).await;
    let Some(Message::Handshake(reply)) = peer.receive().await else { panic!("no handshake") };
    assert_eq!(reply.peer_id, origin.node.peer_info().peer_id);
    let (index, length) = (PieceIndex(7), meta.geometry().len_of(PieceIndex(7)) as u32);
    peer.send(Message::PieceRequest { index, offset: 0, length }).await;
    let header = peer.receive().await;
    assert_eq!(header, Some(Message::PiecePayload { index, offset: 0, length }));
    let piece = peer.payload(length as usize).await;
    assert!(piece == bytes[7 * PIECE_LEN as usize..]);
    peer.send(Message::PiecePayload { index, offset: 0, length }).await;
    assert_eq!(peer.receive().await, None);
    origin.node.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_handshakes_are_hung_up_on() {
    let (bytes, meta) = blob(10, 6);
    let tracker = Arc::new(Tracker::default());
    let config = NodeConfig { handshake_timeout: Duration::from_millis(50), ..loopback() };
    let host = Host::start(&tracker, config, true).await;
    host.storage.put(&meta, &bytes);
    let (_, unknown) = blob(10, 7);
    let hello = |meta| handshake(meta, PeerId::new([3; 20]), &Bitfield::new(1));
    let mut strangers = Vec::new();
    for _ in 0..4 {
        strangers.push(Played::dial(host.node.local_addr()).await);
    }
    strangers[0].socket.write_all(&40_000_u32.to_be_bytes()).await.unwrap();
    strangers[1].send(Message::Complete).await;
    strangers[2].send(hello(&unknown)).await;
    // The last one says nothing at all.
    for peer in &mut strangers {
        assert_eq!(peer.receive().await, None);
    }
    let stats = host.node.stats().await.unwrap();
    assert_eq!((stats.refused, stats.violations), (4, 2));
    let mut welcome = Played::dial(host.node.local_addr()).await;
    welcome.send(hello(&meta)).await;
    assert!(matches!(welcome.receive().await, Some(Message::Handshake(_))));
    host.node.close().await;
}

#[tokio::test]
async fn close_leaves_no_task_and_fails_who_waits() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (bytes, meta) = blob(BLOB_LEN, 8);
    let tracker = Arc::new(Tracker::default());
    let origin = Host::origin(&tracker, &meta, &bytes).await;
    origin.node.set_seeding(false).await.unwrap();
    let agent = Host::agent(&tracker).await;
    let mut download = agent.node.download(&namespace(), &meta.digest()).await.unwrap();
    let mut removed = agent.node.download(&namespace(), &meta.digest()).await.unwrap();
    agent.node.probe(Duration::from_secs(10)).await.unwrap();
    let (kind, ()) = tokio::join!(
        async { soon(download.finished()).await.unwrap_err().kind() },
        agent.node.close()
    );
    assert_eq!(kind, ErrorKind::Cancelled);
    assert!(soon(removed.finished()).await.is_err());
    assert!(agent.node.download(&namespace(), &meta.digest()).await.is_err());
    assert!(agent.node.probe(Duration::from_secs(10)).await.is_err());
    origin.node.close().await;
    assert_eq!(tasks(), before);
    assert!(agent.node.0.shared.tasks.is_empty());
}

#[tokio::test]
async fn removed_torrents_fail_their_downloads_and_complete_ones_return_at_once() {
    let (bytes, meta) = blob(BLOB_LEN, 9);
    let tracker = Arc::new(Tracker::default());
    tracker.add(&meta, PeerInfo { port: 1, ..peer() });
    let host = Host::agent(&tracker).await;
    let mut download = host.node.download(&namespace(), &meta.digest()).await.unwrap();
    assert!(!download.progress().complete);
    assert!(host.node.remove(&meta.digest()).await.unwrap());
    assert_eq!(soon(download.finished()).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!host.node.remove(&meta.digest()).await.unwrap());
    assert_eq!(host.node.seed(&meta).await.unwrap_err().kind(), ErrorKind::NotFound);
    host.storage.put(&meta, &bytes);
    host.pull(&meta, &bytes).await;
    host.node.seed(&meta).await.unwrap();
    host.node.close().await;
}

#[tokio::test]
async fn downloads_are_listed_while_somebody_waits() {
    let (bytes, meta) = blob(BLOB_LEN, 11);
    let (_, other) = blob(10, 12);
    let tracker = Arc::new(Tracker::default());
    let host = Host::agent(&tracker).await;
    for meta in [&meta, &other] {
        tracker.add(meta, PeerInfo { port: 1, ..peer() });
    }
    let first = host.node.download(&namespace(), &meta.digest()).await.unwrap();
    let second = host.node.download(&namespace(), &other.digest()).await.unwrap();
    let list = host.node.downloads(9).await.unwrap();
    let digests: Vec<_> = list.iter().map(|download| download.digest).collect();
    assert_eq!(digests, [meta.digest(), other.digest()], "the oldest is first");
    assert_eq!(list[0].phase, DownloadPhase::LookingForPeers);
    assert_eq!(list[0].blob_len, Some(bytes.len() as u64));
    assert_eq!((list[0].bytes_verified, list[0].peers), (0, 0));
    assert_eq!(host.node.downloads(1).await.unwrap().len(), 1);
    assert_eq!(host.node.totals().await.unwrap().downloads_running, 2);
    drop((first, second));
    let list = host.node.downloads(9).await.unwrap();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|download| download.phase == DownloadPhase::Left), "{list:?}");
    let totals = host.node.totals().await.unwrap().downloads;
    assert_eq!((totals.left.count, totals.failed.count), (2, 0));
    // Only those of this moment.
    let running = async |host: &Host| {
        let mut list = host.node.downloads(9).await.unwrap();
        list.retain(|download| download.phase != DownloadPhase::Left);
        list
    };

    let asking = &host.node.0.shared.asking;
    let asked = Asking::enter(asking, &meta.digest(), &namespace(), Time::ZERO);
    let list = running(&host).await;
    assert_eq!((list.len(), list[0].phase), (1, DownloadPhase::AskingForMetainfo));
    drop(asked);
    assert_eq!(running(&host).await, []);
    host.node.close().await;
}

/// A tracker that is not there.
#[derive(Debug)]
struct Away;

#[async_trait::async_trait]
impl TrackerClient for Away {
    async fn announce(&self, _: AnnounceRequest) -> Result<AnnounceResponse> {
        Err(Error::new(ErrorKind::Unavailable, "away"))
    }

    async fn metainfo(&self, _: &Namespace, _: &Digest) -> Result<MetaInfo> {
        Err(Error::new(ErrorKind::Unavailable, "away"))
    }
}

#[tokio::test]
async fn downloads_that_got_no_metainfo_are_told_of() {
    let node = Node::builder(Storage::new(true), Arc::new(Away)).config(loopback());
    let node = node.start().await.unwrap();
    let digest = blob(1, 10).1.digest();
    for count in [1, 2] {
        let error = node.open(&namespace(), &digest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let told = async {
            while node.totals().await.unwrap().downloads.failed.count < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(told).await;
        let list = node.downloads(9).await.unwrap();
        assert_eq!((list.len(), list[0].phase), (1, DownloadPhase::Failed));
        assert_eq!((list[0].digest, list[0].blob_len), (digest, None));
    }
    node.close().await;
}

#[tokio::test]
async fn unknown_blobs_and_taken_ports_are_errors_that_say_so() {
    let tracker = Arc::new(Tracker::default());
    let host = Host::agent(&tracker).await;
    let digest = blob(1, 10).1.digest();
    let error = host.node.download(&namespace(), &digest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let config = NodeConfig { listen: host.node.local_addr(), ..loopback() };
    let builder = Node::builder(Storage::new(true), tracker).config(config);
    let error = builder.start().await.unwrap_err().to_string();
    assert!(error.contains(&host.node.local_addr().port().to_string()), "{error}");
    host.node.close().await;
}

#[tokio::test]
async fn peer_ids_follow_their_factory() {
    let tracker = Arc::new(Tracker::default());
    let start = async |peer_id| {
        let config = NodeConfig { peer_id, announce_ip: Some("10.0.0.1".into()), ..loopback() };
        let host = Host::start(&tracker, config, true).await;
        host.node.close().await;
        host.node.peer_info().clone()
    };
    let fixed = start(PeerIdFactory::Fixed(PeerId::new([5; 20]))).await;
    assert_eq!(fixed.peer_id, PeerId::new([5; 20]));
    let hashed = start(PeerIdFactory::AddrHash).await;
    assert_eq!(hashed.peer_id, PeerId::from_addr("10.0.0.1", hashed.port));
    let random = start(PeerIdFactory::Random).await;
    assert_ne!(random.peer_id, start(PeerIdFactory::Random).await.peer_id);
}

fn peer() -> PeerInfo {
    PeerInfo {
        peer_id: PeerId::new([1; 20]),
        ip: "127.0.0.1".into(),
        port: 1,
        origin: false,
        complete: true,
    }
}

/// Parts of a download's time that lie in others.
const BESIDE: [&str; 2] = ["stalled", "disk"];
