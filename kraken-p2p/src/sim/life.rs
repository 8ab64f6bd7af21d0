//! What becomes of hosts, and of what they want.

use kraken_core::{Bitfield, PieceIndex, Time};

use super::build;
use super::engine::{Simulation, nanos};
use super::queue::Event;
use super::scenario::{Fate, Reading};
use super::storms::Cause;
use super::trackers::Copied;
use super::world::{ConnIds, Copy, NEVER};
use crate::swarm::{DemandId, PieceOutcome};

/// Hosts.
impl Simulation {
    pub(super) fn on_join(&mut self, host: u32) {
        self.start_process(host);
        let now = self.now;
        let it = &mut self.hosts[host as usize];
        it.joined_at = now;
        if it.origin {
            for copy in it.copies.clone() {
                self.add_torrent(copy);
            }
        }
    }

    fn start_process(&mut self, host: u32) {
        let it = &mut self.hosts[host as usize];
        let policy = &self.groups[it.group as usize].policy;
        let peer = policy.peer(it.local.clone(), it.seed.wrapping_add(u64::from(it.life)));
        it.limits = peer.limits();
        it.writes_in_order = peer.writes_in_order();
        it.buffers_pieces = peer.buffers_pieces();
        it.keeps_stalled = peer.keeps_stalled();
        it.verifies_blobs = peer.verifies_blobs();
        it.peer = Some(peer);
        it.timer_at = NEVER;
        it.look_at = 0;
    }

    pub(super) fn on_want(&mut self, copy: u32) {
        let Copied { host, .. } = self.whose(copy);
        let it = &self.hosts[host as usize];
        self.waiting += usize::from(self.groups[it.group as usize].must_finish);
        self.moved_at = self.now;
        self.copies[copy as usize].wanted_at = Some(self.now);
        if it.peer.is_some() {
            self.add_torrent(copy);
            self.set_demand(copy);
        }
    }

    fn add_torrent(&mut self, copy: u32) {
        let it = &self.copies[copy as usize];
        let spec = self.blobs[it.blob as usize].spec(it);
        let mut refused = None;
        self.call(it.host, |peer, now| refused = peer.add_torrent(now, spec).err());
        if let Some(error) = refused {
            self.on_dropped(copy, error.to_string());
        }
    }

    /// Says what the host waits for of a blob.
    fn set_demand(&mut self, copy: u32) {
        let it = &self.copies[copy as usize];
        let blob = &self.blobs[it.blob as usize];
        let (digest, len) = (blob.digest(), blob.geometry.blob_len());
        let range = match it.reading {
            Reading::Whole => 0..len,
            Reading::Window { bytes } => {
                let from = (u64::from(it.cursor) * blob.geometry.piece_len()).min(len);
                from..from.saturating_add(bytes).min(len)
            }
        };
        let range = (!range.is_empty()).then_some(range);
        self.call(it.host, |peer, now| peer.set_demand(now, &digest, DemandId(1), range));
    }

    pub(super) fn on_fate(&mut self, host: u32) {
        match self.hosts[host as usize].fate {
            Fate::Stays | Fate::Lies { .. } => {}
            Fate::Hangs { .. } => {
                self.drop_current(host);
                self.hosts[host as usize].hung = true;
            }
            Fate::Killed { replaced, .. } => {
                self.kill(host);
                if replaced {
                    build::replace(self, host);
                }
            }
            Fate::Restarts { down, .. } => {
                if self.hosts[host as usize].peer.is_some() {
                    self.kill(host);
                    self.queue.push(self.now + nanos(down), Event::Fate { host });
                } else {
                    self.restart(host);
                }
            }
        }
    }

    /// Ends a host's process: the system closes its connections.
    fn kill(&mut self, host: u32) {
        self.compare_host(host);
        let ends: Vec<u32> = self.hosts[host as usize].conns.values().copied().collect();
        for end in ends {
            self.shut(end);
            self.send_end(end);
        }
        self.drop_current(host);
        let it = &mut self.hosts[host as usize];
        it.peer = None;
        it.life += 1;
        it.dials.clear();
        it.given = ConnIds::default();
        it.up.stop();
        it.timer_at = NEVER;
        it.end_tally();
        self.forget_lies(host);
    }

    /// Starts a process on what is on disk.
    fn restart(&mut self, host: u32) {
        self.start_process(host);
        for copy in self.hosts[host as usize].copies.clone() {
            let it = &mut self.copies[copy as usize];
            it.begin_announcing();
            (it.committed, it.verified) = (it.complete, it.complete);
            if it.wanted_at.is_some() {
                self.add_torrent(copy);
                self.set_demand(copy);
            }
        }
    }
}

/// Pieces and blobs.
impl Simulation {
    /// The last byte of a piece has come, and was checked.
    pub(super) fn on_piece(&mut self, end: u32, index: u32) {
        let it = &mut self.ends[end as usize];
        let (host, conn, copy) = (it.host, it.conn, it.copy);
        let digest = self.blobs[self.copies[copy as usize].blob as usize].digest();
        if !it.open || self.hosts[host as usize].hung {
            return;
        }
        it.unreported = 0;
        it.reported_at = self.now;
        self.note_answered(end, index);
        let (outcome, moved) = self.store(end, index);
        let index = PieceIndex(index);
        self.call_for(host, Cause::Piece, |peer, now| {
            peer.handle_piece(now, &digest, conn, index, outcome);
        });
        if matches!(outcome, PieceOutcome::Corrupt { .. }) {
            self.note_wrong_piece(end);
        }
        if moved && matches!(self.copies[copy as usize].reading, Reading::Window { .. }) {
            self.set_demand(copy);
        }
    }

    /// What comes of the bytes of a piece; and whether the first missing piece is another now.
    fn store(&mut self, end: u32, index: u32) -> (PieceOutcome, bool) {
        let now = self.now;
        let it = &self.ends[end as usize];
        let copy = &mut self.copies[it.copy as usize];
        let writes = copy.leases.iter().position(|lease| *lease == (index, end));
        if let Some(place) = writes {
            copy.leases.swap_remove(place);
        }
        let buffers = self.hosts[it.host as usize].buffers_pieces;
        let tally = &mut self.hosts[it.host as usize].tally;
        if copy.have.contains(PieceIndex(index)) || writes.is_none() && !buffers {
            tally.duplicates += 1;
            self.tally.pieces_in_vain += 1;
            let present = copy.have.contains(PieceIndex(index));
            let outcome = if present { PieceOutcome::Present } else { PieceOutcome::Duplicate };
            return (outcome, false);
        }
        let sender = &self.hosts[self.ends[(end ^ 1) as usize].host as usize];
        if let Fate::Lies { forged } = sender.fate {
            self.tally.pieces_corrupt += 1;
            self.hosts[it.host as usize].tally.pieces_corrupt += 1;
            return (PieceOutcome::Corrupt { lied: forged }, false);
        }
        let len = self.blobs[copy.blob as usize].len_of(index);
        let from_origin = sender.origin;
        if from_origin {
            copy.bytes_from_origins += len;
        } else {
            copy.bytes_from_peers += len;
        }
        self.moved_at = now;
        let moved = copy.store(PieceIndex(index), now);
        if copy.have_count == copy.have.len() && copy.finished_at.is_none() {
            copy.finished_at = Some(now);
            let group = &self.groups[self.hosts[it.host as usize].group as usize];
            self.outstanding -= usize::from(group.must_finish);
            self.waiting -= usize::from(group.must_finish);
        }
        let tally = &mut self.hosts[it.host as usize].tally;
        tally.pieces_stored += 1;
        tally.bytes_stored += len;
        if from_origin {
            tally.pieces_from_origins += 1;
            tally.bytes_from_origins += len;
        }
        self.tally.pieces_stored += 1;
        (PieceOutcome::Stored, moved)
    }

    pub(super) fn commit(&mut self, host: u32, digest: &kraken_core::Digest) {
        let Some(copy) = self.copy_of(host, digest) else { return };
        if self.copies[copy as usize].have_count < self.copies[copy as usize].have.len() {
            self.audit.violate(&self.hosts[host as usize], "commits a blob that is not all there");
            return;
        }
        self.copies[copy as usize].committed = true;
        let life = self.hosts[host as usize].life;
        let at = self.now + nanos(self.scenario.network.commit_time);
        self.queue.push(at, Event::Committed { copy, life });
    }

    /// A peer calls a blob complete.
    pub(super) fn complete(&mut self, copy: u32) {
        let it = &mut self.copies[copy as usize];
        let host = &self.hosts[it.host as usize];
        if it.have_count < it.have.len() {
            self.audit.violate(host, "calls a blob complete that is not all there");
            return;
        }
        if host.verifies_blobs && !it.verified {
            self.audit.violate(host, "calls a blob complete that was not committed");
        }
        it.complete = true;
    }

    pub(super) fn on_committed(&mut self, copy: u32, life: u32) {
        let Copied { host, blob } = self.whose(copy);
        if self.hosts[host as usize].life == life {
            self.copies[copy as usize].verified = true;
            let digest = self.blobs[blob as usize].digest();
            self.call(host, |peer, now| peer.handle_committed(now, &digest, Ok(())));
            self.check_completed(copy);
        }
    }

    pub(super) fn on_discarded(&mut self, copy: u32, life: u32) {
        let Copied { host, blob } = self.whose(copy);
        if self.hosts[host as usize].life != life {
            return;
        }
        let it: &mut Copy = &mut self.copies[copy as usize];
        it.have = Bitfield::new(it.have.len());
        (it.have_count, it.cursor) = (0, 0);
        (it.announced_complete, it.committed, it.verified) = (false, false, false);
        let digest = self.blobs[blob as usize].digest();
        self.call(host, |peer, now: Time| peer.handle_discarded(now, &digest, Ok(())));
    }

    /// A peer has given a blob up, or forgotten a complete one that nobody asked for.
    pub(super) fn on_dropped(&mut self, copy: u32, reason: String) {
        self.forget_lies_of(copy);
        let it = &mut self.copies[copy as usize];
        if it.finished_at.is_none() && !it.complete {
            it.dropped = Some(reason);
        }
    }
}
