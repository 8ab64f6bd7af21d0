//! Every bound of the agent, with its reason.

use std::time::Duration;

/// How long a manifest that was read from the store is believed to be there: those who ask for one
/// ask again within moments, and the store hears of it often enough.
pub(crate) const RECENT_MAX: Duration = Duration::from_secs(1);

/// Manifests kept for that long: more than a host pulls in a second; 4 MiB at most.
pub(crate) const RECENT_MANIFESTS_MAX: usize = 64;

/// Longest manifest kept so; most have a few kilobytes.
pub(crate) const RECENT_MANIFEST_BYTES_MAX: usize = 64 << 10;

/// Most downloads told of at once, those that have waited longest: some 300 KiB of JSON.
pub(crate) const DOWNLOADS_TOLD_MAX: usize = 1000;

/// How long the node may take to answer a probe: uber/kraken's `probe_timeout`.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a tracker may take to say that it is ready: it asks an origin, which asks its backend,
/// and who asks for our readiness does not wait for ever either.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(5);
