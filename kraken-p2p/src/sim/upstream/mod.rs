//! A host of uber/kraken, agent or origin: its scheduler as it decides whom to talk to, what to
//! ask for and when, so that it can be compared with, and mixed with, hosts of ours.
//!
//! Written from what it does; it has no line in common with [`crate::swarm`], which knows nothing
//! of it. What is left out is its cost: no decision
//! takes time here, while there an announce of a piece costs a walk over all pieces. Nor are the
//! bounds of its queues of messages (10,000 each) reached in any swarm worth simulating. A blob's
//! SHA-256 is not checked by its agents, so a piece that only BLAKE3 tells from the right one would
//! be kept; here it counts as wrong.
//!
//! How near it is to the real ones depends on how evenly links are shared. 8 leechers that begin at
//! once behind an origin as slow as they are take 8.0 times as long as their link here, and between
//! 4.3 and 8.2 times on real links, on machines where they go less and more in step; re-configured
//! 2.07 here and 2.03 there. 16 of them on slower links take 3.5 to 4.5 times here, and 2.7 there:
//! docs/BENCHMARKS.md has both beside each other.
//!
//! A tracker as in uber/kraken orders its handouts by
//! [`crate::tracker::HandoutPolicy::Completeness`]. It counts the one who asks among the 50, ours
//! does not.

mod announces;
mod config;
mod heap;
mod host;
mod links;
mod requests;
mod torrent;

#[cfg(test)]
mod tests;

use kraken_core::PeerInfo;

pub use config::{PieceRequestPolicy, UpstreamConfig};
pub use host::Upstream;

use super::peer::{Peer, Policy};

/// Hosts that behave as uber/kraken's with these choices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamPolicy(pub UpstreamConfig);

impl Policy for UpstreamPolicy {
    fn name(&self) -> String {
        let random = self.0.piece_request_policy == PieceRequestPolicy::Default;
        let name = if self.0 == UpstreamConfig::default() {
            "uber/kraken"
        } else if [false, true].map(UpstreamConfig::reconfigured).contains(&self.0) {
            "uber/kraken re-configured"
        } else if random {
            "uber/kraken, pieces at random"
        } else {
            "uber/kraken with other settings"
        };
        name.to_owned()
    }

    fn peer(&self, local: PeerInfo, seed: u64) -> Box<dyn Peer> {
        Box::new(Upstream::new(self.0.clone(), local, seed))
    }
}
