//! A crowd of swarms under virtual time: links with a latency, one uplink and one downlink a host,
//! a tracker that can be down, disks that can lie.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{
    Bitfield, Digest, Error, ErrorKind, MetaInfo, PeerId, PeerInfo, PieceIndex, Time, TorrentMeta,
};

use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, Swarm, SwarmConfig,
    TorrentSpec,
};
use crate::wire::{Handshake, Message};

/// Everything that happens, in the order of time.
pub(super) struct Crowd {
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    pub(super) meta: MetaInfo,
    /// Whether announces fail.
    pub(super) tracker_down: bool,
    /// Dials refused for want of room.
    pub(super) refused_full: usize,
    events: BTreeMap<(Time, u64), Event>,
    registered: BTreeSet<usize>,
    /// The other end of each end.
    links: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    next: u64,
    rng: Rng,
    /// From when to when the piece sent last over each end goes out; what a writer sends next
    /// waits for its last byte.
    sending: BTreeMap<(usize, ConnId), (Time, Time)>,
    /// Whether what is said waits for a piece that is going out over the same connection.
    pub(super) said_after_pieces: bool,
    /// How long anything is under way besides the time its bytes take.
    pub(super) latency: Duration,
}

/// One node.
pub(super) struct Host {
    pub(super) swarm: Swarm,
    /// Bytes a second, both ways.
    rate: f64,
    up_free: Time,
    down_free: Time,
    pub(super) on_disk: Bitfield,
    /// Sends pieces that fail their BLAKE3.
    pub(super) liar: bool,
    /// Takes requests and sends nothing.
    pub(super) hung: bool,
    /// How many of the next commits fail.
    pub(super) mismatches: u32,
    pub(super) discards: u32,
    pub(super) completed: Option<Time>,
    pub(super) dropped: Option<String>,
    pub(super) closes: Vec<CloseReason>,
    pub(super) sent: u64,
    pub(super) messages: u64,
    /// From when to when it gets nothing done, in order: others have its processor.
    stalls: Vec<(Time, Time)>,
}

enum Event {
    Arrive { from: (usize, ConnId), to: usize, handshake: Box<Handshake> },
    Dialed { at: (usize, ConnId), result: Result<(Handshake, (usize, ConnId)), CloseReason> },
    Message { to: (usize, ConnId), message: Message },
    Sent { at: (usize, ConnId), index: PieceIndex },
    Progress { to: (usize, ConnId), bytes: u64 },
    Piece { to: (usize, ConnId), index: PieceIndex, lie: bool },
    Closed { at: (usize, ConnId) },
    Announced { at: usize, result: Result<Announced, Error> },
    Committed { at: usize, result: Result<(), Error> },
    Discarded { at: usize },
}

/// How often a receiver says that bytes of a piece came.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

impl Crowd {
    /// A blob of `pieces` pieces of `piece_len` bytes; its bytes are never looked at.
    pub(super) fn new(pieces: u32, piece_len: u64) -> Self {
        let geometry =
            kraken_core::Geometry::new(u64::from(pieces) * piece_len, piece_len).unwrap();
        let sums = kraken_core::PieceSums { crc32: vec![0; pieces as usize], blake3: None };
        Self {
            now: Time::from_millis(1),
            hosts: Vec::new(),
            meta: MetaInfo::new(Digest::sha256(b"crowd"), geometry, sums).unwrap(),
            tracker_down: false,
            refused_full: 0,
            events: BTreeMap::new(),
            registered: BTreeSet::new(),
            links: BTreeMap::new(),
            next: 0,
            rng: Rng::new(7),
            sending: BTreeMap::new(),
            said_after_pieces: false,
            latency: Duration::from_micros(250),
        }
    }

    pub(super) fn digest(&self) -> Digest {
        self.meta.digest()
    }

    /// Adds a host at `mib_s` MiB a second; returns its number.
    pub(super) fn host(&mut self, config: SwarmConfig, origin: bool, mib_s: f64) -> usize {
        let at = self.hosts.len();
        let local = PeerInfo {
            peer_id: peer_id(at),
            ip: ip(at).to_string(),
            port: 80,
            origin,
            complete: origin,
        };
        self.hosts.push(Host {
            swarm: Swarm::new(config, local, at as u64),
            rate: mib_s * f64::from(1 << 20),
            up_free: Time::ZERO,
            down_free: Time::ZERO,
            on_disk: Bitfield::new(self.meta.geometry().pieces()),
            liar: false,
            hung: false,
            mismatches: 0,
            discards: 0,
            completed: None,
            dropped: None,
            closes: Vec::new(),
            sent: 0,
            messages: 0,
            stalls: Vec::new(),
        });
        at
    }

    /// An origin with the whole blob, known to the tracker.
    pub(super) fn origin(&mut self, mib_s: f64) -> usize {
        let at = self.host(SwarmConfig::origin(), true, mib_s);
        self.seed(at);
        at
    }

    /// Gives a host the whole blob.
    pub(super) fn seed(&mut self, at: usize) {
        self.hosts[at].on_disk = Bitfield::full(self.meta.geometry().pieces());
        self.registered.insert(at);
        self.add(at, true);
    }

    /// An agent that wants the whole blob.
    pub(super) fn leecher(&mut self, mib_s: f64) -> usize {
        self.leecher_with(SwarmConfig::default(), mib_s)
    }

    pub(super) fn leecher_with(&mut self, config: SwarmConfig, mib_s: f64) -> usize {
        let at = self.host(config, false, mib_s);
        self.add(at, false);
        self.download(at);
        at
    }

    pub(super) fn add(&mut self, at: usize, complete: bool) {
        let spec = spec(&self.meta, complete);
        self.hosts[at].swarm.add_torrent(self.now, spec).unwrap();
        self.drain(at);
    }

    pub(super) fn download(&mut self, at: usize) {
        let whole = 0..self.meta.geometry().blob_len();
        self.demand(at, whole);
    }

    pub(super) fn demand(&mut self, at: usize, bytes: std::ops::Range<u64>) {
        let digest = self.digest();
        self.hosts[at].swarm.set_demand(self.now, &digest, DemandId(1), Some(bytes));
        self.drain(at);
    }

    /// Pieces that came in vain, over all hosts.
    pub(super) fn duplicates(&self) -> u64 {
        self.hosts.iter().map(|host| host.swarm.counters().pieces_duplicate).sum()
    }

    /// Runs until every host but `except` is complete; panics after `limit` seconds.
    pub(super) fn run(&mut self, limit: u64, except: &[usize]) -> f64 {
        let start = self.now;
        let done = |crowd: &Self| {
            crowd.hosts.iter().enumerate().all(|(at, host)| {
                except.contains(&at) || host.completed.is_some() || host.on_disk.is_full()
            })
        };
        while !done(self) {
            assert!(
                self.now < start + Duration::from_secs(limit),
                "not done after {limit} s: {:?}",
                self.hosts.iter().map(|host| host.on_disk.count()).collect::<Vec<_>>()
            );
            assert!(self.step(), "nothing left to happen");
        }
        self.now.since(start).as_secs_f64()
    }

    pub(super) fn run_for(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Puts all hosts on machines that others keep busy: each gets nothing done for a while, again
    /// and again, and what is said waits for the piece before it.
    pub(super) fn load(&mut self, seed: u64) {
        self.said_after_pieces = true;
        let mut rng = Rng::new(seed);
        for host in &mut self.hosts {
            let mut at = Time::ZERO;
            while at < Time::from_millis(300_000) {
                let from = at + Duration::from_secs_f64(0.2 + 2.0 * rng.fraction());
                at = from + Duration::from_secs_f64(0.3 + 1.7 * rng.fraction().powi(2));
                host.stalls.push((from, at));
            }
        }
    }

    fn next_at(&self) -> Option<Time> {
        let timer = self.hosts.iter().filter_map(Host::wakes).min();
        let event = self.events.keys().next().map(|(at, _)| *at);
        [timer, event].into_iter().flatten().min()
    }

    /// Lets the next thing happen, then checks the host it happened to.
    pub(super) fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else { return false };
        self.now = self.now.max(at);
        if self.events.keys().next().is_some_and(|(when, _)| *when <= at) {
            let (_, event) = self.events.pop_first().unwrap();
            self.apply(event);
            return true;
        }
        let due =
            (0..self.hosts.len()).find(|at| self.hosts[*at].wakes().is_some_and(|t| t <= self.now));
        if let Some(due) = due {
            self.hosts[due].swarm.handle_timeout(self.now);
            assert!(
                self.hosts[due].swarm.poll_timeout().is_none_or(|t| t > self.now),
                "a timer does not go off again at once"
            );
            self.drain(due);
        }
        true
    }

    fn schedule(&mut self, at: Time, event: Event) {
        let at = self.hosts[event.host()].awake(at);
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    fn apply(&mut self, event: Event) {
        let (now, digest) = (self.now, self.digest());
        let host = match event {
            Event::Arrive { from, to, handshake } => {
                let answer = self.hosts[to].swarm.handle_incoming(now, ip(from.0), &handshake);
                self.refused_full += usize::from(answer == Err(Refused::Full));
                let result = match answer {
                    Ok((conn, reply)) => {
                        self.links.insert((to, conn), from);
                        Ok((reply, (to, conn)))
                    }
                    Err(refused) => Err(CloseReason::HandshakeFailed(format!("{refused:?}"))),
                };
                self.schedule(now + self.latency, Event::Dialed { at: from, result });
                to
            }
            Event::Dialed { at, result } => {
                self.dialed(at, result);
                at.0
            }
            Event::Message { to, message } => {
                self.hosts[to.0].messages += 1;
                self.hosts[to.0].swarm.handle_message(now, to.1, message);
                to.0
            }
            Event::Sent { at, index } => {
                self.hosts[at.0].sent += 1;
                self.hosts[at.0].swarm.handle_piece_sent(now, at.1, index, Ok(()));
                at.0
            }
            Event::Progress { to, bytes } => {
                self.hosts[to.0].swarm.handle_piece_progress(now, to.1, bytes);
                to.0
            }
            Event::Piece { to, index, lie } => {
                let host = &mut self.hosts[to.0];
                let outcome = if host.on_disk.contains(index) {
                    PieceOutcome::Present
                } else if lie {
                    PieceOutcome::Corrupt { lied: true }
                } else {
                    host.on_disk.set(index);
                    PieceOutcome::Stored
                };
                host.swarm.handle_piece(now, &digest, to.1, index, outcome);
                to.0
            }
            Event::Closed { at } => {
                self.links.remove(&at);
                let reason = CloseReason::Remote("eof".into());
                self.hosts[at.0].swarm.handle_closed(now, at.1, reason);
                at.0
            }
            Event::Announced { at, result } => {
                self.hosts[at].swarm.handle_announced(now, &digest, result);
                at
            }
            Event::Committed { at, result } => {
                self.hosts[at].swarm.handle_committed(now, &digest, result);
                at
            }
            Event::Discarded { at } => {
                self.hosts[at].on_disk = Bitfield::new(self.meta.geometry().pieces());
                self.hosts[at].swarm.handle_discarded(now, &digest, Ok(()));
                at
            }
        };
        self.drain(host);
    }

    fn dialed(
        &mut self,
        at: (usize, ConnId),
        result: Result<(Handshake, (usize, ConnId)), CloseReason>,
    ) {
        if let Ok((_, other)) = &result {
            if self.hosts[at.0].swarm.torrent_of_conn(at.1).is_some() {
                self.links.insert(at, *other);
            } else {
                self.schedule(self.now + self.latency, Event::Closed { at: *other });
            }
        }
        let result = result.map(|(reply, _)| reply);
        self.hosts[at.0].swarm.handle_dialed(self.now, at.1, result);
    }

    /// Carries out what a host's swarm wants, then checks it.
    pub(super) fn drain(&mut self, at: usize) {
        while let Some(output) = self.hosts[at].swarm.poll_output() {
            self.carry_out(at, output);
        }
        self.hosts[at].swarm.check(self.now);
        self.hosts[at].swarm.check_limits();
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        let (now, soon) = (self.now, self.now + self.latency);
        match output {
            Output::Announce { .. } => {
                let result = self.announce(at);
                self.schedule(now + Duration::from_millis(2), Event::Announced { at, result });
            }
            Output::Dial { conn, peer, handshake } => {
                let to = self.hosts.iter().position(|host| host.swarm.local().ip == peer.ip);
                let event = match to {
                    Some(to) => Event::Arrive { from: (at, conn), to, handshake },
                    None => Event::Dialed {
                        at: (at, conn),
                        result: Err(CloseReason::HandshakeFailed("no such host".into())),
                    },
                };
                self.schedule(soon, event);
            }
            Output::Send { conn, message } => {
                if let Some(&to) = self.links.get(&(at, conn)) {
                    let piece = self.sending.get(&(at, conn)).filter(|_| self.said_after_pieces);
                    let said = match piece {
                        Some((begun, sent)) if *begun <= now && now < *sent => *sent + self.latency,
                        _ => soon,
                    };
                    self.schedule(said, Event::Message { to, message });
                }
            }
            Output::SendPiece { conn, index, .. } => self.send_piece((at, conn), index),
            Output::Close { conn, reason } => {
                self.hosts[at].closes.push(reason);
                if let Some(other) = self.links.remove(&(at, conn)) {
                    self.schedule(soon, Event::Closed { at: other });
                }
            }
            Output::Commit { .. } => {
                let host = &mut self.hosts[at];
                assert!(host.on_disk.is_full());
                let result = if host.mismatches > 0 {
                    host.mismatches -= 1;
                    Err(Error::new(ErrorKind::Mismatch, "wrong"))
                } else {
                    Ok(())
                };
                self.schedule(now + Duration::from_millis(1), Event::Committed { at, result });
            }
            Output::Discard { .. } => {
                self.hosts[at].discards += 1;
                self.schedule(now + Duration::from_millis(1), Event::Discarded { at });
            }
            Output::Completed { .. } => {
                assert!(self.hosts[at].completed.replace(now).is_none(), "completed twice");
            }
            Output::Refresh { .. } | Output::Wanted { .. } => {
                unreachable!("there are sums from the start")
            }
            Output::Dropped { reason, .. } => self.hosts[at].dropped = Some(reason),
        }
    }

    fn send_piece(&mut self, from: (usize, ConnId), index: PieceIndex) {
        let host = &mut self.hosts[from.0];
        assert!(host.on_disk.contains(index), "host {} sends what it lacks", from.0);
        let Some(&to) = self.links.get(&from) else { return };
        if host.hung {
            return;
        }
        let len = self.meta.geometry().len_of(index) as f64;
        let lie = host.liar;
        let begun = host.up_free.max(self.now);
        let sent = begun + Duration::from_secs_f64(len / host.rate);
        host.up_free = sent;
        self.sending.insert(from, (begun, sent));
        let other = &mut self.hosts[to.0];
        // The downlink takes the bytes as they come, not after the last one.
        let quickest = self.now + Duration::from_secs_f64(len / other.rate);
        let down = other.down_free + Duration::from_secs_f64(len / other.rate);
        let taken_in = sent.max(down).max(quickest);
        other.down_free = taken_in;
        let arrived = taken_in + self.latency;
        let taken = arrived.since(begun).as_secs_f64();
        let mut at = begun + self.latency + PROGRESS_EVERY;
        while at < arrived {
            let bytes = (len * PROGRESS_EVERY.as_secs_f64() / taken) as u64;
            self.schedule(at, Event::Progress { to, bytes });
            at += PROGRESS_EVERY;
        }
        self.schedule(sent, Event::Sent { at: from, index });
        self.schedule(arrived, Event::Piece { to, index, lie });
    }

    fn announce(&mut self, at: usize) -> Result<Announced, Error> {
        if self.tracker_down {
            return Err(Error::new(ErrorKind::Unavailable, "tracker is down"));
        }
        self.registered.insert(at);
        let mut peers: Vec<PeerInfo> = self
            .registered
            .iter()
            .filter(|peer| **peer != at)
            .map(|peer| self.hosts[*peer].swarm.local().clone())
            .collect();
        while peers.len() > 50 {
            let victim = self.rng.below(peers.len());
            if !peers[victim].origin {
                peers.swap_remove(victim);
            }
        }
        Ok(Announced { peers, interval: Duration::from_secs(3), bridge: false })
    }
}

impl Host {
    /// When something that comes at `at` is taken up.
    fn awake(&self, at: Time) -> Time {
        let next = self.stalls.partition_point(|(_, until)| *until <= at);
        self.stalls.get(next).map_or(at, |(from, until)| if *from <= at { *until } else { at })
    }

    /// When the swarm's next timer goes off.
    fn wakes(&self) -> Option<Time> {
        self.swarm.poll_timeout().map(|at| self.awake(at))
    }
}

impl Event {
    /// To whom it happens.
    fn host(&self) -> usize {
        match self {
            Self::Arrive { to, .. } => *to,
            Self::Dialed { at, .. } | Self::Sent { at, .. } | Self::Closed { at } => at.0,
            Self::Message { to, .. } | Self::Progress { to, .. } | Self::Piece { to, .. } => to.0,
            Self::Announced { at, .. } | Self::Committed { at, .. } | Self::Discarded { at } => *at,
        }
    }
}

pub(super) fn spec(meta: &MetaInfo, complete: bool) -> TorrentSpec {
    TorrentSpec {
        meta: TorrentMeta::Final(meta.clone()),
        namespace: "library/test".parse().unwrap(),
        have: Bitfield::new(meta.geometry().pieces()),
        complete,
    }
}

pub(super) fn peer_id(at: usize) -> PeerId {
    PeerId::from_addr(&ip(at).to_string(), 80)
}

pub(super) fn ip(at: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, (at / 256) as u8, (at % 256) as u8).into()
}
