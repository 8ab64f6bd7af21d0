//! One origin's blob server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kraken_core::http::{Client, Method, Request, Response, escape_segment};
use kraken_core::{
    Digest, Error, ErrorKind, MetaInfo, Namespace, PROVISIONAL_HEADER, PROVISIONAL_KNOWN,
    PeerContext, Result, TorrentMeta,
};

use super::download::{self, Part};
use crate::limits;

/// The client of one origin; a clone shares the connections.
///
/// Errors keep the status that was answered
/// ([`status_of`](kraken_core::http::status_of)): `Pending` is a 202, `NotFound` a 404.
#[derive(Debug, Clone)]
pub struct Origin {
    host: Arc<str>,
    client: Client,
    chunk_len: u64,
}

impl Origin {
    /// The origin at `host` (`host:port`), uploading in chunks of `chunk_len` bytes.
    pub fn new(host: &str, client: Client, chunk_len: u64) -> Self {
        Self { host: host.into(), client, chunk_len: chunk_len.max(1) }
    }

    /// Its address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The addresses of the origins that own the blob, in the order of their ring.
    pub async fn locations(&self, digest: &Digest) -> Result<Vec<String>> {
        let request = self.request(Method::GET, format!("/blobs/{digest}/locations"));
        let answer = self.client.send(request.head_timeout(limits::ORIGIN_QUICK)).await?;
        let listed = answer.header("origin-locations").unwrap_or_default();
        let owners = listed.split(',').map(str::trim).filter(|owner| !owner.is_empty());
        let owners: Vec<String> = owners.take(limits::OWNERS_MAX).map(str::to_owned).collect();
        if owners.is_empty() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("{} names no owner of {digest}", self.host),
            ));
        }
        Ok(owners)
    }

    /// The blob's length: by its own disk only if `local`, else also by its backend.
    pub async fn stat(&self, namespace: &Namespace, digest: &Digest, local: bool) -> Result<u64> {
        let query = if local { "?local=true" } else { "" };
        let path = format!("/internal{}{query}", blob_path(namespace, digest));
        let request = self.request(Method::HEAD, path).head_timeout(limits::ORIGIN_PATIENT);
        let answer = self.client.send(request).await?;
        answer.content_length().filter(|len| *len <= kraken_core::limits::BLOB_LEN_MAX).ok_or_else(
            || {
                let message = format!("{} tells no length of {digest}", self.host);
                Error::new(ErrorKind::Internal, message)
            },
        )
    }

    /// The blob's metainfo; `Pending` while the blob is fetched from the backend, which asking
    /// starts.
    pub async fn metainfo(&self, namespace: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        let path = format!("/internal{}/metainfo", blob_path(namespace, digest));
        let request = self.request(Method::GET, path).head_timeout(limits::ORIGIN_PATIENT);
        let json =
            self.client.send(request).await?.bytes(kraken_core::limits::METAINFO_BYTES_MAX).await?;
        let metainfo = MetaInfo::from_json(&json)
            .map_err(|error| error.context(format!("metainfo from {}", self.host)))?;
        if metainfo.digest() != *digest {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{} answered with metainfo of {}", self.host, metainfo.digest()),
            ));
        }
        Ok(metainfo)
    }

    /// As [`Origin::metainfo`], but without sums while the blob is fetched, if it can tell.
    pub async fn torrent_meta(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<TorrentMeta> {
        self.ask_meta(namespace, digest, "1", limits::ORIGIN_PATIENT).await
    }

    /// The same of a blob that it has or brings from its backend at this moment; `NotFound` of any
    /// other, for which nothing is begun.
    pub async fn known_meta(&self, namespace: &Namespace, digest: &Digest) -> Result<TorrentMeta> {
        self.ask_meta(namespace, digest, PROVISIONAL_KNOWN, limits::ORIGIN_KNOWN).await
    }

    async fn ask_meta(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        asks: &'static str,
        head_timeout: Duration,
    ) -> Result<TorrentMeta> {
        let path = format!("/internal{}/metainfo", blob_path(namespace, digest));
        let request = self.request(Method::GET, path).head_timeout(head_timeout);
        let answer = self.client.send(request.header(PROVISIONAL_HEADER, asks)).await?;
        let json = answer.bytes(kraken_core::limits::METAINFO_BYTES_MAX).await?;
        let meta = TorrentMeta::from_json(&json)
            .map_err(|error| error.context(format!("metainfo from {}", self.host)))?;
        if meta.digest() != *digest {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{} answered with metainfo of {}", self.host, meta.digest()),
            ));
        }
        Ok(meta)
    }

    /// Makes it write a blob that is on its disk back to the backend of `namespace` as well;
    /// `NotFound` if it has none. Idempotent.
    pub async fn ensure_write_back(&self, namespace: &Namespace, digest: &Digest) -> Result<()> {
        // Asked first, since an upload that is begun and left stands there until it expires.
        self.stat(namespace, digest, true).await?;
        let path = format!("{}/uploads", blob_path(namespace, digest));
        let request = self.request(Method::POST, path).head_timeout(limits::ORIGIN_PATIENT);
        // A blob that is there cannot be uploaded, but what an upload is for is seen to.
        if self.client.send(request.expect(&[200, 409])).await?.status().as_u16() == 409 {
            return Ok(());
        }
        Err(Error::not_found(format!("{} has {digest} no longer", self.host)))
    }

    /// What it says of itself as a peer.
    pub async fn peer_context(&self) -> Result<PeerContext> {
        let request = self
            .request(Method::GET, "/internal/peercontext".into())
            .head_timeout(limits::ORIGIN_QUICK);
        self.client.send(request).await?.json(limits::PEER_CONTEXT_BYTES_MAX).await
    }

    /// Makes it fetch the blob from its backend, without waiting for it.
    pub async fn prefetch(&self, namespace: &Namespace, digest: &Digest) -> Result<()> {
        let path = format!("{}/prefetch", blob_path(namespace, digest));
        let request = self.request(Method::POST, path).expect(&[200, 202]);
        self.client.send(request).await.map(drop)
    }

    /// Makes it upload the blob to the origin cluster at `remote`, and waits for that; `Pending`
    /// while it fetches the blob from its backend.
    pub async fn replicate(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        remote: &str,
    ) -> Result<()> {
        let path = format!("{}/remote/{}", blob_path(namespace, digest), escape_segment(remote));
        let request = self.request(Method::POST, path).head_timeout(limits::ORIGIN_COMMIT);
        self.client.send(request).await.map(drop)
    }

    /// Removes the blob from its disk.
    pub async fn delete(&self, digest: &Digest) -> Result<()> {
        let request = self.request(Method::DELETE, format!("/internal/blobs/{digest}"));
        self.client.send(request.expect(&[200, 202, 204])).await.map(drop)
    }

    /// Whether it is ready: it and the backends that must be.
    pub async fn ready(&self) -> Result<()> {
        let request =
            self.request(Method::GET, "/readiness".into()).head_timeout(limits::ORIGIN_QUICK);
        self.client.send(request).await.map(drop)
    }

    /// The blob's bytes from `start` on, up to `end` or, if it knows no ranges, beyond. While the
    /// blob is fetched from the backend they come as they do, or it is `Pending`.
    pub(super) async fn open(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        start: u64,
        end: Option<u64>,
    ) -> Result<Part> {
        let request = self.request(Method::GET, blob_path(namespace, digest));
        let request = request.header(PROVISIONAL_HEADER, "1");
        if start == 0 && end.is_none() {
            let answer = self.client.send(request).await?;
            return Ok(Part { len: answer.content_length(), stream: answer.stream().boxed() });
        }
        let last = end.map(|end| end.saturating_sub(1).to_string()).unwrap_or_default();
        let asked = format!("bytes={start}-{last}");
        let request = request.header("range", asked).expect(&[200, 206, 416]);
        let answer = self.client.send(request).await?;
        let range = answer.header("content-range").unwrap_or_default();
        match answer.status().as_u16() {
            // uber/kraken knows no ranges and answers with the whole blob.
            200 => {
                let len = answer.content_length();
                Ok(Part { len, stream: download::skip(answer.stream().boxed(), start) })
            }
            206 if range.starts_with(&format!("bytes {start}-")) => {
                let len = range.rsplit_once('/').and_then(|(_, len)| len.parse().ok());
                Ok(Part { len, stream: answer.stream().boxed() })
            }
            // Nothing was left to read.
            416 if range == format!("bytes */{start}") => {
                Ok(Part { len: Some(start), stream: stream::empty().boxed() })
            }
            status => Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "{}: asked for {digest} from byte {start}, was answered {status} {range:?}",
                    self.host
                ),
            )),
        }
    }

    pub(super) async fn send(&self, request: Request) -> Result<Response> {
        self.client.send(request).await
    }

    pub(super) fn request(&self, method: Method, path: String) -> Request {
        Request::to(method, &*self.host, path)
    }

    pub(super) fn chunk_len(&self) -> u64 {
        self.chunk_len
    }
}

/// The path of a blob in a namespace, which is escaped as Go's `url.PathEscape` does it.
pub(super) fn blob_path(namespace: &Namespace, digest: &Digest) -> String {
    format!("/namespace/{}/blobs/{digest}", escape_segment(namespace.as_str()))
}
