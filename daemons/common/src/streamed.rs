//! Blobs that go out while they arrive.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kraken_core::Result;
use kraken_p2p::node::BlobStream;

/// The bytes of `stream`. An answer has begun by then: what breaks it off can only be logged.
pub fn chunks(stream: BlobStream) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((stream, 0), |(mut stream, bytes_sent)| async move {
        match stream.chunk().await {
            Ok(Some(chunk)) => {
                let bytes_sent = bytes_sent + chunk.len() as u64;
                Ok(Some((chunk, (stream, bytes_sent))))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                let digest = stream.digest();
                tracing::warn!(%digest, bytes_sent, %error, "answer broken off");
                Err(error)
            }
        }
    })
    .boxed()
}
