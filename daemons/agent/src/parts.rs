//! What the registry and the server share: the swarm, the store, and whom to ask.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use kraken_backends::BuildIndex;
use kraken_common::blocking;
use kraken_core::http::Client;
use kraken_core::store::Store;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result};
use kraken_p2p::node::Node;
use kraken_p2p::storage::TorrentFile;
use kraken_p2p::tracker::HttpTrackerClient;
use kraken_registry_api::{BlobReader, ByteStream};

use crate::limits;
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
}

/// A blob that is here and verified.
pub(crate) struct OpenBlob {
    file: Arc<dyn TorrentFile>,
    pub(crate) len: u64,
}

impl BlobReader for OpenBlob {
    fn size(&self) -> u64 {
        self.len
    }

    fn stream(&self, range: Range<u64>) -> ByteStream {
        let file = Arc::clone(&self.file);
        stream::try_unfold((file, range), |(file, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let end = range.end.min(range.start + limits::READ_LEN);
            let (reader, start) = (Arc::clone(&file), range.start);
            let chunk = blocking("read a blob", move || {
                let mut bytes = vec![0; (end - start) as usize];
                reader.read_at(start, &mut bytes)?;
                Ok(Bytes::from(bytes))
            })
            .await?;
            Ok(Some((chunk, (file, end..range.end))))
        })
        .boxed()
    }
}

/// Downloads a blob, or joins its download; ends when it is verified as a whole. One of more than
/// `len_max` bytes is `TooLarge` as soon as its metainfo is here, and nothing of it is waited for.
pub(crate) async fn fetch(
    parts: &Parts,
    namespace: &Namespace,
    digest: &Digest,
    len_max: u64,
) -> Result<OpenBlob> {
    let mut download = parts.node.download(namespace, digest).await?;
    let len = download.metainfo().geometry().blob_len();
    if len > len_max {
        return Err(Error::new(ErrorKind::TooLarge, format!("{digest} has {len} bytes")));
    }
    download.finished().await?;
    Ok(OpenBlob { file: download.file(), len })
}
