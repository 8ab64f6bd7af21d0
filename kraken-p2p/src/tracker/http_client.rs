//! A tracker's client over HTTP.
#![allow(clippy::disallowed_methods, reason = "a client waits, and tells its ring the time")]

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kraken_core::health::PassiveConfig;
use kraken_core::http::{
    Client, ClientConfig, Request, StatusCode, escape_segment, is_network_error,
};
use kraken_core::ring::REPLICAS_MAX_DEFAULT;
use kraken_core::rng::Rng;
use kraken_core::{
    Digest, Error, ErrorKind, MetaInfo, Namespace, PROVISIONAL_HEADER, Result, Time, TorrentMeta,
};
use tokio::time::{Instant, sleep};

use super::client::{AnnounceRequest, AnnounceResponse, BLOB_HEADER, BLOB_UNKNOWN, TrackerClient};
use super::ring::TrackerRing;
use crate::limits;

/// Talks to a ring of trackers over HTTP.
///
/// A blob's trackers are asked in their order; the next one only if one does not answer at all,
/// since every answer, refusals included, is that of the tracker whose swarm it is. One that fails
/// often ([`HttpTrackerConfig::health`]) is left out for a while. While none answers, metainfo is
/// asked for again ([`HttpTrackerConfig::outage_max`]); an announce fails at once, since its node
/// announces again in any case.
#[derive(Debug)]
pub struct HttpTrackerClient {
    http: Client,
    /// Locked for one look or note, never across an await.
    ring: Mutex<TrackerRing>,
    epoch: Instant,
    config: HttpTrackerConfig,
}

/// How long an [`HttpTrackerClient`] waits, and whom it asks.
#[derive(Debug, Clone)]
pub struct HttpTrackerConfig {
    /// Longest silence of a tracker in one request.
    pub silence_max: Duration,
    /// The first pause before metainfo that is not there yet is asked for again; each pause is
    /// 1.3 times as long as the one before, give or take 5 %.
    pub poll_pause: Duration,
    /// The longest such pause.
    pub poll_pause_max: Duration,
    /// How long to keep asking for metainfo that is not there yet.
    pub poll_total: Duration,
    /// How long to keep asking for metainfo, after such pauses, while no tracker answers, or one
    /// says that somebody behind it does not (502, 503, 504) or to come later (408, 429): a pull
    /// outlives the restart of a tracker or an origin. It is counted from the first such failure
    /// since another answer, and a question under way at its end is still waited for.
    pub outage_max: Duration,
    /// How many trackers a blob belongs to, at least one. All agents of a cluster must have the
    /// same number to be sure to meet.
    pub replicas_max: usize,
    /// When a tracker that does not answer is left out.
    pub health: PassiveConfig,
}

impl HttpTrackerClient {
    /// A client for `trackers` (`host:port`, at least one) over plain HTTP.
    pub fn new(trackers: Vec<String>) -> Result<Self> {
        Self::with_client(
            Client::new(ClientConfig::default()),
            trackers,
            HttpTrackerConfig::default(),
        )
    }

    /// A client for `trackers` (`host:port`, at least one), over connections and by the scheme of
    /// `http`.
    pub fn with_client(
        http: Client,
        trackers: Vec<String>,
        config: HttpTrackerConfig,
    ) -> Result<Self> {
        if trackers.is_empty() {
            return Err(Error::invalid("there is no tracker to ask"));
        }
        let ring = TrackerRing::new(trackers, config.replicas_max, config.health);
        let ring = Mutex::new(ring);
        Ok(Self { http, ring, epoch: Instant::now(), config })
    }

    /// Takes another list of trackers: who resolves names calls this when they mean other hosts.
    /// An empty list is ignored, as the failure to resolve that it must be.
    pub fn set_trackers(&self, trackers: Vec<String>) {
        if !trackers.is_empty() {
            self.ring().replace(trackers);
        }
    }

    /// All trackers there are, by their names.
    pub fn trackers(&self) -> Vec<String> {
        self.ring().hosts().to_vec()
    }

    /// Asks the blob's trackers in order until one answers.
    async fn ask<T, Fut>(&self, digest: &Digest, ask: impl Fn(String) -> Fut) -> Result<T>
    where
        Fut: Future<Output = Result<T>>,
    {
        let mut failure = None;
        let locations = self.ring().locations(digest, self.now());
        for tracker in locations {
            match ask(tracker.clone()).await {
                Err(error) if is_network_error(&error) => {
                    self.ring().failed(&tracker, self.now());
                    failure = Some(error);
                }
                answer => return answer,
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "no tracker to ask")))
    }

    /// Asks one tracker for metainfo, once; if `provisional`, for such without sums too.
    async fn ask_metainfo(
        &self,
        tracker: &str,
        path: &str,
        provisional: bool,
    ) -> Result<TorrentMeta> {
        let mut request = self.quick(Request::to(http::Method::GET, tracker, path));
        if provisional {
            request = request.header(PROVISIONAL_HEADER, "1");
        }
        let response = self.http.send(request).await?;
        let json = response.bytes(kraken_core::limits::METAINFO_BYTES_MAX).await?;
        if provisional {
            TorrentMeta::from_json(&json)
        } else {
            MetaInfo::from_json(&json).map(TorrentMeta::Final)
        }
    }

    /// Asks the trackers for metainfo until there is some.
    async fn await_metainfo(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        provisional: bool,
    ) -> Result<TorrentMeta> {
        let namespace = escape_segment(namespace.as_str());
        let path = format!("/namespace/{namespace}/blobs/{digest}/metainfo");
        let ask = async |tracker: String| self.ask_metainfo(&tracker, &path, provisional).await;
        let seed = RandomState::new().hash_one(&path);
        let mut patience = Patience::new(&self.config, self.now(), seed);
        let metainfo = loop {
            let asked = self.now();
            let error = match self.ask(digest, ask).await {
                Ok(metainfo) => break metainfo,
                Err(error) => error,
            };
            match patience.pause_after(error, asked, self.now()) {
                Ok(pause) => sleep(pause).await,
                Err(error) => return Err(error),
            }
        };
        if metainfo.digest() != *digest {
            let found = metainfo.digest();
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("asked for metainfo of {digest}, got that of {found}"),
            ));
        }
        Ok(metainfo)
    }

    fn quick(&self, request: Request) -> Request {
        request.head_timeout(self.config.silence_max).body_idle_timeout(self.config.silence_max)
    }

    fn ring(&self) -> MutexGuard<'_, TrackerRing> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }
}

#[async_trait]
impl TrackerClient for HttpTrackerClient {
    async fn announce(&self, request: AnnounceRequest) -> Result<AnnounceResponse> {
        let body = serde_json::to_vec(&request).map_err(|e| {
            Error::new(ErrorKind::Internal, "write an announce as json").with_source(e)
        })?;
        let path = format!("/announce/{}", request.info_hash);
        let ask = async |tracker: String| -> Result<AnnounceResponse> {
            let request = Request::to(http::Method::POST, tracker, path.as_str())
                .header("content-type", "application/json")
                .body(body.clone());
            let response = self.http.send(self.quick(request)).await?;
            response.json(limits::ANNOUNCE_BYTES_MAX).await
        };
        let mut response: AnnounceResponse = self.ask(&request.blob()?, ask).await?;
        if let Some(peers) = &mut response.peers {
            peers.truncate(limits::HANDOUT_MAX);
        }
        Ok(response)
    }

    async fn metainfo(&self, namespace: &Namespace, digest: &Digest) -> Result<MetaInfo> {
        match self.await_metainfo(namespace, digest, false).await? {
            TorrentMeta::Final(metainfo) => Ok(metainfo),
            TorrentMeta::Provisional(_) => {
                Err(Error::new(ErrorKind::Internal, "metainfo without sums was not asked for"))
            }
        }
    }

    async fn stat(&self, namespace: &Namespace, digest: &Digest) -> Result<u64> {
        let escaped = escape_segment(namespace.as_str());
        let path = format!("/namespace/{escaped}/blobs/{digest}");
        let ask = async |tracker: String| -> Result<Option<u64>> {
            let request = Request::to(http::Method::HEAD, tracker, path.as_str());
            // uber/kraken's trackers know no such endpoint.
            let request = self.quick(request).expect(&[200, 404, 405]);
            let answer = self.http.send(request).await?;
            if answer.status() == StatusCode::OK {
                return Ok(answer.content_length());
            }
            if answer.header(BLOB_HEADER) == Some(BLOB_UNKNOWN) {
                return Err(Error::not_found(format!("{digest}: its tracker knows no such blob")));
            }
            Ok(None)
        };
        match self.ask(digest, ask).await? {
            Some(len) if len <= kraken_core::limits::BLOB_LEN_MAX => Ok(len),
            _ => self.metainfo(namespace, digest).await.map(|meta| meta.geometry().blob_len()),
        }
    }

    async fn torrent_meta(&self, namespace: &Namespace, digest: &Digest) -> Result<TorrentMeta> {
        self.await_metainfo(namespace, digest, true).await
    }
}

impl Default for HttpTrackerConfig {
    /// The times and numbers of uber/kraken's clients, which know no `outage_max`.
    fn default() -> Self {
        Self {
            silence_max: Duration::from_secs(10),
            poll_pause: Duration::from_secs(1),
            poll_pause_max: Duration::from_secs(5),
            poll_total: Duration::from_secs(15 * 60),
            outage_max: OUTAGE_MAX_DEFAULT,
            replicas_max: REPLICAS_MAX_DEFAULT,
            health: PassiveConfig::default(),
        }
    }
}

/// How long one caller waits for metainfo, and why.
struct Patience<'a> {
    config: &'a HttpTrackerConfig,
    start: Time,
    /// When the question was asked since which nobody has answered.
    outage: Option<Time>,
    pauses: Pauses,
    seed: u64,
}

/// The pauses between questions for metainfo.
struct Pauses {
    next: Duration,
    longest: Duration,
    rng: Rng,
}

impl<'a> Patience<'a> {
    fn new(config: &'a HttpTrackerConfig, start: Time, seed: u64) -> Self {
        Self { config, start, outage: None, pauses: Pauses::new(config, seed), seed }
    }

    /// How long to wait before asking again, now that the question of `asked` has failed; the
    /// error if that is no use or has gone on for too long.
    fn pause_after(&mut self, error: Error, asked: Time, now: Time) -> Result<Duration> {
        let outage = match error.kind() {
            ErrorKind::Pending => None,
            ErrorKind::Unavailable => Some(self.outage.unwrap_or(asked)),
            _ => return Err(error),
        };
        if outage.is_some() != self.outage.is_some() {
            self.pauses = Pauses::new(self.config, self.seed);
        }
        self.outage = outage;
        let (since, longest) = match outage {
            Some(outage) => (outage, self.config.outage_max),
            None => (self.start, self.config.poll_total),
        };
        let pause = self.pauses.next();
        if now.since(since).saturating_add(pause) >= longest {
            return Err(error.context("gave up waiting"));
        }
        Ok(pause)
    }
}

impl Pauses {
    fn new(config: &HttpTrackerConfig, seed: u64) -> Self {
        Self { next: config.poll_pause, longest: config.poll_pause_max, rng: Rng::new(seed) }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.mul_f64(1.3);
        let percent = 95.0 + self.rng.below(1001) as f64 / 100.0;
        pause.mul_f64(percent / 100.0)
    }
}

/// Longer than a daemon takes to restart; a failure that lasts is told no later than that.
const OUTAGE_MAX_DEFAULT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
