//! Sockets and the first message each way.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use kraken_core::PeerInfo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::event::Dialed;
use crate::node::limits::{CONNECT_TIMEOUT, KEEPALIVE, READ_BUFFER_LEN};
use crate::node::shared::Shared;
use crate::swarm::CloseReason;
use crate::wire::{self, Handshake, Message};

/// Connects to a peer and exchanges handshakes. Cancel safe.
pub(in crate::node) async fn dial(
    shared: &Shared,
    peer: &PeerInfo,
    handshake: Handshake,
) -> Result<Dialed, CloseReason> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        CloseReason::HandshakeFailed(format!("{what} {}:{}: {error}", peer.ip, peer.port))
    };
    let connect = TcpStream::connect((peer.ip.as_str(), peer.port));
    let mut socket = match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(failed("connect to", &error)),
        Err(_) => return Err(failed("connect to", &"no answer in time")),
    };
    prepare(&socket, shared.config.congestion.as_deref())
        .map_err(|error| failed("set up the socket to", &error))?;
    let limit = shared.config.handshake_timeout;
    write_handshake(&mut socket, handshake, limit)
        .await
        .map_err(|error| failed("send the handshake to", &error))?;
    let (reply, buffered) = read_handshake(&mut socket, limit)
        .await
        .map_err(|error| failed("read the handshake of", &error))?;
    if reply.peer_id != peer.peer_id {
        return Err(failed("read the handshake of", &format!("it calls itself {}", reply.peer_id)));
    }
    Ok(Dialed { reply, socket, buffered })
}

/// Sets what every peer socket has set.
pub(in crate::node) fn prepare(socket: &TcpStream, congestion: Option<&str>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = congestion {
        rustix::net::sockopt::set_tcp_congestion(socket, name)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = congestion;
    Ok(())
}

/// Reads the frame that must be a handshake, and whatever came with it.
pub(in crate::node) async fn read_handshake(
    socket: &mut TcpStream,
    limit: Duration,
) -> Result<(Handshake, BytesMut), String> {
    let read = async {
        let mut buffer = BytesMut::with_capacity(READ_BUFFER_LEN / 16);
        loop {
            match wire::decode_frame(&mut buffer) {
                Ok(Some(Message::Handshake(handshake))) => return Ok((*handshake, buffer)),
                Ok(Some(_)) => return Err("the first message is no handshake".to_owned()),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            // A frame's length is checked as soon as its four bytes are here, so this ends.
            match socket.read_buf(&mut buffer).await {
                Ok(0) => return Err("closed by the peer".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    timeout(limit, read).await.unwrap_or_else(|_| Err("no handshake in time".to_owned()))
}

/// Sends a handshake.
pub(in crate::node) async fn write_handshake(
    socket: &mut TcpStream,
    handshake: Handshake,
    limit: Duration,
) -> Result<(), String> {
    let mut frame = BytesMut::new();
    wire::encode(&Message::Handshake(Box::new(handshake)), &mut frame);
    match timeout(limit, socket.write_all(&frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("not taken in time".to_owned()),
    }
}
