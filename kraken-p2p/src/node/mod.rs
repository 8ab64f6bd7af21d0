//! The tokio shell round the swarm.
