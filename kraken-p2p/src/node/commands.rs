//! Asking the task that owns the swarm.

use std::sync::Arc;

use kraken_core::{Error, ErrorKind, Result, Time};
use tokio::sync::{mpsc, oneshot};

use super::event::Command;
use super::subscription::Subscription;
use super::torrent::Torrent;
use crate::swarm::TorrentSpec;

/// The way to the task that owns the swarm.
pub(super) type Commands = mpsc::Sender<Command>;

/// Asks the swarm's task something and waits for the answer.
pub(super) async fn call<T>(
    commands: &Commands,
    what: &str,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T> {
    let (answer, answered) = oneshot::channel();
    commands.send(command(answer)).await.map_err(|_| closed(what))?;
    answered.await.map_err(|_| closed(what))
}

/// Adds a torrent; for who asked at that time it is joined too.
pub(super) async fn add(
    commands: &Commands,
    torrent: Arc<Torrent>,
    spec: TorrentSpec,
    asked_at: Option<Time>,
) -> Result<Option<Subscription>> {
    let spec = Box::new(spec);
    call(commands, "add a torrent", |answer| Command::Add { torrent, spec, asked_at, answer })
        .await?
}

/// The error of a call that found the swarm's task gone.
pub(super) fn closed(what: &str) -> Error {
    Error::new(ErrorKind::Cancelled, format!("{what}: the node is closed"))
}
