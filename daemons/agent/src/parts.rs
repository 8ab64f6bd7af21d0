//! What the registry and the server share: the swarm, the store, and whom to ask.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kraken_backends::BuildIndex;
use kraken_common::streamed::chunks;
use kraken_core::http::Client;
use kraken_core::store::Store;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result, SendfileQueue};
use kraken_p2p::node::{Download, Node};
use kraken_p2p::tracker::HttpTrackerClient;
use kraken_registry_api::{BlobReader, ByteStream};

use crate::finishing::Finishing;
use crate::recent::RecentManifests;

/// What every request finds.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) store: Store,
    pub(crate) tracker: Arc<HttpTrackerClient>,
    pub(crate) build_index: BuildIndex,
    pub(crate) http: Client,
    pub(crate) recent: RecentManifests,
    /// Downloads that go on when nobody reads them, if they are to.
    pub(crate) finishing: Option<Finishing>,
}

/// A blob that is here, or arrives as it is read.
pub(crate) struct OpenBlob {
    download: Download,
    pub(crate) len: u64,
}

impl OpenBlob {
    /// All bytes, once they are verified as a whole.
    pub(crate) async fn whole(mut self) -> Result<Bytes> {
        self.download.set_demand(0..self.len);
        self.download.finished().await?;
        let mut stream = self.download.stream(0..self.len);
        let Some(first) = stream.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = stream.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::with_capacity(self.len as usize);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = stream.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

impl BlobReader for OpenBlob {
    fn size(&self) -> u64 {
        self.len
    }

    fn stream(&self, range: Range<u64>) -> ByteStream {
        chunks(self.download.stream(range))
    }

    fn stream_to(&self, range: Range<u64>, queue: &SendfileQueue) -> ByteStream {
        chunks(self.download.stream(range).lent_to(queue.clone()))
    }
}

/// Opens a blob to be read while it arrives; nothing of it is asked for before it is read, unless
/// all of it is to come in any case.
///
/// Of the empty blob nothing arrives whose sums could be wrong: it is waited for.
pub(crate) async fn open(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
) -> Result<OpenBlob> {
    let mut download = parts.node.open(namespace, digest).await?;
    let len = download.metainfo().geometry().blob_len();
    if len == 0 {
        download.finished().await?;
    }
    if let Some(finishing) = &parts.finishing
        && !download.progress().complete
        && let Some(turn) = finishing.enter(digest)
        && let Ok(beside) = parts.node.open(namespace, digest).await
    {
        finishing.finish(turn, beside, len);
    }
    Ok(OpenBlob { download, len })
}

/// Downloads a blob, or joins its download; ends when it is verified as a whole. One of more than
/// `len_max` bytes is `TooLarge` as soon as its metainfo is here, and nothing of it is waited for.
pub(crate) async fn fetch(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    len_max: u64,
) -> Result<Bytes> {
    let blob = open(parts, namespace, digest).await?;
    if blob.len > len_max {
        return Err(Error::new(ErrorKind::TooLarge, format!("{digest} has {} bytes", blob.len)));
    }
    blob.whole().await
}
