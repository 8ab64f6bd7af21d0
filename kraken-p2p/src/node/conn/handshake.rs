//! Sockets and the first message each way.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use bytes::BytesMut;
use kraken_core::PeerInfo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::node::event::Dialed;
#[cfg(target_os = "linux")]
use crate::node::limits::UNSENT_MAX;
use crate::node::limits::{CONNECT_TIMEOUT, KEEPALIVE, READ_BUFFER_LEN};
use crate::node::shared::Shared;
use crate::swarm::CloseReason;
use crate::wire::{self, Handshake, Message};

/// Why there is no handshake.
#[derive(Debug)]
pub(in crate::node) enum NoHandshake {
    /// What came breaks the protocol.
    Wrong(String),
    /// None came.
    None(String),
}

impl fmt::Display for NoHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(text) | Self::None(text) => f.write_str(text),
        }
    }
}

/// Connects to a peer and exchanges handshakes. Cancel safe.
pub(in crate::node) async fn dial(
    shared: &Shared,
    peer: &PeerInfo,
    handshake: Handshake,
) -> Result<Dialed, CloseReason> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        CloseReason::HandshakeFailed(format!("{what} {}:{}: {error}", peer.ip, peer.port))
    };
    let connect = connect(&peer.ip, peer.port, shared.config.congestion.as_deref());
    let mut socket = match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(failed("connect to", &error)),
        Err(_) => return Err(failed("connect to", &"no answer in time")),
    };
    prepare(&socket).map_err(|error| failed("set up the socket to", &error))?;
    let limit = shared.config.handshake_timeout;
    let digest = handshake.digest;
    write_handshake(&mut socket, handshake, limit)
        .await
        .map_err(|error| failed("send the handshake to", &error))?;
    let (reply, buffered) = read_handshake(&mut socket, limit)
        .await
        .inspect_err(|error| {
            if matches!(error, NoHandshake::Wrong(_)) {
                let peer = format!("{} at {}:{}", peer.peer_id, peer.ip, peer.port);
                let now = shared.clock.now();
                shared.complaints.broke_protocol(now, &peer, Some(&digest), error);
            }
        })
        .map_err(|error| failed("read the handshake of", &error))?;
    if reply.peer_id != peer.peer_id {
        return Err(failed("read the handshake of", &format!("it calls itself {}", reply.peer_id)));
    }
    Ok(Dialed { reply, socket, buffered })
}

/// Connects to the first of the host's addresses that answers.
async fn connect(host: &str, port: u16, congestion: Option<&str>) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in lookup_host((host, port)).await? {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        set_congestion(&socket, congestion)?;
        match socket.connect(addr).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Sets a socket's congestion control. Before it connects, and on the one that listens, from which
/// accepted ones have it: a connection that begins under BBR is paced by timers ever after,
/// whatever it is set to.
pub(in crate::node) fn set_congestion(
    socket: &impl AsFd,
    congestion: Option<&str>,
) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(name) = congestion {
        rustix::net::sockopt::set_tcp_congestion(socket, name)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, congestion);
    Ok(())
}

/// Sets what every connected socket has set.
pub(in crate::node) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let socket = SockRef::from(socket);
    // Where a sandbox does not allow it, requests are late and no more.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX);
    socket.set_tcp_keepalive(&keepalive)
}

/// Reads the frame that must be a handshake, and whatever came with it.
pub(in crate::node) async fn read_handshake(
    socket: &mut TcpStream,
    limit: Duration,
) -> Result<(Handshake, BytesMut), NoHandshake> {
    let read = async {
        let mut buffer = BytesMut::with_capacity(READ_BUFFER_LEN / 16);
        loop {
            match wire::decode_frame(&mut buffer) {
                Ok(Some(Message::Handshake(handshake))) => return Ok((*handshake, buffer)),
                Ok(Some(_)) => {
                    let text = "the first message is no handshake".to_owned();
                    return Err(NoHandshake::Wrong(text));
                }
                Ok(None) => {}
                Err(error) => return Err(NoHandshake::Wrong(error.to_string())),
            }
            // A frame's length is checked as soon as its four bytes are here, so this ends.
            match socket.read_buf(&mut buffer).await {
                Ok(0) => return Err(NoHandshake::None("closed by the peer".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(NoHandshake::None(error.to_string())),
            }
        }
    };
    let late = |_| Err(NoHandshake::None("no handshake in time".to_owned()));
    timeout(limit, read).await.unwrap_or_else(late)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt::tcp_congestion;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn both_ends_have_the_congestion_control_from_the_start() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Every system has and allows Reno.
        set_congestion(&listener, Some("reno")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialled = connect("localhost", port, Some("reno")).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(tcp_congestion(&dialled).unwrap(), "reno");
        assert_eq!(tcp_congestion(&accepted).unwrap(), "reno");
        assert!(connect("localhost", port, Some("no such")).await.is_err());
    }
}
