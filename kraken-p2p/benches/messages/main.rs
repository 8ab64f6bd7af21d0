//! Wall time of a control message in a swarm at work: what comes in is handled and all that follows
//! from it is taken out, as a driver does.
//!
//! `cargo bench -p kraken-p2p --bench messages`. Each event is timed on its own, so that the time
//! of reading the clock twice is in each figure and the rare long one is seen.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[allow(dead_code, reason = "two benches share it, and each uses its part")]
#[path = "../instructions/download.rs"]
mod download;

use std::time::{Duration, Instant};

use download::{Play, Size};

/// The times of one kind of event.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn time<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.0.push(start.elapsed());
        result
    }

    fn line(mut self, size: Size, what: &str) {
        self.0.sort_unstable();
        let Some(most) = self.0.last() else { return };
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let at = |part: f64| us(self.0[((self.0.len() - 1) as f64 * part) as usize]);
        let mean = us(self.0.iter().sum::<Duration>()) / self.0.len() as f64;
        println!(
            "| {what} | {} | {} | {} | {mean:.2} | {:.2} | {:.2} | {:.2} |",
            size.peers,
            size.pieces,
            self.0.len(),
            at(0.5),
            at(0.99),
            us(*most)
        );
    }
}

fn main() {
    // `cargo test --benches` runs this too: then it only proves that it works.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let rounds = if bench { 6400 } else { 10 };
    println!("| event | peers | pieces | events | mean us | p50 | p99 | most |");
    println!("|---|---|---|---|---|---|---|---|");
    for pieces in [384, 25_600] {
        for peers in [10, 60] {
            let size = Size { peers, pieces };
            // From half of the blob to three quarters of it.
            download(size, rounds.min(pieces / 4));
            starved(size, rounds.min(pieces / 4));
            seed(size, rounds.min(pieces / 4));
        }
    }
}

/// Everyone, this side too, gets one piece a round and tells of it.
fn download(size: Size, rounds: u32) {
    let mut play = Play::download(size);
    let (mut had, mut lacked, mut stored) = (Times::default(), Times::default(), Times::default());
    let (mut refused, mut completed) = (Times::default(), Times::default());
    for round in 0..rounds {
        loop {
            play.later();
            let (conn, index) = play.news();
            let times = if play.have.contains(index) { &mut had } else { &mut lacked };
            times.time(|| play.announce(conn, index));
            if play.is_round() {
                break;
            }
        }
        if let Some((conn, index)) = play.order() {
            stored.time(|| play.arrive(conn, index));
        }
        if round % 64 == 0
            && let Some((conn, index)) = play.order()
        {
            refused.time(|| play.refuse(conn, index));
        }
    }
    for conn in play.conns() {
        completed.time(|| play.complete(conn));
    }
    had.line(size, "announces a piece that is here");
    lacked.line(size, "announces a piece that is not");
    stored.line(size, "a piece came: told to all, next one picked");
    refused.line(size, "refuses a piece: another one picked");
    completed.line(size, "has the whole blob, a quarter of it is news");
}

/// Nobody has anything to offer but what he announces.
fn starved(size: Size, rounds: u32) {
    let mut play = Play::starved(size);
    let mut wished = Times::default();
    for _ in 0..rounds {
        play.later();
        let (conn, index) = play.wish();
        wished.time(|| play.announce(conn, index));
        play.store();
    }
    wished.line(size, "announces what is asked of it at once");
}

/// A piece is sent, and its receiver asks for another.
fn seed(size: Size, rounds: u32) {
    let mut play = Play::seed(size);
    let (mut asked, mut sent) = (Times::default(), Times::default());
    for _ in 0..rounds {
        play.later();
        let conn = sent.time(|| play.sent());
        let (_, index) = play.wish();
        asked.time(|| play.ask(conn, index));
    }
    asked.line(size, "asks a seed for a piece");
    sent.line(size, "a piece was sent: next one begun");
}
