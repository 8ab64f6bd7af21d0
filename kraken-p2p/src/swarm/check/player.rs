//! Plays a swarm's driver, its peers and its tracker: in order, out of order and against it.

use std::fmt::Debug;
use std::time::Duration;

use kraken_core::{Digest, ErrorKind, InfoHash, MetaInfo, PieceIndex, Time, TorrentMeta};

use super::event::{Answer, Event};
use super::input::{self, Input, LOCAL};
use super::model::{Model, Open, Step};
use super::outputs::Now;
use crate::swarm::torrent::Phase;
use crate::swarm::upload::{CANCELLED, UNPROVABLE};
use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Swarm, TorrentSpec,
};
use crate::wire::{ErrorCode, Handshake, Message};

/// A swarm, the time, and everyone who tells it anything.
pub(super) struct Player<'a> {
    pub(super) swarm: Swarm,
    pub(super) model: Model,
    pub(super) now: Time,
    pub(super) metas: Vec<MetaInfo>,
    trace: &'a mut dyn FnMut(Time, &dyn Debug),
    /// The message after which a connection turns out to be full.
    pub(super) hangs_up: Option<u8>,
    /// Bytes that went out since the start.
    uploaded: u64,
    config_changed: bool,
    /// How much was done in the finale.
    pub(super) served: u64,
}

impl<'a> Player<'a> {
    /// Begins with what the first record says: a configuration, and mostly a torrent that somebody
    /// waits for or that is complete.
    pub(super) fn new(input: &mut Input<'_>, trace: &'a mut dyn FnMut(Time, &dyn Debug)) -> Self {
        let mut first = input.record().unwrap_or_else(|| Input::new(&[]));
        let (config, seed) = (input::config(first.byte()), first.byte());
        let local = input::peer(LOCAL, false);
        let mut player = Self {
            swarm: Swarm::new(config, local, seed.into()),
            model: Model::default(),
            now: Time::from_millis(1),
            metas: input::metas(),
            trace,
            hangs_up: None,
            uploaded: 0,
            config_changed: false,
            served: 0,
        };
        let (state, which) = (first.byte() % 4, first.below(5));
        if state < 3 {
            player.add(which, &mut Input::new(&[u8::from(state == 2)]));
        }
        if state < 2 {
            player.demand(which, 0, &mut Input::new(&[]));
        }
        player
    }

    /// Makes the move that a record stands for.
    pub(super) fn take(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            0..6 => {
                let which = input.below(5);
                self.add(which, input);
            }
            6..8 => {
                let digest = self.meta(input).digest();
                self.tell(Event::Removed(digest));
            }
            8..18 => {
                let (which, id) = (input.below(5), input.byte() % 3);
                self.demand(which, id, input);
            }
            18..20 => {
                let digest = self.meta(input).digest();
                self.tell(Event::Demand(digest, DemandId(u64::from(input.byte() % 3)), None));
            }
            20..22 => self.tell(Event::Seeding(input.byte().is_multiple_of(2))),
            22..24 => self.tell(Event::Config(Box::new(input::config(input.byte())))),
            24 => {
                if input.byte() % 16 == 15 {
                    self.tell(Event::Shutdown);
                }
            }
            25..56 => {
                let (which, at) = (input.below(5), input::any_peer(input));
                let handshake = input::handshake(self.spec(which), at, input);
                self.tell(Event::Incoming(input::ip(at), handshake));
            }
            56..80 => self.dialed(input),
            80..136 => self.message(input),
            136..170 => self.piece(input),
            kind @ 170..206 => self.connection(kind, input),
            206..216 => self.announced(input),
            216..224 => {
                let digest = self.meta(input).digest();
                let result = input.of(&[Ok(()), Err(ErrorKind::Mismatch), Err(ErrorKind::Io)]);
                self.tell(Event::Committed(digest, result));
            }
            224..228 => {
                let digest = self.meta(input).digest();
                let result = input.of(&[Ok(()), Ok(()), Err(ErrorKind::Io)]);
                self.tell(Event::Discarded(digest, result));
            }
            228 => self.hangs_up = Some(input.byte() % 8),
            229..234 => self.now += input::pause(input),
            234..238 => self.tell(Event::Timeout),
            238..248 => {
                let pause = input::pause(input);
                self.run(pause, 64);
            }
            248.. => self.answer(input.byte()),
        }
    }

    /// Something that happens to a connection but for messages and pieces.
    fn connection(&mut self, kind: u8, input: &mut Input<'_>) {
        match kind {
            170..178 => {
                let conn = self.conn(input);
                let bytes = input.of(&[0, 1, 1 << 16, 1 << 17, 1 << 24, u64::MAX]);
                self.tell(Event::Progress(conn, bytes));
            }
            178..190 => self.sent(input),
            190..194 => {
                let conn = self.conn(input);
                self.tell(Event::Stalled(conn));
            }
            194 => {
                let (digest, index) = (self.meta(input).digest(), PieceIndex(input.byte().into()));
                self.tell(Event::Landed(digest, index));
            }
            195..200 => {
                let more = input.of(&[0, 1 << 16, 1 << 22, 1 << 26, u64::MAX]);
                self.uploaded = self.uploaded.saturating_add(more);
                self.tell(Event::UploadProgress(self.uploaded));
            }
            _ => {
                let (conn, reason) = (self.conn(input), closing(input));
                self.tell(Event::Closed(conn, reason));
            }
        }
    }

    fn meta(&self, input: &mut Input<'_>) -> &MetaInfo {
        &self.metas[input.below(self.metas.len())]
    }

    /// A torrent as its peers know it.
    pub(super) fn spec(&self, which: usize) -> (&MetaInfo, InfoHash) {
        let meta = &self.metas[which];
        let known = self.model.torrents.get(&meta.digest());
        (meta, known.map_or_else(|| meta.info_hash(), |known| known.info_hash))
    }

    fn add(&mut self, which: usize, input: &mut Input<'_>) {
        let spec = input::spec(&self.metas, which, input);
        self.tell(Event::Added(Box::new(spec)));
    }

    fn demand(&mut self, which: usize, id: u8, input: &mut Input<'_>) {
        let meta = &self.metas[which];
        let (digest, len) = (meta.digest(), meta.geometry().blob_len());
        let (kind, at) = (input.byte(), u64::from(input.byte()));
        let start = len * at / 256;
        let bytes = match kind {
            0..128 => 0..len,
            128..200 => start..(start + (u64::from(kind) << 15)).min(len),
            200..220 => start..len,
            220..235 => start..start,
            235..245 => len..len * 2,
            245..250 => 1..u64::MAX,
            // No bytes at all, and the wrong way round.
            _ => std::ops::Range { start: u64::MAX, end: start },
        };
        self.tell(Event::Demand(digest, DemandId(id.into()), Some(bytes)));
    }

    /// Mostly one that is open; now and then a dial, one that was closed or never was.
    fn conn(&self, input: &mut Input<'_>) -> ConnId {
        let choice = input.byte();
        let open = self.model.conns.iter().filter(|(_, line)| line.open.is_some());
        let open: Vec<ConnId> = open.map(|(conn, _)| *conn).collect();
        if choice < 240 && !open.is_empty() {
            return open[usize::from(choice) % open.len()];
        }
        if choice == 255 { ConnId(u64::MAX) } else { ConnId(u64::from(input.byte())) }
    }

    fn open(&self, conn: ConnId) -> Option<&Open> {
        self.model.conns.get(&conn)?.open.as_ref()
    }

    /// A piece that matters on a connection, any of its torrent, or one that is out of range.
    fn index(&self, conn: ConnId, input: &mut Input<'_>) -> PieceIndex {
        let (kind, nth) = (input.byte(), usize::from(input.byte()));
        let line = self.model.conns.get(&conn);
        let known = line.and_then(|line| self.model.torrents.get(&line.torrent));
        let (Some(open), Some(known)) = (self.open(conn), known) else {
            return PieceIndex(nth as u32);
        };
        let pieces = known.geometry.pieces();
        let some: Vec<PieceIndex> = match kind {
            0..80 => open.requests.iter().copied().collect(),
            80..150 => known.have.iter().collect(),
            150..180 => open.queue.iter().copied().collect(),
            180..190 => open.asked_at.keys().copied().collect(),
            190..250 => Vec::new(),
            _ => {
                let odd = [pieces, pieces + 1, u32::MAX, i32::MAX as u32];
                return PieceIndex(odd[nth % odd.len()]);
            }
        };
        let any = PieceIndex((nth as u32).checked_rem(pieces).unwrap_or(0));
        some.get(nth.checked_rem(some.len()).unwrap_or(0)).copied().unwrap_or(any)
    }

    fn dialed(&mut self, input: &mut Input<'_>) {
        let dials = self.model.conns.iter().filter(|(_, line)| line.open.is_none());
        let dials: Vec<ConnId> = dials.map(|(conn, _)| *conn).collect();
        let choice = input.byte();
        let conn = match dials.get(usize::from(choice).checked_rem(dials.len()).unwrap_or(0)) {
            Some(conn) if choice < 240 => *conn,
            _ => ConnId(choice.into()),
        };
        let reply = self.reply(conn, input);
        let result = if input.byte() < 200 { Ok(reply) } else { Err(closing(input)) };
        self.tell(Event::Dialed(conn, result));
    }

    /// The handshake of whoever was dialled.
    pub(super) fn reply(&self, conn: ConnId, input: &mut Input<'_>) -> Handshake {
        let line = self.model.conns.get(&conn);
        let which =
            line.and_then(|line| self.metas.iter().position(|meta| meta.digest() == line.torrent));
        let mut reply = input::handshake(self.spec(which.unwrap_or(0)), 1, input);
        if let Some(line) = line.filter(|_| reply.peer_id == input::peer_id(1)) {
            reply.peer_id = line.peer_id;
        }
        reply
    }

    fn message(&mut self, input: &mut Input<'_>) {
        let conn = self.conn(input);
        let kind = input.byte();
        let index = self.index(conn, input);
        let torrent = self.model.conns.get(&conn).map(|line| line.torrent);
        let known = torrent.and_then(|torrent| self.model.torrents.get(&torrent));
        let whole = known.map_or(1, |known| known.geometry.len_of(index) as u32);
        let message = match kind {
            0..100 => {
                let odd = input.byte();
                let (offset, length) = match odd {
                    0..220 => (0, whole),
                    220..230 => (1, whole),
                    230..240 => (0, whole.wrapping_sub(1)),
                    240..250 => (0, u32::MAX),
                    _ => (u32::MAX, 0),
                };
                Message::PieceRequest { index, offset, length }
            }
            100..145 => Message::AnnouncePiece { index },
            145..175 => Message::CancelPiece { index },
            175..200 => error(index, ErrorCode::PieceRequestFailed),
            200..220 => error(index, CANCELLED),
            220..227 => error(index, UNPROVABLE),
            227..230 => error(index, ErrorCode::Unknown(u64::MAX)),
            230..242 => Message::Complete,
            242..246 => Message::PiecePayload { index, offset: 0, length: whole },
            246..248 => Message::Handshake(Box::new(input::handshake(self.spec(0), 1, input))),
            248..250 => Message::Final { info_hash: self.spec(0).1 },
            250..252 => Message::WantPieces { index, count: u32::from(input.byte()) },
            _ => Message::Unknown(u64::from(kind)),
        };
        self.tell(Event::Message(conn, message));
    }

    fn piece(&mut self, input: &mut Input<'_>) {
        let conn = self.conn(input);
        let index = self.index(conn, input);
        let outcome = match input.byte() {
            0..170 => PieceOutcome::Stored,
            170..190 => PieceOutcome::Present,
            190..210 => PieceOutcome::Duplicate,
            210..225 => PieceOutcome::Corrupt { lied: false },
            225..235 => PieceOutcome::Corrupt { lied: true },
            235..245 => PieceOutcome::Unproven,
            _ => PieceOutcome::StorageFailed,
        };
        let digest = match self.model.conns.get(&conn) {
            Some(line) => line.torrent,
            None => self.meta(input).digest(),
        };
        self.tell(Event::Piece(digest, conn, index, outcome));
    }

    fn sent(&mut self, input: &mut Input<'_>) {
        let conn = self.conn(input);
        let sending = self.open(conn).and_then(|open| open.sending).map(|(index, _)| index);
        let index = sending.filter(|_| input.byte() < 230);
        let index = index.unwrap_or_else(|| self.index(conn, input));
        self.tell(Event::Sent(conn, index, input.byte() < 200));
    }

    fn announced(&mut self, input: &mut Input<'_>) {
        let digest = self.meta(input).digest();
        let peers = input::handout(input);
        let interval = match input.byte() {
            0..200 => Duration::ZERO,
            200..220 => Duration::from_nanos(1),
            220..240 => Duration::from_secs(10),
            _ => Duration::MAX,
        };
        let failed = input.byte() > 220;
        let announced = Announced { peers, interval, bridge: self.now.as_nanos() % 2 == 1 };
        let result = if failed { Err(ErrorKind::Unavailable) } else { Ok(announced) };
        self.tell(Event::Announced(digest, result));
    }

    /// Answers, in order and well, whatever of these kinds is waited for.
    pub(super) fn answer(&mut self, kinds: u8) {
        for digest in self.model.torrents.keys().copied().collect::<Vec<_>>() {
            let Some(known) = self.model.torrents.get(&digest) else { continue };
            if known.announcing.is_some() && kinds & 1 == 0 {
                let peers = vec![input::peer(3, true), input::peer(4, false)];
                let announced = Announced { peers, ..Announced::default() };
                self.tell(Event::Announced(digest, Ok(announced)));
            } else if known.committing && kinds & 2 == 0 {
                self.committed(&digest);
            } else if known.phase == Phase::Discarding && kinds & 2 == 0 {
                self.tell(Event::Discarded(digest, Ok(())));
            }
        }
        for conn in self.model.conns.keys().copied().collect::<Vec<_>>() {
            let Some(line) = self.model.conns.get(&conn) else { continue };
            let torrent = line.torrent;
            let Some(open) = &line.open else {
                if kinds & 4 == 0 {
                    let reply = self.reply(conn, &mut Input::new(&[1, 3]));
                    self.tell(Event::Dialed(conn, Ok(reply)));
                }
                continue;
            };
            let (sending, requests) = (open.sending, open.requests.clone());
            if let Some((index, _)) = sending.filter(|_| kinds & 8 == 0) {
                self.tell(Event::Sent(conn, index, true));
            }
            for index in requests.into_iter().filter(|_| kinds & 16 == 0) {
                self.tell(Event::Piece(torrent, conn, index, PieceOutcome::Stored));
            }
        }
    }

    /// A commit comes to a good end: there are sums then.
    pub(super) fn committed(&mut self, digest: &Digest) {
        let meta = self.metas.iter().find(|meta| meta.digest() == *digest).cloned();
        let known = &self.model.torrents[digest];
        if let Some(meta) = meta.filter(|_| !known.is_final) {
            let namespace = "library/test".parse().expect("short enough");
            let (have, meta) = (known.have.clone(), TorrentMeta::Final(meta));
            let spec = TorrentSpec { meta, namespace, have, complete: false };
            self.tell(Event::Added(Box::new(spec)));
        }
        self.tell(Event::Committed(*digest, Ok(())));
    }

    /// Lets time pass with its timers, as long as they are not too many.
    pub(super) fn run(&mut self, pause: Duration, wakes_max: usize) {
        let end = self.now + pause;
        for _ in 0..wakes_max {
            let Some(at) = self.swarm.poll_timeout().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.tell(Event::Timeout);
        }
        self.now = end;
    }

    /// Tells the swarm, takes what comes of it, and looks whether all is as it should be.
    pub(super) fn tell(&mut self, event: Event) {
        (self.trace)(self.now, &event);
        self.model.step = Step {
            event: Some(event.clone()),
            conns_before: self.model.conns.len(),
            fetching_before: self.model.fetching(),
            ..Step::default()
        };
        let torrents_before = self.model.torrents.len();
        self.model.told(self.now, self.swarm.config(), &event);
        let answer = event.clone().tell(&mut self.swarm, self.now);
        if let Answer::Removed(was_here) = answer {
            assert_eq!(was_here, self.model.torrents.len() < torrents_before);
        }
        let config = self.swarm.config().clone();
        let local = self.swarm.local().clone();
        let now = Now { at: self.now, config: &config, local: &local };
        self.model.answered(now, &event, answer);
        while let Some(output) = self.swarm.poll_output() {
            (self.trace)(self.now, &output);
            self.model.output(now, &output);
            self.hang_up(&output);
        }
        self.model.compare(now, &self.swarm);
        self.swarm.check(self.now);
        self.config_changed |= matches!(event, Event::Config(_));
        if !self.config_changed {
            self.swarm.check_limits();
        }
    }

    /// A connection may turn out to be full while outputs are carried out: then it ends at once.
    fn hang_up(&mut self, output: &Output) {
        let (Output::Send { conn, .. } | Output::SendPiece { conn, .. }) = output else { return };
        let Some(after) = self.hangs_up else { return };
        self.hangs_up = after.checked_sub(1);
        if after > 0 || !self.model.step.hung_up.insert(*conn) {
            return;
        }
        let event = Event::Closed(*conn, CloseReason::Stalled);
        (self.trace)(self.now, &event);
        self.model.step.owed.retain(|(owed, ..)| owed != conn);
        self.model.step.finals.remove(conn);
        self.model.told(self.now, self.swarm.config(), &event);
        let _ = event.tell(&mut self.swarm, self.now);
    }
}

fn closing(input: &mut Input<'_>) -> CloseReason {
    input.of(&[
        CloseReason::Remote("eof".into()),
        CloseReason::HandshakeFailed("refused".into()),
        CloseReason::Protocol("nonsense".into()),
        CloseReason::Stalled,
        CloseReason::Idle,
    ])
}

fn error(index: PieceIndex, code: ErrorCode) -> Message {
    Message::Error { index, code, text: "played".into() }
}
