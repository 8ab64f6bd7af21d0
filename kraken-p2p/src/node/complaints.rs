//! What is said aloud of peers that break the protocol: bounded, so that they cannot fill the log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kraken_core::{Digest, Time};

use super::limits::COMPLAINTS_PER_SEC;
use crate::swarm::CloseReason;

/// How many peers broke the protocol, and which of them the log may still be told of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    count: AtomicU64,
    window: Mutex<Window>,
}

/// One second. The lock is a leaf.
#[derive(Debug, Default)]
struct Window {
    ends: Time,
    lines: u32,
    left_out: u64,
}

impl Complaints {
    /// Writes a line on a connection that ended: at info if the peer broke the protocol or lied,
    /// else at debug.
    pub(super) fn closed(&self, now: Time, peer: &str, digest: &Digest, reason: &CloseReason) {
        match reason {
            CloseReason::Protocol(_) | CloseReason::Lied => {
                self.broke_protocol(now, peer, Some(digest), reason);
            }
            _ => tracing::debug!(peer, %digest, %reason, "connection closed"),
        }
    }

    /// Counts a breach of the protocol, and writes a line at info unless there were enough of late.
    pub(super) fn broke_protocol(
        &self,
        now: Time,
        peer: &str,
        digest: Option<&Digest>,
        reason: &dyn fmt::Display,
    ) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let Some(left_out) = self.admit(now) else { return };
        let digest = digest.map(tracing::field::display);
        let left_out = (left_out > 0).then_some(left_out);
        tracing::info!(peer, digest, %reason, left_out, "connection closed: protocol violation");
    }

    /// Says how many lines were left out since the last one.
    pub(super) fn finish(&self) {
        let left_out = self.window.lock().unwrap_or_else(PoisonError::into_inner).left_out;
        if left_out > 0 {
            tracing::info!(left_out, "more connections were closed for protocol violations");
        }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there may be a line, and then how many were left out before it.
    fn admit(&self, now: Time) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= window.ends {
            window.ends = now + Duration::from_secs(1);
            window.lines = 0;
        }
        if window.lines >= COMPLAINTS_PER_SEC {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_some_lines_a_second_and_a_number() {
        let complaints = Complaints::default();
        let at = |millis: u64| Time::from_millis(5000 + millis);
        let lines = (0..100).filter(|&n| complaints.admit(at(n)) == Some(0)).count();
        assert_eq!(lines, COMPLAINTS_PER_SEC as usize);
        assert_eq!(complaints.admit(at(999)), None);
        assert_eq!(complaints.admit(at(1000)), Some(101 - u64::from(COMPLAINTS_PER_SEC)));
        assert_eq!(complaints.admit(at(1001)), Some(0));
    }
}
