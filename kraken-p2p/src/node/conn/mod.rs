//! One connection: a task that reads and one that writes.

mod handshake;
mod reader;
mod requests;
mod writer;

use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use tokio::net::TcpStream;

pub(super) use handshake::{
    NoHandshake, dial, prepare, read_handshake, set_congestion, write_handshake,
};
use reader::Reader;
use requests::Requests;
use writer::Writer;

use super::event::Event;
use super::link::ConnEnd;
use super::shared::Shared;
use crate::swarm::CloseReason;

/// Runs a connection after its handshakes, until it ends or is cancelled. Reports its end only when
/// it ended by itself.
pub(super) async fn run(shared: Arc<Shared>, end: ConnEnd, socket: TcpStream, buffered: BytesMut) {
    let ConnEnd { id, torrent, from_origin, control, pieces, token } = end;
    let socket = Arc::new(socket);
    let requests = Arc::new(Requests::default());
    let failure = Arc::new(OnceLock::new());
    let mut writer = Writer::new(
        Arc::clone(&shared),
        Arc::clone(&socket),
        id,
        Arc::clone(&torrent),
        Arc::clone(&requests),
    );
    let writer = shared.tasks.spawn({
        let (token, failure) = (token.clone(), Arc::clone(&failure));
        async move {
            if let Some(reason) = token.run_until_cancelled(writer.run(control, pieces)).await {
                // The first failure of the two halves is the one that counts.
                let _ = failure.set(reason);
                token.cancel();
            }
        }
    });
    let mut reader =
        Reader::new(Arc::clone(&shared), socket, id, torrent, from_origin, requests, buffered);
    if let Some(reason) = token.run_until_cancelled(reader.run()).await {
        let _: Result<(), CloseReason> = failure.set(reason);
        token.cancel();
    }
    if let Err(error) = writer.await {
        tracing::error!(conn = id.0, %error, "the writer of a connection panicked");
    }
    reader.settle().await;
    if let Some(reason) = failure.get() {
        shared.report(Event::Closed { conn: id, reason: reason.clone() }).await;
    }
}
