//! One connection of a torrent: what the other side has, what is open with it, how quick it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use kraken_core::{Bitfield, PeerId, PeerInfo, PieceIndex, Time};

use super::config::SwarmConfig;
use super::io::ConnId;
use super::limits::{RECEIVE_PACE_MIN, REQUEST_TIMEOUT_MAX, SIGN_OF_LIFE, TIMEOUTS_MAX};
use super::snapshot::ConnSnapshot;
use crate::limits::REQUESTS_PER_CONN_MAX;
use crate::wire::Capabilities;

/// An open connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer_id: PeerId,
    pub(super) remote: Remote,
    /// Whether it is a peer of ours: it sent field 100 in its handshake.
    pub(super) ours: bool,
    /// Whether it says so when it has taken a cancelled request out of its line.
    pub(super) answers_cancels: bool,
    /// Whether it takes pieces without sums, and has none: each needs something that vouches for
    /// it.
    pub(super) lacks_sums: bool,
    /// What the other side has; pieces sent to it count as had.
    pub(super) bits: Bitfield,
    pub(super) bits_count: u32,
    /// Requests open with the other side, with the time each was sent.
    pub(super) requests: BTreeMap<PieceIndex, Time>,
    /// What a peer that knows no cancel was asked for and has not answered, in that order: what was
    /// given up here stands in its line all the same.
    pub(super) unanswered: Vec<PieceIndex>,
    /// Pieces that it is to be asked for once others have let go of them.
    pub(super) promised: usize,
    /// Set when a search found nothing to ask of it; cleared when that may have changed.
    pub(super) dry: bool,
    /// Seconds a piece takes here once it is its turn, averaged; `None` before the first.
    service: Option<f64>,
    /// Since when the oldest open request could have been worked on.
    busy_since: Time,
    /// When bytes of a requested piece last came.
    progress_at: Time,
    /// When anything was last heard from it.
    heard_at: Time,
    /// The time that the bytes which came make up for, at the lowest pace that is borne with.
    earned_until: Time,
    /// It is asked for nothing before this.
    pub(super) rest_until: Time,
    /// How often requests timed out without a sign of life between.
    pub(super) timeouts: u32,
    /// Bytes that came since the last time.
    bytes_since_timeout: u64,
    /// Pieces that it was told somebody waits for.
    pub(super) told_wants: BTreeSet<PieceIndex>,
    /// Requests it refused in a row.
    pub(super) errors: u32,
    /// Pieces in a row for which nothing vouched that counts here.
    pub(super) unproven: u32,
    /// Requests of the other side, oldest first.
    pub(super) queue: VecDeque<PieceIndex>,
    pub(super) sending: Option<Sending>,
    /// Whether it stands in the line of connections to send to.
    pub(super) in_line: bool,
    /// How often others were sent to although it stood before them in the line.
    pub(super) passed_over: u32,
    /// The first piece of its queue when one was last sent, and how often others were sent instead.
    pub(super) first_passed_over: (PieceIndex, u32),
    /// When a piece was last stored or sent, or the connection made.
    pub(super) active_at: Time,
    pub(super) pieces_received: u64,
    pub(super) pieces_sent: u64,
}

/// How the connection came to be, and with it what a ban would name.
#[derive(Debug, Clone)]
pub(super) enum Remote {
    Dialed(PeerInfo),
    Accepted(IpAddr),
}

/// The piece being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub(super) index: PieceIndex,
    /// Whether it holds an upload slot; a stalled receiver does not.
    pub(super) slot: bool,
}

impl Conn {
    pub(super) fn new(
        peer_id: PeerId,
        remote: Remote,
        capabilities: Option<Capabilities>,
        lacks_sums: bool,
        bits: Bitfield,
        now: Time,
    ) -> Self {
        let bits_count = bits.count();
        Self {
            peer_id,
            remote,
            ours: capabilities.is_some(),
            answers_cancels: capabilities
                .is_some_and(|known| known.has(Capabilities::CANCELS_ANSWERED)),
            lacks_sums,
            bits,
            bits_count,
            requests: BTreeMap::new(),
            unanswered: Vec::new(),
            promised: 0,
            dry: false,
            service: None,
            busy_since: now,
            progress_at: now,
            heard_at: now,
            earned_until: now,
            rest_until: Time::ZERO,
            timeouts: 0,
            bytes_since_timeout: 0,
            told_wants: BTreeSet::new(),
            errors: 0,
            unproven: 0,
            queue: VecDeque::new(),
            sending: None,
            in_line: false,
            passed_over: 0,
            first_passed_over: (PieceIndex(0), 0),
            active_at: now,
            pieces_received: 0,
            pieces_sent: 0,
        }
    }

    /// Notes that it said something.
    pub(super) fn on_message(&mut self, now: Time) {
        self.heard_at = now;
    }

    /// Notes that a request was sent.
    pub(super) fn on_requested(&mut self, now: Time, index: PieceIndex) {
        if self.requests.is_empty() {
            self.busy_since = now;
        }
        self.requests.insert(index, now);
        if !self.ours {
            self.unanswered.push(index);
        }
    }

    /// Notes that a request was answered, in whatever way; whether it stood in the line of a peer
    /// that knows no cancel. Such a one answers in the order it was asked, so whatever was given up
    /// and asked for before this is lost, and keeps no place.
    pub(super) fn on_answered(&mut self, index: PieceIndex) -> bool {
        let Some(at) = self.unanswered.iter().position(|asked| *asked == index) else {
            return false;
        };
        let (requests, mut places) = (&self.requests, 0..);
        self.unanswered.retain(|asked| match places.next() {
            Some(place) if place < at => requests.contains_key(asked),
            place => place != Some(at),
        });
        true
    }

    /// Notes that so many more bytes of a requested piece came, or that this side pauses. Enough of
    /// them are a sign of life like a whole piece; a peer that drips does not hold its requests for
    /// ever.
    pub(super) fn on_progress(&mut self, now: Time, bytes: u64) {
        self.progress_at = now;
        self.heard_at = now;
        if bytes == 0 {
            self.earned_until = now;
            return;
        }
        let worth = Duration::from_secs_f64(bytes as f64 / RECEIVE_PACE_MIN);
        self.earned_until = (self.earned_until.max(self.busy_since) + worth).min(now);
        self.bytes_since_timeout = self.bytes_since_timeout.saturating_add(bytes);
        if self.bytes_since_timeout >= SIGN_OF_LIFE {
            self.timeouts = 0;
        }
    }

    /// Notes that requests were given up.
    pub(super) fn on_timed_out(&mut self) {
        self.timeouts += 1;
        self.bytes_since_timeout = 0;
    }

    /// Notes that a piece came whose request was taken back.
    pub(super) fn on_late(&mut self, now: Time) {
        self.progress_at = now;
        self.heard_at = now;
        self.earned_until = now;
        if self.timeouts > 0 || self.rest_until > now {
            // This is what was waited for: the peer is slow, and its rest was for silence.
            self.on_received(now);
            self.rest_until = now;
        }
    }

    /// Notes that a requested piece came; returns the seconds it took once it was its turn.
    pub(super) fn on_received(&mut self, now: Time) -> f64 {
        let seconds = now.since(self.busy_since).as_secs_f64();
        let service = self.service.unwrap_or(seconds);
        self.service = Some(service + (seconds - service) * SERVICE_WEIGHT);
        self.busy_since = now;
        self.progress_at = now;
        self.heard_at = now;
        self.earned_until = now;
        self.timeouts = 0;
        self.errors = 0;
        seconds
    }

    /// Whether it is an origin, as far as this side knows: only dialled peers can be known as one.
    pub(super) fn is_origin(&self) -> bool {
        matches!(&self.remote, Remote::Dialed(peer) if peer.origin)
    }

    pub(super) fn has_all(&self) -> bool {
        self.bits_count == self.bits.len()
    }

    /// How long nothing came although something is open; zero when nothing is open.
    pub(super) fn silent_for(&self, now: Time) -> Duration {
        if self.requests.is_empty() {
            return Duration::ZERO;
        }
        now.since(self.busy_since.max(self.progress_at))
    }

    /// For how long it is not known whether it still answers: a peer that lacks pieces tells of
    /// each that it gets.
    pub(super) fn quiet_for(&self, now: Time) -> Duration {
        if self.has_all() { Duration::ZERO } else { now.since(self.heard_at) }
    }

    /// Whether a request sent at `sent` has had too little to show for too long: a peer that
    /// delivers other pieces is working through its queue.
    pub(super) fn is_overdue(&self, now: Time, sent: Time, timeout: Duration) -> bool {
        now.since(sent.max(self.busy_since).max(self.earned_until)) > self.patience(timeout)
    }

    /// How long this peer may show nothing: longer than others when it is known to be slow, and
    /// after each time that it was too long, since a request taken back loses its place in the
    /// other side's line.
    fn patience(&self, timeout: Duration) -> Duration {
        let usual = self.service.unwrap_or_default() * PATIENCE;
        let most = timeout.max(REQUEST_TIMEOUT_MAX);
        let known = timeout.max(Duration::from_secs_f64(usual.min(most.as_secs_f64())));
        known.saturating_mul(1 << self.timeouts.min(TIMEOUTS_MAX)).min(most)
    }

    /// Whether it has been silent so long that what is open with it should not hold up the rest.
    pub(super) fn is_stale(&self, now: Time) -> bool {
        self.silent_for(now) > STALE_AFTER
    }

    /// Seconds until one more request would be answered, by what is known; `typical` is the
    /// seconds per piece of the torrent's other connections.
    pub(super) fn expected_wait(&self, now: Time, typical: f64) -> f64 {
        let service = self.service.unwrap_or(typical).max(self.silent_for(now).as_secs_f64());
        service * (self.open() + self.promised + 1) as f64
    }

    /// Whether nothing says that its pieces take less than so many seconds.
    pub(super) fn may_be_slower(&self, seconds: f64) -> bool {
        self.service.is_none_or(|service| service > seconds)
    }

    /// Seconds until an open request is answered, by what is known, if answers come in the order of
    /// requests. What takes three times as long as usual may take as long again.
    pub(super) fn expected_left(&self, now: Time, typical: f64, index: PieceIndex) -> Option<f64> {
        let sent = self.requests.get(&index)?;
        let service = self.service.unwrap_or(typical);
        let taken = now.since(self.busy_since).as_secs_f64();
        let first = if taken < service {
            service - taken
        } else if taken < service * PATIENCE {
            service
        } else {
            taken
        };
        let before = self.requests.values().filter(|other| *other < sent).count();
        Some(first + service * before as f64)
    }

    /// Whether a request can be taken back: one of several is not being answered yet, or nothing
    /// has come since the only one, and the other side says when it lets go of it.
    pub(super) fn can_recall(&self) -> bool {
        let waits = match self.requests.len() {
            0 => false,
            1 => self.progress_at <= self.busy_since,
            _ => true,
        };
        waits && self.answers_cancels
    }

    /// How many requests are open in the other side's eyes. One of ours has been told which were
    /// given up.
    pub(super) fn open(&self) -> usize {
        if self.ours { self.requests.len() } else { self.unanswered.len() }
    }

    /// How many requests may be open with it by the configuration.
    pub(super) fn pipeline(&self, config: &SwarmConfig) -> usize {
        match (self.ours, self.is_origin()) {
            (true, _) => config.pipeline_ours,
            (false, true) => config.pipeline_origin,
            (false, false) => config.pipeline_agent,
        }
    }

    /// Whether one more request may be sent.
    pub(super) fn has_room(&self, now: Time, typical: f64, config: &SwarmConfig) -> bool {
        let open = self.open() + self.promised;
        if open >= self.pipeline(config).min(REQUESTS_PER_CONN_MAX) || now < self.rest_until {
            return false;
        }
        let wait_max = config.queue_wait_max.as_secs_f64().max(typical * QUEUE_PIECES);
        open < OPEN_MIN
            || (self.service.is_some()
                && !self.is_stale(now)
                && self.expected_wait(now, typical) <= wait_max)
    }

    /// Whether what was given up leaves no room to ask for more, and the other side has shown too
    /// little for so long that one more request would have been given up too.
    pub(super) fn is_stuck(
        &self,
        now: Time,
        typical: f64,
        timeout: Duration,
        config: &SwarmConfig,
    ) -> bool {
        self.requests.is_empty()
            && !self.unanswered.is_empty()
            && self.is_overdue(now, self.rest_until, timeout)
            && !self.has_room(now, typical, config)
    }

    /// Whether nothing is open in either direction.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.queue.is_empty() && self.sending.is_none()
    }

    pub(super) fn snapshot(&self, conn: ConnId) -> ConnSnapshot {
        ConnSnapshot {
            conn,
            peer_id: self.peer_id,
            origin: self.is_origin(),
            dialed: matches!(self.remote, Remote::Dialed(_)),
            pieces_have: self.bits_count,
            requests: self.requests.len(),
            queued: self.queue.len(),
            pieces_received: self.pieces_received,
            pieces_sent: self.pieces_sent,
        }
    }
}

/// How many times as long as usual a peer may take for a piece.
pub(super) const PATIENCE: f64 = 3.0;

/// How much the newest piece moves the average: about the last six pieces count.
const SERVICE_WEIGHT: f64 = 0.3;

/// Requests a peer may always have: one being sent and one behind it keep the link busy.
const OPEN_MIN: usize = 2;

/// So many pieces at the usual speed a peer's queue may always take, however long that is: what its
/// uplink gives is then known before its queue has run dry. With one second for all, eight agents
/// on equal links whose pieces take 0.4 s took 5 % longer (sixteen whose pieces take 1.6 s: 1 %);
/// with 6 or 14 of them as with 8.
const QUEUE_PIECES: f64 = 8.0;

/// Silence after which a peer's open requests no longer count as bytes in flight.
const STALE_AFTER: Duration = Duration::from_secs(2);
