//! What a node asks of a tracker.

use std::fmt;

use async_trait::async_trait;
use kraken_core::{Digest, InfoHash, MetaInfo, Namespace, PeerInfo, Result, TorrentMeta};
use serde::{Deserialize, Serialize};

/// The header by which a tracker's 404 says that it is about the blob, its value being
/// [`BLOB_UNKNOWN`]: one that does not know the question, as uber/kraken's, answers 404 without.
pub const BLOB_HEADER: &str = "kraken-blob";

/// The value of [`BLOB_HEADER`] when there is no such blob.
pub const BLOB_UNKNOWN: &str = "unknown";

/// The body of an announce (uber/kraken's `announceclient.Request`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceRequest {
    /// The blob's wire name: hex of its SHA-256.
    pub name: String,
    /// The blob; old clients leave it out.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who announces.
    pub peer: PeerInfo,
    /// The zone it is in; empty when it does not say, as uber/kraken's agents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Whether it has got nothing for a while although it wants pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starved: bool,
}

/// The answer to an announce (uber/kraken's `announceclient.Response`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnnounceResponse {
    /// Peers to try; `null` for none.
    pub peers: Option<Vec<PeerInfo>>,
    /// Nanoseconds until the next announce (Go's `time.Duration`).
    pub interval: i64,
    /// Whether the peer is one of few that fetch for their zone from outside of it (see
    /// [`HandoutConfig::zone_bridges`](super::HandoutConfig::zone_bridges)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bridge: bool,
}

/// What a node needs of a tracker. Cancel safe: dropping a call leaves nothing behind.
#[async_trait]
pub trait TrackerClient: fmt::Debug + Send + Sync + 'static {
    /// Tells the tracker of this peer and asks for others.
    async fn announce(&self, request: AnnounceRequest) -> Result<AnnounceResponse>;

    /// The blob's metainfo. While the origin is still fetching the blob (202) it waits and asks
    /// again, up to a limit of its own; while nobody answers it may do so too, for a time that a
    /// restart takes. `ErrorKind::NotFound` when there is no such blob.
    async fn metainfo(&self, namespace: &Namespace, digest: &Digest) -> Result<MetaInfo>;

    /// The blob's length. Moves no blob where the tracker can tell without. `ErrorKind::NotFound`
    /// when there is no such blob.
    async fn stat(&self, namespace: &Namespace, digest: &Digest) -> Result<u64> {
        self.metainfo(namespace, digest).await.map(|meta| meta.geometry().blob_len())
    }

    /// As [`TrackerClient::metainfo`], but without sums while the blob still arrives at its origin,
    /// if the tracker can tell.
    async fn torrent_meta(&self, namespace: &Namespace, digest: &Digest) -> Result<TorrentMeta> {
        self.metainfo(namespace, digest).await.map(TorrentMeta::Final)
    }
}
