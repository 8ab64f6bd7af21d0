//! Whom to talk to: candidates, dials, incoming handshakes, bans.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use kraken_core::{Bitfield, PeerId, PeerInfo, Time};

use super::conn::{Conn, Remote};
use super::io::{CloseReason, ConnId, Output, Refused};
use super::snapshot::Blacklisted;
use super::torrent::{Cx, Phase, Torrent};
use super::upload::{CANCELLED, UNPROVABLE};
use crate::limits::{BANS_MAX, CANDIDATES_MAX};
use crate::wire::{Capabilities, Handshake, Message};

/// A torrent's candidates, dials and bans.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    candidates: BTreeMap<PeerId, Candidate>,
    pub(super) dialing: BTreeMap<ConnId, Dial>,
    bans: VecDeque<Ban>,
    /// Pieces with a wrong CRC32, by sender; outlives its connections.
    corrupt: BTreeMap<PeerId, u32>,
    /// When a candidate may be tried that may not now.
    pub(super) dial_at: Option<Time>,
    /// Since when more could be on order, and is offered, than the connections have room for.
    pub(super) hungry_since: Option<Time>,
    /// How many connections are sought if that is more than usual.
    pub(super) sought: usize,
    /// When one more than usual was last sought.
    pub(super) sought_at: Option<Time>,
}

/// A peer the tracker named.
#[derive(Debug)]
struct Candidate {
    peer: PeerInfo,
    /// Dials in a row that came to nothing.
    failures: u32,
    /// Not to be dialled before this.
    next_try: Time,
}

/// A dial under way.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) peer: PeerInfo,
    /// The pieces claimed in the handshake.
    claimed: Bitfield,
}

/// A peer that lied. Ids are self-claimed and many peers may share an IP, so both must match.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ban {
    peer_id: PeerId,
    ip: String,
    /// The port of one that was dialled, which is not dialled there again; all are barred from
    /// coming by themselves.
    port: Option<u16>,
}

impl Dialer {
    pub(super) fn add(&mut self, peer: PeerInfo) {
        if self.is_banned(&peer.peer_id, &peer.ip, Some(peer.port)) {
            return;
        }
        if let Some(candidate) = self.candidates.get_mut(&peer.peer_id) {
            if (&candidate.peer.ip, candidate.peer.port) != (&peer.ip, peer.port) {
                // It moved: what was learned of the old address says nothing.
                (candidate.failures, candidate.next_try) = (0, Time::ZERO);
            }
            candidate.peer = peer;
            return;
        }
        if self.candidates.len() >= CANDIDATES_MAX {
            let worst = self
                .candidates
                .iter()
                .max_by_key(|(_, candidate)| (!candidate.peer.origin, candidate.failures))
                .map(|(id, _)| *id);
            if let Some(worst) = worst {
                self.candidates.remove(&worst);
            }
        }
        let candidate = Candidate { failures: 0, next_try: Time::ZERO, peer };
        self.candidates.insert(candidate.peer.peer_id, candidate);
    }

    /// A complete torrent dials nobody.
    pub(super) fn forget_candidates(&mut self) {
        self.candidates.clear();
        self.dial_at = None;
    }

    /// The pause before a peer is dialled again grows with each dial that came to nothing.
    fn postpone(&mut self, cx: &mut Cx<'_>, peer_id: &PeerId, at_least: Duration) {
        if let Some(candidate) = self.candidates.get_mut(peer_id) {
            let doubled = REDIAL * 2u32.pow(candidate.failures.min(5));
            candidate.failures += 1;
            let pause = doubled.min(cx.config.blacklist_duration).max(at_least);
            candidate.next_try = cx.now + cx.rng.jitter(pause);
        }
    }

    pub(super) fn on_closed(&mut self, cx: &mut Cx<'_>, conn: &Conn, reason: &CloseReason) {
        let at_least = match reason {
            CloseReason::Protocol(_) => cx.config.blacklist_duration,
            CloseReason::Idle => REDIAL_IDLE,
            _ => REDIAL,
        };
        if conn.pieces_received > 0
            && let Some(candidate) = self.candidates.get_mut(&conn.peer_id)
        {
            candidate.failures = 0;
        }
        self.postpone(cx, &conn.peer_id, at_least);
    }

    pub(super) fn ban(&mut self, conn: &Conn) {
        let (ip, port) = match &conn.remote {
            Remote::Dialed(peer) => {
                self.candidates.remove(&conn.peer_id);
                (canonical(&peer.ip), Some(peer.port))
            }
            Remote::Accepted(ip) => (canonical(&ip.to_string()), None),
        };
        if self.bans.len() >= BANS_MAX {
            self.bans.pop_front();
        }
        self.bans.push_back(Ban { peer_id: conn.peer_id, ip, port });
    }

    /// Whether a peer is barred from coming, or with `port` from being dialled there.
    fn is_banned(&self, peer_id: &PeerId, ip: &str, port: Option<u16>) -> bool {
        self.bans.iter().any(|ban| {
            ban.peer_id == *peer_id
                && (port.is_none() || ban.port == port)
                && ban.ip == canonical(ip)
        })
    }

    pub(super) fn count_corrupt(&mut self, peer_id: PeerId) -> u32 {
        if self.corrupt.len() >= BANS_MAX && !self.corrupt.contains_key(&peer_id) {
            self.corrupt.pop_first();
        }
        let times = self.corrupt.entry(peer_id).or_insert(0);
        *times += 1;
        *times
    }

    #[cfg(any(test, feature = "check"))]
    pub(super) fn candidates_len(&self) -> usize {
        self.candidates.len()
    }

    /// How many are banned or may be soon.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn barred_len(&self) -> usize {
        self.bans.len() + self.corrupt.len()
    }

    fn dial_to(&self, peer_id: &PeerId) -> Option<ConnId> {
        self.dialing.iter().find(|(_, dial)| dial.peer.peer_id == *peer_id).map(|(id, _)| *id)
    }
}

/// Dialling and accepting.
impl Torrent {
    /// Dials candidates while there is room, each next one at random: a fixed order would send
    /// everyone to the same few. Connections beyond the usual go to origins only out of hunger.
    pub(super) fn dial(&mut self, cx: &mut Cx<'_>) {
        self.dialer.dial_at = None;
        if !cx.config.dial || !self.wants_pieces() {
            return;
        }
        let mut taken: BTreeSet<PeerId> = self.conns.values().map(|conn| conn.peer_id).collect();
        taken.extend(self.dialer.dialing.values().map(|dial| dial.peer.peer_id));
        let most = self.dial_max(cx);
        while self.conns_to_be() < most && self.dialer.dialing.len() < cx.config.dial_max {
            let (mut ready, mut later) = (Vec::new(), None::<Time>);
            let usual = self.conns_to_be() < cx.config.dial_max;
            let origins_too = usual || self.origins_only || self.dialer.hungry_since.is_some();
            for (peer_id, candidate) in &self.dialer.candidates {
                let fits = if candidate.peer.origin { origins_too } else { !self.origins_only };
                if !fits || taken.contains(peer_id) {
                    continue;
                }
                if candidate.next_try <= cx.now {
                    ready.push(*peer_id);
                } else {
                    later = Some(later.map_or(candidate.next_try, |t| t.min(candidate.next_try)));
                }
            }
            if ready.is_empty() {
                self.dialer.dial_at = later;
                return;
            }
            let peer_id = ready[cx.rng.below(ready.len())];
            taken.insert(peer_id);
            self.dial_one(cx, &peer_id);
        }
    }

    fn dial_max(&self, cx: &Cx<'_>) -> usize {
        // The last third of the room is for those who come.
        cx.config.dial_max.max(self.dialer.sought.min(cx.config.accept_max * 2 / 3))
    }

    /// Seeks one connection more when those it has have kept it waiting for a while, or are still
    /// few: a peer shares its uplink out over its connections, so whoever has few gets less than
    /// its neighbours.
    pub(super) fn dial_one_more(&mut self, cx: &mut Cx<'_>) {
        let due = |since: Time| cx.now.since(since) >= HUNGER;
        let conns = self.conns_to_be();
        let wanted = conns < cx.config.conns_enough || self.dialer.hungry_since.is_some_and(due);
        if !due(*self.dialer.sought_at.get_or_insert(cx.now)) || !wanted {
            return;
        }
        self.dialer.sought_at = Some(cx.now);
        self.dialer.sought = conns + 1;
        self.dial(cx);
    }

    /// Connections, and dials under way.
    pub(super) fn conns_to_be(&self) -> usize {
        self.conns.len() + self.dialer.dialing.len()
    }

    fn dial_one(&mut self, cx: &mut Cx<'_>, peer_id: &PeerId) {
        let Some(candidate) = self.dialer.candidates.get(peer_id) else { return };
        let peer = candidate.peer.clone();
        let conn = cx.fresh_conn(self.digest);
        let (handshake, claimed) = (Box::new(self.handshake(cx, true)), self.claimed(cx));
        cx.counters.dials += 1;
        cx.out.push_back(Output::Dial { conn, peer: peer.clone(), handshake });
        self.dialer.dialing.insert(conn, Dial { peer, claimed });
    }

    pub(super) fn cancel_dial(&mut self, cx: &mut Cx<'_>, id: ConnId, reason: CloseReason) {
        if self.dialer.dialing.remove(&id).is_some() {
            cx.conns.remove(&id);
            cx.out.push_back(Output::Close { conn: id, reason });
        }
    }

    pub(super) fn on_dialed(
        &mut self,
        cx: &mut Cx<'_>,
        id: ConnId,
        result: Result<Handshake, CloseReason>,
    ) {
        let Some(dial) = self.dialer.dialing.remove(&id) else { return };
        let peer_id = dial.peer.peer_id;
        let problem = match &result {
            Ok(handshake) => self.problem_of(handshake, Some(&peer_id)),
            Err(_) => None,
        };
        match result {
            Ok(handshake) if problem.is_none() => {
                let Ok(bits) = Bitfield::from_wire(&handshake.bitfield, self.geometry.pieces())
                else {
                    return;
                };
                let (remote, known) = (Remote::Dialed(dial.peer), handshake.capabilities);
                let lacks_sums = self.lacks_sums(&handshake);
                let conn = Conn::new(peer_id, remote, known, lacks_sums, bits, cx.now);
                self.attach(cx, id, conn);
                self.catch_up(cx, id, &dial.claimed);
                return;
            }
            Ok(_) => {
                let reason = CloseReason::Protocol(problem.unwrap_or_default());
                // No ban: metainfo may be older there than here.
                self.dialer.postpone(cx, &peer_id, Duration::ZERO);
                cx.out.push_back(Output::Close { conn: id, reason });
            }
            Err(_) => self.dialer.postpone(cx, &peer_id, Duration::ZERO),
        }
        cx.conns.remove(&id);
        self.dial(cx);
        self.announce_soon(cx);
    }

    /// Whether a peer that says this has no sums.
    fn lacks_sums(&self, handshake: &Handshake) -> bool {
        takes_provisional(handshake) && handshake.info_hash == self.provisional_hash
    }

    /// A peer has sums.
    fn on_final(&mut self, cx: &mut Cx<'_>, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.lacks_sums = false;
        }
        self.refresh(cx);
    }

    /// There may be sums to be had, or another attempt: looks now, or as soon as it may.
    pub(super) fn refresh(&mut self, cx: &mut Cx<'_>) {
        if self.is_final {
            return;
        }
        self.refresh_due = self.refresh_at > cx.now;
        if !self.refresh_due {
            self.refresh_at = cx.now + REFRESH_INTERVAL;
            cx.out.push_back(Output::Refresh { torrent: self.digest });
        }
    }

    /// A connection has ended. An origin may have begun anew, or find out only now that it cannot
    /// bring the blob: what is known of that at this moment may be old, so a second look follows.
    /// A peer that goes may have found out before this one.
    pub(super) fn on_gone(&mut self, cx: &mut Cx<'_>, conn: &Conn, reason: &CloseReason) {
        if conn.is_origin() {
            self.refresh(cx);
            self.refresh_due = !self.is_final;
        } else if self.wants_pieces() && matches!(reason, CloseReason::Remote(_)) {
            self.refresh(cx);
        }
    }

    /// What is wrong with a handshake, if anything.
    fn problem_of(&self, handshake: &Handshake, expected: Option<&PeerId>) -> Option<String> {
        if expected.is_some_and(|expected| *expected != handshake.peer_id) {
            return Some(format!("peer calls itself {}", handshake.peer_id));
        }
        if handshake.digest != self.digest {
            return Some(format!("peer answers for {}", handshake.digest));
        }
        let takes_provisional = takes_provisional(handshake);
        if !self.is_final && !takes_provisional {
            return Some("peer takes nothing without sums, and there are none yet".into());
        }
        // One that has sums knows whether they are of the same geometry: it knows both hashes.
        let known = handshake.info_hash == self.info_hash
            || takes_provisional && handshake.info_hash == self.provisional_hash
            || !self.is_final;
        if !known {
            return Some(format!("peer has info hash {}", handshake.info_hash));
        }
        let bits = Bitfield::from_wire(&handshake.bitfield, self.geometry.pieces());
        bits.err().map(|error| error.to_string())
    }

    pub(super) fn on_incoming(
        &mut self,
        cx: &mut Cx<'_>,
        ip: IpAddr,
        handshake: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        let peer_id = handshake.peer_id;
        if self.phase == Phase::Discarding || self.origins_only {
            return Err(Refused::Full);
        }
        if !self.is_final && !takes_provisional(handshake) {
            return Err(Refused::Provisional);
        }
        if let Some(problem) = self.problem_of(handshake, None) {
            return Err(Refused::Invalid(problem));
        }
        if !cx.config.seed {
            return Err(Refused::NotSeeding);
        }
        if self.dialer.is_banned(&peer_id, &ip.to_string(), None) {
            return Err(Refused::Banned);
        }
        let bits = Bitfield::from_wire(&handshake.bitfield, self.geometry.pieces())
            .map_err(|error| Refused::Invalid(error.to_string()))?;
        let ours = handshake.capabilities.is_some();
        if self.conn_of_peer(&peer_id).is_some() {
            return Err(Refused::AlreadyConnected);
        }
        if self.phase == Phase::Complete && bits.is_full() {
            // Nothing could go over it; the peer is about to be complete itself.
            return Err(Refused::Full);
        }
        let crossing = self.dialer.dial_to(&peer_id);
        // Both sides dialled at once: the dial of the lower id stands. uber/kraken refuses this
        // side's dial while its own is under way, so its own must stand.
        if crossing.is_some() && ours && cx.local.peer_id < peer_id {
            return Err(Refused::AlreadyConnected);
        }
        if self.conns.len() >= cx.config.accept_max && !self.make_room(cx) {
            return Err(Refused::Full);
        }
        if let Some(dial) = crossing {
            self.cancel_dial(cx, dial, CloseReason::Replaced);
        }
        let reply = self.handshake(cx, false);
        let id = cx.fresh_conn(self.digest);
        cx.counters.accepted += 1;
        let (known, lacks_sums) = (handshake.capabilities, self.lacks_sums(handshake));
        let conn = Conn::new(peer_id, Remote::Accepted(ip), known, lacks_sums, bits, cx.now);
        self.attach(cx, id, conn);
        Ok((id, reply))
    }

    /// Closes the connection that has been quiet longest, if it has been so for some time.
    fn make_room(&mut self, cx: &mut Cx<'_>) -> bool {
        let quiet = self.conns.iter().filter(|(_, conn)| {
            conn.is_quiet() && cx.now.since(conn.active_at) > QUIET_BEFORE_REPLACED
        });
        let Some(id) = quiet.min_by_key(|(_, conn)| conn.active_at).map(|(id, _)| *id) else {
            return false;
        };
        self.close(cx, id, CloseReason::Replaced);
        true
    }

    pub(super) fn on_closed(&mut self, cx: &mut Cx<'_>, id: ConnId, reason: &CloseReason) {
        if self.dialer.dialing.contains_key(&id) {
            self.on_dialed(cx, id, Err(reason.clone()));
            return;
        }
        self.detach(cx, id, reason);
        self.dial(cx);
        self.announce_soon(cx);
        self.fill(cx);
    }

    /// A message of an open connection.
    pub(super) fn on_message(&mut self, cx: &mut Cx<'_>, id: ConnId, message: Message) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.on_message(cx.now);
        match message {
            Message::PieceRequest { index, offset, length } => {
                self.on_piece_request(cx, id, index, (offset, length));
            }
            Message::AnnouncePiece { index } => self.on_announced_piece(cx, id, index),
            Message::CancelPiece { index } => self.on_cancel(cx, id, index),
            Message::Error { index, code: CANCELLED, .. } => self.on_recalled(cx, id, index),
            Message::Error { index, code: UNPROVABLE, .. } => self.on_unprovable(cx, id, index),
            Message::Error { index, .. } => self.on_refused(cx, id, index),
            Message::Complete => self.on_peer_complete(cx, id),
            Message::Final { .. } => self.on_final(cx, id),
            Message::WantPieces { index, count } => self.on_wants(cx, id, index, count),
            // A second handshake, a stray payload header and what newer peers may say are
            // skipped, as uber/kraken does.
            Message::Handshake(_)
            | Message::PiecePayload { .. }
            | Message::PieceProof { .. }
            | Message::Unknown(_) => {}
        }
    }

    pub(super) fn blacklisted(&self, now: Time, into: &mut Vec<Blacklisted>) {
        into.extend(self.dialer.bans.iter().map(|ban| Blacklisted {
            torrent: self.digest,
            peer_id: ban.peer_id,
            addr: ban.port.map_or_else(|| ban.ip.clone(), |port| format!("{}:{port}", ban.ip)),
            remaining: None,
        }));
        let resting = self.dialer.candidates.values().filter(|peer| peer.next_try > now);
        into.extend(resting.map(|candidate| Blacklisted {
            torrent: self.digest,
            peer_id: candidate.peer.peer_id,
            addr: format!("{}:{}", candidate.peer.ip, candidate.peer.port),
            remaining: Some(candidate.next_try.since(now)),
        }));
    }
}

/// Whether a peer can do with what vouches for each piece in place of sums.
fn takes_provisional(handshake: &Handshake) -> bool {
    handshake.capabilities.is_some_and(|known| known.has(Capabilities::PROVISIONAL))
}

/// How often metainfo is asked for at the most while there are no sums.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The one spelling of an IP; a name stays as it is.
fn canonical(ip: &str) -> String {
    ip.parse::<IpAddr>().map_or_else(|_| ip.to_owned(), |ip| ip.to_canonical().to_string())
}

/// First pause before a peer that refused or could not be reached is dialled again.
const REDIAL: Duration = Duration::from_secs(1);

/// Waiting for so long for connections with room for a request, a torrent seeks one more, and
/// another after as long.
const HUNGER: Duration = Duration::from_secs(1);

/// Pause before a peer with nothing to offer is dialled again.
const REDIAL_IDLE: Duration = Duration::from_secs(10);

/// A connection this long without a piece may make way for a new one.
const QUIET_BEFORE_REPLACED: Duration = Duration::from_secs(10);
