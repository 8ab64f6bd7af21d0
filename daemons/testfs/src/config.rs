//! What the file server can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The configuration of a [`TestFs`](crate::TestFs).
#[derive(Debug, Clone)]
pub struct TestFsConfig {
    /// Where it listens; port 0 takes a free one. On the loopback unless told otherwise: whoever
    /// reaches it may write.
    pub listen: SocketAddr,
    /// The directory served, made if missing and kept at the end, for one server at a time; `None`
    /// for a fresh one that goes away with the server. Symbolic links in it count as missing.
    pub root: Option<PathBuf>,
}

impl Default for TestFsConfig {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into(), root: None }
    }
}
