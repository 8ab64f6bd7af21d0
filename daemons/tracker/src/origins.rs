//! What the tracker asks of the origins: who has a blob, where they accept peers, metainfo.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use kraken_common::HostList;
use kraken_core::http::{
    Client, ClientConfig, Method, Request, Response, escape_segment, first_answering, header,
    is_network_error, is_verdict,
};
use kraken_core::{
    Digest, Error, ErrorKind, MetaInfo, Namespace, PROVISIONAL_HEADER, PeerContext, Result,
    limits as core_limits,
};

use crate::config::CacheConfig;
use crate::limits;
use crate::memo::{Fetched, Memo};

/// The origin cluster as seen from here, behind caches that also remember failures: an origin that
/// is down costs one announce in a minute its timeout, not each of them. As soon as it answers
/// anything it counts as being there again.
#[derive(Debug)]
pub(crate) struct Origins {
    http: Client,
    /// Those that are well.
    hosts: RwLock<Vec<String>>,
    /// Which host is asked first next time.
    turn: AtomicUsize,
    cache: CacheConfig,
    locations: Memo<Digest, Remembered<Arc<[String]>>>,
    contexts: Memo<String, Remembered<PeerContext>>,
    metainfo: Memo<MetaInfoKey, Remembered<Relayed>>,
    lengths: Memo<(Namespace, Digest), Remembered<u64>>,
}

/// The metainfo of a blob as an origin gave it.
#[derive(Debug, Clone)]
pub(crate) struct Relayed {
    /// Byte for byte: it may hold more than this version knows of.
    pub(crate) json: Bytes,
    /// Whether it is provisional, so that nobody may keep it.
    pub(crate) no_store: bool,
}

/// A failure that several callers are told of.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Arc<Error>);

type Remembered<T> = Result<T, Failure>;

/// The namespace decides which backend an origin asks, and a provisional answer goes only to who
/// asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MetaInfoKey {
    namespace: Namespace,
    digest: Digest,
    provisional: bool,
}

impl Origins {
    pub(crate) fn new(http: Client, hosts: Vec<String>, cache: CacheConfig) -> Self {
        Self {
            http,
            hosts: RwLock::new(hosts),
            turn: AtomicUsize::new(0),
            locations: Memo::new(limits::LOCATIONS_CACHED_MAX, limits::LOCATIONS_CACHED_MAX),
            contexts: Memo::new(limits::CONTEXTS_CACHED_MAX, limits::CONTEXTS_CACHED_MAX),
            metainfo: Memo::new(limits::METAINFO_CACHED_MAX, cache.metainfo_bytes_max),
            lengths: Memo::new(limits::LENGTHS_CACHED_MAX, limits::LENGTHS_CACHED_MAX),
            cache,
        }
    }

    /// A client with the patience that there is for origins.
    pub(crate) fn client() -> Client {
        Client::new(ClientConfig {
            connect_timeout: limits::ORIGIN_CONNECT_MAX,
            ..ClientConfig::default()
        })
    }

    /// Asks these from now on.
    pub(crate) fn set_hosts(&self, hosts: Vec<String>) {
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// `origin` has given a sign of life: that it was unavailable is believed no longer.
    pub(crate) fn heard_from(&self, origin: &String) {
        self.contexts.forget_if(origin, Result::is_err);
    }

    /// What the origins that seed `digest` say of themselves; those that do not answer are left
    /// out, and it is an error if none does.
    pub(crate) async fn seeders(&self, digest: Digest) -> Result<Vec<PeerContext>, Failure> {
        let owners = self.locations(digest).await?;
        let contexts = join_all(owners.iter().map(|owner| self.context(owner))).await;
        let mut failure = None;
        let mut seeders = Vec::with_capacity(contexts.len());
        for context in contexts {
            match context {
                Ok(context) => seeders.push(context),
                Err(e) => failure = Some(e),
            }
        }
        match failure {
            Some(failure) if seeders.is_empty() => Err(failure),
            _ => Ok(seeders),
        }
    }

    /// The metainfo of `digest`. The owners are asked in their order: 202 ends that, and that the
    /// backend has other bytes under the digest; any other failure (404 too: an owner may have lost
    /// the blob) is the next one's chance, and the last failure counts. Beside one that says
    /// nothing for some seconds the next one is asked too.
    pub(crate) async fn metainfo(
        &self,
        namespace: Namespace,
        digest: Digest,
        provisional: bool,
    ) -> Result<Relayed, Failure> {
        let key = MetaInfoKey { namespace, digest, provisional };
        self.metainfo
            .get(&key, || async {
                let result = self.fetch_metainfo(&key).await;
                let (ttl, weight) = match &result {
                    Ok(relayed) if relayed.no_store => (limits::PENDING_TTL, relayed.json.len()),
                    Ok(relayed) => (self.cache.metainfo_ttl, relayed.json.len()),
                    Err(e) if e.kind() == ErrorKind::Pending => (limits::PENDING_TTL, 0),
                    Err(_) => (limits::FAILURE_TTL, 0),
                };
                Fetched { value: result, ttl, weight }
            })
            .await
    }

    /// The blob's length, by its owners' disks or their backend; moves no blob.
    pub(crate) async fn stat(&self, namespace: Namespace, digest: Digest) -> Result<u64, Failure> {
        let key = (namespace, digest);
        self.lengths
            .get(&key, || async {
                let value = self.fetch_length(&key).await;
                let ttl = if value.is_ok() { self.cache.metainfo_ttl } else { limits::FAILURE_TTL };
                Fetched { value, ttl, weight: 1 }
            })
            .await
    }

    async fn fetch_length(&self, (namespace, digest): &(Namespace, Digest)) -> Remembered<u64> {
        let owners = self.locations(*digest).await?;
        let namespace = escape_segment(namespace.as_str());
        let path = format!("/internal/namespace/{namespace}/blobs/{digest}");
        let mut failure = None;
        for owner in owners.iter() {
            let request = Request::to(Method::HEAD, owner.as_str(), path.as_str());
            match self.ask(owner, request.head_timeout(limits::METAINFO_ANSWER_MAX)).await {
                Ok(answer) => match answer.content_length() {
                    Some(len) => return Ok(len),
                    None => {
                        let text = format!("length of {digest}: origin {owner} tells none");
                        failure = Some(Error::new(ErrorKind::Unavailable, text));
                    }
                },
                Err(error) => failure = Some(error),
            }
        }
        let failure = failure.unwrap_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("length of {digest}: no origin"))
        });
        Err(Failure::new(failure))
    }

    /// Fails unless some origin is ready.
    pub(crate) async fn check_readiness(&self) -> Result<()> {
        let hosts = self.hosts_in_turn();
        let ask = |host| {
            let request = Request::to(Method::GET, host, "/readiness");
            self.ask(host, request.head_timeout(limits::ORIGIN_ANSWER_MAX))
        };
        first_answering(&hosts, |_| (), ask).await.map(drop)
    }

    /// All hosts, each time another one first.
    fn hosts_in_turn(&self) -> Vec<String> {
        let mut hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner).clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % hosts.len().max(1);
        hosts.rotate_left(turn);
        hosts
    }

    /// Sends a request to `origin`; any answer, a refusal too, is a sign of life.
    async fn ask(&self, origin: &str, request: Request) -> Result<Response> {
        let answer = self.http.send(request).await;
        if !answer.as_ref().is_err_and(is_network_error) {
            self.heard_from(&origin.to_owned());
        }
        answer
    }

    async fn locations(&self, digest: Digest) -> Remembered<Arc<[String]>> {
        let fetch = || async {
            let hosts = self.hosts_in_turn();
            let ask = |host| self.fetch_locations(host, digest);
            match first_answering(&hosts, |_| (), ask).await {
                Ok(owners) => {
                    Fetched { value: Ok(owners), ttl: self.cache.locations_ttl, weight: 1 }
                }
                Err(e) => Fetched {
                    value: Err(Failure::new(e)),
                    ttl: self.cache.locations_error_ttl,
                    weight: 1,
                },
            }
        };
        self.locations.get(&digest, fetch).await
    }

    async fn fetch_locations(&self, host: &str, digest: Digest) -> Result<Arc<[String]>> {
        let request = Request::to(Method::GET, host, format!("/blobs/{digest}/locations"));
        let request = request.head_timeout(limits::ORIGIN_ANSWER_MAX);
        let response = self.ask(host, request).await?;
        let listed = response.header("origin-locations").unwrap_or_default();
        let owners = listed.split(',').map(str::trim).filter(|owner| !owner.is_empty());
        let owners: Vec<String> =
            owners.take(limits::LOCATIONS_MAX).map(ToOwned::to_owned).collect();
        if owners.is_empty() {
            let message = format!("locations of {digest}: an origin named none");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        HostList::new(owners).map(|owners| owners.into_vec().into())
    }

    async fn context(&self, origin: &String) -> Remembered<PeerContext> {
        let fetch = || async {
            let request = Request::to(Method::GET, origin, "/internal/peercontext");
            let answer = async {
                let request = request.head_timeout(limits::ORIGIN_ANSWER_MAX);
                self.http.send(request).await?.json(limits::PEER_CONTEXT_BYTES_MAX).await
            };
            match answer.await {
                Ok(context) => {
                    Fetched { value: Ok(context), ttl: self.cache.origin_context_ttl, weight: 1 }
                }
                Err(e) => {
                    tracing::warn!(origin, error = %e, "origin unavailable");
                    let ttl = self.cache.origin_unavailable_ttl;
                    Fetched { value: Err(Failure::new(e)), ttl, weight: 1 }
                }
            }
        };
        self.contexts.get(origin, fetch).await
    }

    async fn fetch_metainfo(&self, key: &MetaInfoKey) -> Remembered<Relayed> {
        let owners = self.locations(key.digest).await?;
        let (mut owners, mut asked) = (owners.iter(), FuturesUnordered::new());
        let mut failure = None;
        loop {
            match owners.next() {
                Some(owner) => asked.push(self.ask_metainfo(owner, key)),
                None if asked.is_empty() => break,
                None => {}
            }
            let is_last = owners.len() == 0;
            tokio::select! {
                biased;
                Some(answer) = asked.next() => match answer {
                    Ok(relayed) => return Ok(relayed),
                    Err(e) if e.kind() == ErrorKind::Pending || is_verdict(&e) => {
                        return Err(Failure::new(e));
                    }
                    Err(e) => failure = Some(e),
                },
                () = tokio::time::sleep(limits::METAINFO_PATIENCE), if !is_last => {}
            }
        }
        let failure = failure.unwrap_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("metainfo of {}: no origin", key.digest))
        });
        Err(Failure::new(failure))
    }

    async fn ask_metainfo(&self, owner: &str, key: &MetaInfoKey) -> Result<Relayed> {
        let namespace = escape_segment(key.namespace.as_str());
        let path = format!("/internal/namespace/{namespace}/blobs/{}/metainfo", key.digest);
        let mut request =
            Request::to(Method::GET, owner, path).head_timeout(limits::METAINFO_ANSWER_MAX);
        if key.provisional {
            request = request.header(PROVISIONAL_HEADER, "1");
        }
        let response = self.ask(owner, request).await?;
        let no_store = response
            .header(header::CACHE_CONTROL.as_str())
            .is_some_and(|value| value.contains("no-store"));
        let json = response.bytes(core_limits::METAINFO_BYTES_MAX).await?;
        // What is provisional may have a form of its own; what stays five minutes must be right.
        if !no_store {
            let metainfo = MetaInfo::from_json(&json)
                .map_err(|e| e.context(format!("metainfo from origin {owner}")))?;
            if metainfo.digest() != key.digest {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!("metainfo from origin {owner}: not that of {}", key.digest),
                ));
            }
        }
        Ok(Relayed { json, no_store })
    }
}

impl Failure {
    fn new(error: Error) -> Self {
        Self(Arc::new(error))
    }

    /// What a caller decides by.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// The failure itself.
    pub(crate) fn error(&self) -> &Error {
        &self.0
    }

    /// An error of the same kind that says the same.
    pub(crate) fn to_error(&self) -> Error {
        Error::new(self.0.kind(), self.0.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
