//! Disks that refuse, links that crawl, peers that lie and connections that end too early.

use std::time::Duration;

use kraken_core::PieceIndex;

use super::script::{Alone, full, none, requests, some};
use crate::swarm::{CloseReason, Output, PieceOutcome};
use crate::wire::Message;

fn closed(outputs: &[Output], wanted: &CloseReason) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Close { reason, .. } if reason == wanted))
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
fn a_piece_found_on_disk_is_not_fetched_again() {
    let mut alone = Alone::leecher();
    alone.outputs();
    let lacks = alone.accept(1, &none()).unwrap();
    let conn = alone.accept(2, &some(&[5])).unwrap();
    assert_eq!(requests(&alone.outputs()), [(conn, PieceIndex(5))]);
    // Somebody else is writing it: it is still missing.
    let outputs = alone.piece(conn, PieceIndex(5), PieceOutcome::Duplicate);
    assert_eq!(requests(&outputs), [(conn, PieceIndex(5))]);
    let outputs = alone.piece(conn, PieceIndex(5), PieceOutcome::Present);
    assert!(requests(&outputs).is_empty());
    assert!(matches!(outputs[..], [Output::Send { conn, message: Message::AnnouncePiece { .. } }]
            if conn == lacks));
    assert_eq!(alone.have(), 1);
    assert_eq!(alone.swarm.counters().pieces_from_peers, 0);
    assert_eq!(alone.swarm.counters().pieces_duplicate, 2);
}
