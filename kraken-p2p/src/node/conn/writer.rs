//! The half of a connection that writes: control messages first, then pieces.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::BytesMut;
use kraken_core::PieceIndex;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, timeout_at};

use super::requests::Requests;
use crate::node::event::Event;
use crate::node::limits::{SEND_SILENCE_MAX, SLICE_LEN, STALL_AFTER, WRITE_BATCH_LEN};
use crate::node::link::PieceToSend;
use crate::node::shared::Shared;
use crate::node::stats;
use crate::node::torrent::Torrent;
use crate::swarm::{CloseReason, ConnId};
use crate::wire::{self, Message};

pub(super) struct Writer {
    shared: Arc<Shared>,
    socket: Arc<TcpStream>,
    conn: ConnId,
    torrent: Arc<Torrent>,
    requests: Arc<Requests>,
    out: BytesMut,
    /// Whether the swarm was told that this connection takes no bytes, since the last piece.
    stalled: bool,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: Arc<TcpStream>,
        conn: ConnId,
        torrent: Arc<Torrent>,
        requests: Arc<Requests>,
    ) -> Self {
        Self { shared, socket, conn, torrent, requests, out: BytesMut::new(), stalled: false }
    }

    /// Sends until something fails; why.
    pub(super) async fn run(
        &mut self,
        mut control: mpsc::Receiver<Message>,
        mut pieces: mpsc::Receiver<PieceToSend>,
    ) -> CloseReason {
        loop {
            let sent = tokio::select! {
                biased;
                message = control.recv() => match message {
                    Some(message) => self.send_control(message, &mut control).await,
                    None => return CloseReason::Shutdown,
                },
                Some(piece) = pieces.recv() => self.send_piece(piece).await,
            };
            if let Err(reason) = sent {
                return reason;
            }
        }
    }

    /// Sends one message and those that wait behind it, in one write.
    async fn send_control(
        &mut self,
        first: Message,
        control: &mut mpsc::Receiver<Message>,
    ) -> Result<(), CloseReason> {
        let mut next = Some(first);
        while let Some(message) = next {
            if let Message::PieceRequest { index, .. } = message {
                self.requests.open(index);
            }
            wire::encode(&message, &mut self.out);
            next = if self.out.len() < WRITE_BATCH_LEN { control.try_recv().ok() } else { None };
        }
        let out = self.out.split();
        self.write_all(&out, SendFlags::empty()).await
    }

    /// Sends header and bytes of a piece and reports it.
    async fn send_piece(&mut self, piece: PieceToSend) -> Result<(), CloseReason> {
        let PieceToSend { index, proven } = piece;
        let range = self.torrent.geometry.range(index);
        let length = u32::try_from(range.end - range.start).unwrap_or(0);
        if length == 0 || !self.torrent.leases.is_marked(index) {
            return self.report_sent(index, Err(())).await;
        }
        if proven {
            let torrent = Arc::clone(&self.torrent);
            let read = self.shared.blocking.run("read a proof", move || torrent.file.proof(index));
            let Ok(Some(proof)) = read.await.flatten() else {
                return self.report_sent(index, Err(())).await;
            };
            let proof = Box::new(proof);
            wire::encode(&Message::PieceProof { index, proof }, &mut self.out);
        }
        wire::encode(&Message::PiecePayload { index, offset: 0, length }, &mut self.out);
        let header = self.out.split();
        self.write_all(&header, SendFlags::MORE).await?;
        let sent = match self.torrent.file.sendfile_source() {
            Some((file, base)) => self.send_file(&file, base, range).await,
            None => self.send_read(range).await,
        };
        match sent {
            Ok(()) => {
                self.stalled = false;
                self.report_sent(index, Ok(())).await
            }
            Err(reason) => {
                self.report_sent(index, Err(())).await?;
                Err(reason)
            }
        }
    }

    async fn report_sent(
        &self,
        index: PieceIndex,
        sent: Result<(), ()>,
    ) -> Result<(), CloseReason> {
        let told = self.shared.report(Event::PieceSent { conn: self.conn, index, sent }).await;
        if told { Ok(()) } else { Err(CloseReason::Shutdown) }
    }

    /// Sends bytes of the blob straight from its file.
    async fn send_file(
        &mut self,
        file: &File,
        base: u64,
        range: Range<u64>,
    ) -> Result<(), CloseReason> {
        let (mut at, end) = (base + range.start, base + range.end);
        while at < end {
            let slice_end = end.min(at + SLICE_LEN as u64);
            self.pace((slice_end - at) as usize).await;
            while at < slice_end {
                let sent = self
                    .send_some(|socket| {
                        let count = (slice_end - at) as usize;
                        Ok(rustix::fs::sendfile(socket, file, Some(&mut at), count)?)
                    })
                    .await?;
                if sent == 0 {
                    return Err(self.unreadable(&"the file is too short"));
                }
                stats::add(&self.shared.counters.sent, sent as u64);
            }
        }
        Ok(())
    }

    /// Sends bytes of the blob by way of a buffer, where there is no file to send from.
    async fn send_read(&mut self, range: Range<u64>) -> Result<(), CloseReason> {
        let mut at = range.start;
        let mut buffer = vec![0; SLICE_LEN.min((range.end - range.start) as usize)];
        while at < range.end {
            let count = buffer.len().min((range.end - at) as usize);
            self.pace(count).await;
            let torrent = Arc::clone(&self.torrent);
            let read = self.shared.blocking.run("read a piece", move || {
                let read = torrent.file.read_marked_at(at, &mut buffer[..count]);
                read.map(|()| buffer)
            });
            buffer = match read.await.flatten() {
                Ok(buffer) => buffer,
                Err(error) => return Err(self.unreadable(&error)),
            };
            self.write_all(&buffer[..count], SendFlags::empty()).await?;
            stats::add(&self.shared.counters.sent, count as u64);
            at += count as u64;
        }
        Ok(())
    }

    /// Inside a payload the only way to say "cannot" is to hang up.
    fn unreadable(&self, error: &dyn std::fmt::Display) -> CloseReason {
        let digest = self.torrent.digest;
        tracing::warn!(%digest, conn = self.conn.0, %error, "cannot read a piece to send it");
        CloseReason::TorrentGone
    }

    async fn write_all(&mut self, mut bytes: &[u8], flags: SendFlags) -> Result<(), CloseReason> {
        while !bytes.is_empty() {
            let sent = self
                .send_some(|socket| {
                    Ok(rustix::net::send(socket, bytes, flags | SendFlags::NOSIGNAL)?)
                })
                .await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Tries until the socket has taken something; how many bytes.
    async fn send_some(
        &mut self,
        mut attempt: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Result<usize, CloseReason> {
        let since = Instant::now();
        loop {
            match self.socket.try_io(Interest::WRITABLE, || attempt(&self.socket)) {
                Ok(sent) => {
                    consume_budget().await;
                    return Ok(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable(since).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::Remote(error.to_string())),
            }
        }
    }

    /// Waits until the socket takes bytes again; tells the swarm when that takes too long since the
    /// last progress, and gives up when it takes far too long.
    async fn writable(&mut self, since: Instant) -> Result<(), CloseReason> {
        loop {
            let limit = if self.stalled { SEND_SILENCE_MAX } else { STALL_AFTER };
            match timeout_at(since + limit, self.socket.writable()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => return Err(CloseReason::Remote(error.to_string())),
                Err(_) if self.stalled => return Err(CloseReason::Stalled),
                Err(_) => {
                    self.stalled = true;
                    if !self.shared.report(Event::Stalled { conn: self.conn }).await {
                        return Err(CloseReason::Shutdown);
                    }
                }
            }
        }
    }

    /// Waits until the node's rate limit lets `bytes` go.
    async fn pace(&self, bytes: usize) {
        let wait = self.shared.egress.reserve(bytes);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}
