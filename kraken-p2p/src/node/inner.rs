//! What the clones of a node and its downloads share.

use std::net::SocketAddr;
use std::sync::Arc;

use kraken_core::Result;
use tokio::sync::oneshot;

use super::commands::{Commands, call};
use super::event::Command;
use super::shared::Shared;

/// Ends the node's tasks when it is dropped.
#[derive(Debug)]
pub(super) struct NodeInner {
    pub(super) shared: Arc<Shared>,
    pub(super) commands: Commands,
    pub(super) local_addr: SocketAddr,
}

impl NodeInner {
    pub(super) async fn call<T>(
        &self,
        what: &str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T> {
        call(&self.commands, what, command).await
    }
}

impl Drop for NodeInner {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}
