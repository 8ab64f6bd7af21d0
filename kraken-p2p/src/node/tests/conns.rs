//! Connections without a swarm: a torrent, the tasks of its connections, and peers played by hand.

use std::sync::Arc;

use kraken_core::{Digest, MetaInfo, PeerId, PeerInfo, PieceIndex};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::support::{Played, Storage, Tracker, blob, loopback, namespace, soon};
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
        let torrent = Torrent::open(&*storage, meta, namespace()).unwrap();
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
        let (link, end) = ConnLink::new(&self.shared, id, torrent, "played".into(), false);
        self.links.push(link);
        let run = conn::run(Arc::clone(&self.shared), end, ours.unwrap(), bytes::BytesMut::new());
        self.shared.tasks.spawn(run);
        Played::new(theirs.unwrap().0)
    }

    fn length(&self, index: PieceIndex) -> u32 {
        self.torrent.meta.geometry().len_of(index) as u32
    }

    fn piece(&self, index: PieceIndex) -> Vec<u8> {
        let range = self.torrent.meta.geometry().range(index);
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
    let pieces = stage.torrent.meta.geometry().pieces();
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
