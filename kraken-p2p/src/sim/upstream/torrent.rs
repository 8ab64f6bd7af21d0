//! A torrent: its peers, what it asks of them and what it tells them.

use std::collections::{BTreeMap, VecDeque};

use kraken_core::rng::Rng;
use kraken_core::{
    Bitfield, Digest, Error, Geometry, InfoHash, Namespace, PeerInfo, PieceIndex, Time, TorrentMeta,
};

use super::announces::AnnounceQueue;
use super::config::UpstreamConfig;
use super::links::{Link, Links};
use super::requests::{Ask, Requests};
use crate::limits::FRAME_LEN_MAX;
use crate::swarm::{
    Announced, CloseReason, ConnId, Counters, DemandId, Output, PieceOutcome, Refused, TorrentSpec,
};
use crate::wire::{ErrorCode, Handshake, Message};

/// What a torrent works with.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) config: &'a UpstreamConfig,
    pub(super) local: &'a PeerInfo,
    pub(super) rng: &'a mut Rng,
    pub(super) out: &'a mut VecDeque<Output>,
    pub(super) counters: &'a mut Counters,
    pub(super) conns: &'a mut BTreeMap<ConnId, Digest>,
    pub(super) next_conn: &'a mut u64,
    pub(super) queue: &'a mut AnnounceQueue,
}

#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) digest: Digest,
    namespace: Namespace,
    geometry: Geometry,
    info_hash: InfoHash,
    have: Bitfield,
    /// Taken up by the scheduler: by a download, or by the first who dials.
    control: Option<Control>,
    demands: Vec<DemandId>,
    pub(super) links: Links,
    requests: Requests,
    /// How many peers have each piece, as it is counted there: up for each bit of a handshake and
    /// each announce, known or not; down for each bit of a peer that goes.
    counts: Vec<i32>,
    /// When it next looks for lost requests.
    pub(super) watch_at: Option<Time>,
    /// Thrown away.
    pub(super) gone: bool,
}

#[derive(Debug)]
struct Control {
    since: Time,
    written_at: Time,
}

/// Life.
impl Torrent {
    pub(super) fn new(config: &UpstreamConfig, spec: TorrentSpec) -> Result<Self, Error> {
        let TorrentMeta::Final(meta) = &spec.meta else {
            return Err(Error::invalid("uber/kraken has no torrents without metainfo"));
        };
        let geometry = meta.geometry();
        let pieces = geometry.pieces();
        let piece_len = geometry.len_of(PieceIndex(0));
        let timeout = config.request_timeout(piece_len);
        Ok(Self {
            digest: meta.digest(),
            namespace: spec.namespace,
            geometry,
            info_hash: meta.info_hash(),
            have: spec.have,
            control: None,
            demands: Vec::new(),
            links: Links::default(),
            requests: Requests::new(timeout, config.piece_request_policy, pieces),
            counts: vec![0; pieces as usize],
            watch_at: None,
            gone: false,
        })
    }

    fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    fn take_up(&mut self, cx: &mut Cx<'_>) {
        self.control = Some(Control { since: cx.now, written_at: cx.now });
        if self.is_complete() {
            self.announce(cx);
        } else {
            cx.queue.add(self.digest);
            self.watch_at = Some(cx.now + self.requests.timeout() / 2);
        }
    }

    /// Someone waits for the blob. Each one announces at once.
    pub(super) fn download(&mut self, cx: &mut Cx<'_>, demand: DemandId) {
        if self.is_complete() || self.demands.contains(&demand) {
            return;
        }
        self.demands.push(demand);
        if self.control.is_none() {
            self.take_up(cx);
        }
        self.announce(cx);
    }

    pub(super) fn announce(&mut self, cx: &mut Cx<'_>) {
        if cx.local.origin {
            return;
        }
        cx.counters.announces += 1;
        let (torrent, info_hash) = (self.digest, self.info_hash);
        cx.out.push_back(Output::Announce {
            torrent,
            info_hash,
            complete: self.is_complete(),
            starved: false,
        });
    }

    /// Closes what is idle, and puts the torrent aside or throws it away if that is.
    pub(super) fn preempt(&mut self, cx: &mut Cx<'_>) {
        let over = self.links.active().filter(|link| link.is_over(cx.now, cx.config));
        for conn in over.map(|link| link.conn).collect::<Vec<_>>() {
            self.close(cx, conn, CloseReason::Idle);
        }
        let Some(control) = &self.control else { return };
        if self.is_complete() {
            if cx.now.since(control.since) >= cx.config.seeder_tti {
                self.control = None;
                self.links.iter_mut().for_each(|link| link.orphaned = true);
            }
        } else if cx.now.since(control.written_at) >= cx.config.leecher_tti {
            self.throw_away(cx);
        }
    }

    fn throw_away(&mut self, cx: &mut Cx<'_>) {
        for conn in self.links.iter().map(|link| link.conn).collect::<Vec<_>>() {
            self.close(cx, conn, CloseReason::TorrentGone);
        }
        cx.queue.eject(&self.digest);
        let reason = "torrent timed out".to_owned();
        cx.out.push_back(Output::Dropped { torrent: self.digest, reason });
        self.gone = true;
    }

    /// The last piece is here. Whoever seems to have everything too is left, even if the bytes of
    /// its last pieces are still on the way to it.
    fn complete(&mut self, cx: &mut Cx<'_>) {
        self.watch_at = None;
        let peers: Vec<_> =
            self.links.active().map(|link| (link.conn, link.theirs.is_full())).collect();
        for (conn, has_all) in peers {
            if has_all {
                self.close(cx, conn, CloseReason::BothComplete);
            } else {
                cx.out.push_back(Output::Send { conn, message: Message::Complete });
            }
        }
        self.links.clear_blacklist();
        cx.queue.eject(&self.digest);
        cx.out.push_back(Output::Completed { torrent: self.digest });
        self.announce(cx);
    }
}

/// Connections.
impl Torrent {
    pub(super) fn on_announced(&mut self, cx: &mut Cx<'_>, result: Result<Announced, Error>) {
        if self.control.is_none() {
            return;
        }
        cx.queue.ready(&self.digest);
        let Ok(announced) = result else { return };
        if self.is_complete() {
            return;
        }
        for peer in announced.peers {
            let me = peer.peer_id == cx.local.peer_id;
            if !me && !self.links.is_blacklisted(cx.now, &peer.peer_id) && !self.dial(cx, peer) {
                break;
            }
        }
    }

    /// Dials a peer unless there is a connection, or a dial under way; whether there was room.
    fn dial(&mut self, cx: &mut Cx<'_>, peer: PeerInfo) -> bool {
        let conn = ConnId(*cx.next_conn);
        match self.links.add(Link::pending(conn, peer.peer_id, peer.origin), cx.config) {
            Err(Refused::Full) => return false,
            Err(_) => return true,
            Ok(()) => {}
        }
        *cx.next_conn += 1;
        let Some(handshake) = self.handshake(cx) else {
            self.links.remove(conn);
            self.links.blacklist(cx.now, peer.peer_id, cx.config);
            return true;
        };
        cx.conns.insert(conn, self.digest);
        cx.counters.dials += 1;
        cx.out.push_back(Output::Dial { conn, peer, handshake: Box::new(handshake) });
        true
    }

    pub(super) fn on_dialed(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        result: Result<Handshake, CloseReason>,
    ) {
        let Some(link) = self.links.of(conn) else { return };
        let Ok(handshake) = result else {
            self.forget(cx, conn);
            return;
        };
        let theirs = Bitfield::from_wire(&handshake.bitfield, self.have.len());
        match theirs {
            Ok(theirs) if handshake.peer_id == link.peer_id => self.activate(cx, conn, theirs),
            _ => self.close(cx, conn, CloseReason::HandshakeFailed("not as expected".to_owned())),
        }
    }

    pub(super) fn on_incoming(
        &mut self,
        cx: &mut Cx<'_>,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        if self.control.is_none() && self.have.count() == 0 && !self.have.is_empty() {
            // Nothing of it is on disk.
            return Err(Refused::UnknownTorrent);
        }
        let mutual = handshake.remote_peers.iter().filter(|id| self.links.with(id).is_some());
        if mutual.count() > cx.config.max_mutual_conn {
            return Err(Refused::Full);
        }
        let theirs = Bitfield::from_wire(&handshake.bitfield, self.have.len())
            .map_err(|error| Refused::Invalid(error.to_string()))?;
        let conn = ConnId(*cx.next_conn);
        self.links.add(Link::pending(conn, handshake.peer_id, false), cx.config)?;
        let Some(reply) = self.handshake(cx) else {
            self.links.remove(conn);
            return Err(Refused::Invalid("the answer is too long".to_owned()));
        };
        *cx.next_conn += 1;
        cx.conns.insert(conn, self.digest);
        if self.control.is_none() {
            self.take_up(cx);
        }
        self.activate(cx, conn, theirs);
        Ok((conn, reply))
    }

    /// What to open a connection with. It carries the pieces of all neighbours, so in large
    /// torrents it becomes longer than the other side takes: then there is none.
    fn handshake(&self, cx: &Cx<'_>) -> Option<Handshake> {
        let remote_peers: Vec<_> = self.links.active().map(|link| link.peer_id).collect();
        let bitfield = self.have.to_wire();
        let len = 160 + self.namespace.as_str().len() + bitfield.len();
        let remotes_len = remote_peers.len() * (bitfield.len() + 49);
        if len + remotes_len > FRAME_LEN_MAX {
            return None;
        }
        Some(Handshake {
            peer_id: cx.local.peer_id,
            info_hash: self.info_hash,
            digest: self.digest,
            namespace: self.namespace.clone(),
            bitfield: bitfield.into(),
            remote_peers,
            capabilities: None,
        })
    }

    fn activate(&mut self, cx: &mut Cx<'_>, conn: ConnId, theirs: Bitfield) {
        let Some(link) = self.links.of_mut(conn) else { return };
        theirs.iter().for_each(|piece| self.counts[piece.as_usize()] += 1);
        (link.active, link.created_at, link.theirs) = (true, cx.now, theirs);
        self.request_more(cx, conn);
    }

    pub(super) fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.forget(cx, conn);
    }

    fn close(&mut self, cx: &mut Cx<'_>, conn: ConnId, reason: CloseReason) {
        self.forget(cx, conn);
        cx.out.push_back(Output::Close { conn, reason });
    }

    /// A connection or a dial is over; its peer is not dialled for a while, whatever the reason.
    fn forget(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        cx.conns.remove(&conn);
        let Some(link) = self.links.remove(conn) else { return };
        link.theirs.iter().for_each(|piece| self.counts[piece.as_usize()] -= 1);
        self.requests.clear_peer(conn);
        self.links.blacklist(cx.now, link.peer_id, cx.config);
    }
}

/// Pieces.
impl Torrent {
    pub(super) fn on_message(&mut self, cx: &mut Cx<'_>, conn: ConnId, message: &Message) {
        let complete = self.is_complete();
        let Some(link) = self.links.of_mut(conn).filter(|link| link.active) else { return };
        match *message {
            Message::PieceRequest { index, offset, length } => {
                self.on_request(cx, conn, index, (offset, length));
            }
            Message::AnnouncePiece { index } if index.0 < self.have.len() => {
                link.theirs.set(index);
                self.counts[index.as_usize()] += 1;
                self.request_more(cx, conn);
            }
            Message::Error { index, code: ErrorCode::PieceRequestFailed, .. } => {
                self.requests.mark_invalid(conn, index);
            }
            Message::Complete if complete => {
                self.close(cx, conn, CloseReason::BothComplete);
            }
            Message::Complete => {
                link.theirs = Bitfield::full(self.have.len());
                self.request_more(cx, conn);
            }
            // There is no cancelling, and handshakes are not for later; what it does not know it
            // skips.
            _ => {}
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: PieceIndex, span: (u32, u32)) {
        let whole = (0, self.geometry.len_of(index));
        if (span.0, u64::from(span.1)) != whole || !self.have.contains(index) {
            let text = "piece not complete".to_owned();
            let message = Message::Error { index, code: ErrorCode::PieceRequestFailed, text };
            cx.out.push_back(Output::Send { conn, message });
            return;
        }
        if let Some(link) = self.links.of_mut(conn) {
            link.progress_at = cx.now;
            link.theirs.set(index);
        }
        cx.out.push_back(Output::SendPiece { conn, torrent: self.digest, index, proven: false });
    }

    pub(super) fn on_piece_sent(&mut self, cx: &mut Cx<'_>, index: PieceIndex) {
        cx.counters.pieces_sent += 1;
        cx.counters.bytes_sent += self.geometry.len_of(index);
    }

    pub(super) fn on_piece(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        match outcome {
            PieceOutcome::Stored => self.on_stored(cx, conn, index),
            // Nothing more is asked of the one who brought it, until something else happens.
            PieceOutcome::Present => cx.counters.pieces_duplicate += 1,
            PieceOutcome::Duplicate => {
                cx.counters.pieces_duplicate += 1;
                self.requests.mark_invalid(conn, index);
            }
            PieceOutcome::Corrupt { .. } => {
                cx.counters.pieces_corrupt += 1;
                self.requests.mark_invalid(conn, index);
            }
            PieceOutcome::Unproven | PieceOutcome::StorageFailed => {
                self.requests.mark_invalid(conn, index);
            }
        }
    }

    fn on_stored(&mut self, cx: &mut Cx<'_>, conn: ConnId, index: PieceIndex) {
        self.have.set(index);
        if let Some(control) = &mut self.control {
            control.written_at = cx.now;
        }
        let mut origin = false;
        if let Some(link) = self.links.of_mut(conn) {
            link.progress_at = cx.now;
            origin = link.origin;
        }
        let (len, counters) = (self.geometry.len_of(index), &mut *cx.counters);
        if origin {
            counters.pieces_from_origins += 1;
            counters.bytes_from_origins += len;
        } else {
            counters.pieces_from_peers += 1;
            counters.bytes_from_peers += len;
        }
        if self.is_complete() {
            self.complete(cx);
        }
        self.requests.clear(index);
        self.request_more(cx, conn);
        for link in self.links.active().filter(|link| link.conn != conn) {
            let message = Message::AnnouncePiece { index };
            cx.out.push_back(Output::Send { conn: link.conn, message });
        }
    }

    /// Asks a peer for as many pieces as it may be asked for.
    fn request_more(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.request(cx, conn, None);
    }

    /// Asks for pieces, or for one; whether it asked.
    fn request(&mut self, cx: &mut Cx<'_>, conn: ConnId, only: Option<PieceIndex>) -> bool {
        let Some(link) = self.links.of(conn).filter(|link| link.active) else { return false };
        let config = cx.config;
        let missing = self.have.len() - self.have.count();
        let ask = Ask {
            conn,
            pipeline: if link.origin {
                config.origin_pipeline_limit
            } else {
                config.pipeline_limit
            },
            theirs: &link.theirs,
            have: &self.have,
            only,
            counts: &self.counts,
            duplicates: !config.disable_endgame && missing <= config.endgame_threshold,
        };
        let picked = self.requests.reserve(cx.now, ask, cx.rng);
        for &index in &picked {
            // A piece is far shorter than 4 GiB.
            let length = self.geometry.len_of(index) as u32;
            let message = Message::PieceRequest { index, offset: 0, length };
            cx.out.push_back(Output::Send { conn, message });
        }
        !picked.is_empty()
    }

    /// Asks others for what was asked for in vain; each lost request of one of them.
    pub(super) fn resend(&mut self, cx: &mut Cx<'_>) {
        self.watch_at = Some(cx.now + self.requests.timeout() / 2);
        let failed = self.requests.failed(cx.now);
        if failed.is_empty() {
            return;
        }
        let mut peers: Vec<ConnId> = self.links.active().map(|link| link.conn).collect();
        cx.rng.shuffle(&mut peers);
        for request in failed {
            for &conn in peers.iter().filter(|conn| **conn != request.conn) {
                if self.request(cx, conn, Some(request.piece)) {
                    break;
                }
            }
        }
    }
}
