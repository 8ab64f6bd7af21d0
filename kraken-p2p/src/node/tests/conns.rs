//! Connections without a swarm: a torrent, the tasks of its connections, and peers played by hand.

use std::sync::Arc;
use std::time::Duration;

use kraken_core::{Digest, MetaInfo, PeerId, PeerInfo, PieceIndex};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::support::{PIECE_LEN, Played, Storage, Tracker, blob, loopback, namespace, soon};
use crate::limits::SEND_QUEUE_MAX;
use crate::node::NodeConfig;
use crate::node::conn;
use crate::node::event::Event;
use crate::node::limits::EVENTS_MAX;
use crate::node::link::ConnLink;
use crate::node::shared::Shared;
use crate::node::torrent::Torrent;
use crate::swarm::{CloseReason, ConnId, PieceOutcome};
use crate::wire::Message;

/// What a node has for its connections, and what they report.
struct Stage {
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
    torrent: Arc<Torrent>,
    bytes: Vec<u8>,
    links: Vec<ConnLink>,
}

impl Stage {
    fn new(config: NodeConfig, (bytes, meta): (Vec<u8>, MetaInfo)) -> Self {
        let local = PeerInfo {
            peer_id: PeerId::new([1; 20]),
            ip: "127.0.0.1".into(),
            port: 1,
            origin: false,
            complete: false,
        };
        let (events, events_rx) = mpsc::channel(EVENTS_MAX);
        let storage = Storage::new(true);
        let torrent =
            Torrent::open(&*storage, kraken_core::TorrentMeta::Final(meta), namespace()).unwrap();
        let shared = Shared::new(config, local, storage, Arc::new(Tracker::default()), events);
        Self { shared: Arc::new(shared), events: events_rx, torrent, bytes, links: Vec::new() }
    }

    /// One more connection; the other end of it.
    async fn connect(&mut self) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(dial, listener.accept());
        let id = ConnId(self.links.len() as u64);
        let torrent = Arc::clone(&self.torrent);
        let token = self.shared.closing.child_token();
        let (link, end) = ConnLink::new(token, id, torrent, "played".into(), false);
        self.links.push(link);
        let run = conn::run(Arc::clone(&self.shared), end, ours.unwrap(), bytes::BytesMut::new());
        self.shared.tasks.spawn(run);
        Played::new(theirs.unwrap().0)
    }

    fn length(&self, index: PieceIndex) -> u32 {
        self.torrent.geometry.len_of(index) as u32
    }

    fn piece(&self, index: PieceIndex) -> Vec<u8> {
        let range = self.torrent.geometry.range(index);
        self.bytes[range.start as usize..range.end as usize].to_vec()
    }

    /// Asks for a piece over a connection, and sees the request arrive.
    async fn request(&self, conn: usize, peer: &mut Played, index: PieceIndex) {
        let request = Message::PieceRequest { index, offset: 0, length: self.length(index) };
        self.links[conn].send(request.clone()).unwrap();
        assert_eq!(peer.receive().await, Some(request));
    }

    /// Sends a payload's header.
    async fn announce_payload(&self, peer: &mut Played, index: PieceIndex) {
        let length = self.length(index);
        peer.send(Message::PiecePayload { index, offset: 0, length }).await;
    }

    async fn answer(&self, peer: &mut Played, index: PieceIndex) {
        self.announce_payload(peer, index).await;
        peer.socket.write_all(&self.piece(index)).await.unwrap();
    }

    /// What came of the next piece.
    async fn outcome(&mut self) -> (PieceIndex, PieceOutcome) {
        loop {
            match soon(self.events.recv()).await.unwrap() {
                Event::Piece { index, outcome, .. } => return (index, outcome),
                Event::PieceProgress { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    async fn end(self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

#[tokio::test]
async fn requests_that_were_taken_back_do_not_add_up() {
    let bytes = vec![7; SEND_QUEUE_MAX + 100];
    let meta = MetaInfo::of_bytes(Digest::sha256(&bytes), &bytes, 1).unwrap();
    let mut stage = Stage::new(loopback(), (bytes, meta));
    let mut peer = stage.connect().await;
    let pieces = stage.torrent.geometry.pieces();
    for index in (0..pieces).map(PieceIndex) {
        stage.request(0, &mut peer, index).await;
        stage.links[0].send(Message::CancelPiece { index }).unwrap();
        assert_eq!(peer.receive().await, Some(Message::CancelPiece { index }));
    }
    // An answer may have been on its way when its request was taken back.
    for index in [PieceIndex(0), PieceIndex(pieces - 1)] {
        stage.answer(&mut peer, index).await;
        assert_eq!(stage.outcome().await, (index, PieceOutcome::Stored));
    }
    stage.end().await;
}

#[tokio::test]
async fn a_piece_may_come_as_often_as_it_was_asked_for() {
    let mut stage = Stage::new(loopback(), blob(10, 1));
    let mut peer = stage.connect().await;
    let index = PieceIndex(0);
    stage.request(0, &mut peer, index).await;
    stage.request(0, &mut peer, index).await;
    stage.answer(&mut peer, index).await;
    assert_eq!(stage.outcome().await, (index, PieceOutcome::Stored));
    stage.answer(&mut peer, index).await;
    assert_eq!(stage.outcome().await, (index, PieceOutcome::Duplicate));
    stage.answer(&mut peer, index).await;
    let closed = soon(stage.events.recv()).await;
    assert!(
        matches!(&closed, Some(Event::Closed { reason: CloseReason::Protocol(_), .. })),
        "{closed:?}"
    );
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_comes_steadily_is_reported_meanwhile_but_not_every_byte_of_it() {
    let mut stage = Stage::new(loopback(), blob(1 << 20, 1));
    let mut peer = stage.connect().await;
    let index = PieceIndex(0);
    stage.request(0, &mut peer, index).await;
    stage.announce_payload(&mut peer, index).await;
    let begun = Instant::now();
    let piece = stage.piece(index);
    let send = tokio::spawn(async move {
        for chunk in piece.chunks(8 << 10) {
            peer.socket.write_all(chunk).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
        peer
    });
    let (mut reports, mut reported) = (0, 0);
    loop {
        match soon(stage.events.recv()).await.unwrap() {
            Event::PieceProgress { bytes, .. } => {
                reports += 1;
                reported += bytes;
            }
            Event::Piece { outcome, .. } => {
                assert_eq!(outcome, PieceOutcome::Stored);
                break;
            }
            event => panic!("{event:?}"),
        }
    }
    let most = begun.elapsed().as_millis() / 100 + 1;
    assert!((10..=most).contains(&reports), "{reports} reports in {:?}", begun.elapsed());
    assert!(reported <= u64::from(stage.length(index)));
    drop(send.await.unwrap());
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn peers_that_send_a_byte_now_and_then_do_not_keep_the_buffers_from_others() {
    let config = NodeConfig { buffers_bytes_max: 0, ..loopback() };
    let mut stage = Stage::new(config, blob(4 * PIECE_LEN as usize, 1));
    let mut trickles = Vec::new();
    for conn in 0..2 {
        let (mut peer, index) = (stage.connect().await, PieceIndex(conn));
        stage.request(conn as usize, &mut peer, index).await;
        stage.announce_payload(&mut peer, index).await;
        let piece = stage.piece(index);
        trickles.push(tokio::spawn(async move {
            for byte in piece.chunks(1) {
                peer.socket.write_all(byte).await.unwrap();
                sleep(Duration::from_millis(40)).await;
            }
        }));
    }
    sleep(Duration::from_secs(1)).await;
    let mut quick = stage.connect().await;
    for index in [PieceIndex(2), PieceIndex(3)] {
        stage.request(2, &mut quick, index).await;
        stage.announce_payload(&mut quick, index).await;
        let piece = stage.piece(index);
        let (sent, outcome) = tokio::join!(quick.socket.write_all(&piece), stage.outcome());
        sent.unwrap();
        assert_eq!(outcome, (index, PieceOutcome::Stored));
    }
    trickles.iter().for_each(tokio::task::JoinHandle::abort);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_buffer_is_not_held_against_the_peer() {
    let config = NodeConfig { buffers_bytes_max: 0, ..loopback() };
    let mut stage = Stage::new(config, blob(PIECE_LEN as usize, 1));
    let mut peer = stage.connect().await;
    let index = PieceIndex(0);
    stage.request(0, &mut peer, index).await;
    let first_hoarded = stage.shared.buffers.take().await;
    stage.announce_payload(&mut peer, index).await;
    // The first half is written; then there are no buffers for the second.
    let piece = stage.piece(index);
    let (first, second) = piece.split_at(1 << 20);
    peer.socket.write_all(&first[..64 << 10]).await.unwrap();
    let event = soon(stage.events.recv()).await;
    assert!(matches!(event, Some(Event::PieceProgress { .. })), "{event:?}");
    let rest = peer.socket.write_all(&first[64 << 10..]);
    let (second_hoarded, sent) = tokio::join!(stage.shared.buffers.take(), rest);
    sent.unwrap();
    peer.socket.write_all(second).await.unwrap();
    while stage.events.try_recv().is_ok() {}
    sleep(Duration::from_secs(5)).await;
    let (mut reports, now) = (0, stage.shared.clock.now());
    while let Ok(event) = stage.events.try_recv() {
        assert!(matches!(event, Event::PieceProgress { .. }), "{event:?}");
        reports += 1;
    }
    assert!(reports >= 10, "{reports} reports");
    assert!(stage.torrent.leases.acquire(index, now).is_none(), "it keeps its piece");
    drop((first_hoarded, second_hoarded));
    assert_eq!(stage.outcome().await, (index, PieceOutcome::Stored));
    stage.end().await;
}
