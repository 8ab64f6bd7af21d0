//! A policy that shares nothing: everyone asks the blob's first origin for the next pieces.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;

use bytes::Bytes;
use kraken_core::{Bitfield, Digest, Error, PeerInfo, PieceIndex, Time, TorrentMeta};

use crate::sim::{Limits, Peer, Policy};
use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, TorrentSpec,
};
use crate::wire::{Handshake, Message};

/// How the peers behave.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Star {
    /// Requests open at once.
    pub(super) window: usize,
    /// Each request is answered twice.
    pub(super) sends_twice: bool,
    /// It throws a blob away when all of it is there.
    pub(super) discards: bool,
    /// Its timer goes off again at once.
    pub(super) storms: bool,
    pub(super) limits: Option<Limits>,
}

#[derive(Debug)]
struct StarPeer {
    star: Star,
    local: PeerInfo,
    torrents: BTreeMap<Digest, (TorrentSpec, u32)>,
    conns: BTreeMap<ConnId, Digest>,
    next_conn: u64,
    now: Time,
    outputs: VecDeque<Output>,
}

impl Policy for Star {
    fn name(&self) -> String {
        "star".into()
    }

    fn peer(&self, local: PeerInfo, _seed: u64) -> Box<dyn Peer> {
        Box::new(StarPeer {
            star: *self,
            local,
            torrents: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            now: Time::ZERO,
            outputs: VecDeque::new(),
        })
    }
}

impl StarPeer {
    fn fresh(&mut self, torrent: Digest) -> ConnId {
        self.next_conn += 1;
        self.conns.insert(ConnId(self.next_conn), torrent);
        ConnId(self.next_conn)
    }

    fn handshake(&self, digest: &Digest) -> Handshake {
        let (spec, _) = &self.torrents[digest];
        let TorrentMeta::Final(meta) = &spec.meta else { unreachable!("sums are final") };
        Handshake {
            peer_id: self.local.peer_id,
            info_hash: meta.info_hash(),
            digest: *digest,
            namespace: spec.namespace.clone(),
            bitfield: Bytes::from(spec.have.to_wire()),
            remote_peers: Vec::new(),
            capabilities: None,
        }
    }

    fn ask(&mut self, conn: ConnId, count: usize) {
        let Some(digest) = self.conns.get(&conn) else { return };
        let Some((spec, next)) = self.torrents.get_mut(digest) else { return };
        for _ in 0..count {
            let index = PieceIndex(*next);
            if index.0 < spec.meta.geometry().pieces() {
                *next += 1;
                let length = spec.meta.geometry().len_of(index) as u32;
                let message = Message::PieceRequest { index, offset: 0, length };
                self.outputs.push_back(Output::Send { conn, message });
            }
        }
    }
}

impl Peer for StarPeer {
    fn add_torrent(&mut self, _now: Time, spec: TorrentSpec) -> Result<(), Error> {
        self.torrents.insert(spec.meta.digest(), (spec, 0));
        Ok(())
    }

    fn set_demand(
        &mut self,
        _now: Time,
        torrent: &Digest,
        _demand: DemandId,
        _bytes: Option<Range<u64>>,
    ) {
        let info_hash = self.handshake(torrent).info_hash;
        self.outputs.push_back(Output::Announce {
            torrent: *torrent,
            info_hash,
            complete: false,
            starved: false,
        });
    }

    fn handle_announced(&mut self, _now: Time, torrent: &Digest, result: Result<Announced, Error>) {
        let peers = result.unwrap().peers;
        let origin = peers.into_iter().filter(|peer| peer.origin).min_by_key(|peer| peer.peer_id);
        let conn = self.fresh(*torrent);
        let handshake = Box::new(self.handshake(torrent));
        self.outputs.push_back(Output::Dial { conn, peer: origin.unwrap(), handshake });
    }

    fn handle_dialed(&mut self, _now: Time, conn: ConnId, result: Result<Handshake, CloseReason>) {
        assert!(result.is_ok());
        self.ask(conn, self.star.window);
    }

    fn handle_incoming(
        &mut self,
        _now: Time,
        _remote_ip: IpAddr,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        let reply = self.handshake(&handshake.digest);
        Ok((self.fresh(handshake.digest), reply))
    }

    fn handle_message(&mut self, _now: Time, conn: ConnId, message: Message) {
        if let Message::PieceRequest { index, .. } = message {
            let torrent = self.conns[&conn];
            for _ in 0..if self.star.sends_twice { 2 } else { 1 } {
                self.outputs.push_back(Output::SendPiece { conn, torrent, index, proven: false });
            }
        }
    }

    fn handle_piece(
        &mut self,
        _now: Time,
        torrent: &Digest,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        if outcome == PieceOutcome::Stored {
            let have: &mut Bitfield = &mut self.torrents.get_mut(torrent).unwrap().0.have;
            have.set(index);
            if have.is_full() {
                let torrent = *torrent;
                self.outputs.push_back(match self.star.discards {
                    true => Output::Discard { torrent },
                    false => Output::Commit { torrent },
                });
            }
        }
        self.ask(conn, 1);
    }

    fn handle_piece_sent(&mut self, _: Time, _: ConnId, _: PieceIndex, _: Result<(), ()>) {}

    fn handle_closed(&mut self, _now: Time, _conn: ConnId, _reason: CloseReason) {}

    fn handle_committed(&mut self, _now: Time, torrent: &Digest, _result: Result<(), Error>) {
        self.outputs.push_back(Output::Completed { torrent: *torrent });
    }

    fn handle_discarded(&mut self, _now: Time, _torrent: &Digest, _result: Result<(), Error>) {}

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.star.storms.then_some(self.now)
    }

    fn limits(&self) -> Limits {
        self.star.limits.unwrap_or_default()
    }
}
