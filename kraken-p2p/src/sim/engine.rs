//! The run of a scenario: takes the next event, tells the host, carries out what it wants.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use kraken_core::rng::Rng;
use kraken_core::{Digest, Result, Time};

use super::audit::Audit;
use super::build;
use super::lies::Lies;
use super::limits::OUTPUTS_MAX;
use super::peer::{Peer, Policy};
use super::queue::{Event, Next, Queue};
use super::report::{self, Report};
use super::scenario::{LinkRates, Scenario};
use super::storms::Cause;
use super::tally::Tally;
use super::trackers::Tracker;
use super::world::{BlobState, Copy, End, Host, NEVER, Nanos};
use super::zones::Zones;
use crate::node::limits::UPLOAD_LOOK_EVERY;
use crate::swarm::{ConnId, Output};

/// A run under way.
///
/// [`run`] is all that most need; this is for those who run it step by step, to see how far it is
/// and to stop it.
#[derive(Debug)]
pub struct Simulation {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    pub(super) now: Nanos,
    pub(super) queue: Queue,
    pub(super) groups: Vec<GroupState>,
    pub(super) hosts: Vec<Host>,
    pub(super) copies: Vec<Copy>,
    pub(super) ends: Vec<End>,
    pub(super) blobs: Vec<BlobState>,
    pub(super) blob_of: BTreeMap<Digest, u32>,
    pub(super) trackers: Vec<Tracker>,
    pub(super) zones: Zones,
    pub(super) rng: Rng,
    pub(super) audit: Audit,
    /// Wrong pieces by the copy they came for and the host that sent them.
    pub(super) lies: BTreeMap<(u32, u32), Lies>,
    pub(super) tally: Tally,
    /// Copies that must be finished before the run is over, and of them those that are wanted by
    /// now.
    pub(super) outstanding: usize,
    pub(super) waiting: usize,
    /// When somebody last got bytes that it lacked, or began to want some.
    pub(super) moved_at: Nanos,
    over: Option<Ending>,
}

/// A group as it is reported.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) name: String,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) rates: LinkRates,
    pub(super) counted: bool,
    pub(super) origin: bool,
    /// Whether its hosts must finish.
    pub(super) must_finish: bool,
    /// The group of those that take the places of its dead.
    pub(super) replacements: Option<u32>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Finished,
    Starved,
    TimeUp,
    Storm,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Virtual time since the start.
    pub time: Duration,
    /// Copies of blobs that are finished, of those that must be.
    pub copies_finished: usize,
    /// How many must be.
    pub copies_total: usize,
    /// Pieces that arrived, all hosts and blobs together.
    pub pieces_stored: u64,
    /// Events so far.
    pub events: u64,
}

/// Runs a scenario to its end.
///
/// Memory grows with hosts and their connections, and with copies and their pieces: 15,000 hosts
/// that fetch two blobs of 358 pieces take 1.9 GiB. Nothing looks whether there is as much.
///
/// An error is a scenario that cannot be run. Whether all went well in one that can is in the
/// report: see [`Report::is_ok`].
pub fn run(scenario: &Scenario, seed: u64) -> Result<Report> {
    run_with(scenario, seed, |_| ControlFlow::Continue(()))
}

/// As [`run`], telling how far it is every tenth of a second of virtual time, and at least every
/// 65,536 events. A `Break` ends the run, and the report is of what has happened so far.
pub fn run_with(
    scenario: &Scenario,
    seed: u64,
    mut look: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Report> {
    let mut simulation = Simulation::new(scenario, seed)?;
    let mut until = simulation.now;
    loop {
        if simulation.now >= until {
            until += nanos(LOOK_EVERY);
        }
        if !simulation.advance_until(until, LOOK_EVENTS) {
            break;
        }
        if look(&simulation.progress()).is_break() {
            break;
        }
    }
    Ok(simulation.into_report())
}

impl Simulation {
    /// A run that has not begun.
    pub fn new(scenario: &Scenario, seed: u64) -> Result<Self> {
        scenario.check()?;
        build::simulation(scenario, seed)
    }

    pub(super) fn with_tables(scenario: &Scenario, seed: u64, rng: Rng) -> Self {
        Self {
            scenario: scenario.clone(),
            seed,
            now: EPOCH,
            queue: Queue::new(),
            groups: Vec::new(),
            hosts: Vec::new(),
            copies: Vec::new(),
            ends: Vec::new(),
            blobs: Vec::new(),
            blob_of: BTreeMap::new(),
            trackers: Vec::new(),
            zones: Zones::new(scenario),
            rng,
            audit: Audit::default(),
            lies: BTreeMap::new(),
            tally: Tally::default(),
            outstanding: 0,
            waiting: 0,
            moved_at: EPOCH,
            over: None,
        }
    }

    /// Lets this much virtual time pass; whether the run goes on.
    pub fn advance(&mut self, by: Duration) -> bool {
        self.advance_until(self.now.saturating_add(nanos(by)), u64::MAX)
    }

    /// As [`Simulation::advance`], but for so many events at most.
    fn advance_until(&mut self, until: Nanos, events_max: u64) -> bool {
        let last = self.tally.events.saturating_add(events_max);
        while self.over.is_none() {
            let Some(at) = self.queue.next_at() else {
                self.over = Some(Ending::Starved);
                break;
            };
            let (deadline, ending) = self.deadline();
            if deadline < at && deadline <= until {
                self.now = self.now.max(deadline);
                self.over = Some(ending);
            } else if at > until {
                self.now = until;
                return true;
            } else if self.tally.events >= last {
                return true;
            } else {
                self.step();
            }
        }
        false
    }

    /// When the run ends, unless something happens before, and how.
    fn deadline(&self) -> (Nanos, Ending) {
        let time_up = EPOCH.saturating_add(nanos(self.scenario.time_max));
        let starved = match self.waiting {
            0 => NEVER,
            _ => self.moved_at.saturating_add(nanos(self.scenario.patience)),
        };
        if starved <= time_up { (starved, Ending::Starved) } else { (time_up, Ending::TimeUp) }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let total = self.audit.copies_total;
        Progress {
            time: Duration::from_nanos(self.now - EPOCH),
            copies_finished: total - self.outstanding,
            copies_total: total,
            pieces_stored: self.tally.pieces_stored,
            events: self.tally.events,
        }
    }

    /// Compares what everyone counted, and tells what happened so far.
    pub fn into_report(mut self) -> Report {
        self.compare_counters();
        self.check_committed();
        report::of(&self, self.over)
    }

    /// Lets the next thing happen.
    fn step(&mut self) {
        let Some((at, next)) = self.queue.pop() else { return };
        self.tally.events += 1;
        self.count_still(at);
        self.now = self.now.max(at);
        match next {
            Next::Message { end, message } => self.on_message(end, message),
            Next::Event(event) => self.apply(event),
        }
        self.look_for_the_end();
    }

    fn look_for_the_end(&mut self) {
        self.over = if self.outstanding == 0 {
            Some(Ending::Finished)
        } else if self.audit.storm {
            Some(Ending::Storm)
        } else {
            None
        };
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Join { host } => self.on_join(host),
            Event::Want { copy } => self.on_want(copy),
            Event::Timer { host } => self.on_timer(host),
            Event::Fate { host } => self.on_fate(host),
            Event::SliceLeft { host } => self.on_slice_left(host),
            Event::UplinkWake { host } => self.on_uplink_wake(host),
            Event::Crossed { end, index, len, left, took } => {
                self.on_crossed(end, index, len, left, took);
            }
            Event::Progress { end, index, bytes } => self.on_progress(end, index, bytes),
            Event::Piece { end, index } => self.on_piece(end, index),
            Event::Message { end, message } => self.on_message(end, *message),
            Event::Closed { end } => self.on_closed(end, "end of stream"),
            Event::Break { end } => self.on_break(end),
            Event::Stalled { end } => self.on_stalled(end),
            Event::Arrive(arrival) => self.on_arrival(&arrival),
            Event::Dialed { end, reply } => self.on_dialed(end, *reply),
            Event::DialFailed(failed) => self.on_dial_failed(*failed),
            Event::Announce(announcing) => self.on_announce(&announcing),
            Event::Announced(answer) => self.on_announced(*answer),
            Event::Committed { copy, life } => self.on_committed(copy, life),
            Event::Discarded { copy, life } => self.on_discarded(copy, life),
        }
    }

    fn on_timer(&mut self, host: u32) {
        let now = self.now;
        let it = &mut self.hosts[host as usize];
        if it.timer_at != now {
            return;
        }
        it.timer_at = NEVER;
        let sent = it.up.sent;
        let looks = it.look_at <= now;
        if looks {
            it.look_at = now + nanos(UPLOAD_LOOK_EVERY);
        }
        self.call_for(host, Cause::Timer, |peer, time| {
            if looks && peer.is_sending() {
                peer.handle_upload_progress(time, sent);
            }
            if peer.poll_timeout().is_some_and(|at| at <= time) {
                peer.handle_timeout(time);
            }
        });
    }

    /// Tells a host something and carries out what it wants then. One that does nothing is told
    /// nothing.
    pub(super) fn call(&mut self, host: u32, tell: impl FnOnce(&mut dyn Peer, Time)) {
        self.call_for(host, Cause::News, tell);
    }

    /// As [`Simulation::call`], for that reason.
    pub(super) fn call_for(
        &mut self,
        host: u32,
        cause: Cause,
        tell: impl FnOnce(&mut dyn Peer, Time),
    ) {
        let now = self.now;
        let it = &mut self.hosts[host as usize];
        if it.hung {
            return;
        }
        let Some(peer) = it.peer.as_deref_mut() else { return };
        tell(peer, Time::from_nanos(now));
        self.count_call(host, cause);
        self.drain(host);
    }

    /// Carries out what a host wants and sets its timer.
    pub(super) fn drain(&mut self, host: u32) {
        let mut outputs = 0;
        loop {
            let it = &mut self.hosts[host as usize];
            let Some(output) = it.peer.as_mut().and_then(|peer| peer.poll_output()) else { break };
            self.carry_out(host, output);
            outputs += 1;
            if outputs > OUTPUTS_MAX {
                self.audit.storm(&self.hosts[host as usize], "outputs without end");
                break;
            }
        }
        self.set_timer(host);
    }

    fn set_timer(&mut self, host: u32) {
        let now = self.now;
        let it = &mut self.hosts[host as usize];
        let Some(peer) = it.peer.as_deref() else { return };
        let mut wake = peer.poll_timeout().map_or(NEVER, Time::as_nanos);
        if wake < it.timer_at || it.look_at < it.timer_at {
            if peer.is_sending() {
                wake = wake.min(it.look_at);
            }
            if wake < it.timer_at {
                it.timer_at = wake.max(now + 1);
                self.queue.push(it.timer_at, Event::Timer { host });
            }
        }
    }

    fn carry_out(&mut self, host: u32, output: Output) {
        match output {
            Output::Send { conn, message } => {
                if let Some(end) = self.end_of(host, conn) {
                    self.say(end, message);
                }
            }
            Output::SendPiece { conn, index, .. } => {
                if let Some(end) = self.end_of(host, conn) {
                    self.send_piece(end, index.0);
                }
            }
            Output::Announce { torrent, info_hash, complete, starved } => {
                if let Some(copy) = self.copy_of(host, &torrent) {
                    self.announce(copy, info_hash, complete, starved);
                }
            }
            Output::Dial { conn, peer, handshake } => self.dial(host, conn, &peer, handshake),
            Output::Close { conn, reason } => self.close(host, conn, &reason),
            Output::Commit { torrent } => self.commit(host, &torrent),
            Output::Discard { torrent } => {
                // Nothing of what is kept here is wrong.
                self.audit.violate(&self.hosts[host as usize], "throws a blob away");
                if let Some(copy) = self.copy_of(host, &torrent) {
                    let life = self.hosts[host as usize].life;
                    self.queue.push(self.now, Event::Discarded { copy, life });
                }
            }
            // All metainfo is there from the start.
            Output::Refresh { .. } | Output::Wanted { .. } => {}
            Output::Completed { torrent } => {
                if let Some(copy) = self.copy_of(host, &torrent) {
                    self.complete(copy);
                }
            }
            Output::Dropped { torrent, reason } => {
                if let Some(copy) = self.copy_of(host, &torrent) {
                    self.on_dropped(copy, reason);
                }
            }
        }
    }

    fn end_of(&self, host: u32, conn: ConnId) -> Option<u32> {
        self.hosts[host as usize].conns.get(&conn).copied()
    }

    /// A host's copy of a blob.
    pub(super) fn copy_of(&self, host: u32, digest: &Digest) -> Option<u32> {
        let blob = *self.blob_of.get(digest)?;
        let copies = &self.hosts[host as usize].copies;
        copies.iter().copied().find(|copy| self.copies[*copy as usize].blob == blob)
    }

    /// How many times as long as usual the next slice takes.
    pub(super) fn stretch(&mut self) -> f64 {
        let jitter = self.scenario.network.jitter;
        if jitter == 0.0 { 1.0 } else { 1.0 + jitter * (2.0 * self.rng.fraction() - 1.0) }
    }
}

/// A duration in nanoseconds; the longest for one that is too long.
pub(super) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER / 4)
}

/// When the run starts: peers may take the epoch of their clock for long ago.
pub(super) const EPOCH: Nanos = 1_000_000_000;

/// How often those who watch a run are told.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// And after how many events they are told besides: a tenth of a second of many hosts with small
/// slices takes minutes.
const LOOK_EVENTS: u64 = 1 << 16;
