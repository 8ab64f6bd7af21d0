//! A policy that shares nothing: everyone asks the blob's first origin for the next pieces.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use kraken_core::{Bitfield, Digest, Error, PeerInfo, PieceIndex, Time, TorrentMeta};

use crate::sim::{Limits, Peer, Policy};
use crate::swarm::{
    Announced, CloseReason, ConnId, Counters, DemandId, Output, PieceOutcome, Refused, TorrentSpec,
};
use crate::wire::{ErrorCode, Handshake, Message};

/// How the peers behave.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Star {
    /// Requests open at once.
    pub(super) window: usize,
    pub(super) odd: Odd,
    pub(super) limits: Option<Limits>,
}

/// What is odd about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Odd {
    #[default]
    Nothing,
    /// It answers each request twice.
    SendsTwice,
    /// It throws a blob away when all of it is there.
    Discards,
    /// Its timer goes off again at once…
    Storms,
    /// …or a tenth of a millisecond later.
    Spins,
    /// It announces again whenever it is answered.
    Announces,
    /// It does not commit what is all there.
    NeverCommits,
    /// It commits with the first piece.
    CommitsEarly,
    /// It calls a blob complete with its first piece…
    CompletesEarly,
    /// …or before it is committed…
    CompletesUncommitted,
    /// …or never.
    NeverCompletes,
    /// It dials under the same id again.
    DialsTwice,
    /// All that it accepts has one id.
    AcceptsTwice,
    /// It dials an address where nobody is, and somebody for a blob of which nobody knows, before
    /// it dials an origin.
    DialsNobody,
    /// It asks for the same piece for ever.
    AsksForOne,
    /// It refuses whatever it is asked for, and asks again for what is refused.
    Refuses,
    /// It says that it has all, and says so to whoever says so.
    Echoes,
    /// It tells of a piece, and of two whenever it is told of one.
    Tells,
    /// It dials in vain, and again when that has failed.
    Redials,
    /// It dials an agent.
    DialsAgents,
    /// It dials an agent, and again when that has sent a wrong piece.
    Trusts,
    /// It dials an agent, and asks again for what comes wrong.
    Believes,
    /// It has counted nothing.
    Miscounts,
}

#[derive(Debug)]
struct StarPeer {
    star: Star,
    local: PeerInfo,
    torrents: BTreeMap<Digest, (TorrentSpec, u32)>,
    conns: BTreeMap<ConnId, Digest>,
    next_conn: u64,
    /// Whom it would dial now.
    next_dial: Option<PeerInfo>,
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
            next_dial: None,
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

    fn announce(&mut self, torrent: Digest) {
        let info_hash = self.handshake(&torrent).info_hash;
        let (complete, starved) = (false, false);
        self.outputs.push_back(Output::Announce { torrent, info_hash, complete, starved });
    }

    fn dial(&mut self, torrent: Digest) {
        let Some(peer) = self.next_dial.clone() else { return };
        let conn = self.fresh(torrent);
        let handshake = Box::new(self.handshake(&torrent));
        self.outputs.push_back(Output::Dial { conn, peer, handshake });
    }

    /// Dials somebody at another address, or for another blob.
    fn dial_in_vain(&mut self, torrent: Digest, spoil: fn(&mut PeerInfo, &mut Handshake)) {
        let Some(mut peer) = self.next_dial.clone() else { return };
        let conn = self.fresh(torrent);
        let mut handshake = Box::new(self.handshake(&torrent));
        spoil(&mut peer, &mut handshake);
        self.outputs.push_back(Output::Dial { conn, peer, handshake });
    }

    fn is(&self, odd: Odd) -> bool {
        self.star.odd == odd
    }

    fn ask(&mut self, conn: ConnId, count: usize) {
        let Some(digest) = self.conns.get(&conn) else { return };
        let Some((spec, next)) = self.torrents.get_mut(digest) else { return };
        for _ in 0..count {
            if self.star.odd == Odd::AsksForOne {
                *next = 0;
            }
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
        self.announce(*torrent);
    }

    fn handle_announced(&mut self, _now: Time, torrent: &Digest, result: Result<Announced, Error>) {
        let agents = matches!(self.star.odd, Odd::DialsAgents | Odd::Trusts | Odd::Believes);
        let peers = result.unwrap().peers.into_iter().filter(|peer| peer.origin != agents);
        let is_first = self.next_dial.is_none();
        self.next_dial = peers.min_by_key(|peer| peer.peer_id);
        if matches!(self.star.odd, Odd::DialsNobody | Odd::Redials) {
            self.dial_in_vain(*torrent, |peer, _| peer.ip = "10.200.0.1".into());
        } else if is_first || !self.is(Odd::Announces) {
            self.dial(*torrent);
        }
        if self.is(Odd::Announces) {
            self.announce(*torrent);
        }
        if self.is(Odd::DialsTwice) {
            self.next_conn -= 1;
            self.dial(*torrent);
        }
    }

    fn handle_dialed(&mut self, _now: Time, conn: ConnId, result: Result<Handshake, CloseReason>) {
        match result {
            Ok(_) => {
                let message = match self.star.odd {
                    Odd::Echoes => Message::Complete,
                    Odd::Tells => Message::AnnouncePiece { index: PieceIndex(0) },
                    _ => return self.ask(conn, self.star.window),
                };
                self.outputs.push_back(Output::Send { conn, message });
            }
            Err(_) if self.is(Odd::Redials) => {
                let torrent = self.conns[&conn];
                self.dial_in_vain(torrent, |peer, _| peer.ip = "10.200.0.1".into());
            }
            Err(_) => {
                assert!(self.is(Odd::DialsNobody), "a dial failed");
                let torrent = self.conns[&conn];
                match conn.0 {
                    1 => self.dial_in_vain(torrent, |_, handshake| {
                        handshake.digest = Digest::sha256(b"nobody's");
                    }),
                    _ => self.dial(torrent),
                }
            }
        }
    }

    fn handle_incoming(
        &mut self,
        _now: Time,
        _remote_ip: IpAddr,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        let reply = self.handshake(&handshake.digest);
        if self.is(Odd::AcceptsTwice) {
            self.next_conn = 0;
        }
        Ok((self.fresh(handshake.digest), reply))
    }

    fn handle_message(&mut self, _now: Time, conn: ConnId, message: Message) {
        let torrent = self.conns[&conn];
        let mut send = |message| self.outputs.push_back(Output::Send { conn, message });
        match (self.star.odd, message) {
            (Odd::Refuses, Message::PieceRequest { index, .. }) => {
                let (code, text) = (ErrorCode::PieceRequestFailed, "no".to_owned());
                send(Message::Error { index, code, text });
            }
            (Odd::Refuses, Message::Error { index, .. }) => {
                self.torrents.get_mut(&torrent).unwrap().1 = index.0;
                self.ask(conn, 1);
            }
            (Odd::Echoes, Message::Complete) => send(Message::Complete),
            (Odd::Tells, message @ Message::AnnouncePiece { .. }) => {
                send(message.clone());
                send(message);
            }
            (odd, Message::PieceRequest { index, .. }) => {
                for _ in 0..if odd == Odd::SendsTwice { 2 } else { 1 } {
                    let proven = false;
                    self.outputs.push_back(Output::SendPiece { conn, torrent, index, proven });
                }
            }
            _ => {}
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
            let (is_first, is_last, torrent) = (have.count() == 1, have.is_full(), *torrent);
            let outputs = &mut self.outputs;
            match self.star.odd {
                Odd::CommitsEarly if is_first => outputs.push_back(Output::Commit { torrent }),
                Odd::CompletesEarly if is_first => {
                    outputs.push_back(Output::Completed { torrent });
                }
                _ if !is_last => {}
                Odd::Discards => outputs.push_back(Output::Discard { torrent }),
                Odd::NeverCommits => {}
                Odd::CompletesUncommitted => {
                    outputs.push_back(Output::Completed { torrent });
                    outputs.push_back(Output::Commit { torrent });
                }
                _ => outputs.push_back(Output::Commit { torrent }),
            }
        }
        if matches!(outcome, PieceOutcome::Corrupt { .. }) && self.is(Odd::Trusts) {
            self.outputs.push_back(Output::Close { conn, reason: CloseReason::Lied });
            self.dial(*torrent);
            return;
        }
        if outcome != PieceOutcome::Stored && self.is(Odd::Believes) {
            self.torrents.get_mut(torrent).unwrap().1 = index.0;
        }
        self.ask(conn, 1);
    }

    fn handle_piece_sent(&mut self, _: Time, _: ConnId, _: PieceIndex, _: Result<(), ()>) {}

    fn handle_closed(&mut self, _now: Time, _conn: ConnId, _reason: CloseReason) {}

    fn handle_committed(&mut self, _now: Time, torrent: &Digest, _result: Result<(), Error>) {
        if !self.is(Odd::NeverCompletes) {
            self.outputs.push_back(Output::Completed { torrent: *torrent });
        }
    }

    fn handle_discarded(&mut self, _now: Time, _torrent: &Digest, _result: Result<(), Error>) {}

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self.star.odd {
            Odd::Storms => Some(self.now),
            Odd::Spins => Some(self.now + Duration::from_micros(100)),
            _ => None,
        }
    }

    fn limits(&self) -> Limits {
        self.star.limits.unwrap_or_default()
    }

    fn counters(&self) -> Option<Counters> {
        self.is(Odd::Miscounts).then(Counters::default)
    }
}
