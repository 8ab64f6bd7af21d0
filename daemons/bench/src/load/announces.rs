//! Announces in the tracker's JSON protocol, as agents send them.

use std::io::Write as _;

use kraken_core::rng::Rng;
use kraken_core::{Digest, Error, ErrorKind, Result};
use serde::Deserialize;

use super::generator::{Kind, Requests};

/// Some swarms, and who announces next.
pub(super) struct Announces {
    swarms: Vec<Swarm>,
    peers: usize,
    order: Order,
    rng: Rng,
    sent: u64,
    answered: u64,
    /// Announces answered with fewer peers than there are, of those looked at.
    pub(super) short: u64,
}

struct Swarm {
    /// The blob's SHA-256.
    hex: String,
    info_hash: String,
    /// As Go writes an array of bytes.
    info_hash_json: String,
}

/// Who announces.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Each peer of each swarm once.
    Each { next: usize },
    /// Anyone, again and again; every eleventh has the whole blob.
    Anyone,
}

#[derive(Deserialize)]
struct Handout {
    peers: Option<Vec<Peer>>,
}

#[derive(Deserialize)]
struct Peer {
    peer_id: Vec<u8>,
    port: u16,
}

impl Announces {
    /// So many swarms of so many peers, called `name`.
    pub(super) fn new(name: &str, swarms: usize, peers: usize) -> Self {
        let swarm = |number| {
            let digest = Digest::sha256(format!("{name} {number}").as_bytes());
            let hex = digest.to_string().split_off("sha256:".len());
            // Any twenty bytes are an info hash.
            let mut rng = Rng::new(number as u64);
            let bytes: [u8; 20] = std::array::from_fn(|_| rng.next() as u8);
            let info_hash = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let info_hash_json = list(&bytes);
            Swarm { hex, info_hash, info_hash_json }
        };
        let swarms = (0..swarms).map(swarm).collect();
        let order = Order::Each { next: 0 };
        Self { swarms, peers, order, rng: Rng::new(7), sent: 0, answered: 0, short: 0 }
    }

    /// How many peers there are in all.
    pub(super) fn peers(&self) -> usize {
        self.swarms.len() * self.peers
    }

    /// From now on anyone announces.
    pub(super) fn anyone(&mut self) {
        self.order = Order::Anyone;
    }

    /// The swarm and the peer that announces next.
    fn who(&mut self) -> Option<(usize, usize)> {
        let all = self.peers();
        match &mut self.order {
            Order::Each { next } => {
                let at = *next;
                *next += 1;
                // All swarms grow together.
                (at < all).then(|| (at % self.swarms.len(), at / self.swarms.len()))
            }
            Order::Anyone => {
                let at = self.rng.below(all);
                Some((at % self.swarms.len(), at / self.swarms.len()))
            }
        }
    }
}

impl Requests for Announces {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<Kind> {
        let (swarm, peer) = self.who()?;
        let complete = matches!(self.order, Order::Anyone) && self.sent % 11 == 10;
        self.sent += 1;
        let Swarm { hex, info_hash, info_hash_json } = &self.swarms[swarm];
        let (high, low) = (peer / 250, peer % 250 + 1);
        let ip = format!("10.{}.{}.{low}", high / 250, high % 250);
        // The SHA-1 of its address in the original; any twenty bytes do.
        let mut rng = Rng::new(peer as u64);
        let id: [u8; 20] = std::array::from_fn(|_| rng.next() as u8);
        let body = format!(
            "{{\"name\":\"{hex}\",\"digest\":\"sha256:{hex}\",\"info_hash\":{info_hash_json},\
             \"peer\":{{\"peer_id\":{},\"ip\":\"{ip}\",\"port\":16001,\"origin\":false,\
             \"complete\":{complete}}}}}",
            list(&id),
        );
        let len = body.len();
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "POST /announce/{info_hash} HTTP/1.1\r\nHost: tracker:15003\r\nUser-Agent: \
             Go-http-client/1.1\r\nContent-Length: {len}\r\nAccept-Encoding: gzip\r\n\r\n{body}"
        );
        Some(Kind { tag: complete.into(), has_body: true })
    }

    fn check(&mut self, kind: Kind, status: u16, body: &[u8]) -> Result<()> {
        let wrong = |what: &str| {
            let body = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
            Error::new(ErrorKind::Mismatch, format!("an announce was answered {what}: {body}"))
        };
        if status != 200 {
            return Err(wrong(&format!("with {status}")));
        }
        self.answered += 1;
        if !self.answered.is_multiple_of(LOOK_EVERY) {
            return Ok(());
        }
        let handout: Handout = serde_json::from_slice(body).map_err(|_| wrong("with no json"))?;
        let peers = handout.peers.unwrap_or_default();
        let mut ids: Vec<&[u8]> = peers.iter().map(|peer| &peer.peer_id[..]).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != peers.len() || peers.iter().any(|peer| peer.port == 0) {
            return Err(wrong("with one peer twice, or one that is none"));
        }
        let expected = if kind.tag == 1 { 0 } else { HANDOUT.min(self.peers - 1) };
        if matches!(self.order, Order::Anyone) && peers.len() < expected {
            self.short += 1;
        }
        Ok(())
    }
}

/// A list of numbers, which is how Go writes an array of bytes.
fn list(bytes: &[u8; 20]) -> String {
    format!("{bytes:?}").replace(' ', "")
}

/// Peers in a handout, as both systems are configured.
const HANDOUT: usize = 50;

/// One answer of so many is looked at in full: looking costs more than asking.
const LOOK_EVERY: u64 = 64;
