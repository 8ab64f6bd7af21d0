//! The task that owns the swarm: waits for one thing, applies it, carries out what the swarm wants.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kraken_core::{Digest, ErrorKind, Result, Time};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::conn;
use super::event::{Accepted, Command, Dialed, Event};
use super::limits::{EVENTS_PER_TURN_MAX, UPLOAD_LOOK_EVERY};
use super::link::ConnLink;
use super::no_news::NoNews;
use super::recalled::Recalled;
use super::running::{DownloadPhase, DownloadStatus};
use super::shared::Shared;
use super::stats::{DownloadTotals, NodeStats};
use super::subscription::{Progress, State, Subscription, Wishes};
use super::timeline::Timeline;
use super::torrent::Torrent;
use crate::swarm::{CloseReason, ConnId, PieceOutcome, Refused, Swarm, TorrentSpec};
use crate::wire::Handshake;

/// Owns the swarm and the ends of everything it talks to. Never waits for a task of the node.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) swarm: Swarm,
    events: mpsc::Receiver<Event>,
    commands: mpsc::Receiver<Command>,
    wishes: Arc<Wishes>,
    recalled: Recalled,
    pub(super) conns: BTreeMap<ConnId, ConnLink>,
    pub(super) dials: BTreeMap<ConnId, Dial>,
    pub(super) entries: BTreeMap<Digest, Entry>,
    pub(super) totals: DownloadTotals,
    /// Downloads that ended lately.
    pub(super) ended: VecDeque<DownloadStatus>,
    announces_failed: u64,
    /// When the swarm is next told how many bytes have gone out, if any do.
    look_at: Time,
}

/// A dial under way.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) torrent: Digest,
    pub(super) peer: String,
    pub(super) origin: bool,
    pub(super) token: CancellationToken,
}

/// A torrent that the swarm has.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) torrent: Arc<Torrent>,
    pub(super) state: watch::Sender<State>,
    /// When the first of those who wait for it began to.
    pub(super) since: Option<Time>,
    /// What the tracker has said of sums since the last piece, if it was no news.
    pub(super) no_news: Option<NoNews>,
    /// Since when metainfo is being asked for.
    pub(super) refreshing: Option<Time>,
    /// Whether the whole was found to be another blob.
    pub(super) mismatched: bool,
    /// What happened since the first of those who wait for it asked.
    pub(super) timeline: Timeline,
    /// What had come before.
    pub(super) before: Before,
}

/// What had come of a torrent when the first of those who wait for it asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    pub(super) disk_time: Duration,
    pub(super) bytes_from_origins: u64,
    pub(super) bytes_from_peers: u64,
}

/// What the task woke up for.
enum Action {
    Event(Event),
    Command(Command),
    Wished,
    Recalled,
    Timeout,
    Close,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        swarm: Swarm,
        events: mpsc::Receiver<Event>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let recalled = Recalled::of(&*shared.storage);
        Self {
            shared,
            swarm,
            events,
            commands,
            wishes: Arc::default(),
            recalled,
            conns: BTreeMap::new(),
            dials: BTreeMap::new(),
            entries: BTreeMap::new(),
            totals: DownloadTotals::default(),
            ended: VecDeque::new(),
            announces_failed: 0,
            look_at: Time::ZERO,
        }
    }

    /// Runs until the node closes; then every connection is told to end, and everyone who waits
    /// gets an error.
    pub(super) async fn run(mut self) {
        // Should this task ever panic, the others end with it.
        let _guard = self.shared.closing.clone().drop_guard();
        loop {
            match self.select().await {
                Action::Close => break,
                action => self.apply(action),
            }
            for _ in 1..EVENTS_PER_TURN_MAX {
                let Ok(event) = self.events.try_recv() else { break };
                self.apply(Action::Event(event));
            }
        }
        self.swarm.shutdown(self.shared.clock.now());
        self.carry_out();
        for (_, entry) in std::mem::take(&mut self.entries) {
            entry.fail(ErrorKind::Cancelled, "the node is closing");
        }
        self.shared.complaints.finish();
    }

    async fn select(&mut self) -> Action {
        let look = self.swarm.is_sending().then_some(self.look_at);
        let wake = self.swarm.poll_timeout().into_iter().chain(look).min();
        let wake = wake.map(|time| self.shared.clock.instant_of(time));
        tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => Action::Close,
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                Action::Timeout
            }
            () = self.wishes.news() => Action::Wished,
            () = self.recalled.news() => Action::Recalled,
            Some(command) = self.commands.recv() => Action::Command(command),
            Some(event) = self.events.recv() => Action::Event(event),
        }
    }

    fn apply(&mut self, action: Action) {
        let now = self.shared.clock.now();
        match action {
            Action::Event(event) => self.apply_event(now, event),
            Action::Command(command) => self.apply_command(now, command),
            Action::Wished => {
                for ((digest, id), range) in self.wishes.take() {
                    let is_taken_back = range.is_none();
                    self.swarm.set_demand(now, &digest, id, range);
                    if is_taken_back {
                        self.note_left(now, &digest);
                    }
                }
            }
            Action::Recalled => self.let_go(now),
            Action::Timeout => {
                if now >= self.look_at {
                    self.look_at = now + UPLOAD_LOOK_EVERY;
                    let sent = self.shared.counters.sent.load(Ordering::Relaxed);
                    self.swarm.handle_upload_progress(now, sent);
                }
                self.swarm.handle_timeout(now);
            }
            Action::Close => {}
        }
        self.carry_out();
    }

    fn apply_event(&mut self, now: Time, event: Event) {
        match event {
            Event::Incoming { ip, handshake, answer } => {
                self.on_incoming(now, ip, &handshake, answer);
            }
            Event::Dialed { conn, result } => self.on_dialed(now, conn, result),
            Event::Message { conn, message } => self.swarm.handle_message(now, conn, message),
            Event::Piece { conn, torrent, index, outcome, from_origin } => {
                let outcome = self.on_piece(now, &torrent, index, outcome, from_origin);
                self.swarm.handle_piece(now, &torrent.digest, conn, index, outcome);
            }
            Event::PieceProgress { conn, bytes } => {
                self.swarm.handle_piece_progress(now, conn, bytes);
            }
            Event::PieceSent { conn, index, sent } => {
                self.swarm.handle_piece_sent(now, conn, index, sent);
            }
            Event::Stalled { conn } => self.swarm.handle_stalled(now, conn),
            Event::Closed { conn, reason } => {
                if let Some(link) = self.conns.remove(&conn) {
                    self.shared.complaints.closed(now, &link.peer, &link.digest, &reason);
                    if link.from_origin {
                        self.on_origin_gone(now, &link.digest);
                    }
                }
                self.swarm.handle_closed(now, conn, reason);
            }
            Event::Announced { torrent, result } => {
                if let Err(error) = &result {
                    self.announces_failed += 1;
                    tracing::debug!(digest = %torrent, %error, "announce failed");
                } else if let Some(entry) = self.entries.get_mut(&torrent) {
                    entry.timeline.on_announced(now);
                }
                self.swarm.handle_announced(now, &torrent, result);
            }
            Event::Committed { torrent, result } => {
                if let Err(error) = &result {
                    tracing::warn!(digest = %torrent, %error, "blob not committed");
                    if let Some(entry) = self.entries.get_mut(&torrent) {
                        entry.mismatched |= error.kind() == ErrorKind::Mismatch;
                    }
                } else if let Some(meta) = self.sums_of(&torrent) {
                    self.settle(now, &torrent, meta);
                }
                self.swarm.handle_committed(now, &torrent, result);
            }
            Event::Discarded { torrent, result } => self.on_discarded(now, &torrent, result),
            Event::Refreshed { torrent, result } => self.on_refreshed(now, &torrent, result),
            Event::Landed { torrent, index } => self.on_landed(now, &torrent, index),
            Event::Unopened { status, reason } => self.note(*status, &reason),
        }
    }

    fn on_incoming(
        &mut self,
        now: Time,
        ip: IpAddr,
        handshake: &Handshake,
        answer: oneshot::Sender<Result<Accepted, Refused>>,
    ) {
        let (conn, reply) = match self.swarm.handle_incoming(now, ip, handshake) {
            Ok(accepted) => accepted,
            Err(refused) => {
                // Who asked may be gone: then there is nobody to refuse.
                let _ = answer.send(Err(refused));
                return;
            }
        };
        let gone = CloseReason::HandshakeFailed("the connection is gone".to_owned());
        let Some(entry) = self.entries.get_mut(&reply.digest) else {
            self.swarm.handle_closed(now, conn, CloseReason::TorrentGone);
            return;
        };
        entry.timeline.on_connected(now);
        let torrent = Arc::clone(&entry.torrent);
        let peer = format!("{} at {ip}", handshake.peer_id);
        let token = self.shared.closing.child_token();
        let (link, end) = ConnLink::new(token, conn, torrent, peer, false);
        if answer.send(Ok(Accepted { reply, end })).is_ok() {
            self.conns.insert(conn, link);
        } else {
            self.swarm.handle_closed(now, conn, gone);
        }
    }

    fn on_dialed(&mut self, now: Time, conn: ConnId, result: Result<Box<Dialed>, CloseReason>) {
        // A dial that the swarm has closed meanwhile is nobody's.
        let Some(dial) = self.dials.remove(&conn) else { return };
        let dialed = match (result, self.entries.get_mut(&dial.torrent)) {
            (Ok(dialed), Some(entry)) => {
                entry.timeline.on_connected(now);
                let torrent = Arc::clone(&entry.torrent);
                let token = self.shared.closing.child_token();
                let (link, end) = ConnLink::new(token, conn, torrent, dial.peer, dial.origin);
                let Dialed { reply, socket, buffered } = *dialed;
                self.conns.insert(conn, link);
                let shared = Arc::clone(&self.shared);
                self.shared.tasks.spawn(conn::run(shared, end, socket, buffered));
                Ok(reply)
            }
            (Ok(_), None) => Err(CloseReason::TorrentGone),
            (Err(reason), _) => {
                tracing::debug!(digest = %dial.torrent, peer = dial.peer, %reason, "dial failed");
                Err(reason)
            }
        };
        self.swarm.handle_dialed(now, conn, dialed);
    }

    /// Goes on with the new file of a torrent, unless it was removed meanwhile.
    fn on_discarded(&mut self, now: Time, old: &Arc<Torrent>, result: Result<Arc<Torrent>>) {
        let digest = old.digest;
        let Some(entry) = self.entries.get_mut(&digest) else { return };
        if !Arc::ptr_eq(&entry.torrent, old) {
            return;
        }
        let result = result.map(|fresh| {
            self.shared.openings.note(&fresh);
            entry.replace(fresh);
        });
        self.swarm.handle_discarded(now, &digest, result);
    }

    /// Forgets the torrents that storage needs the room of, but for those with a download.
    fn let_go(&mut self, now: Time) {
        for digest in self.recalled.take() {
            if self.entries.get(&digest).is_some_and(|entry| entry.state.receiver_count() == 0) {
                tracing::debug!(%digest, "torrent dropped: its room is needed");
                self.entries.remove(&digest);
                self.swarm.remove_torrent(now, &digest);
            }
        }
    }

    /// Notes what came of a piece; the outcome as the swarm is to see it.
    fn on_piece(
        &mut self,
        now: Time,
        torrent: &Arc<Torrent>,
        index: kraken_core::PieceIndex,
        outcome: PieceOutcome,
        from_origin: bool,
    ) -> PieceOutcome {
        let Some(entry) = self.entries.get_mut(&torrent.digest) else { return outcome };
        if !Arc::ptr_eq(&entry.torrent, torrent) {
            // It went into a file that has been thrown away since.
            return PieceOutcome::Duplicate;
        }
        if outcome == PieceOutcome::Duplicate && torrent.leases.is_marked(index) {
            return PieceOutcome::Present;
        }
        if outcome == PieceOutcome::Stored {
            entry.timeline.on_piece(now);
            let len = torrent.geometry.len_of(index);
            entry.state.send_modify(|state| {
                state.progress.pieces += 1;
                if from_origin {
                    state.progress.bytes_from_origins += len;
                } else {
                    state.progress.bytes_from_peers += len;
                }
            });
        }
        outcome
    }

    /// Answers may find nobody: who asked may have gone, and then nothing needs to be done, since
    /// a subscription gives itself back.
    fn apply_command(&mut self, now: Time, command: Command) {
        match command {
            Command::Join { digest, answer } => {
                let _ = answer.send(self.join(now, digest, now));
            }
            Command::Add { torrent, spec, asked_at, answer } => {
                let digest = spec.meta.digest();
                let added = self.add(now, torrent, *spec, asked_at.unwrap_or(now));
                let joined = match (&added, asked_at) {
                    (Ok(()), Some(asked_at)) => self.join(now, digest, asked_at),
                    _ => None,
                };
                let _ = answer.send(added.map(|()| joined));
            }
            Command::Remove { digest, answer } => {
                if let Some(entry) = self.entries.remove(&digest) {
                    self.fail(now, &entry, ErrorKind::Cancelled, "the torrent was removed");
                }
                let _ = answer.send(self.swarm.remove_torrent(now, &digest));
            }
            Command::SetSeeding { on, answer } => {
                self.swarm.set_seeding(now, on);
                let _ = answer.send(());
            }
            Command::Stats { torrents, answer } => {
                let _ = answer.send(self.stats(torrents));
            }
            Command::Downloads { limit, answer } => {
                let _ = answer.send(self.downloads(now, limit));
            }
            Command::Blacklist { answer } => {
                let _ = answer.send(self.swarm.blacklist(now));
            }
            Command::Probe { answer } => {
                let _ = answer.send(());
            }
        }
    }

    fn add(
        &mut self,
        now: Time,
        torrent: Arc<Torrent>,
        spec: TorrentSpec,
        asked_at: Time,
    ) -> Result<()> {
        let digest = spec.meta.digest();
        if self.entries.contains_key(&digest) {
            return self.swarm.add_torrent(now, spec);
        }
        let progress = Progress {
            pieces: spec.have.count(),
            pieces_total: spec.meta.geometry().pieces(),
            complete: spec.complete,
            ..Progress::default()
        };
        self.swarm.add_torrent(now, spec)?;
        self.shared.openings.note(&torrent);
        let state = State { torrent: Arc::clone(&torrent), progress, failure: None };
        let state = watch::Sender::new(state);
        let timeline = Timeline::new(asked_at, now);
        self.entries.insert(
            digest,
            Entry {
                torrent,
                state,
                since: None,
                no_news: None,
                refreshing: None,
                mismatched: false,
                timeline,
                before: Before::default(),
            },
        );
        Ok(())
    }

    fn join(&mut self, now: Time, digest: Digest, asked_at: Time) -> Option<Subscription> {
        let entry = self.entries.get_mut(&digest)?;
        if entry.state.receiver_count() == 0 {
            entry.since = Some(asked_at);
            // What was before is nothing that anybody waited for.
            entry.timeline = Timeline::new(asked_at, now);
            let Progress { bytes_from_origins, bytes_from_peers, .. } =
                entry.state.borrow().progress;
            let disk_time = entry.torrent.disk_time();
            entry.before = Before { disk_time, bytes_from_origins, bytes_from_peers };
            if self.swarm.snapshot(&digest).is_some_and(|torrent| !torrent.conns.is_empty()) {
                entry.timeline.on_connected(now);
            }
        }
        Some(Subscription::new(digest, entry.state.subscribe(), Arc::clone(&self.wishes)))
    }

    fn stats(&self, describe: bool) -> NodeStats {
        let torrents = self.swarm.torrents().filter(|_| describe);
        let torrents = torrents.filter_map(|digest| Some((digest, self.swarm.snapshot(&digest)?)));
        NodeStats {
            violations: self.shared.complaints.count(),
            swarm: self.swarm.counters(),
            downloads: self.totals,
            announces_failed: self.announces_failed,
            downloads_running: self.entries.values().filter(|entry| entry.is_running()).count(),
            conns: self.conns.len(),
            torrents_len: self.swarm.torrents().count(),
            torrents: torrents.collect(),
            ..self.shared.counters.snapshot()
        }
    }

    /// A torrent is gone; whoever waits for it is told so.
    pub(super) fn fail(&mut self, now: Time, entry: &Entry, kind: ErrorKind, text: &str) {
        if entry.is_running() {
            self.note_ended(now, entry, DownloadPhase::Failed, text);
        }
        entry.fail(kind, text);
    }

    /// Ends a connection that takes nothing more, by this side's doing.
    pub(super) fn hang_up(&mut self, conn: ConnId, reason: CloseReason) {
        let now = self.shared.clock.now();
        if let Some(link) = self.conns.remove(&conn) {
            self.shared.complaints.closed(now, &link.peer, &link.digest, &reason);
            link.token.cancel();
        }
        self.swarm.handle_closed(now, conn, reason);
    }
}

impl Entry {
    /// What there was since the last piece; if nothing was, from that time on.
    pub(super) fn no_news_since(&mut self, from: Time) -> NoNews {
        let pieces = self.state.borrow().progress.pieces;
        let before = self.no_news.take().filter(|before| before.pieces == pieces);
        before.unwrap_or(NoNews { since: from, pieces, origins_gone: 0, failure: None })
    }

    /// Tells everyone who waits that there is nothing to wait for.
    fn fail(&self, kind: ErrorKind, text: &str) {
        self.state.send_modify(|state| state.failure = Some((kind, text.to_owned())));
    }

    /// After a discard: the same torrent with a new file.
    fn replace(&mut self, fresh: Arc<Torrent>) {
        self.torrent = Arc::clone(&fresh);
        self.state.send_modify(|state| {
            state.torrent = fresh;
            state.progress.pieces = 0;
        });
    }
}
