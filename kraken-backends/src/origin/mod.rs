//! A remote origin cluster: where blobs are pushed to and pulled from inside Kraken.
//!
//! [`Origin`] speaks uber/kraken's blob server protocol to one host; [`OriginCluster`] finds a
//! blob's owners and asks them in order.

mod download;
mod host;
#[cfg(test)]
mod tests;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use kraken_core::http::{Client, is_network_error, is_verdict, status_of};
use kraken_core::{Digest, Error, ErrorKind, MetaInfo, Namespace, PeerContext, Result};

use crate::hosts::Hosts;
use crate::limits;
use crate::source::{BlobStream, UploadSource};

pub use host::Origin;

/// The origins of one cluster; a clone shares everything.
///
/// For each blob one of the hosts is asked for the blob's owners, which are then asked in their
/// order. The next owner is asked when one does not answer, answers 429 or 5xx, or does not have
/// the blob (a blob that is not written back yet may be on one replica only). `NotFound` is
/// returned when an owner said so and none had the blob.
#[derive(Debug, Clone)]
pub struct OriginCluster {
    shared: Arc<Shared>,
}

/// How an [`OriginCluster`] transfers and waits.
#[derive(Debug, Clone)]
pub struct OriginConfig {
    /// Bytes of a blob sent in one request.
    pub upload_chunk_len: u64,
    /// The pause after an origin's first 202; each one after is 1.3 times as long.
    pub poll_pause: Duration,
    /// The longest such pause.
    pub poll_pause_max: Duration,
    /// How long one origin may go on answering 202 before the next is asked.
    pub poll_time_max: Duration,
}

#[derive(Debug)]
struct Shared {
    hosts: Hosts,
    client: Client,
    config: OriginConfig,
}

impl OriginCluster {
    /// The cluster that `hosts` (each `host:port`, at least one) belong to.
    pub fn new(hosts: Vec<String>, client: Client, config: OriginConfig) -> Result<Self> {
        let hosts = Hosts::new(hosts).map_err(|error| error.context("origin cluster"))?;
        Ok(Self { shared: Arc::new(Shared { hosts, client, config }) })
    }

    /// Replaces the hosts, as when a DNS name resolves anew.
    pub fn set_hosts(&self, hosts: Vec<String>) -> Result<()> {
        self.shared.hosts.replace(hosts)
    }

    /// The client of one origin.
    pub fn origin(&self, host: &str) -> Origin {
        Origin::new(host, self.shared.client.clone(), self.shared.config.upload_chunk_len)
    }

    /// The addresses of the origins that own the blob, in the order of their ring.
    pub async fn locations(&self, digest: &Digest) -> Result<Vec<String>> {
        let hosts = self.shared.hosts.in_turn();
        let digest = *digest;
        self.ask_in_order(hosts, move |origin| async move { origin.locations(&digest).await }).await
    }

    /// The peer contexts of the blob's owners: those of them that answer, at least one.
    pub async fn owners(&self, digest: &Digest) -> Result<Vec<PeerContext>> {
        let hosts = self.locations(digest).await?;
        let asked = hosts.iter().map(|host| async {
            let answer = self.peer_context(host).await;
            answer.inspect_err(|error| self.shared.hosts.note(host, error))
        });
        let mut contexts = Vec::new();
        let mut failure = None;
        for answer in future::join_all(asked).await {
            match answer {
                Ok(context) => contexts.push(context),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if contexts.is_empty() => Err(error.context("ask owners who they are")),
            _ => Ok(contexts),
        }
    }

    /// What the origin at `host` says of itself as a peer.
    pub async fn peer_context(&self, host: &str) -> Result<PeerContext> {
        self.origin(host).peer_context().await
    }

    /// Uploads the blob to its first owner that takes it, which replicates it and writes it back.
    /// Idempotent: that the cluster has the blob already is success.
    pub async fn upload(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        source: &dyn UploadSource,
    ) -> Result<()> {
        self.ask_owners(digest, move |origin| async move {
            origin.upload(namespace, digest, source).await
        })
        .await
    }

    /// The blob's length: by an owner's own disk only if `local`, else also by its backend.
    pub async fn stat(&self, namespace: &Namespace, digest: &Digest, local: bool) -> Result<u64> {
        self.ask_owners(
            digest,
            move |origin| async move { origin.stat(namespace, digest, local).await },
        )
        .await
    }

    /// The blob's metainfo; `Pending` while an owner still fetches the blob from its backend.
    pub async fn metainfo(&self, namespace: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        self.ask_owners(
            digest,
            move |origin| async move { origin.metainfo(namespace, digest).await },
        )
        .await
    }

    /// The blob's length, where the origin tells it, and its bytes, waiting while an owner fetches
    /// the blob from its backend. A stream that breaks goes on at the next owner that has the blob.
    ///
    /// The bytes are not verified: whoever takes them knows the digest.
    pub async fn download(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<(Option<u64>, BlobStream)> {
        download::download(self, namespace, digest).await
    }

    /// The bytes of `range`, which lies inside the blob; otherwise as [`Self::download`]. An origin
    /// that knows no ranges sends the whole blob, of which the rest is thrown away.
    pub async fn download_range(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<BlobStream> {
        download::download_range(self, namespace, digest, range).await
    }

    /// Makes sure that the blob is in the backend of `namespace`, or will be: the first owner that
    /// has it writes it back there, and where none has it the backend must. `NotFound` if neither
    /// does. Idempotent.
    pub async fn ensure_write_back(&self, namespace: &Namespace, digest: &Digest) -> Result<()> {
        let asked = self.ask_owners(digest, move |origin| async move {
            origin.ensure_write_back(namespace, digest).await
        });
        match asked.await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.stat(namespace, digest, false).await.map(drop)
            }
            result => result,
        }
    }

    /// Makes an owner fetch the blob from its backend, without waiting for it.
    pub async fn prefetch(&self, namespace: &Namespace, digest: &Digest) -> Result<()> {
        self.ask_owners(
            digest,
            move |origin| async move { origin.prefetch(namespace, digest).await },
        )
        .await
    }

    /// Makes an owner upload the blob to the origin cluster at `remote`; returns once it is there.
    pub async fn replicate(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        remote: &str,
    ) -> Result<()> {
        self.ask_owners(digest, move |origin| async move {
            self.poll(|| origin.replicate(namespace, digest, remote)).await
        })
        .await
    }

    /// Whether an owner of `probe`, any digest, is ready.
    pub async fn ready(&self, probe: &Digest) -> Result<()> {
        self.ask_owners(probe, |origin| async move { origin.ready().await }).await
    }

    async fn ask_owners<T, F: Future<Output = Result<T>>>(
        &self,
        digest: &Digest,
        ask: impl FnMut(Origin) -> F,
    ) -> Result<T> {
        let owners = self.locations(digest).await?;
        self.ask_in_order(self.shared.hosts.failed_last(owners), ask).await
    }

    async fn ask_in_order<T, F: Future<Output = Result<T>>>(
        &self,
        hosts: Vec<String>,
        mut ask: impl FnMut(Origin) -> F,
    ) -> Result<T> {
        let (mut absent, mut failure) = (None, None);
        for host in hosts {
            match ask(self.origin(&host)).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind() == ErrorKind::NotFound => absent = Some(error),
                Err(error) if is_of_the_host(&error) => {
                    self.shared.hosts.note(&host, &error);
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let nobody = || Error::new(ErrorKind::Unavailable, "there is no origin to ask");
        Err(absent.or(failure).unwrap_or_else(nobody))
    }

    /// Repeats `call` while it answers 202, with growing pauses.
    async fn poll<T, F: Future<Output = Result<T>>>(&self, call: impl Fn() -> F) -> Result<T> {
        let config = &self.shared.config;
        let started = tokio::time::Instant::now();
        let mut pause = config.poll_pause;
        loop {
            let error = match call().await {
                Err(error) if error.kind() == ErrorKind::Pending => error,
                result => return result,
            };
            if started.elapsed() + pause > config.poll_time_max {
                let waited = format!("gave up after {:?}", config.poll_time_max);
                return Err(Error::new(ErrorKind::Unavailable, waited).with_source(error));
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(limits::POLL_GROWTH).min(config.poll_pause_max);
        }
    }
}

impl Default for OriginConfig {
    /// uber/kraken's values.
    fn default() -> Self {
        Self {
            upload_chunk_len: limits::UPLOAD_CHUNK_LEN,
            poll_pause: limits::POLL_PAUSE,
            poll_pause_max: limits::POLL_PAUSE_MAX,
            poll_time_max: limits::POLL_TIME_MAX,
        }
    }
}

/// Whether another host may do better: this one did not answer, or could not.
fn is_of_the_host(error: &Error) -> bool {
    is_network_error(error)
        || error.kind() == ErrorKind::Unavailable
        || status_of(error).is_some_and(|status| status >= 500) && !is_verdict(error)
}
