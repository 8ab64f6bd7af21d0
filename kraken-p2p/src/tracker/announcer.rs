//! The tracker's side of an announce.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kraken_core::rng::Rng;
use kraken_core::{Digest, Error, ErrorKind, InfoHash, PeerContext, PeerInfo, Result, Time};

use super::client::{AnnounceRequest, AnnounceResponse};
use super::handout::{HandoutConfig, handout};
use super::limits;
use super::store::{PeerCounts, PeerStore};
use super::zones::{Bridges, Reach, key_of};

/// Answers announces: remembers who asks and tells them of others.
pub struct Announcer {
    store: Arc<dyn PeerStore>,
    config: HandoutConfig,
    /// Counts up; each announce draws its randomness from a number of its own.
    seed: AtomicU64,
    counters: Counters,
    bridges: Mutex<Bridges>,
}

/// What an announcer has done and what it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnnouncerStats {
    /// Announces answered of peers that have the whole blob.
    pub complete: u64,
    /// Announces answered of peers that do not.
    pub incomplete: u64,
    /// Of the latter, those that were told of nobody.
    pub empty: u64,
    /// Peers handed out, origins included.
    pub handed_out: u64,
    /// How much the store remembers, where it can tell.
    pub peers: Option<PeerCounts>,
}

#[derive(Debug, Default)]
struct Counters {
    complete: AtomicU64,
    incomplete: AtomicU64,
    empty: AtomicU64,
    handed_out: AtomicU64,
}

impl Announcer {
    /// An announcer over `store`; the same `seed` and the same calls give the same handouts.
    pub fn new(store: Arc<dyn PeerStore>, config: HandoutConfig, seed: u64) -> Self {
        let bridges = Mutex::new(Bridges::new(config.zone_bridges, config.interval));
        let (seed, counters) = (AtomicU64::new(seed), Counters::default());
        Self { store, config, seed, counters, bridges }
    }

    /// What it has done and what it remembers. Does not block.
    pub fn stats(&self) -> AnnouncerStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AnnouncerStats {
            complete: load(&self.counters.complete),
            incomplete: load(&self.counters.incomplete),
            empty: load(&self.counters.empty),
            handed_out: load(&self.counters.handed_out),
            peers: self.store.counts(),
        }
    }

    /// Answers one announce. `origins` are those of the blob, as far as the caller could find them
    /// out; nobody needs to for a peer that has the whole blob (`request.peer.complete`).
    ///
    /// A failure of the store alone is logged and not returned, and so is one of `origins`: a
    /// handout of either is better than none. [`ErrorKind::Unavailable`] when both failed.
    pub async fn announce(
        &self,
        request: &AnnounceRequest,
        origins: Result<Vec<PeerContext>>,
        now: Time,
    ) -> Result<AnnounceResponse> {
        let torrent = request.info_hash;
        let zone = self.zone_of(request);
        for key in [Some(torrent), zone].into_iter().flatten() {
            if let Err(error) = self.store.update(key, &request.peer, now).await {
                tracing::warn!(%torrent, peer = %request.peer.peer_id, %error, "peer not remembered");
            }
        }
        let mut rng = Rng::new(self.seed.fetch_add(1, Ordering::Relaxed));
        let (sample_seed, order_seed) = (rng.next(), rng.next());
        let reach = self.reach(request, zone, origins.as_deref().unwrap_or_default(), now);
        if request.peer.complete {
            self.counters.complete.fetch_add(1, Ordering::Relaxed);
            return Ok(handout(request, Vec::new(), Vec::new(), &self.config, order_seed));
        }
        let origins = match reach {
            Reach::Inside => Ok(Vec::new()),
            _ => origins.map(|origins| origins.iter().map(peer_of).collect()),
        };
        let bridge = matches!(reach, Reach::Bridge(_));
        let sampled = self.sample(&torrent, zone, reach, sample_seed, now).await;
        let (sampled, origins) = match (sampled, origins) {
            (Ok(sampled), Ok(origins)) => (sampled, origins),
            (Ok(sampled), Err(error)) => {
                tracing::warn!(%torrent, %error, "handout without origins");
                (sampled, Vec::new())
            }
            (Err(error), Ok(origins)) => {
                tracing::warn!(%torrent, %error, "handout of origins alone");
                (Vec::new(), origins)
            }
            (Err(store), Err(origins)) => {
                let context = format!("no peers available: {store}; no origins: {origins}");
                return Err(Error::new(ErrorKind::Unavailable, context));
            }
        };
        let mut response = handout(request, sampled, origins, &self.config, order_seed);
        response.bridge = bridge;
        let handed_out = response.peers.as_ref().map_or(0, Vec::len) as u64;
        self.counters.incomplete.fetch_add(1, Ordering::Relaxed);
        self.counters.empty.fetch_add(u64::from(handed_out == 0), Ordering::Relaxed);
        self.counters.handed_out.fetch_add(handed_out, Ordering::Relaxed);
        Ok(response)
    }
}

/// Zones.
impl Announcer {
    /// What the peers of the announcing peer's zone are kept under, if zones make a difference.
    fn zone_of(&self, request: &AnnounceRequest) -> Option<InfoHash> {
        let on = self.config.zone_bridges > 0 && !request.zone.is_empty();
        on.then(|| key_of(request.info_hash, &request.zone))
    }

    fn reach(
        &self,
        request: &AnnounceRequest,
        zone: Option<InfoHash>,
        origins: &[PeerContext],
        now: Time,
    ) -> Reach {
        let Some(zone) = zone else { return Reach::Everywhere };
        if !request.peer.complete && origins.iter().all(|origin| origin.zone.is_empty()) {
            return Reach::Everywhere;
        }
        if origins.iter().any(|origin| origin.zone == request.zone) {
            return if request.starved { Reach::Everywhere } else { Reach::Home };
        }
        let mut bridges = self.bridges.lock().unwrap_or_else(PoisonError::into_inner);
        let others = bridges.admit(zone, &request.peer, request.starved, now);
        others.map_or(Reach::Inside, Reach::Bridge)
    }

    /// Peers to tell the announcing one of.
    async fn sample(
        &self,
        torrent: &InfoHash,
        zone: Option<InfoHash>,
        reach: Reach,
        seed: u64,
        now: Time,
    ) -> Result<Vec<PeerInfo>> {
        // One more, because the one who asks may be among them.
        let limit = self.config.peers_max.min(crate::limits::HANDOUT_MAX) + 1;
        let zone = zone.as_ref().unwrap_or(torrent);
        match reach {
            Reach::Everywhere => self.store.sample(torrent, limit, seed, now).await,
            Reach::Home | Reach::Inside => self.store.sample(zone, limit, seed, now).await,
            Reach::Bridge(mut peers) => {
                for key in [zone, torrent] {
                    let more = self.store.sample(key, limit.min(OF_EACH), seed, now).await?;
                    for peer in more {
                        if peers.iter().all(|known| known.peer_id != peer.peer_id) {
                            peers.push(peer);
                        }
                    }
                }
                Ok(peers)
            }
        }
    }
}

/// An origin as a handout carries it.
fn peer_of(origin: &PeerContext) -> PeerInfo {
    PeerInfo { origin: true, ..origin.to_peer_info(true) }
}

/// So many peers of a bridge's own zone it is told of, and so many of all.
const OF_EACH: usize = 8;

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer")
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl AnnounceRequest {
    /// Parses the body of an announce and checks that it may be remembered and handed on.
    pub fn from_json(body: &[u8]) -> Result<Self> {
        if body.len() > limits::ANNOUNCE_REQUEST_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("an announce of {} bytes", body.len()),
            ));
        }
        let request: Self = serde_json::from_slice(body)
            .map_err(|e| Error::invalid("parse an announce").with_source(e))?;
        if request.name.len() > limits::NAME_LEN_MAX {
            return Err(Error::invalid(format!("a name of {} bytes", request.name.len())));
        }
        if request.zone.len() > limits::ZONE_LEN_MAX {
            return Err(Error::invalid(format!("a zone of {} bytes", request.zone.len())));
        }
        let host = &request.peer.ip;
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-:%[]".contains(c);
        if host.is_empty() || host.len() > limits::HOST_LEN_MAX || !host.chars().all(valid) {
            return Err(Error::invalid("the peer's ip is neither an address nor a host name"));
        }
        if request.peer.port == 0 {
            return Err(Error::invalid("the peer's port is 0"));
        }
        Ok(request)
    }

    /// The blob: old clients give its wire name alone.
    pub fn blob(&self) -> Result<Digest> {
        self.digest.map_or_else(|| Digest::parse_wire_name(&self.name), Ok)
    }
}
