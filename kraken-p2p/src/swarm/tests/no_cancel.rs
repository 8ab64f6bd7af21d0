//! Peers that know no cancel, as uber/kraken's: what is given up here stays open in their eyes.

use std::time::Duration;

use kraken_core::{Bitfield, PieceIndex};

use super::crowd::ip;
use super::script::{Alone, full, requests, some};
use crate::swarm::{CloseReason, ConnId, Output, PieceOutcome};
use crate::wire::{ErrorCode, Handshake, Message};

/// A leecher that has as many requests open with such a peer as it may, oldest first.
fn with_a_full_line(have: &Bitfield) -> (Alone, ConnId, Vec<PieceIndex>) {
    let mut alone = Alone::leecher();
    alone.outputs();
    let theirs = Handshake { capabilities: None, ..alone.handshake(1, have) };
    let (conn, _) = alone.swarm.handle_incoming(alone.now, ip(1), &theirs).unwrap();
    let mut line = asked(&alone.outputs());
    for _ in 0..4 {
        alone.now += Duration::from_millis(10);
        let index = line.remove(0);
        line.extend(asked(&alone.piece(conn, index, PieceOutcome::Stored)));
    }
    assert_eq!(line.len(), 3);
    (alone, conn, line)
}

fn asked(outputs: &[Output]) -> Vec<PieceIndex> {
    requests(outputs).into_iter().map(|(_, index)| index).collect()
}

/// How many requests the other side takes for open.
fn at_peer(alone: &Alone, conn: ConnId) -> usize {
    alone.swarm.torrents[&alone.meta.digest()].conns[&conn].open()
}

/// A piece comes another way.
fn land(alone: &mut Alone, index: PieceIndex) -> Vec<Output> {
    let digest = alone.meta.digest();
    alone.swarm.handle_landed(alone.now, &digest, index);
    alone.outputs()
}

fn is_stalled(output: &Output) -> bool {
    matches!(output, Output::Close { reason: CloseReason::Stalled, .. })
}

#[test]
fn a_piece_that_came_from_elsewhere_makes_no_room_before_it_is_answered() {
    let (mut alone, conn, line) = with_a_full_line(&full());
    for index in &line {
        assert!(land(&mut alone, *index).is_empty());
    }
    assert!(alone.open(conn).is_empty());
    alone.now += Duration::from_millis(10);
    assert_eq!(asked(&alone.piece(conn, line[0], PieceOutcome::Present)).len(), 1);
    let refusal = |index| {
        let code = ErrorCode::PieceRequestFailed;
        Message::Error { index, code, text: "piece not complete".into() }
    };
    assert_eq!(asked(&alone.message(conn, refusal(line[1]))).len(), 1);
    // It was not asked for that any more.
    assert_eq!(asked(&alone.message(conn, refusal(line[1]))), []);
}

#[test]
fn what_is_given_up_and_asked_for_again_is_open_twice() {
    let (mut alone, conn, line) = with_a_full_line(&some(&[0, 1, 2, 3, 4, 5, 6]));
    let outputs = alone.later(Duration::from_millis(9000));
    assert_eq!(alone.swarm.counters().requests_timed_out, 3);
    assert_eq!(asked(&outputs), [], "there is no room");
    // It is slow: it is asked for two at most.
    assert_eq!(asked(&alone.piece(conn, line[0], PieceOutcome::Stored)), []);
    assert_eq!(asked(&alone.piece(conn, line[1], PieceOutcome::Stored)), [line[2]]);
    assert_eq!(at_peer(&alone, conn), 2);
    alone.piece(conn, line[2], PieceOutcome::Stored);
    assert_eq!(at_peer(&alone, conn), 1);
    alone.piece(conn, line[2], PieceOutcome::Present);
    assert_eq!(at_peer(&alone, conn), 0);
}

#[test]
fn a_request_that_is_lost_leaves_room_once_a_later_one_is_answered() {
    let (mut alone, conn, line) = with_a_full_line(&full());
    for index in &line[..2] {
        land(&mut alone, *index);
    }
    alone.now += Duration::from_millis(10);
    assert_eq!(asked(&alone.piece(conn, line[2], PieceOutcome::Stored)).len(), 3);
}

#[test]
fn who_answers_nothing_of_what_was_given_up_is_let_go() {
    let (mut alone, conn, line) = with_a_full_line(&full());
    for index in line {
        land(&mut alone, index);
    }
    // One that is asked again and again and stays silent is let go after 16 s.
    let outputs = alone.later(Duration::from_secs(14));
    assert!(asked(&outputs).is_empty() && !outputs.iter().any(is_stalled));
    let outputs = alone.later(Duration::from_secs(16));
    let closed = outputs.iter().find(|output| is_stalled(output));
    assert!(matches!(closed, Some(Output::Close { conn: of, .. }) if *of == conn));
    assert_eq!(asked(&outputs), []);
}

#[test]
fn who_brings_what_was_given_up_late_is_kept() {
    let (mut alone, conn, mut line) = with_a_full_line(&full());
    for index in line.clone() {
        land(&mut alone, index);
    }
    for _ in 0..12 {
        let outputs = alone.later(Duration::from_millis(7500));
        assert!(!outputs.iter().any(is_stalled));
        line.extend(asked(&outputs));
        let outputs = alone.piece(conn, line.remove(0), PieceOutcome::Present);
        line.extend(asked(&outputs));
        assert!(line.len() <= 3, "{line:?}");
    }
}
