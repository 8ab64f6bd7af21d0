//! Disks that refuse, links that crawl, peers that lie and connections that end too early.

use std::time::Duration;

use kraken_core::{Digest, Error, ErrorKind, MetaInfo, PeerInfo, PieceIndex};

use super::MIB;
use super::crowd::{Crowd, ip, spec};
use super::script::{Alone, LEN, full, none, peer, requests, some};
use crate::swarm::upload::CANCELLED;
use crate::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, SwarmConfig,
};
use crate::wire::{Capabilities, Handshake, Message};

impl Alone {
    /// Dials a peer that has everything.
    fn dial_full(&mut self, peer: PeerInfo) -> ConnId {
        let (conn, dialed) = self.introduce(vec![peer]).remove(0);
        let reply = Handshake { peer_id: dialed.peer_id, ..self.handshake(0, &full()) };
        self.swarm.handle_dialed(self.now, conn, Ok(reply));
        conn
    }
}

fn dropped(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Dropped { .. }))
}

fn closed(outputs: &[Output], wanted: &CloseReason) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Close { reason, .. } if reason == wanted))
}

#[test]
fn a_download_goes_on_after_the_disk_refused_pieces_at_different_times() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let open = requests(&alone.outputs());
    assert_eq!(open.len(), 2);
    alone.piece(conn, open[0].1, PieceOutcome::StorageFailed);
    alone.later(Duration::from_millis(500));
    alone.piece(conn, open[1].1, PieceOutcome::StorageFailed);
    let outputs = alone.later(Duration::from_secs(3));
    assert!(!requests(&outputs).is_empty(), "nothing is asked for any more");
}

#[test]
fn a_piece_that_two_silent_peers_were_asked_for_is_asked_of_a_third() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conns: Vec<_> = (1..=3).map(|at| alone.accept(at, &some(&[7])).unwrap()).collect();
    let mut asked = requests(&alone.outputs());
    for _ in 0..15 {
        asked.extend(requests(&alone.later(Duration::from_millis(200))));
    }
    let mut whom: Vec<_> = asked.into_iter().map(|(conn, _)| conn).collect();
    whom.sort_unstable();
    assert_eq!(whom, conns, "each once, within 3 s");
    let outputs = alone.piece(conns[2], PieceIndex(7), PieceOutcome::Stored);
    let of_7 = |output: &&Output| {
        matches!(output, Output::Send { message, .. }
        if *message == Message::CancelPiece { index: PieceIndex(7) })
    };
    assert_eq!(outputs.iter().filter(of_7).count(), 2);
}

#[test]
fn a_peer_that_tells_of_new_pieces_is_asked_before_one_that_may_hang() {
    let mut alone = Alone::new(SwarmConfig::default());
    alone.add(false);
    let [quiet, heard] = [1, 2].map(|at| alone.accept(at, &some(&[1, 2, 3, 4])).unwrap());
    alone.later(Duration::from_secs(20));
    alone.message(heard, Message::AnnouncePiece { index: PieceIndex(5) });
    let (digest, whole) = (alone.meta.digest(), 0..alone.meta.geometry().blob_len());
    alone.swarm.set_demand(alone.now, &digest, DemandId(0), Some(whole));
    let asked = requests(&alone.outputs());
    // Of one not known yet two pieces at most are asked for.
    let whom: Vec<_> = asked.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(whom, [heard, heard, quiet]);
}

#[test]
fn peers_that_rest_for_different_times_are_all_asked_again() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let rests_long = alone.accept(1, &full()).unwrap();
    alone.outputs();
    alone.later(Duration::from_millis(4500));
    let rests_shortly = alone.accept(2, &some(&[7])).unwrap();
    assert_eq!(requests(&alone.outputs()), [(rests_shortly, PieceIndex(7))]);
    alone.piece(rests_shortly, PieceIndex(7), PieceOutcome::Corrupt { lied: false });
    let outputs = alone.later(Duration::from_secs(6));
    assert!(requests(&outputs).iter().any(|(conn, _)| *conn == rests_long));
}

#[test]
fn one_burst_of_refused_pieces_is_one_failure_of_the_disk() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let mut open = Vec::new();
    for at in 1..16 {
        alone.accept(at, &full()).unwrap();
        open.extend(requests(&alone.outputs()));
    }
    open.extend(requests(&alone.later(Duration::from_secs(1))));
    assert_eq!(open.len(), 30);
    for (conn, index) in open {
        assert!(!dropped(&alone.piece(conn, index, PieceOutcome::StorageFailed)));
    }
    let open = requests(&alone.later(Duration::from_secs(3)));
    assert!(!open.is_empty());
    for (conn, index) in open {
        alone.piece(conn, index, PieceOutcome::Stored);
    }
    assert!(alone.have() > 0);
}

#[test]
fn a_disk_that_refuses_everything_ends_the_torrent() {
    let mut alone = Alone::leecher();
    alone.outputs();
    alone.accept(1, &full()).unwrap();
    let mut open = requests(&alone.outputs());
    let mut seconds = 0;
    loop {
        let mut ended = false;
        for (conn, index) in std::mem::take(&mut open) {
            ended |= dropped(&alone.piece(conn, index, PieceOutcome::StorageFailed));
        }
        if ended {
            break;
        }
        open = requests(&alone.later(Duration::from_secs(1)));
        seconds += 1;
        assert!(seconds < 60, "still trying");
    }
    assert!(seconds >= 10, "given up after {seconds} s: no time to make room");
}

#[test]
fn a_peer_that_brings_every_piece_late_is_kept() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let mut open = requests(&alone.outputs());
    for stored in 1..=12 {
        open.extend(requests(&alone.later(Duration::from_millis(6200))));
        let (_, index) = open.remove(0);
        open.extend(requests(&alone.piece(conn, index, PieceOutcome::Stored)));
        assert_eq!((alone.conns(), alone.have()), (1, stored));
    }
    assert!(alone.swarm.counters().requests_timed_out <= 4, "its pace is known by now");
}

#[test]
fn a_peer_whose_bytes_come_slowly_and_steadily_is_not_overdue() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let (_, index) = requests(&alone.outputs())[0];
    for _ in 0..160 {
        alone.later(Duration::from_millis(100));
        alone.swarm.handle_piece_progress(alone.now, conn, u64::from(LEN) / 160);
    }
    assert_eq!(alone.swarm.counters().requests_timed_out, 0);
    alone.piece(conn, index, PieceOutcome::Stored);
    assert_eq!(alone.have(), 1);
}

#[test]
fn pauses_of_this_side_are_not_held_against_the_peer() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    assert_eq!(requests(&alone.outputs()).len(), 2);
    for _ in 0..300 {
        alone.later(Duration::from_millis(100));
        alone.swarm.handle_piece_progress(alone.now, conn, 0);
    }
    assert_eq!((alone.conns(), alone.swarm.counters().requests_timed_out), (1, 0));
}

#[test]
fn a_peer_that_drips_does_not_hold_its_pieces() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let mut outputs = alone.outputs();
    for _ in 0..300 {
        outputs.extend(alone.later(Duration::from_millis(100)));
        alone.swarm.handle_piece_progress(alone.now, conn, 2);
    }
    assert!(closed(&outputs, &CloseReason::Stalled));
}

#[test]
fn slow_steady_links_finish() {
    let mut crowd = Crowd::new(32, MIB);
    for _ in 0..8 {
        crowd.origin(1.0 / 16.0);
    }
    let leecher = crowd.leecher(10.0);
    let seconds = crowd.run(200, &[]);
    println!("over 8 links of 64 KiB/s: {seconds:.1} s of 64 s");
    assert!(seconds < 90.0, "{seconds}");
    assert!(!crowd.hosts[leecher].closes.contains(&CloseReason::Stalled));
}

#[test]
fn a_slow_seed_that_many_wait_for_finishes_all() {
    let mut crowd = Crowd::new(16, MIB);
    crowd.origin(0.5);
    for _ in 0..8 {
        crowd.leecher(0.5);
    }
    let seconds = crowd.run(400, &[]);
    println!("8 leechers and a seed at 512 KiB/s: {seconds:.1} s of 32 s");
    assert!(seconds < 100.0, "{seconds}");
}

#[test]
fn a_piece_that_is_stored_after_its_connection_was_given_up_counts() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let (_, index) = requests(&alone.outputs())[0];
    let outputs = alone.later(Duration::from_secs(30));
    assert!(closed(&outputs, &CloseReason::Stalled));
    alone.piece(conn, index, PieceOutcome::Stored);
    assert_eq!(alone.have(), 1);
}

#[test]
fn a_piece_that_somebody_else_is_writing_is_not_fetched_over_and_over() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let slow = alone.accept(1, &some(&[5])).unwrap();
    assert_eq!(requests(&alone.outputs()), [(slow, PieceIndex(5))]);
    let quick = alone.accept(2, &full()).unwrap();
    let mut open = requests(&alone.outputs());
    let mut wasted = 0;
    for _ in 0..500 {
        alone.swarm.handle_piece_progress(alone.now, slow, 2 << 10);
        for (conn, index) in std::mem::take(&mut open) {
            let written = index == PieceIndex(5);
            wasted += u32::from(written && conn == quick);
            let outcome = if written { PieceOutcome::Duplicate } else { PieceOutcome::Stored };
            open.extend(requests(&alone.piece(conn, index, outcome)));
        }
        open.extend(requests(&alone.later(Duration::from_millis(20))));
        open.retain(|(conn, _)| *conn == quick);
    }
    assert!((2..12).contains(&wasted), "{wasted} in ten seconds");
    assert_eq!(alone.have(), 199);
    for (conn, index) in open {
        alone.piece(conn, index, PieceOutcome::Duplicate);
    }
    // The slow one is closed: the quick one gets its turn.
    alone.swarm.handle_closed(alone.now, slow, CloseReason::Remote("eof".into()));
    let mut outputs = alone.outputs();
    outputs.extend(alone.later(Duration::from_secs(2)));
    assert_eq!(requests(&outputs), [(quick, PieceIndex(5))]);
}

/// A leecher that asks `first` for more and more pieces, and then meets `second`, which answers at
/// once and has pieces 0 to 99.
fn between_two() -> (Alone, ConnId, ConnId) {
    let mut alone = Alone::leecher();
    alone.outputs();
    let first = alone.accept(1, &full()).unwrap();
    let mut open = requests(&alone.outputs());
    for _ in 0..12 {
        alone.later(Duration::from_millis(60));
        let (_, index) = open.remove(0);
        open.extend(requests(&alone.piece(first, index, PieceOutcome::Stored)));
    }
    assert!(open.len() > 4, "{open:?}");
    let second = alone.accept(2, &none()).unwrap();
    alone.outputs();
    (alone, first, second)
}

fn cancelled(outputs: &[Output]) -> Vec<(ConnId, PieceIndex)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { conn, message: Message::CancelPiece { index } } => Some((*conn, *index)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_piece_is_asked_elsewhere_only_when_the_first_peer_has_let_go_of_it() {
    let (mut alone, first, second) = between_two();
    let index = PieceIndex(alone.open(first)[0].0);
    let outputs = alone.message(second, Message::AnnouncePiece { index });
    assert_eq!(cancelled(&outputs), [(first, index)]);
    assert!(requests(&outputs).is_empty(), "it may be on its way");
    let answer = Message::Error { index, code: CANCELLED, text: "cancelled".into() };
    let outputs = alone.message(first, answer.clone());
    assert!(requests(&outputs).contains(&(second, index)));
    // An answer that nobody waits for says nothing.
    let before = alone.open(second);
    alone.message(second, answer);
    assert_eq!(alone.open(second), before);
}

#[test]
fn a_piece_that_came_although_it_was_taken_back_is_not_asked_elsewhere() {
    let (mut alone, first, second) = between_two();
    let index = PieceIndex(alone.open(first)[0].0);
    alone.message(second, Message::AnnouncePiece { index });
    let outputs = alone.piece(first, index, PieceOutcome::Stored);
    assert!(!requests(&outputs).contains(&(second, index)));
    assert!(!alone.open(second).contains(&index));
}

#[test]
fn peers_that_answer_no_cancels_keep_what_they_were_asked_for() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let mut old = alone.handshake(1, &full());
    old.capabilities = Some(Capabilities(0));
    let (first, _) = alone.swarm.handle_incoming(alone.now, ip(1), &old).unwrap();
    let open = requests(&alone.outputs());
    let second = alone.accept(2, &none()).unwrap();
    alone.later(Duration::from_millis(600));
    let outputs = alone.message(second, Message::AnnouncePiece { index: open[0].1 });
    assert!(cancelled(&outputs).is_empty() && requests(&outputs).is_empty());
    assert!(alone.open(first).contains(&open[0].1));
}

/// How long a blob takes to come from a peer that answers at once when another one, with a piece
/// on order, brings some pieces as quickly and then no other in full.
fn time_beside_a_peer_that_brings(pieces: u32) -> Duration {
    let mut alone = Alone::leecher();
    alone.outputs();
    let begun = alone.now;
    let slow = alone.accept(1, &full()).unwrap();
    for _ in 0..pieces {
        let index = alone.open(slow)[0];
        alone.later(Duration::from_millis(1));
        alone.piece(slow, index, PieceOutcome::Stored);
    }
    let being_sent = alone.open(slow)[0];
    let quick = alone.accept(2, &full()).unwrap();
    let mut outputs = alone.outputs();
    while alone.have() < 200 {
        alone.swarm.handle_piece_progress(alone.now, slow, 1 << 10);
        outputs.extend(alone.later(Duration::from_millis(10)));
        for (conn, index) in requests(&std::mem::take(&mut outputs)) {
            if conn == quick {
                outputs.extend(alone.piece(quick, index, PieceOutcome::Stored));
            }
        }
        for (conn, index) in cancelled(&outputs) {
            if conn == slow && index != being_sent {
                let answer = Message::Error { index, code: CANCELLED, text: String::new() };
                outputs.extend(alone.message(slow, answer));
            }
        }
        assert!(alone.now.since(begun) < Duration::from_secs(5), "{} pieces", alone.have());
    }
    // Only the piece that was being sent is on its way twice.
    alone.piece(slow, being_sent, PieceOutcome::Present);
    assert_eq!(alone.swarm.counters().pieces_duplicate, 1);
    alone.now.since(begun)
}

#[test]
fn a_slow_peer_does_not_hold_up_the_end() {
    assert!(time_beside_a_peer_that_brings(0) < Duration::from_millis(700));
}

#[test]
fn a_peer_that_was_quick_has_more_time_at_the_end() {
    let time = time_beside_a_peer_that_brings(4);
    assert!(time >= Duration::from_secs(1), "{time:?}");
}

#[test]
fn few_pieces_come_in_vain_however_slow_everyone_is() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let mut open = Vec::new();
    for at in 1..8 {
        alone.accept(at, &full()).unwrap();
        open.extend(requests(&alone.outputs()));
    }
    // Every answer takes two seconds, and nothing comes meanwhile.
    let mut rounds = 0;
    while alone.have() < 200 {
        open.extend(requests(&alone.later(Duration::from_secs(2))));
        for (conn, index) in std::mem::take(&mut open) {
            let outcome =
                if alone.has(index) { PieceOutcome::Present } else { PieceOutcome::Stored };
            open.extend(requests(&alone.piece(conn, index, outcome)));
        }
        rounds += 1;
        assert!(rounds < 60);
    }
    for (conn, index) in open {
        alone.piece(conn, index, PieceOutcome::Present);
    }
    assert!(alone.swarm.counters().pieces_duplicate <= 200 / 32);
}

#[test]
fn a_piece_found_on_disk_is_not_fetched_again() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let lacks = alone.accept(1, &none()).unwrap();
    let conn = alone.accept(2, &some(&[5])).unwrap();
    assert_eq!(requests(&alone.outputs()), [(conn, PieceIndex(5))]);
    // Somebody else is writing it: it is still missing.
    let outputs = alone.piece(conn, PieceIndex(5), PieceOutcome::Duplicate);
    assert!(requests(&outputs).is_empty());
    let outputs = alone.later(Duration::from_millis(1200));
    assert_eq!(requests(&outputs), [(conn, PieceIndex(5))]);
    let outputs = alone.piece(conn, PieceIndex(5), PieceOutcome::Present);
    assert!(requests(&outputs).is_empty());
    assert!(matches!(outputs[..], [Output::Send { conn, message: Message::AnnouncePiece { .. } }]
            if conn == lacks));
    assert_eq!(alone.have(), 1);
    assert_eq!(alone.swarm.counters().pieces_from_peers, 0);
    assert_eq!(alone.swarm.counters().pieces_duplicate, 2);
}

#[test]
fn a_stalled_peer_is_dialled_again_after_the_ordinary_pause() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.dial_full(peer(1, true));
    alone.outputs();
    alone.swarm.handle_closed(alone.now, conn, CloseReason::Stalled);
    alone.outputs();
    let outputs = alone.later(Duration::from_secs(3));
    assert!(outputs.iter().any(|output| matches!(output, Output::Dial { .. })));
}

#[test]
fn a_dialled_liar_may_not_come_back_by_itself() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.dial_full(peer(1, false));
    let (_, index) = requests(&alone.outputs())[0];
    let outputs = alone.piece(conn, index, PieceOutcome::Corrupt { lied: true });
    assert!(closed(&outputs, &CloseReason::Lied));
    assert_eq!(alone.accept(1, &full()), Err(Refused::Banned));
    assert!(alone.introduce(vec![peer(1, false)]).is_empty());
    // Others behind its address, and whoever else calls itself so, are not meant.
    let neighbour = alone.handshake(2, &full());
    assert!(alone.swarm.handle_incoming(alone.now, ip(1), &neighbour).is_ok());
    let namesake = alone.handshake(1, &full());
    assert!(alone.swarm.handle_incoming(alone.now, ip(3), &namesake).is_ok());
}

#[test]
fn an_accepted_liar_is_barred_from_coming_only() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let conn = alone.accept(1, &full()).unwrap();
    let (_, index) = requests(&alone.outputs())[0];
    alone.piece(conn, index, PieceOutcome::Corrupt { lied: true });
    assert_eq!(alone.accept(1, &full()), Err(Refused::Banned));
    assert_eq!(alone.introduce(vec![peer(1, false)]).len(), 1);
}

#[test]
fn a_liar_is_known_by_any_spelling_of_its_address() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let spelt = PeerInfo { ip: format!("::ffff:{}", ip(1)), ..peer(1, false) };
    let conn = alone.dial_full(spelt);
    let (_, index) = requests(&alone.outputs())[0];
    alone.piece(conn, index, PieceOutcome::Corrupt { lied: true });
    assert_eq!(alone.accept(1, &full()), Err(Refused::Banned));
}

#[test]
fn connections_that_end_in_the_line_leave_it() {
    let mut alone = Alone::new(SwarmConfig { upload_pieces_at_once: 1, ..SwarmConfig::origin() });
    alone.add(true);
    let busy = alone.accept(1, &none()).unwrap();
    assert_eq!(alone.request(busy, 0).len(), 1);
    for _ in 0..1000 {
        let conn = alone.accept(2, &none()).unwrap();
        alone.request(conn, 1);
        alone.swarm.handle_closed(alone.now, conn, CloseReason::Remote("eof".into()));
        alone.outputs();
    }
}

#[test]
fn seeding_that_is_switched_on_again_is_announced() {
    let mut alone = Alone::new(SwarmConfig::default());
    let announces = |outputs: &[Output]| {
        outputs.iter().any(|output| matches!(output, Output::Announce { complete: true, .. }))
    };
    alone.add(true);
    assert!(announces(&alone.outputs()));
    alone.swarm.set_seeding(alone.now, false);
    alone.swarm.handle_announced(alone.now, &alone.meta.digest(), Ok(Announced::default()));
    // The next one comes to be due meanwhile. Somebody keeps the torrent from being idle.
    alone.swarm.set_config(
        alone.now,
        SwarmConfig { seed: false, seeder_tti: Duration::MAX, ..SwarmConfig::default() },
    );
    assert!(!announces(&alone.later(Duration::from_secs(3600))));
    alone.swarm.set_seeding(alone.now, true);
    assert!(announces(&alone.outputs()));
}

#[test]
fn a_new_configuration_is_acted_upon_at_once() {
    let quiet = SwarmConfig { announce: false, upload_pieces_at_once: 1, ..SwarmConfig::default() };
    let mut alone = Alone::new(SwarmConfig { upload_pieces_max: 1, ..quiet });
    alone.add(true);
    let (first, second) = (alone.accept(1, &none()).unwrap(), alone.accept(2, &none()).unwrap());
    alone.request(first, 0);
    assert!(alone.request(second, 1).is_empty());
    alone.swarm.set_config(alone.now, SwarmConfig::default());
    let outputs = alone.outputs();
    assert!(outputs.iter().any(|output| matches!(output, Output::Announce { .. })));
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::SendPiece { conn, .. } if *conn == second))
    );
}

#[test]
fn the_result_of_another_commit_leaves_none_planned() {
    let busy = || Err(Error::new(ErrorKind::Io, "disk"));
    let mismatch = || Err(Error::new(ErrorKind::Mismatch, "not the blob"));
    for result in [Ok(()), mismatch()] {
        let mut alone = Alone::leecher();
        alone.outputs();
        let conn = alone.accept(1, &full()).unwrap();
        alone.outputs();
        for index in alone.meta.geometry().indexes() {
            alone.piece(conn, index, PieceOutcome::Stored);
        }
        let digest = alone.meta.digest();
        // The file was closed and opened again while the first commit was under way.
        alone.swarm.handle_committed(alone.now, &digest, busy());
        alone.swarm.handle_committed(alone.now, &digest, result);
        alone.outputs();
        let outputs = alone.later(Duration::from_secs(10));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Commit { .. })));
    }
}

#[test]
fn a_blob_without_pieces_that_fails_its_digest_is_given_up() {
    let mut alone = Alone::new(SwarmConfig::default());
    let empty = MetaInfo::of_bytes(Digest::sha256(b"not empty"), b"", 5).unwrap();
    alone.swarm.add_torrent(alone.now, spec(&empty, false)).unwrap();
    for attempt in 1..=3 {
        assert!(matches!(alone.outputs()[..], [Output::Commit { .. }]), "attempt {attempt}");
        let mismatch = Err(Error::new(ErrorKind::Mismatch, "not the blob"));
        alone.swarm.handle_committed(alone.now, &empty.digest(), mismatch);
        assert!(matches!(alone.outputs()[..], [Output::Discard { .. }]));
        alone.swarm.handle_discarded(alone.now, &empty.digest(), Ok(()));
    }
    assert!(dropped(&alone.outputs()));
}

#[test]
fn what_was_on_order_with_a_peer_that_breaks_the_rules_is_asked_of_others() {
    let violations = [
        Message::AnnouncePiece { index: PieceIndex(u32::MAX) },
        Message::PieceRequest { index: PieceIndex(u32::MAX), offset: 0, length: LEN },
    ];
    for violation in violations {
        let mut alone = Alone::leecher();
        alone.outputs();
        let first = alone.accept(1, &some(&[7])).unwrap();
        assert_eq!(requests(&alone.outputs()), [(first, PieceIndex(7))]);
        let second = alone.accept(2, &some(&[7])).unwrap();
        assert!(requests(&alone.outputs()).is_empty());
        let outputs = alone.message(first, violation);
        assert_eq!(requests(&outputs), [(second, PieceIndex(7))]);
    }
}

#[test]
fn a_peer_that_was_dialled_before_seeding_is_told_of_all_pieces() {
    let mut alone = Alone::new(SwarmConfig { seed: false, ..SwarmConfig::default() });
    let mut known = spec(&alone.meta, false);
    known.have = some(&[3]);
    alone.swarm.add_torrent(alone.now, known).unwrap();
    let (digest, len) = (alone.meta.digest(), alone.meta.geometry().blob_len());
    alone.swarm.set_demand(alone.now, &digest, DemandId(0), Some(0..len));
    alone.outputs();
    let (conn, _) = alone.introduce(vec![peer(1, false)])[0];
    alone.swarm.set_seeding(alone.now, true);
    let reply = alone.handshake(1, &none());
    alone.swarm.handle_dialed(alone.now, conn, Ok(reply));
    assert!(alone.outputs().iter().any(|output| matches!(
        output,
        Output::Send { message: Message::AnnouncePiece { index: PieceIndex(3) }, .. }
    )));
}

#[test]
fn nothing_is_begun_to_be_sent_when_seeding_is_switched_off() {
    let mut alone = Alone::new(SwarmConfig { upload_pieces_at_once: 1, ..SwarmConfig::origin() });
    alone.add(true);
    // The torrent that sends is the first of the two to be told.
    let last = |byte: u8| Digest::sha256(&[byte]);
    let other = (0..=255).map(last).max().unwrap();
    let other = MetaInfo::new(other, alone.meta.geometry(), alone.meta.sums().clone()).unwrap();
    assert!(alone.meta.digest() < other.digest());
    alone.swarm.add_torrent(alone.now, spec(&other, true)).unwrap();
    let busy = alone.accept(1, &none()).unwrap();
    assert_eq!(alone.request(busy, 0).len(), 1);
    let handshake = alone.handshake(2, &none());
    let handshake = Handshake { digest: other.digest(), info_hash: other.info_hash(), ..handshake };
    let (waits, _) = alone.swarm.handle_incoming(alone.now, ip(2), &handshake).unwrap();
    assert!(alone.request(waits, 0).is_empty());
    alone.swarm.set_seeding(alone.now, false);
    let outputs = alone.outputs();
    assert!(outputs.iter().all(|output| matches!(output, Output::Close { .. })), "{outputs:?}");
}

#[test]
fn without_a_pause_a_piece_that_somebody_else_was_writing_is_asked_for_again() {
    let config = SwarmConfig { duplicate_after: Duration::ZERO, ..SwarmConfig::default() };
    let mut alone = Alone::leecher();
    alone.swarm.set_config(alone.now, config);
    alone.outputs();
    let conn = alone.accept(1, &some(&[7])).unwrap();
    assert_eq!(requests(&alone.outputs()).len(), 1);
    alone.piece(conn, PieceIndex(7), PieceOutcome::Duplicate);
    let outputs = alone.later(Duration::from_millis(1));
    assert_eq!(requests(&outputs), [(conn, PieceIndex(7))]);
}
