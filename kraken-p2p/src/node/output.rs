//! Carrying out what the swarm wants.

use std::sync::Arc;
use std::time::Duration;

use kraken_core::{Digest, Error, ErrorKind, InfoHash, PeerInfo, Result};
use tokio::time::timeout;

use super::conn;
use super::driver::{Dial, Driver, Entry};
use super::event::Event;
use super::limits::ANNOUNCE_TIMEOUT;
use super::link::PieceToSend;
use super::running::DownloadPhase;
use super::shared::Shared;
use super::torrent::Torrent;
use crate::limits::HANDOUT_MAX;
use crate::swarm::{Announced, CloseReason, ConnId, Output};
use crate::tracker::AnnounceRequest;
use crate::wire::Handshake;

impl Driver {
    /// Does everything the swarm has decided since the last call.
    pub(super) fn carry_out(&mut self) {
        while let Some(output) = self.swarm.poll_output() {
            match output {
                Output::Announce { torrent, info_hash, complete, starved } => {
                    self.announce(torrent, info_hash, complete, starved);
                }
                Output::Dial { conn, peer, handshake } => self.dial(conn, peer, *handshake),
                Output::Send { conn, message } => {
                    let taken = self.conns.get(&conn).map(|link| link.send(message));
                    if matches!(taken, Some(Err(_))) {
                        self.hang_up(conn, CloseReason::Stalled);
                    }
                }
                Output::SendPiece { conn, index, proven, .. } => {
                    let piece = PieceToSend { index, proven };
                    let taken = self.conns.get(&conn).map(|link| link.send_piece(piece));
                    if matches!(taken, Some(Err(_))) {
                        self.hang_up(conn, CloseReason::Stalled);
                    }
                }
                Output::Close { conn, reason } => self.close(conn, &reason),
                Output::Refresh { torrent } => self.refresh(&torrent),
                Output::Wanted { torrent, pieces } => {
                    if let Some(entry) = self.entries.get(&torrent) {
                        entry.torrent.want(pieces);
                    }
                }
                Output::Commit { torrent } => self.commit(torrent),
                Output::Discard { torrent } => self.discard(torrent),
                Output::Completed { torrent } => self.completed(torrent),
                Output::Dropped { torrent, reason } => {
                    tracing::info!(digest = %torrent, reason, "torrent dropped");
                    if let Some(entry) = self.entries.remove(&torrent) {
                        let now = self.shared.clock.now();
                        let kind = match entry.mismatched {
                            true => ErrorKind::Mismatch,
                            false => ErrorKind::Unavailable,
                        };
                        self.fail(now, &entry, kind, &reason);
                        if entry.mismatched {
                            self.throw_away(&entry.torrent);
                        }
                    }
                }
            }
        }
    }

    fn announce(&self, torrent: Digest, info_hash: InfoHash, complete: bool, starved: bool) {
        let shared = Arc::clone(&self.shared);
        let request = AnnounceRequest {
            name: torrent.wire_name(),
            digest: Some(torrent),
            info_hash,
            peer: PeerInfo { complete, ..shared.local.clone() },
            zone: shared.config.zone.clone(),
            starved,
        };
        self.spawn(async move {
            let result = announce(&shared, request).await;
            shared.report(Event::Announced { torrent, result }).await;
        });
    }

    fn dial(&mut self, conn: ConnId, peer: PeerInfo, handshake: Handshake) {
        let token = self.shared.closing.child_token();
        let dial = Dial {
            torrent: handshake.digest,
            peer: format!("{} at {}:{}", peer.peer_id, peer.ip, peer.port),
            origin: peer.origin,
            token: token.clone(),
        };
        self.dials.insert(conn, dial);
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            let dialed = token.run_until_cancelled(conn::dial(&shared, &peer, handshake)).await;
            if let Some(result) = dialed {
                shared.report(Event::Dialed { conn, result: result.map(Box::new) }).await;
            }
        });
    }

    fn close(&mut self, conn: ConnId, reason: &CloseReason) {
        if let Some(link) = self.conns.remove(&conn) {
            let now = self.shared.clock.now();
            self.shared.complaints.closed(now, &link.peer, &link.digest, reason);
            link.token.cancel();
        }
        if let Some(dial) = self.dials.remove(&conn) {
            dial.token.cancel();
        }
    }

    fn commit(&self, digest: Digest) {
        let Some(torrent) = self.torrent(&digest) else { return };
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            let commit = move || torrent.file.commit();
            let result = shared.blocking.run("commit a blob", commit).await.flatten();
            shared.report(Event::Committed { torrent: digest, result }).await;
        });
    }

    fn discard(&self, digest: Digest) {
        let Some(torrent) = self.torrent(&digest) else { return };
        let shared = Arc::clone(&self.shared);
        self.spawn(async move {
            let _turn = shared.openings.enter(&digest).await;
            let (storage, old) = (Arc::clone(&shared.storage), Arc::clone(&torrent));
            let discard = move || old.discard(&*storage);
            let result = shared.blocking.run("discard a blob", discard).await.flatten();
            shared.report(Event::Discarded { torrent, result }).await;
        });
    }

    fn completed(&mut self, digest: Digest) {
        let Some(mut entry) = self.entries.remove(&digest) else { return };
        let now = self.shared.clock.now();
        entry.timeline.on_complete(now);
        entry.state.send_modify(|state| {
            state.progress.complete = true;
            state.progress.pieces = state.progress.pieces_total;
        });
        self.note_ended(now, &entry, DownloadPhase::Complete, "");
        self.entries.insert(digest, entry);
    }

    fn torrent(&self, digest: &Digest) -> Option<Arc<Torrent>> {
        self.entries.get(digest).map(|entry: &Entry| Arc::clone(&entry.torrent))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }
}

/// Asks the tracker, unless the node closes before it answers.
async fn announce(shared: &Shared, request: AnnounceRequest) -> Result<Announced> {
    let what = || format!("announce {}", request.name);
    let (cancelled, late) = (
        Error::new(ErrorKind::Cancelled, what()),
        Error::new(ErrorKind::Unavailable, format!("{}: no answer in time", what())),
    );
    let ask = async {
        // The semaphore is never closed.
        let _permit = shared.announces.acquire().await.ok();
        timeout(ANNOUNCE_TIMEOUT, shared.tracker.announce(request)).await.unwrap_or(Err(late))
    };
    let answer = shared.closing.run_until_cancelled(ask).await.unwrap_or(Err(cancelled))?;
    let mut peers = answer.peers.unwrap_or_default();
    peers.truncate(HANDOUT_MAX);
    let interval = Duration::from_nanos(u64::try_from(answer.interval).unwrap_or(0));
    Ok(Announced { peers, interval, bridge: answer.bridge })
}
