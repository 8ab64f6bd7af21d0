//! The tables of a simulation: hosts, their copies of blobs, and the ends of their connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use kraken_core::{
    Bitfield, Digest, Geometry, MetaInfo, Namespace, PeerContext, PeerId, PeerInfo, PieceIndex,
    TorrentMeta,
};

use super::carried::{Carried, Fetched};
use super::limits::EARLY_ANNOUNCES_MAX;
use super::peer::{Limits, Peer};
use super::rate::{Pipe, Span};
use super::scenario::{Fate, Reading};
use super::storms::Calls;
use crate::swarm::{ConnId, TorrentSpec};
use crate::wire::Message;

/// Virtual time in nanoseconds.
pub(super) type Nanos = u64;

/// A host: a process, a link and a disk. What most events look at comes first, in few cache lines:
/// the tables are larger than any cache.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Host {
    /// What it runs; `None` while its process does not.
    pub(super) peer: Option<Box<dyn Peer>>,
    /// When its timer goes off; `Nanos::MAX` for never.
    pub(super) timer_at: Nanos,
    /// When it is next told how many bytes have gone out.
    pub(super) look_at: Nanos,
    /// Its process lives, but does nothing.
    pub(super) hung: bool,
    pub(super) origin: bool,
    pub(super) writes_in_order: bool,
    pub(super) buffers_pieces: bool,
    pub(super) keeps_stalled: bool,
    pub(super) verifies_blobs: bool,
    /// The group it is reported with.
    pub(super) group: u32,
    pub(super) tally: HostTally,
    /// What processes did that have ended.
    pub(super) before: Past,
    pub(super) down: Pipe,
    /// Bytes of one connection on the way to it that it has not taken.
    pub(super) window: u64,
    /// Bytes of one slice that comes to it, unless whole pieces come.
    pub(super) slice_in: u64,
    pub(super) up: Uplink,
    /// The end of each open connection.
    pub(super) conns: BTreeMap<ConnId, u32>,
    /// The copy of each dial under way; `None` for a blob that is not the host's.
    pub(super) dials: BTreeMap<ConnId, Option<u32>>,
    /// The ids of connections and dials that its process has given so far.
    pub(super) given: ConnIds,
    pub(super) local: PeerInfo,
    pub(super) zone: usize,
    pub(super) limits: Limits,
    pub(super) fate: Fate,
    /// How often its process has ended: what was meant for an earlier one is ignored.
    pub(super) life: u32,
    pub(super) seed: u64,
    pub(super) joined_at: Nanos,
    pub(super) copies: Vec<u32>,
}

/// The sending side of a host's link.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) pipe: Pipe,
    /// Bytes that a flow sends when it is its turn.
    pub(super) slice_len: u64,
    /// Flows that can send, in turn.
    pub(super) ready: VecDeque<u32>,
    /// Flows whose receivers must take something first, and when they will have.
    pub(super) blocked: Vec<(Nanos, u32)>,
    /// The flow whose slice is going out, its length, and when it does.
    pub(super) current: Option<(u32, u64, Span)>,
    /// When it looks at the blocked ones again.
    pub(super) wake_at: Nanos,
    /// Bytes that have left in this life.
    pub(super) sent: u64,
    /// Pieces being sent to receivers that take them.
    pub(super) pieces: usize,
}

/// What a host did, as the simulator saw it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct HostTally {
    pub(super) calls: Calls,
    pub(super) announces: u64,
    pub(super) dials: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) pieces_sent: u64,
    /// Bytes that have left, and of them those of whole pieces.
    pub(super) bytes_sent: u64,
    pub(super) bytes_sent_whole: u64,
    pub(super) pieces_stored: u64,
    pub(super) pieces_from_origins: u64,
    pub(super) bytes_stored: u64,
    pub(super) bytes_from_origins: u64,
    pub(super) duplicates: u64,
    pub(super) pieces_corrupt: u64,
    /// Slices that came, and those that left.
    pub(super) down: Carried,
    pub(super) up: Carried,
    pub(super) fetched: Fetched,
    /// Bans that came of a wrong piece.
    pub(super) bans: u64,
}

/// What is kept of the tally of a process that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) calls_max: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_stored: u64,
}

/// A blob on the disk of a host, or wanted there.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) host: u32,
    pub(super) blob: u32,
    pub(super) reading: Reading,
    pub(super) have: Bitfield,
    pub(super) have_count: u32,
    /// All pieces before this one are here.
    pub(super) cursor: u32,
    /// Pieces that a peer which was silent for long had been asked for.
    pub(super) late: Vec<u32>,
    /// Which end writes which piece.
    pub(super) leases: Vec<(u32, u32)>,
    /// Open connections.
    pub(super) conns: u32,
    /// Requests open over all of them, and since when there are some.
    pub(super) requests: u32,
    pub(super) fetching_since: Nanos,
    /// Pieces whose requests were taken back: asked for again they are on order as before.
    pub(super) moved: Vec<u32>,
    /// Whether its peer has asked for the whole to be verified.
    pub(super) committed: bool,
    /// Whether the whole was verified.
    pub(super) verified: bool,
    /// Whether its peer calls it complete.
    pub(super) complete: bool,
    /// When the host began to want it.
    pub(super) wanted_at: Option<Nanos>,
    pub(super) first_at: Option<Nanos>,
    pub(super) finished_at: Option<Nanos>,
    /// Why the peer gave it up.
    pub(super) dropped: Option<String>,
    /// When it was last announced, whether as complete, and what is left of the announces that
    /// may come early.
    pub(super) announced_at: Option<Nanos>,
    pub(super) announced_complete: bool,
    pub(super) early_left: f64,
    pub(super) bytes_from_origins: u64,
    pub(super) bytes_from_peers: u64,
}

/// One end of a connection. The other end of `n` is `n ^ 1`. What most events look at comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct End {
    pub(super) host: u32,
    pub(super) copy: u32,
    pub(super) conn: ConnId,
    pub(super) open: bool,
    /// Whether the other side's handshake had capabilities.
    pub(super) with_ours: bool,
    pub(super) stalled: bool,
    /// Whether a request was taken back since bytes last came: the peer may count it as open still.
    pub(super) took_back: bool,
    /// The piece that goes out over it, and how many of its bytes are still to leave.
    pub(super) sending: Option<(u32, u64)>,
    /// The bytes of that piece.
    pub(super) piece_len: u64,
    /// Bytes on the way.
    pub(super) in_flight: u64,
    /// When the last byte sent over it arrives.
    pub(super) last_taken: Nanos,
    /// When bytes of a piece last came.
    pub(super) got_at: Nanos,
    /// When the peer was last told of bytes, and how many came since.
    pub(super) reported_at: Nanos,
    pub(super) unreported: u64,
    /// Slices on the way, each with the time at which this end knows that it was taken.
    pub(super) taken: VecDeque<(Nanos, u64)>,
    /// What is to be sent after the piece.
    pub(super) queue: VecDeque<Queued>,
    /// Pieces the other end has asked for and was not answered.
    pub(super) owed: Vec<u32>,
    /// Pieces this end has asked for.
    pub(super) asked: Vec<u32>,
    /// When bytes last came, or the first piece was asked for.
    pub(super) heard_at: Nanos,
    /// Since when the next slice must wait, and when something comes of that.
    pub(super) blocked_at: Option<Nanos>,
    pub(super) stall_at: Nanos,
    /// Pieces that the other side has said it got.
    pub(super) told: u32,
    pub(super) life: u32,
}

/// Ids of connections, as ranges from the first to the last: most are given one after the other.
#[derive(Debug, Default)]
pub(super) struct ConnIds(BTreeMap<u64, u64>);

/// Something that waits to be sent.
#[derive(Debug)]
pub(super) enum Queued {
    Message(Message),
    Piece(u32),
}

/// A blob and who has it from the start.
#[derive(Debug)]
pub(super) struct BlobState {
    pub(super) meta: MetaInfo,
    pub(super) geometry: Geometry,
    pub(super) pieces: u32,
    pub(super) origins: Vec<PeerContext>,
    /// Bytes of pieces of it that left origins.
    pub(super) origin_bytes: u64,
}

impl Host {
    /// The process ends, and the next one begins to count anew.
    pub(super) fn end_tally(&mut self) {
        self.before = self.lifetime();
        self.tally = HostTally::default();
    }

    /// What all its processes did.
    pub(super) fn lifetime(&self) -> Past {
        let (before, tally) = (self.before, &self.tally);
        Past {
            calls_max: before.calls_max.max(tally.calls.max),
            bytes_sent: before.bytes_sent + tally.bytes_sent,
            bytes_stored: before.bytes_stored + tally.bytes_stored,
        }
    }
}

impl End {
    pub(super) fn new(host: u32, copy: u32, conn: ConnId, life: u32) -> Self {
        Self {
            host,
            copy,
            conn,
            life,
            open: false,
            with_ours: false,
            sending: None,
            queue: VecDeque::new(),
            taken: VecDeque::new(),
            in_flight: 0,
            last_taken: 0,
            piece_len: 0,
            blocked_at: None,
            stall_at: NEVER,
            stalled: false,
            owed: Vec::new(),
            asked: Vec::new(),
            heard_at: 0,
            took_back: false,
            got_at: 0,
            reported_at: 0,
            unreported: 0,
            told: 0,
        }
    }
}

impl ConnIds {
    /// Puts one in; whether it is new.
    pub(super) fn insert(&mut self, id: ConnId) -> bool {
        let ConnId(id) = id;
        let before = self.0.range(..=id).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| id <= last) {
            return false;
        }
        let after = id.checked_add(1).and_then(|next| self.0.remove(&next));
        let first = before.filter(|(_, last)| *last + 1 == id).map_or(id, |(first, _)| first);
        self.0.insert(first, after.unwrap_or(id));
        true
    }
}

impl Copy {
    pub(super) fn new(host: u32, blob: u32, have: Bitfield, reading: Reading) -> Self {
        let (have_count, complete) = (have.count(), have.is_full());
        Self {
            host,
            blob,
            reading,
            have,
            have_count,
            cursor: 0,
            late: Vec::new(),
            leases: Vec::new(),
            conns: 0,
            requests: 0,
            fetching_since: 0,
            moved: Vec::new(),
            committed: complete,
            verified: complete,
            complete,
            wanted_at: None,
            first_at: None,
            finished_at: None,
            dropped: None,
            announced_at: None,
            announced_complete: false,
            early_left: EARLY_ANNOUNCES_MAX,
            bytes_from_origins: 0,
            bytes_from_peers: 0,
        }
    }

    /// A new process announces it: the tracker knows nothing of what the last one said.
    pub(super) fn begin_announcing(&mut self) {
        (self.announced_at, self.announced_complete) = (None, false);
        self.early_left = EARLY_ANNOUNCES_MAX;
    }

    /// Marks a piece; whether the first missing one is another now.
    pub(super) fn store(&mut self, index: PieceIndex, now: Nanos) -> bool {
        if self.have.set(index) {
            self.have_count += 1;
        }
        self.late.retain(|late| *late != index.0);
        self.moved.retain(|moved| *moved != index.0);
        if index.0 == 0 {
            self.first_at.get_or_insert(now);
        }
        if index.0 != self.cursor {
            return false;
        }
        while self.have.contains(PieceIndex(self.cursor)) {
            self.cursor += 1;
        }
        true
    }
}

impl BlobState {
    /// What a peer is told of it.
    pub(super) fn spec(&self, copy: &Copy) -> TorrentSpec {
        TorrentSpec {
            meta: TorrentMeta::Final(self.meta.clone()),
            namespace: namespace(),
            have: copy.have.clone(),
            complete: copy.complete,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        self.meta.digest()
    }

    pub(super) fn len_of(&self, index: u32) -> u64 {
        self.geometry.len_of(PieceIndex(index))
    }
}

/// How a host announces itself.
pub(super) fn peer_info(host: usize, origin: bool) -> PeerInfo {
    let ip = ip(host as u32).to_string();
    PeerInfo { peer_id: PeerId::from_addr(&ip, PORT), ip, port: PORT, origin, complete: origin }
}

/// Each host has an address in 10.0.0.0/8.
pub(super) fn ip(host: u32) -> IpAddr {
    Ipv4Addr::from(FIRST_ADDR + host).into()
}

/// The host of an address, if it is one's.
pub(super) fn host_of(ip: &str) -> Option<u32> {
    let addr: Ipv4Addr = ip.parse().ok()?;
    u32::from(addr).checked_sub(FIRST_ADDR)
}

fn namespace() -> Namespace {
    "library/simulated".parse().expect("a short text is a namespace")
}

const FIRST_ADDR: u32 = 0x0a00_0001;

const PORT: u16 = 16_001;

/// When something that will not happen happens.
pub(super) const NEVER: Nanos = Nanos::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once() {
        let mut ids = ConnIds::default();
        for id in [5, 1, 2, u64::MAX, 4, 0, 9, 3] {
            assert!(ids.insert(ConnId(id)));
        }
        assert_eq!(ids.0, BTreeMap::from([(0, 5), (9, 9), (u64::MAX, u64::MAX)]));
        for id in [0, 1, 2, 3, 4, 5, 9, u64::MAX] {
            assert!(!ids.insert(ConnId(id)));
        }
        assert!(ids.insert(ConnId(6)));
    }
}
