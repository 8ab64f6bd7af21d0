//! Whether what comes out of a swarm is what may come, by the model.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use kraken_core::{Digest, ErrorKind, PeerInfo, PieceIndex, Time};

use super::event::{Answer, Event};
use super::model::{Known, Line, Model, takes_provisional};
use crate::swarm::torrent::Phase;
use crate::swarm::upload::CANCELLED;
use crate::swarm::{CloseReason, ConnId, Output, PieceOutcome, Refused, SwarmConfig, TorrentSpec};
use crate::wire::{Capabilities, Handshake, Message};

/// What an output is judged by besides the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now<'a> {
    pub(super) at: Time,
    pub(super) config: &'a SwarmConfig,
    pub(super) local: &'a PeerInfo,
}

impl Model {
    /// Judges what a call returned, and takes note of it.
    pub(super) fn answered(&mut self, now: Now<'_>, event: &Event, answer: Answer) {
        match (event, answer) {
            (Event::Added(spec), Answer::Added(result)) => {
                let conflict = self.torrents.get(&spec.meta.digest()).is_some_and(|known| {
                    let other = spec.meta.as_final().is_some()
                        && known.is_final
                        && known.info_hash != spec.meta.info_hash();
                    known.geometry != spec.meta.geometry() || other
                });
                let refused = if self.shut_down {
                    Some(ErrorKind::Cancelled)
                } else if !fits(spec) {
                    Some(ErrorKind::Invalid)
                } else {
                    conflict.then_some(ErrorKind::Conflict)
                };
                assert_eq!(result.err().map(|error| error.kind()), refused);
                if refused.is_none() {
                    self.added(now.at, now.config, spec);
                }
            }
            (Event::Incoming(ip, handshake), Answer::Incoming(result)) => {
                let local = now.local.peer_id;
                match result {
                    Ok((conn, reply)) => {
                        assert!(handshake.peer_id != local && !self.shut_down);
                        self.accepted(now, conn, (ip, handshake), &reply);
                    }
                    Err(refused) => {
                        self.counters.refused += 1;
                        let myself = refused == Refused::Myself;
                        assert_eq!(myself, handshake.peer_id == local);
                        if !myself {
                            self.refused(now.config, handshake, &refused);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn accepted(
        &mut self,
        now: Now<'_>,
        conn: ConnId,
        (ip, handshake): (&IpAddr, &Handshake),
        reply: &Handshake,
    ) {
        let digest = handshake.digest;
        let known = &self.torrents[&digest];
        let bits = known.bits_of(&digest, handshake).expect("its handshake fits");
        assert!(now.config.seed && !known.origins_only);
        assert!(known.phase != Phase::Discarding);
        assert!(!(known.phase == Phase::Complete && bits.is_full()), "nothing can go over it");
        assert!(!known.is_banned(&handshake.peer_id, &ip.to_string(), None), "it is banned");
        assert!(self.open_with(&digest).all(|(_, line)| line.peer_id != handshake.peer_id));
        check_handshake(now, known, reply, false);
        let told = Some(known.have.clone());
        let mut line = Line {
            torrent: digest,
            peer_id: handshake.peer_id,
            remote: Err(*ip),
            claimed: known.have.clone(),
            open: None,
        };
        line.begin(now.at, known, handshake, bits, told);
        let lacks_sums = line.open.as_ref().is_some_and(|open| open.lacks_sums);
        if known.is_final && lacks_sums {
            self.step.finals.insert(conn);
        }
        self.counters.accepted += 1;
        self.step.accepted = Some((digest, self.open_with(&digest).count()));
        self.fresh(conn, line);
    }

    fn refused(&self, config: &SwarmConfig, handshake: &Handshake, refused: &Refused) {
        let digest = handshake.digest;
        let Some(known) = self.torrents.get(&digest) else {
            assert!(matches!(refused, Refused::UnknownTorrent | Refused::Full));
            return;
        };
        let mut with_peer = self.conns.values().filter(|line| line.torrent == digest);
        match refused {
            Refused::UnknownTorrent | Refused::Myself => panic!("{refused:?}"),
            Refused::Invalid(_) => assert!(known.bits_of(&digest, handshake).is_none()),
            Refused::Banned => {
                assert!(known.bans.iter().any(|ban| ban.peer_id == handshake.peer_id));
            }
            Refused::AlreadyConnected => {
                assert!(with_peer.any(|line| line.peer_id == handshake.peer_id));
            }
            Refused::NotSeeding => assert!(!config.seed),
            Refused::Provisional => assert!(!known.is_final && !takes_provisional(handshake)),
            Refused::Full => {
                let is_seed = known.phase == Phase::Complete
                    && known.bits_of(&digest, handshake).is_some_and(|bits| bits.is_full());
                assert!(
                    known.phase == Phase::Discarding
                        || known.origins_only
                        || is_seed
                        || with_peer.filter(|line| line.open.is_some()).count()
                            >= config.accept_max,
                    "there is room"
                );
            }
        }
    }

    /// Judges an output, and takes note of it.
    pub(super) fn output(&mut self, now: Now<'_>, output: &Output) {
        self.step.outputs += 1;
        match output {
            Output::Announce { torrent, info_hash, complete, .. } => {
                let known = self.torrents.get_mut(torrent).expect("announces a torrent");
                assert!(known.announcing.is_none(), "one announce at a time");
                assert!(now.config.announce && known.info_hash == *info_hash);
                assert_eq!(*complete, known.phase == Phase::Complete);
                match known.phase {
                    Phase::Complete => assert!(now.config.seed),
                    Phase::Fetching => assert!(!known.demands.is_empty()),
                    phase => panic!("announced while {phase:?}"),
                }
                known.announcing = Some(*info_hash);
                self.step.announces.remove(torrent);
                self.counters.announces += 1;
            }
            Output::Dial { conn, peer, handshake } => self.dials(now, *conn, peer, handshake),
            Output::Send { conn, message } => self.sends(now, *conn, message),
            Output::SendPiece { conn, torrent, index, proven } => {
                self.sends_piece(now, *conn, torrent, *index, *proven);
            }
            Output::Wanted { torrent, pieces } => {
                let known = &self.torrents[torrent];
                assert!(known.phase == Phase::Fetching && !pieces.is_empty());
                assert!(pieces.end <= known.geometry.pieces());
            }
            Output::Refresh { torrent } => {
                let known = self.torrents.get_mut(torrent).expect("refreshes a torrent");
                assert!(!known.is_final, "it has sums");
                let before = known.refreshed_at.replace(now.at);
                let pause = before.map(|before| now.at.since(before));
                assert!(pause.is_none_or(|pause| pause >= Duration::from_secs(1)), "{pause:?}");
            }
            Output::Close { conn, reason } => self.closes(now, *conn, reason),
            Output::Commit { torrent } => {
                let is_timeout = matches!(self.step.event, Some(Event::Timeout));
                let known = self.torrents.get_mut(torrent).expect("commits a torrent");
                assert!(known.have.is_full() && !known.committing);
                assert!(known.phase == Phase::Fetching || is_timeout, "a commit is repeated later");
                assert!(matches!(known.phase, Phase::Fetching | Phase::Committing));
                known.phase = Phase::Committing;
                known.committing = true;
            }
            Output::Discard { torrent } => assert!(self.step.discards.remove(torrent)),
            Output::Completed { torrent } => assert!(self.step.completes.remove(torrent)),
            Output::Dropped { torrent, .. } => self.drops(now, torrent),
        }
    }

    fn dials(&mut self, now: Now<'_>, conn: ConnId, peer: &PeerInfo, handshake: &Handshake) {
        let config = now.config;
        let known = &self.torrents[&handshake.digest];
        assert!(config.dial && known.phase == Phase::Fetching && !known.demands.is_empty());
        assert_ne!(peer.peer_id, now.local.peer_id, "dials itself");
        assert_eq!(known.named.get(&peer.peer_id), Some(peer), "as the tracker named it last");
        assert!(!known.is_banned(&peer.peer_id, &peer.ip, Some(peer.port)));
        assert!(peer.origin || !known.origins_only, "only origins are believed");
        check_handshake(now, known, handshake, true);
        let torrent = handshake.digest;
        let (mut open, mut dials) = (0, 1);
        for line in self.conns.values().filter(|line| line.torrent == torrent) {
            assert_ne!(line.peer_id, peer.peer_id, "it is dialled or connected already");
            (open, dials) = if line.open.is_some() { (open + 1, dials) } else { (open, dials + 1) };
        }
        assert!(dials <= config.dial_max);
        assert!(open + dials <= config.dial_max.max(config.accept_max * 2 / 3));
        self.counters.dials += 1;
        let claimed = known.claimed(config.seed);
        let line =
            Line { torrent, peer_id: peer.peer_id, remote: Ok(peer.clone()), claimed, open: None };
        self.fresh(conn, line);
    }

    fn fresh(&mut self, conn: ConnId, line: Line) {
        assert!(conn.0 >= self.next_conn, "{conn:?} was used before");
        self.next_conn = conn.0 + 1;
        self.conns.insert(conn, line);
    }

    fn sends(&mut self, now: Now<'_>, conn: ConnId, message: &Message) {
        if self.step.hung_up.contains(&conn) {
            return;
        }
        if let Message::PieceRequest { index, offset, length } = message {
            self.asks(now, conn, *index);
            let line = &self.conns[&conn];
            let whole = self.torrents[&line.torrent].geometry.len_of(*index);
            assert_eq!((*offset, u64::from(*length)), (0, whole), "whole pieces are asked for");
            return;
        }
        let line = self.conns.get_mut(&conn).expect("a connection to send to");
        let open = line.open.as_mut().expect("an open connection to send to");
        let known = &self.torrents[&line.torrent];
        match message {
            Message::CancelPiece { index } => {
                assert!(
                    open.ours && open.asked_at.contains_key(index),
                    "takes back what it asked for"
                );
                if open.requests.contains(index) {
                    open.taken_back.insert(*index);
                }
            }
            Message::AnnouncePiece { index } => {
                assert!(now.config.seed && known.have.contains(*index));
                assert!(!open.bits.contains(*index), "it has that itself");
                if let Some(told) = &mut open.told {
                    assert!(told.set(*index), "it was told before");
                }
            }
            Message::Error { index, code, .. } => {
                let answer = (conn, *index, *code);
                let at = self.step.owed.iter().position(|owed| *owed == answer);
                self.step.owed.remove(at.unwrap_or_else(|| panic!("{answer:?} is nothing's")));
            }
            Message::Final { info_hash } => {
                assert!(known.is_final && known.info_hash == *info_hash);
                assert!(self.step.finals.remove(&conn), "it was told, or knows");
            }
            Message::WantPieces { index, count } => {
                let pieces = index.0..index.0.saturating_add(*count);
                assert!(open.lacks_sums && !known.is_final && *count > 0);
                assert!(pieces.end <= known.geometry.pieces() && !known.have.contains(*index));
                let mut waits = known.demands.values();
                let waited =
                    |waited: &Range<u32>| waited.contains(&index.0) && waited.end == pieces.end;
                assert!(waits.any(waited), "nobody waits for that");
            }
            Message::Complete => {
                assert!(known.phase == Phase::Complete && now.config.seed);
                open.told = Some(known.have.clone());
            }
            _ => panic!("sends {message:?}"),
        }
    }

    /// A peer is asked for a piece.
    fn asks(&mut self, now: Now<'_>, conn: ConnId, index: PieceIndex) {
        let digest = self.conns[&conn].torrent;
        let twice = self.open_with(&digest).any(|(other, line)| {
            let open = line.open.as_ref();
            other != conn && open.is_some_and(|open| open.requests.contains(&index))
        });
        // What was taken back from one is asked of another, whoever waits for it; or of the same
        // one, if the other is gone.
        let taken_back = match &self.step.event {
            Some(Event::Message(from, Message::Error { index, code: CANCELLED, .. })) => {
                Some((*from, *index))
            }
            _ => None,
        };
        let moved = taken_back.is_some_and(|(_, moved)| moved == index);
        let known = &self.torrents[&digest];
        assert!(known.phase == Phase::Fetching && known.geometry.contains(index));
        assert!(!known.have.contains(index), "it is here");
        let mut waits = known.demands.values();
        assert!(!known.demands.is_empty(), "nobody waits");
        assert!(
            waits.any(|pieces| pieces.contains(&index.0)) || twice || moved,
            "nobody waits for {index}"
        );
        let open = self.open(conn).expect("an open connection");
        assert!(open.bits.contains(index), "it has no {index}");
        let is_news = open.requests.insert(index) || taken_back == Some((conn, index));
        assert!(is_news, "{index} is on order there");
        open.asked_at.insert(index, now.at);
        if !open.ours {
            open.unanswered.push(index);
        }
        open.taken_back.remove(&index);
        self.step.asked.insert(conn);
    }

    fn sends_piece(
        &mut self,
        now: Now<'_>,
        conn: ConnId,
        torrent: &Digest,
        index: PieceIndex,
        proven: bool,
    ) {
        if self.step.hung_up.contains(&conn) {
            return;
        }
        let config = now.config;
        assert_eq!(self.conns[&conn].torrent, *torrent);
        let known = &self.torrents[torrent];
        assert!(config.seed && known.have.contains(index), "a piece that can be sent");
        let open = self.open(conn).expect("an open connection");
        assert!(open.sending.replace((index, true)).is_none(), "one piece at a time");
        assert_eq!(proven, open.lacks_sums);
        let at = open.queue.iter().position(|queued| *queued == index);
        open.queue.remove(at.expect("a piece that was asked for"));
        assert!(
            self.slots_used() <= config.upload_pieces_max.max(config.upload_pieces_at_once),
            "more slots than there are"
        );
    }

    fn closes(&mut self, now: Now<'_>, conn: ConnId, reason: &CloseReason) {
        if self.step.hung_up.contains(&conn) {
            return;
        }
        let line = self.conns.remove(&conn);
        let line = line.unwrap_or_else(|| panic!("{conn:?} is closed already"));
        self.check_patience(now, &line, reason);
        self.step.owed.retain(|(owed, ..)| *owed != conn);
        self.step.finals.remove(&conn);
        let event = self.step.event.as_ref().expect("an event");
        let its_own = match event {
            Event::Message(other, _) | Event::Piece(_, other, ..) | Event::Dialed(other, _) => {
                *other == conn
            }
            _ => false,
        };
        let fits = match reason {
            CloseReason::Protocol(_) => its_own,
            CloseReason::Lied => {
                its_own && matches!(event, Event::Piece(.., PieceOutcome::Corrupt { lied: true }))
            }
            CloseReason::Idle | CloseReason::Stalled => matches!(event, Event::Timeout),
            CloseReason::BothComplete => {
                its_own && matches!(event, Event::Message(_, Message::Complete))
                    || matches!(event, Event::Committed(..))
            }
            CloseReason::TorrentGone => matches!(
                event,
                Event::Removed(_)
                    | Event::Committed(..)
                    | Event::Discarded(..)
                    | Event::Seeding(false)
                    | Event::Config(_)
                    | Event::Timeout
                    | Event::Piece(.., PieceOutcome::StorageFailed)
            ),
            CloseReason::Shutdown => matches!(event, Event::Shutdown),
            CloseReason::Replaced => matches!(event, Event::Incoming(..)),
            CloseReason::Remote(_) | CloseReason::HandshakeFailed(_) => false,
        };
        assert!(fits, "closed for {reason:?} at {event:?}");
    }

    /// Who is let go for what it does not do had the time for it.
    fn check_patience(&self, now: Now<'_>, line: &Line, reason: &CloseReason) {
        let Some(open) = &line.open else { return };
        match reason {
            CloseReason::Stalled => {
                let timeout = self.torrents[&line.torrent].timeout_min(now.config);
                let silent = now.at.since(open.progress_at);
                assert!(silent > timeout, "let go after {silent:?} of {timeout:?}");
            }
            CloseReason::Idle => {
                let idle = now.at.since(open.active_at);
                assert!(idle > now.config.conn_idle, "idle for no more than {idle:?}");
                assert!(open.queue.is_empty() && open.sending.is_none(), "it waits for a piece");
            }
            _ => {}
        }
    }

    fn drops(&mut self, now: Now<'_>, digest: &Digest) {
        let known = self.torrents.remove(digest).expect("drops a torrent");
        assert!(self.conns.values().all(|line| line.torrent != *digest), "its connections stay");
        let event = self.step.event.as_ref().expect("an event");
        let fits = match event {
            Event::Timeout => {
                let idle = now.at.since(known.news_at);
                match known.phase {
                    Phase::Complete => idle > now.config.seeder_tti,
                    Phase::Fetching => idle > now.config.leecher_tti,
                    _ => false,
                }
            }
            Event::Committed(of, Err(_)) | Event::Discarded(of, _) => of == digest,
            Event::Committed(of, Ok(())) => of == digest && !known.is_final,
            Event::Piece(of, .., PieceOutcome::StorageFailed) => of == digest,
            _ => false,
        };
        assert!(fits, "dropped at {event:?}");
    }

    /// The open connections of a torrent.
    pub(super) fn open_with(&self, torrent: &Digest) -> impl Iterator<Item = (ConnId, &Line)> {
        let of_it = |line: &Line| line.torrent == *torrent && line.open.is_some();
        self.conns.iter().filter(move |(_, line)| of_it(line)).map(|(conn, line)| (*conn, line))
    }

    pub(super) fn slots_used(&self) -> usize {
        let open = self.conns.values().filter_map(|line| line.open.as_ref());
        open.filter(|open| open.sending.is_some_and(|(_, slot)| slot)).count()
    }
}

/// Whether the parts of a torrent are of one torrent.
fn fits(spec: &TorrentSpec) -> bool {
    let proven = !spec.complete || spec.meta.as_final().is_some();
    proven && spec.have.len() == spec.meta.geometry().pieces()
}

/// What this side says of itself.
fn check_handshake(now: Now<'_>, known: &Known, handshake: &Handshake, dialing: bool) {
    assert_eq!(handshake.peer_id, now.local.peer_id);
    assert_eq!(handshake.info_hash, known.info_hash);
    assert_eq!(handshake.bitfield, known.claimed(now.config.seed).to_wire());
    assert_eq!(handshake.namespace.as_str().is_empty(), !dialing);
    assert_eq!(handshake.capabilities, Some(Capabilities(3)));
    assert!(handshake.remote_peers.is_empty());
}
