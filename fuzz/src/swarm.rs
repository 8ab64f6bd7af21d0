//! The swarm in any order of events: what its driver, its peers and its tracker may say, and when.

use kraken_p2p::swarm::check::play;

/// Plays what `data` stands for: six bytes a move, the first of them for the configuration.
pub fn check(data: &[u8]) {
    play(data);
}
