//! What the file server can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The configuration of a [`TestFs`](crate::TestFs).
#[derive(Debug, Clone)]
pub struct TestFsConfig {
    /// Where it listens; port 0 takes a free one. On the loopback unless told otherwise: whoever
    /// reaches it may write.
    pub listen: SocketAddr,
    /// The directory served, made if missing and kept at the end, for one server at a time; `None`
    /// for a fresh one that goes away with the server. Symbolic links in it count as missing.
    pub root: Option<PathBuf>,
    /// Most bytes of files sent per second, over all requests together; zero is no limit.
    pub egress_bytes_per_sec: u64,
    /// How long each request waits before it is answered, as if the server were far away.
    pub latency: Duration,
}

impl Default for TestFsConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            root: None,
            egress_bytes_per_sec: 0,
            latency: Duration::ZERO,
        }
    }
}
