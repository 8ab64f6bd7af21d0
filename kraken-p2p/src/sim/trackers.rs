//! The trackers: the code of the real ones, with a service time.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kraken_core::{Error, ErrorKind, InfoHash, PeerContext, PeerInfo, Time};

use super::engine::{Simulation, nanos};
use super::queue::{Announcing, Answer, Event};
use super::world::Nanos;
use crate::swarm::Announced;
use crate::tracker::{AnnounceRequest, Announcer, HandoutConfig, MemoryPeerStore};

/// One tracker, which answers one announce after the other.
#[derive(Debug)]
pub(super) struct Tracker {
    announcer: Announcer,
    service: Nanos,
    /// When it has answered all that have come.
    free: Nanos,
}

impl Tracker {
    pub(super) fn new(service: Duration, handout: HandoutConfig, seed: u64) -> Self {
        let announcer = Announcer::new(Arc::new(MemoryPeerStore::default()), handout, seed);
        Self { announcer, service: nanos(service), free: 0 }
    }

    fn answer(
        &self,
        request: &AnnounceRequest,
        origins: Vec<PeerContext>,
        now: Nanos,
    ) -> Result<Announced, Error> {
        let answer = self.announcer.announce(request, Ok(origins), Time::from_nanos(now));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(answer) = pin!(answer).poll(&mut context) else {
            // A store in memory has nothing to wait for.
            return Err(Error::new(ErrorKind::Internal, "the tracker's store waits"));
        };
        let answer = answer?;
        let interval = Duration::from_nanos(u64::try_from(answer.interval).unwrap_or(0));
        let peers = answer.peers.unwrap_or_default();
        Ok(Announced { peers, interval, bridge: answer.bridge })
    }
}

impl Simulation {
    /// Sends an announce to the blob's tracker.
    pub(super) fn announce(
        &mut self,
        copy: u32,
        info_hash: InfoHash,
        complete: bool,
        starved: bool,
    ) {
        self.note_announce(copy, complete);
        let Copied { host, blob } = self.whose(copy);
        let host = &self.hosts[host as usize];
        let tells_zone = host.peer.as_deref().is_some_and(|peer| peer.tells_zone());
        let zone = if tells_zone { host.zone.to_string() } else { String::new() };
        let digest = self.blobs[blob as usize].digest();
        let request = AnnounceRequest {
            name: digest.wire_name(),
            digest: Some(digest),
            info_hash,
            peer: PeerInfo { complete, ..host.local.clone() },
            zone,
            starved,
        };
        let announcing = Announcing { copy, life: host.life, request };
        let at = blob as usize % self.trackers.len();
        let tracker = &mut self.trackers[at];
        let arrives = self.now + self.zones.usual_latency();
        tracker.free = tracker.free.max(arrives).saturating_add(tracker.service);
        self.queue.push(tracker.free, Event::Announce(Box::new(announcing)));
    }

    pub(super) fn on_announce(&mut self, announcing: &Announcing) {
        let &Announcing { copy, life, ref request } = announcing;
        let Copied { blob, .. } = self.whose(copy);
        let origins = self.blobs[blob as usize].origins.clone();
        let tracker = &self.trackers[blob as usize % self.trackers.len()];
        let result = tracker.answer(request, origins, self.now);
        let answer = Box::new(Answer { copy, life, result });
        self.queue.push(self.now + self.zones.usual_latency(), Event::Announced(answer));
    }

    pub(super) fn on_announced(&mut self, answer: Answer) {
        let Answer { copy, life, result } = answer;
        let Copied { host, blob } = self.whose(copy);
        if self.hosts[host as usize].life != life {
            return;
        }
        let digest = self.blobs[blob as usize].digest();
        self.call(host, |peer, now| peer.handle_announced(now, &digest, result));
    }

    pub(super) fn whose(&self, copy: u32) -> Copied {
        let copy = &self.copies[copy as usize];
        Copied { host: copy.host, blob: copy.blob }
    }
}

/// Whose copy it is, and of what.
pub(super) struct Copied {
    pub(super) host: u32,
    pub(super) blob: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::{Blob, Scenario};
    use crate::sim::world::NEVER;

    /// One after the other they take longer than a clock can count.
    #[test]
    fn announces_that_are_answered_after_the_end_of_time_are_never_answered() {
        let mut scenario = Scenario::new("slow", 10);
        scenario.blobs = vec![Blob::new("blob", 1)];
        scenario.trackers.service = Duration::from_secs(1000 * 3600);
        let mut run = Simulation::new(&scenario, 1).unwrap();
        for tracker in &mut run.trackers {
            tracker.free = NEVER - 2 * nanos(scenario.trackers.service);
        }
        while run.advance(Duration::from_secs(1)) {}
        assert!(run.trackers.iter().any(|tracker| tracker.free == NEVER));
        assert_eq!(run.into_report().ending, "starved");
    }
}
