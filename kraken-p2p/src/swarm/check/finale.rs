//! The end of every game: whatever happened, a download comes to its end once there is an origin
//! that answers, and whoever asks for a piece is sent it.

use std::time::Duration;

use kraken_core::{Digest, PieceIndex};

use super::event::Event;
use super::input::{self, Input};
use super::player::Player;
use crate::swarm::torrent::Phase;
use crate::swarm::{Announced, CloseReason, ConnId, DemandId, PieceOutcome};
use crate::wire::Message;

impl Player<'_> {
    /// Plays on with a usual configuration, an origin, a tracker and a disk that do as they should;
    /// the peers there are say nothing more.
    pub(super) fn finish(&mut self) {
        self.hangs_up = None;
        if self.model.shut_down {
            assert_eq!(self.swarm.poll_timeout(), None);
            assert!(self.model.conns.is_empty());
            return;
        }
        self.tell(Event::Config(Box::default()));
        for which in 0..self.metas.len() {
            let digest = self.metas[which].digest();
            if !self.model.torrents.contains_key(&digest) {
                continue;
            }
            if !self.model.torrents[&digest].is_final {
                let spec = input::spec(&self.metas, which, &mut Input::new(&[]));
                self.tell(Event::Added(Box::new(spec)));
            }
            if self.download(which) && self.metas[which].geometry().pieces() > 0 {
                self.upload(which);
            }
        }
    }

    /// Fetches a blob; whether it is here, and not given up since it had failed before.
    fn download(&mut self, which: usize) -> bool {
        let (digest, len) = {
            let meta = &self.metas[which];
            (meta.digest(), meta.geometry().blob_len())
        };
        let may_fail = self.model.torrents[&digest].phase == Phase::Discarding;
        let ids: Vec<_> = self.model.torrents[&digest].demands.keys().copied().collect();
        for id in ids {
            self.tell(Event::Demand(digest, id, None));
        }
        self.tell(Event::Demand(digest, DemandId(9), Some(0..len)));
        let start = self.now;
        loop {
            self.serve(&digest);
            let Some(known) = self.model.torrents.get(&digest) else {
                assert!(may_fail, "a download with an origin was given up");
                return false;
            };
            if known.phase == Phase::Complete {
                return true;
            }
            assert!(self.now.since(start) < FINALE_MAX, "a download with an origin hangs");
            self.wake();
        }
    }

    /// Everyone but the peers does as they should, until that leads to nothing more.
    fn serve(&mut self, digest: &Digest) {
        loop {
            let before = self.served;
            if let Some(known) = self.model.torrents.get(digest) {
                let (announcing, committing) = (known.announcing.is_some(), known.committing);
                let discarding = known.phase == Phase::Discarding;
                if announcing {
                    let peers = vec![input::peer(ORIGIN, true)];
                    let announced = Announced { peers, ..Announced::default() };
                    self.does(Event::Announced(*digest, Ok(announced)));
                }
                if committing {
                    self.served += 1;
                    self.committed(digest);
                }
                if discarding {
                    self.does(Event::Discarded(*digest, Ok(())));
                }
            }
            for conn in self.model.conns.keys().copied().collect::<Vec<_>>() {
                self.serve_conn(conn);
            }
            if self.served == before {
                return;
            }
        }
    }

    fn serve_conn(&mut self, conn: ConnId) {
        let Some(line) = self.model.conns.get(&conn) else { return };
        let (torrent, is_origin) = (line.torrent, line.peer_id == input::peer_id(ORIGIN));
        let Some(open) = &line.open else {
            let reply = self.reply(conn, &mut Input::new(&[1, 3]));
            let refused = CloseReason::HandshakeFailed("refused".into());
            self.does(Event::Dialed(conn, if is_origin { Ok(reply) } else { Err(refused) }));
            return;
        };
        let (sending, requests) = (open.sending, open.requests.clone());
        if let Some((index, _)) = sending {
            self.does(Event::Sent(conn, index, true));
        }
        for index in requests.into_iter().filter(|_| is_origin) {
            self.does(Event::Piece(torrent, conn, index, PieceOutcome::Stored));
        }
    }

    /// Somebody comes and asks for a piece.
    fn upload(&mut self, which: usize) {
        let meta = self.metas[which].clone();
        let (digest, index) = (meta.digest(), PieceIndex(meta.geometry().pieces() - 1));
        let start = self.now;
        let conn = loop {
            let handshake = input::handshake(self.spec(which), LEECHER, &mut Input::new(&[0, 3]));
            self.does(Event::Incoming(input::ip(LEECHER), handshake));
            let by_it = |conn: &ConnId| {
                self.model.conns[conn].peer_id == input::peer_id(LEECHER)
                    && self.model.conns[conn].torrent == digest
            };
            if let Some(conn) = self.model.conns.keys().copied().find(by_it) {
                break conn;
            }
            assert!(self.now.since(start) < FINALE_MAX, "nobody is let in");
            self.serve(&digest);
            self.wake();
        };
        let length = meta.geometry().len_of(index) as u32;
        self.tell(Event::Message(conn, Message::PieceRequest { index, offset: 0, length }));
        for _ in 0..SENT_BEFORE_MAX {
            self.serve(&digest);
            let open = self.model.open(conn).expect("nothing closes it");
            if open.sent > 0 {
                return;
            }
        }
        panic!("a piece that was asked for is not sent");
    }

    fn does(&mut self, event: Event) {
        self.served += 1;
        self.tell(event);
    }

    fn wake(&mut self) {
        let at = self.swarm.poll_timeout().expect("something is to be done");
        self.now = self.now.max(at);
        self.tell(Event::Timeout);
    }
}

/// Who has everything and answers.
const ORIGIN: u8 = 200;

/// Who comes last.
const LEECHER: u8 = 201;

/// Peers that say nothing are let go within two of the longest timeouts, and a torrent to which
/// nothing comes is dropped after five minutes.
const FINALE_MAX: Duration = Duration::from_secs(280);

/// Others may have waited for longer.
const SENT_BEFORE_MAX: usize = 100;
