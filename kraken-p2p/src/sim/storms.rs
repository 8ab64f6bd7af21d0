//! Events must not breed events: what a host asks for, dials and is told of is counted by the
//! second, and bounded by what may lead to it.
//!
//! What is bounded by itself bounds the rest. A piece comes and goes once, and somebody is told of
//! it once over each connection; a timer goes off so often. Each of them lets a host ask for
//! something; what it asks for lets others refuse that. So two hosts that only answer each other
//! have soon used up what both may say.

use super::engine::Simulation;
use super::limits::{
    ASKS_PER_CONN, ASKS_PER_CONTACT, ASKS_PER_PIECE, ASKS_PER_SEC, ASKS_PER_TIMER, ASKS_PER_TOLD,
    DIALS_PER_SEC, DIALS_PER_TORRENT, NEWS_PER_CONN, NEWS_PER_CONTACT, NEWS_PER_SEC, STILL_EVENTS,
    STILL_EVENTS_EACH, TIMER_CALLS_PER_SEC, TIMER_CALLS_PER_TORRENT,
};
use super::world::Nanos;

/// Why a host is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its timer has gone off.
    Timer,
    /// Somebody connects to it, or it has reached somebody, or not; or a connection has ended: all
    /// that somebody's dials lead to.
    Contact,
    /// A piece has come or has gone out.
    Piece,
    /// Somebody has got a piece: told once over each connection.
    Told,
    /// Bytes of a piece have come, or it is asked for one or no longer asked: as many as others
    /// ask.
    Bounded,
    /// Something else has come, or is there.
    News,
}

/// What a host was called for, and did, in the second that began last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    since: Nanos,
    by_cause: [u32; Cause::News as usize + 1],
    total: u64,
    /// Pieces that it asked for, or no longer asked for.
    asks: u32,
    dials: u32,
    /// The most calls in any second.
    pub(super) max: u64,
}

impl Calls {
    /// So many calls for that reason.
    fn of(&self, cause: Cause) -> u64 {
        self.by_cause[cause as usize].into()
    }

    fn count(&mut self, now: Nanos, cause: Cause) {
        if now - self.since >= 1_000_000_000 {
            *self = Self { since: now, max: self.max, ..Self::default() };
        }
        self.by_cause[cause as usize] += 1;
        self.total += 1;
        self.max = self.max.max(self.total);
    }
}

impl Simulation {
    /// Something happens at that time: virtual time must move some day.
    pub(super) fn count_still(&mut self, at: Nanos) {
        if at > self.now {
            self.tally.still = 0;
            return;
        }
        self.tally.still += 1;
        if self.tally.still > STILL_EVENTS + self.hosts.len() as u64 * STILL_EVENTS_EACH {
            self.audit.storm_of_all("events follow each other at one moment without an end");
        }
    }

    /// A host is called. A timer goes off because something came, and what is said is an answer, or
    /// said to whom it meets.
    pub(super) fn count_call(&mut self, host: u32, cause: Cause) {
        let it = &mut self.hosts[host as usize];
        let calls = &mut it.tally.calls;
        calls.count(self.now, cause);
        let looks = it.copies.len() as u64 * TIMER_CALLS_PER_TORRENT;
        let (contacts, asks, conns) =
            (calls.of(Cause::Contact), u64::from(calls.asks), it.conns.len() as u64);
        let news = calls.of(Cause::News);
        let news_max = NEWS_PER_SEC + asks + contacts * NEWS_PER_CONTACT + conns * NEWS_PER_CONN;
        if calls.of(Cause::Timer) > TIMER_CALLS_PER_SEC + looks {
            self.audit.storm(it, "has a timer that goes off too often");
        } else if news > news_max {
            let what = format!(
                "told of something too often within a second: {news} messages beside {asks} \
                 pieces that it asked for, {contacts} connections that came or went and {conns} \
                 open ones"
            );
            self.audit.storm(it, &what);
        }
    }

    /// A host asks for a piece, or no longer asks for one.
    pub(super) fn count_ask(&mut self, host: u32) {
        let it = &mut self.hosts[host as usize];
        let calls = &mut it.tally.calls;
        calls.asks += 1;
        let (pieces, told) = (calls.of(Cause::Piece), calls.of(Cause::Told));
        let (contacts, timers) = (calls.of(Cause::Contact), calls.of(Cause::Timer));
        let conns = it.conns.len() as u64;
        let most = ASKS_PER_SEC
            + pieces * ASKS_PER_PIECE
            + told * ASKS_PER_TOLD
            + contacts * ASKS_PER_CONTACT
            + timers * ASKS_PER_TIMER
            + conns * ASKS_PER_CONN;
        if u64::from(calls.asks) > most {
            let what = format!(
                "asks too often within a second: {} times beside {pieces} pieces, {told} that it \
                 was told of, {contacts} connections that came or went, {conns} open ones and \
                 {timers} looks",
                calls.asks
            );
            self.audit.storm(it, &what);
        }
    }

    /// A host dials.
    pub(super) fn count_dial(&mut self, host: u32) {
        let it = &mut self.hosts[host as usize];
        it.tally.calls.dials += 1;
        let (dials, torrents) = (it.tally.calls.dials, it.copies.len() as u64);
        if u64::from(dials) > DIALS_PER_SEC + torrents * DIALS_PER_TORRENT {
            self.audit.storm(it, &format!("dials too often: {dials} times within a second"));
        }
    }
}
