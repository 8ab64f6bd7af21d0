//! Accepting connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kraken_core::{Digest, PeerId, Result, TorrentMeta};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::commands::{Commands, add};
use super::conn::{self, NoHandshake};
use super::event::{Accepted, Event};
use super::limits::ACCEPT_PAUSE;
use super::shared::Shared;
use super::stats;
use super::torrent::Torrent;
use crate::swarm::{CloseReason, Refused};
use crate::wire::Handshake;

/// Accepts until the node closes. A system out of files or memory only makes it pause.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, commands: Commands) {
    let accept = async {
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            match listener.accept().await {
                Ok((socket, from)) => {
                    pause = ACCEPT_PAUSE.0;
                    welcome(&shared, &commands, socket, from);
                }
                // These are about one connection, not about the listener.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "accept failed");
                    sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    };
    shared.closing.run_until_cancelled(accept).await;
}

/// Starts the handshake of an accepted connection, if there is room for one more. The newest is
/// the one refused: those already under way have at most one timeout to live.
fn welcome(shared: &Arc<Shared>, commands: &Commands, socket: TcpStream, from: SocketAddr) {
    let ip = from.ip().to_canonical();
    let Ok(permit) = Arc::clone(&shared.handshakes).try_acquire_owned() else {
        stats::add(&shared.counters.refused, 1);
        tracing::debug!(%ip, reason = "too many handshakes under way", "connection refused");
        return;
    };
    let (shared, commands) = (Arc::clone(shared), commands.clone());
    shared.tasks.clone().spawn(async move {
        let closing = shared.closing.clone();
        let greeted = closing.run_until_cancelled(greet(&shared, &commands, socket, ip)).await;
        drop((permit, commands));
        match greeted {
            Some(Ok((accepted, socket, buffered))) => {
                conn::run(shared, accepted.end, socket, buffered).await;
            }
            Some(Err(turned)) => {
                stats::add(&shared.counters.refused, 1);
                turned.log(&shared, ip);
            }
            None => {}
        }
    });
}

/// Why a connection was not accepted.
#[derive(Debug)]
struct TurnedAway {
    /// What its handshake said, if there was one.
    who: Option<(PeerId, Digest)>,
    /// Whether the peer broke the protocol, or was banned for that.
    breach: bool,
    reason: String,
}

impl TurnedAway {
    fn log(&self, shared: &Shared, ip: IpAddr) {
        let Self { who, breach, reason } = self;
        let (peer_id, digest) = who.unzip();
        let peer = match peer_id {
            Some(peer_id) => format!("{peer_id} at {ip}"),
            None => ip.to_string(),
        };
        if *breach {
            let now = shared.clock.now();
            shared.complaints.broke_protocol(now, &peer, digest.as_ref(), reason);
        } else {
            let digest = digest.map(tracing::field::display);
            tracing::debug!(peer, digest, reason, "connection refused");
        }
    }
}

impl From<String> for TurnedAway {
    /// For no fault of the peer's.
    fn from(reason: String) -> Self {
        Self { who: None, breach: false, reason }
    }
}

impl From<NoHandshake> for TurnedAway {
    fn from(why: NoHandshake) -> Self {
        let breach = matches!(why, NoHandshake::Wrong(_));
        Self { breach, ..Self::from(why.to_string()) }
    }
}

impl From<Option<Refused>> for TurnedAway {
    fn from(refused: Option<Refused>) -> Self {
        let breach = matches!(refused, Some(Refused::Invalid(_) | Refused::Banned));
        let reason = refused.map_or_else(|| "closing".to_owned(), |why| format!("{why:?}"));
        Self { breach, ..Self::from(reason) }
    }
}

/// The accepting side of the handshake.
async fn greet(
    shared: &Arc<Shared>,
    commands: &Commands,
    mut socket: TcpStream,
    ip: IpAddr,
) -> Result<(Accepted, TcpStream, BytesMut), TurnedAway> {
    let limit = shared.config.handshake_timeout;
    conn::prepare(&socket).map_err(|e| e.to_string())?;
    let (handshake, buffered) = conn::read_handshake(&mut socket, limit).await?;
    let who = Some((handshake.peer_id, handshake.digest));
    let accepted = admit(shared, commands, ip, handshake)
        .await
        .map_err(|turned| TurnedAway { who, ..turned })?;
    let reply = accepted.reply.clone();
    if let Err(error) = conn::write_handshake(&mut socket, reply, limit).await {
        let reason = CloseReason::HandshakeFailed(error.clone());
        shared.report(Event::Closed { conn: accepted.end.id, reason }).await;
        return Err(TurnedAway { who, ..error.into() });
    }
    Ok((accepted, socket, buffered))
}

/// Asks the swarm; when it does not know the torrent, looks in storage and asks once more.
async fn admit(
    shared: &Arc<Shared>,
    commands: &Commands,
    ip: IpAddr,
    handshake: Handshake,
) -> Result<Accepted, TurnedAway> {
    let refused = match ask(shared, ip, handshake.clone()).await {
        Ok(accepted) => return Ok(accepted),
        Err(refused) => refused,
    };
    match refused {
        Some(Refused::UnknownTorrent) => {}
        Some(Refused::Provisional) => return wait_for_sums(shared, ip, handshake).await,
        refused => return Err(refused.into()),
    }
    let digest = handshake.digest;
    let late = |_| format!("{digest} not found in time");
    // Only the disk is given a deadline: an answer of the swarm must never be lost.
    let limit = shared.config.handshake_timeout;
    let _turn = timeout(limit, shared.openings.enter(&digest)).await.map_err(late)?;
    match ask(shared, ip, handshake.clone()).await {
        Err(Some(Refused::UnknownTorrent)) => {}
        answer => return answer.map_err(TurnedAway::from),
    }
    let found = timeout(limit, find(shared, commands, &handshake)).await.map_err(late)?;
    if !found.map_err(|error| error.to_string())? {
        return Err(format!("{digest} is not here").into());
    }
    ask(shared, ip, handshake).await.map_err(TurnedAway::from)
}

/// A peer that takes nothing without sums waits until there are some, but not for long.
async fn wait_for_sums(
    shared: &Shared,
    ip: IpAddr,
    handshake: Handshake,
) -> Result<Accepted, TurnedAway> {
    for _ in 0..SUMS_LOOKS {
        sleep(SUMS_PAUSE).await;
        match ask(shared, ip, handshake.clone()).await {
            Err(Some(Refused::Provisional)) => {}
            answer => return answer.map_err(TurnedAway::from),
        }
    }
    Err(Some(Refused::Provisional).into())
}

/// The swarm's answer; `None` when there is nobody to answer.
async fn ask(
    shared: &Shared,
    ip: IpAddr,
    handshake: Handshake,
) -> Result<Accepted, Option<Refused>> {
    let (answer, answered) = oneshot::channel();
    shared.report(Event::Incoming { ip, handshake: Box::new(handshake), answer }).await;
    answered.await.map_err(|_| None)?.map_err(Some)
}

/// Adds the torrent of a handshake from storage, if it is there; in the caller's turn and when the
/// swarm has none.
async fn find(shared: &Shared, commands: &Commands, handshake: &Handshake) -> Result<bool> {
    let (digest, namespace) = (handshake.digest, handshake.namespace.clone());
    let storage = Arc::clone(&shared.storage);
    let old = shared.openings.latest(&digest);
    let found = shared.blocking.run("look for a torrent", move || {
        if let Some(old) = old {
            old.end();
        }
        let Some((meta, file)) = storage.find(&digest, &namespace)? else { return Ok(None) };
        let torrent = Torrent::new(TorrentMeta::Final(meta), namespace, file);
        let spec = torrent.spec();
        Ok(Some((torrent, spec)))
    });
    let Some((torrent, spec)) = found.await.flatten()? else { return Ok(false) };
    if torrent.digest != digest {
        return Ok(false);
    }
    add(commands, torrent, spec, None).await?;
    Ok(true)
}

/// How often it is looked whether a blob has sums for a peer that needs them: for three seconds in
/// all, of the five that a handshake has.
const SUMS_PAUSE: Duration = Duration::from_millis(100);
const SUMS_LOOKS: usize = 30;
