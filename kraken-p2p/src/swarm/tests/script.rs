//! One swarm, played by hand.
