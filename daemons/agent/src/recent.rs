//! Manifests that were read a moment ago.
//!
//! A pull asks for its manifest several times, and a host that starts many containers for the same
//! one again and again. Each time the swarm's task, a hop to the blocking threads and the reading
//! of the JSON cost more than the answer does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kraken_core::Digest;
use kraken_registry_api::Manifest;

use crate::limits::{RECENT_MANIFEST_BYTES_MAX, RECENT_MANIFESTS_MAX, RECENT_MAX};

/// Small manifests, each for [`RECENT_MAX`] after it was read from the store: so a blob that is
/// used is still touched in the store, and one that is gone there is soon gone here.
#[derive(Debug, Default)]
pub(crate) struct RecentManifests {
    /// Locked for a look, never across an await.
    entries: Mutex<BTreeMap<Digest, Entry>>,
}

#[derive(Debug)]
struct Entry {
    manifest: Manifest,
    read: Instant,
}

impl RecentManifests {
    /// A manifest that was read a moment ago.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Manifest> {
        self.find_at(digest, Instant::now())
    }

    /// Notes that a manifest was read.
    pub(crate) fn put(&self, manifest: &Manifest) {
        self.note_at(manifest, Instant::now());
    }

    /// Forgets a manifest: it was removed.
    pub(crate) fn forget(&self, digest: &Digest) {
        self.entries().remove(digest);
    }

    fn find_at(&self, digest: &Digest, now: Instant) -> Option<Manifest> {
        let entries = self.entries();
        let entry = entries.get(digest).filter(|entry| is_recent(entry.read, now))?;
        Some(entry.manifest.clone())
    }

    fn note_at(&self, manifest: &Manifest, now: Instant) {
        if manifest.bytes.len() > RECENT_MANIFEST_BYTES_MAX {
            return;
        }
        let mut entries = self.entries();
        entries.retain(|_, entry| is_recent(entry.read, now));
        if entries.len() < RECENT_MANIFESTS_MAX {
            entries.insert(manifest.digest, Entry { manifest: manifest.clone(), read: now });
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Digest, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(read: Instant, now: Instant) -> bool {
    now.saturating_duration_since(read) < RECENT_MAX
}

/// A second at most: the documentation says so.
const _: () = assert!(RECENT_MAX.as_millis() <= Duration::from_secs(1).as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        let bytes = text.as_bytes().to_vec();
        Manifest {
            digest: Digest::sha256(&bytes),
            media_type: "a/b".to_owned(),
            bytes: bytes.into(),
        }
    }

    #[test]
    fn a_manifest_is_remembered_for_a_moment() {
        let (recent, now) = (RecentManifests::default(), Instant::now());
        let manifest = manifest("{}");
        assert!(recent.find_at(&manifest.digest, now).is_none());
        recent.note_at(&manifest, now);
        let found = recent.find_at(&manifest.digest, now + RECENT_MAX / 2).unwrap();
        assert_eq!((found.bytes, found.media_type), (manifest.bytes.clone(), "a/b".to_owned()));
        assert!(recent.find_at(&manifest.digest, now + RECENT_MAX).is_none());
        recent.note_at(&manifest, now);
        recent.forget(&manifest.digest);
        assert!(recent.find_at(&manifest.digest, now).is_none());
    }

    #[test]
    fn there_are_few_and_small_ones() {
        let (recent, now) = (RecentManifests::default(), Instant::now());
        let large = manifest(&" ".repeat(RECENT_MANIFEST_BYTES_MAX + 1));
        recent.note_at(&large, now);
        assert!(recent.find_at(&large.digest, now).is_none());
        for number in 0..2 * RECENT_MANIFESTS_MAX {
            recent.note_at(&manifest(&number.to_string()), now);
        }
        assert_eq!(recent.entries().len(), RECENT_MANIFESTS_MAX);
        let late = manifest("late");
        recent.note_at(&late, now + RECENT_MAX);
        assert!(recent.find_at(&late.digest, now + RECENT_MAX).is_some());
        assert_eq!(recent.entries().len(), 1);
    }
}
