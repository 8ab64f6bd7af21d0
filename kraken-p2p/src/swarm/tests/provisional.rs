//! Torrents without sums: who may bring pieces, and how there come to be sums.

use std::time::Duration;

use kraken_core::{
    AttemptId, Bitfield, Error, ErrorKind, InfoHash, OriginKey, PieceIndex, Provisional,
    TorrentMeta,
};

use super::crowd::{ip, spec};
use super::script::{Alone, LEN, PIECES, full, none, peer, requests, some};
use crate::swarm::upload::UNPROVABLE;
use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, SwarmConfig,
};
use crate::wire::{Capabilities, Handshake, Message};

/// A swarm with a torrent that has no sums.
struct Arriving(Alone);

impl Arriving {
    fn new(config: SwarmConfig) -> Self {
        let mut alone = Alone::new(config);
        let mut spec = spec(&alone.meta, false);
        spec.meta = TorrentMeta::Provisional(provisional(&alone));
        alone.swarm.add_torrent(alone.now, spec).unwrap();
        Self(alone)
    }

    fn leecher() -> Self {
        let mut this = Self::new(SwarmConfig::default());
        let (digest, whole) = (this.0.meta.digest(), 0..this.0.meta.geometry().blob_len());
        this.0.swarm.set_demand(this.0.now, &digest, DemandId(0), Some(whole));
        this
    }

    fn hash(&self) -> InfoHash {
        provisional(&self.0).info_hash()
    }

    fn greet(
        &mut self,
        at: usize,
        have: &Bitfield,
        info_hash: InfoHash,
        capabilities: u64,
    ) -> Result<ConnId, Refused> {
        let capabilities = Some(Capabilities(capabilities));
        let handshake = Handshake { info_hash, capabilities, ..self.0.handshake(at, have) };
        let answer = self.0.swarm.handle_incoming(self.0.now, ip(at), &handshake);
        answer.map(|(conn, _)| conn)
    }

    /// A peer without sums too.
    fn accept(&mut self, at: usize, have: &Bitfield) -> ConnId {
        let hash = self.hash();
        self.greet(at, have, hash, 3).unwrap()
    }

    /// As many others as it seeks, who have nothing.
    fn crowd(&mut self) {
        for at in 1..=self.0.swarm.config().dial_max {
            self.accept(at, &none());
        }
        self.0.outputs();
    }

    /// The tracker answers; under which hashes it is asked at once again.
    fn answered(&mut self, result: Result<Announced, Error>) -> Vec<InfoHash> {
        let digest = self.0.meta.digest();
        self.0.swarm.handle_announced(self.0.now, &digest, result);
        announces(&self.0.outputs())
    }

    fn settle(&mut self) -> Vec<Output> {
        let spec = spec(&self.0.meta, false);
        self.0.swarm.add_torrent(self.0.now, spec).unwrap();
        self.0.outputs()
    }
}

fn provisional(alone: &Alone) -> Provisional {
    let (attempt, keys) = (AttemptId([1; 16]), vec![OriginKey::new([1; 32])]);
    let (digest, geometry) = (alone.meta.digest(), alone.meta.geometry());
    Provisional::new(digest, geometry, String::new(), attempt, keys).unwrap()
}

fn refreshes(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Refresh { .. })).count()
}

/// The hashes under which it is announced.
fn announces(outputs: &[Output]) -> Vec<InfoHash> {
    let announced = |output: &Output| match output {
        Output::Announce { info_hash, .. } => Some(*info_hash),
        _ => None,
    };
    outputs.iter().filter_map(announced).collect()
}

fn finals(outputs: &[Output]) -> Vec<ConnId> {
    let told = |output: &Output| match output {
        Output::Send { conn, message: Message::Final { .. } } => Some(*conn),
        _ => None,
    };
    outputs.iter().filter_map(told).collect()
}

#[test]
fn it_is_announced_and_fetched_under_the_hash_that_needs_no_sums() {
    let mut arriving = Arriving::leecher();
    let hash = arriving.hash();
    let outputs = arriving.0.outputs();
    assert!(matches!(outputs[..], [Output::Announce { info_hash, .. }] if info_hash == hash));
    let conn = arriving.accept(1, &some(&[3]));
    assert_eq!(requests(&arriving.0.outputs()), [(conn, PieceIndex(3))]);
    let outputs = arriving.0.piece(conn, PieceIndex(3), PieceOutcome::Stored);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Commit { .. })));
    // Another one without sums is sent pieces with what vouches for them.
    let other = arriving.accept(2, &none());
    arriving.0.outputs();
    let outputs = arriving.0.request(other, 3);
    assert!(matches!(outputs[..], [Output::SendPiece { conn, proven: true, .. }] if conn == other));
}

#[test]
fn who_takes_nothing_without_sums_waits_for_them() {
    let mut arriving = Arriving::leecher();
    arriving.0.outputs();
    let (hash, last) = (arriving.hash(), arriving.0.meta.info_hash());
    assert_eq!(arriving.greet(1, &full(), last, 1), Err(Refused::Provisional));
    assert_eq!(arriving.greet(1, &full(), hash, 1), Err(Refused::Provisional));
    arriving.settle();
    arriving.greet(1, &full(), last, 1).unwrap();
    let refused = arriving.greet(2, &full(), hash, 1).unwrap_err();
    assert!(matches!(refused, Refused::Invalid(_)), "it cannot know that hash");
}

#[test]
fn who_has_sums_makes_others_ask_for_them_and_says_so_once() {
    let mut arriving = Arriving::leecher();
    arriving.0.outputs();
    let last = arriving.0.meta.info_hash();
    let early = arriving.accept(1, &none());
    assert_eq!(refreshes(&arriving.0.outputs()), 0);
    let conn = arriving.greet(2, &full(), last, 3).unwrap();
    let outputs = arriving.0.outputs();
    assert_eq!(refreshes(&outputs), 1);
    assert!(!requests(&outputs).is_empty(), "it may vouch for what it has all the same");
    let again = arriving.0.message(conn, Message::Final { info_hash: last });
    assert_eq!(refreshes(&again), 0, "asked a moment ago");
    assert_eq!(refreshes(&arriving.0.later(Duration::from_millis(900))), 0);
    assert_eq!(refreshes(&arriving.0.later(Duration::from_millis(200))), 1, "and once more then");
    arriving.0.message(conn, Message::Final { info_hash: last });
    assert_eq!(finals(&arriving.settle()), [early]);
    let late = arriving.accept(3, &none());
    assert_eq!(finals(&arriving.0.outputs()), [late]);
    arriving.0.message(late, Message::Final { info_hash: last });
    let piece = PieceIndex(0);
    arriving.0.piece(conn, piece, PieceOutcome::Stored);
    let outputs = arriving.0.request(late, 0);
    assert!(matches!(outputs[..], [Output::SendPiece { proven: false, .. }]), "{outputs:?}");
}

#[test]
fn who_cannot_vouch_for_a_piece_says_so_and_is_asked_again_later() {
    let mut arriving = Arriving::leecher();
    arriving.0.outputs();
    let conn = arriving.accept(1, &some(&[3]));
    arriving.0.outputs();
    let refusal = |index| Message::Error { index, code: UNPROVABLE, text: "no".into() };
    let outputs = arriving.0.message(conn, refusal(PieceIndex(3)));
    assert!(requests(&outputs).is_empty() && refreshes(&outputs) == 1);
    let outputs = arriving.0.later(Duration::from_millis(1100));
    assert_eq!(requests(&outputs), [(conn, PieceIndex(3))]);
    // What nothing vouches for that counts here is the same, and nobody is banned for it.
    for _ in 0..14 {
        let outputs = arriving.0.piece(conn, PieceIndex(3), PieceOutcome::Unproven);
        assert!(!outputs.iter().any(|output| matches!(output, Output::Close { .. })));
        arriving.0.later(Duration::from_millis(1100));
    }
    let outputs = arriving.0.piece(conn, PieceIndex(3), PieceOutcome::Unproven);
    assert!(outputs.iter().any(|output| matches!(output, Output::Close { .. })));
    assert!(arriving.0.swarm.blacklist(arriving.0.now).is_empty());
    arriving.accept(1, &some(&[3]));
}

#[test]
fn who_has_got_sums_announces_itself_once_under_its_final_hash_however_busy() {
    let mut arriving = Arriving::leecher();
    let (early, last) = (arriving.hash(), arriving.0.meta.info_hash());
    assert_eq!(announces(&arriving.0.outputs()), [early]);
    assert_eq!(arriving.answered(Ok(Announced::default())), []);
    arriving.crowd();
    let seconds = Duration::from_secs;
    assert_eq!(announces(&arriving.0.later(seconds(4))), [], "it has enough connections");
    assert_eq!(announces(&arriving.settle()), [last]);
    assert_eq!(arriving.answered(Ok(Announced::default())), []);
    assert_eq!(announces(&arriving.0.later(seconds(4))), [], "once");
}

#[test]
fn what_a_tracker_was_not_told_of_a_final_hash_it_is_told_later() {
    let mut arriving = Arriving::leecher();
    let (early, last) = (arriving.hash(), arriving.0.meta.info_hash());
    assert_eq!(announces(&arriving.0.outputs()), [early]);
    arriving.crowd();
    assert_eq!(announces(&arriving.settle()), [], "one at a time");
    assert_eq!(arriving.answered(Ok(Announced::default())), [last]);
    let away = || Err(Error::new(ErrorKind::Unavailable, "away"));
    for _ in 0..3 {
        assert_eq!(arriving.answered(away()), []);
        assert_eq!(announces(&arriving.0.later(Duration::from_millis(2600))), [last]);
    }
    assert_eq!(arriving.answered(Ok(Announced::default())), []);
    // The same if the one that failed was under the other hash.
    let mut arriving = Arriving::leecher();
    arriving.0.outputs();
    arriving.crowd();
    arriving.settle();
    assert_eq!(arriving.answered(away()), []);
    assert_eq!(announces(&arriving.0.later(Duration::from_millis(700))), [last]);
}

#[test]
fn pieces_of_another_attempt_ban_nobody() {
    let mut arriving = Arriving::leecher();
    arriving.0.outputs();
    arriving.settle();
    let last = arriving.0.meta.info_hash();
    let wrong = PieceOutcome::Corrupt { lied: false };
    // It comes without sums twice, the second time it gets them.
    for (gets_sums, bans) in [(false, 0), (true, 1)] {
        let conn = arriving.accept(1, &full());
        arriving.0.outputs();
        if gets_sums {
            arriving.0.message(conn, Message::Final { info_hash: last });
        }
        for times in 1..=3 {
            let index = arriving.0.open(conn)[0];
            let outputs = arriving.0.piece(conn, index, wrong);
            let closed = |output: &Output| matches!(output, Output::Close { .. });
            assert_eq!(outputs.iter().any(closed), times == 3, "{outputs:?}");
            let asked = requests(&arriving.0.later(Duration::from_millis(1100)));
            assert!(!asked.contains(&(conn, index)), "it does not have that one");
        }
        assert_eq!(arriving.0.swarm.counters().bans, bans);
        assert_eq!(arriving.0.swarm.blacklist(arriving.0.now).len() as u64, bans);
    }
    let hash = arriving.hash();
    assert_eq!(arriving.greet(1, &full(), hash, 3), Err(Refused::Banned));
    // What only BLAKE3 tells from the right piece is no accident and of no other attempt.
    let conn = arriving.accept(2, &full());
    let index = arriving.0.open(conn)[0];
    arriving.0.outputs();
    arriving.0.piece(conn, index, PieceOutcome::Corrupt { lied: true });
    assert_eq!(arriving.0.swarm.counters().bans, 2);
}

#[test]
fn a_piece_that_cannot_be_vouched_for_is_refused_as_such() {
    let mut seed = Alone::seed();
    let hash = provisional(&seed).info_hash();
    let capabilities = Some(Capabilities(3));
    let handshake = Handshake { info_hash: hash, capabilities, ..seed.handshake(1, &none()) };
    let (conn, _) = seed.swarm.handle_incoming(seed.now, ip(1), &handshake).unwrap();
    assert_eq!(finals(&seed.outputs()), [conn]);
    let outputs = seed.request(conn, 0);
    assert!(matches!(outputs[..], [Output::SendPiece { proven: true, .. }]));
    seed.swarm.handle_piece_sent(seed.now, conn, PieceIndex(0), Err(()));
    let outputs = seed.outputs();
    assert!(matches!(&outputs[..], [Output::Send { message: Message::Error { code, .. }, .. }]
            if *code == UNPROVABLE));
}

#[test]
fn what_lands_is_announced_and_makes_a_whole_in_the_end() {
    let mut origin = Arriving::new(SwarmConfig::origin());
    let conn = origin.accept(1, &none());
    origin.0.outputs();
    let digest = origin.0.meta.digest();
    for index in 0..PIECES {
        origin.0.swarm.handle_landed(origin.0.now, &digest, PieceIndex(index));
        let outputs = origin.0.outputs();
        let is_news = |output: &Output| {
            matches!(output, Output::Send { message: Message::AnnouncePiece { .. }, .. })
        };
        assert!(outputs.iter().any(is_news), "{outputs:?}");
        let commits = outputs.iter().any(|output| matches!(output, Output::Commit { .. }));
        assert_eq!(commits, index == PIECES - 1);
        origin.0.swarm.handle_landed(origin.0.now, &digest, PieceIndex(index));
        assert!(origin.0.outputs().is_empty(), "it is here already");
    }
    assert_eq!(finals(&origin.settle()), [conn]);
    origin.0.swarm.handle_committed(origin.0.now, &digest, Ok(()));
    let outputs = origin.0.outputs();
    assert!(outputs.iter().any(|output| matches!(output, Output::Completed { .. })));
    let outputs = origin.0.request(conn, 5);
    assert!(matches!(outputs[..], [Output::SendPiece { proven: true, .. }]), "{LEN} bytes");
}

#[test]
fn a_blob_that_arrived_and_is_another_is_given_up_at_once() {
    let mut arriving = Arriving::leecher();
    arriving.0.outputs();
    let conn = arriving.accept(1, &full());
    arriving.0.outputs();
    for index in 0..PIECES {
        arriving.0.piece(conn, PieceIndex(index), PieceOutcome::Stored);
    }
    let digest = arriving.0.meta.digest();
    let mismatch = Err(Error::new(ErrorKind::Mismatch, "not the blob"));
    arriving.0.swarm.handle_committed(arriving.0.now, &digest, mismatch);
    assert!(arriving.0.outputs().iter().any(|output| matches!(output, Output::Discard { .. })));
    arriving.0.swarm.handle_discarded(arriving.0.now, &digest, Ok(()));
    let outputs = arriving.0.outputs();
    assert!(outputs.iter().any(|output| matches!(output, Output::Dropped { .. })), "{outputs:?}");
}

fn wants(outputs: &[Output]) -> Vec<(ConnId, u32, u32)> {
    let told = |output: &Output| match output {
        Output::Send { conn, message: Message::WantPieces { index, count } } => {
            Some((*conn, index.0, *count))
        }
        _ => None,
    };
    outputs.iter().filter_map(told).collect()
}

#[test]
fn an_origin_is_told_once_of_pieces_that_somebody_waits_for_and_nobody_has() {
    let mut arriving = Arriving::leecher();
    let (dial, origin) = arriving.0.introduce(vec![peer(1, true)]).remove(0);
    assert!(origin.origin);
    let (hash, known) = (arriving.hash(), Some(Capabilities(3)));
    let hello = arriving.0.handshake(1, &some(&[0]));
    let hello = Handshake { info_hash: hash, capabilities: known, ..hello };
    arriving.0.swarm.handle_dialed(arriving.0.now, dial, Ok(hello));
    let other = arriving.accept(2, &none());
    assert_eq!(wants(&arriving.0.outputs()), [], "all of it comes as it comes");
    let (digest, piece_len) = (arriving.0.meta.digest(), arriving.0.meta.geometry().piece_len());
    let last = PIECES - 1;
    let range = u64::from(last - 1) * piece_len..arriving.0.meta.geometry().blob_len();
    for reader in 1..3 {
        let range = Some(range.clone());
        arriving.0.swarm.set_demand(arriving.0.now, &digest, DemandId(reader), range);
        let told: &[_] = if reader == 1 { &[(dial, last - 1, 2)] } else { &[] };
        assert_eq!(wants(&arriving.0.outputs()), told);
    }
    // It may have lost that, as long as the piece does not come.
    let sweep = Duration::from_secs(5);
    assert_eq!(wants(&arriving.0.later(sweep)), [(dial, last - 1, 2)]);
    arriving.0.message(dial, Message::AnnouncePiece { index: PieceIndex(last - 1) });
    assert_eq!(wants(&arriving.0.later(sweep)), []);
    // What the origin does with it, and with nonsense.
    for (index, count, expected) in [(1, 2, Some(1..3)), (1, u32::MAX, Some(1..PIECES))] {
        let want = Message::WantPieces { index: PieceIndex(index), count };
        let outputs = arriving.0.message(other, want);
        let [Output::Wanted { pieces, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(Some(pieces.clone()), expected);
    }
    for (index, count) in [(1, 0), (PIECES, 1), (u32::MAX, u32::MAX)] {
        let want = Message::WantPieces { index: PieceIndex(index), count };
        assert_eq!(arriving.0.message(other, want).len(), 0);
    }
    arriving.settle();
    let range = Some(0..piece_len);
    arriving.0.swarm.set_demand(arriving.0.now, &digest, DemandId(3), range);
    assert_eq!(wants(&arriving.0.outputs()), [], "all of it is there");
}

#[test]
fn what_is_known_of_a_blob_is_asked_for_when_its_origin_goes_but_not_when_it_goes_itself() {
    for goes_itself in [false, true] {
        let mut arriving = Arriving::leecher();
        let (dial, _) = arriving.0.introduce(vec![peer(1, true)]).remove(0);
        let (hash, known) = (arriving.hash(), Some(Capabilities(3)));
        let hello = arriving.0.handshake(1, &none());
        let hello = Handshake { info_hash: hash, capabilities: known, ..hello };
        arriving.0.swarm.handle_dialed(arriving.0.now, dial, Ok(hello));
        arriving.0.outputs();
        arriving.0.later(Duration::from_secs(2));
        let (now, digest) = (arriving.0.now, arriving.0.meta.digest());
        if goes_itself {
            assert!(arriving.0.swarm.remove_torrent(now, &digest));
        } else {
            arriving.0.swarm.handle_closed(now, dial, CloseReason::Remote("eof".into()));
        }
        let looks = usize::from(!goes_itself);
        assert_eq!(refreshes(&arriving.0.outputs()), looks);
        // It closes its connections before it says what it has found.
        assert_eq!(refreshes(&arriving.0.later(Duration::from_millis(1100))), looks);
        assert_eq!(refreshes(&arriving.0.later(Duration::from_millis(1100))), 0);
    }
}

#[test]
fn who_has_no_origin_asks_when_a_peer_goes_of_several_that_go_once_a_second() {
    let mut arriving = Arriving::leecher();
    let peers = [1, 2, 3].map(|at| arriving.accept(at, &none()));
    arriving.0.outputs();
    let mut looks = Vec::new();
    for conn in peers {
        let gone = CloseReason::Remote("eof".into());
        arriving.0.swarm.handle_closed(arriving.0.now, conn, gone);
        looks.push(refreshes(&arriving.0.outputs()));
    }
    for _ in 0..2 {
        looks.push(refreshes(&arriving.0.later(Duration::from_millis(1100))));
    }
    assert_eq!(looks, [1, 0, 0, 1, 0]);
    let peer = arriving.accept(4, &none());
    let (now, digest) = (arriving.0.now, arriving.0.meta.digest());
    arriving.0.swarm.clear_demand(now, &digest, DemandId(0));
    arriving.0.swarm.handle_closed(now, peer, CloseReason::Remote("eof".into()));
    assert_eq!(refreshes(&arriving.0.outputs()), 0, "nobody waits");
}
