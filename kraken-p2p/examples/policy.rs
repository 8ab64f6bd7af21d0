//! A policy of one's own against the node's: `cargo run --release --features sim --example policy`.
//!
//! Its hosts fetch every piece from the first origin that they are told of, in order, and send
//! nothing to one another. A second one does not even ask, and the report says who starves.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use kraken_core::{Digest, Error, PeerInfo, PieceIndex, Result, Time};
use kraken_p2p::sim::{Peer, Policy, Report, Scenario, run};
use kraken_p2p::swarm::{
    Announced, CloseReason, ConnId, DemandId, Output, PieceOutcome, Refused, TorrentSpec,
};
use kraken_p2p::wire::{Handshake, Message};

fn main() -> Result<()> {
    let node = simulate(None)?;
    println!("the node's:   {:.2} times what the link takes", node.overall.max);
    let star = simulate(Some(Star { asks: true }))?;
    assert!(star.is_ok(), "{:?} {:?}", star.starving, star.violations);
    println!("{}:     {:.2} times", policy_of_agents(&star), star.overall.max);
    assert!(star.overall.max > node.overall.max);
    let idle = simulate(Some(Star { asks: false }))?;
    assert_eq!((idle.ending.as_str(), idle.starving_total), ("starved", 2 * HOSTS));
    let first = &idle.starving[0];
    let policy = policy_of_agents(&idle);
    println!("{policy}:    {} lacks {} pieces", first.host, first.pieces_missing);
    Ok(())
}

fn policy_of_agents(report: &Report) -> &str {
    let agents = report.groups.iter().find(|group| group.name == "agents");
    agents.map_or("", |agents| &agents.policy)
}

/// Two blobs of 1.5 GB for hosts that run this, or what the node runs.
fn simulate(policy: Option<Star>) -> Result<Report> {
    let mut scenario = Scenario::readme(HOSTS, Duration::from_secs(1));
    scenario.patience = Duration::from_secs(10);
    if let Some(policy) = policy {
        scenario.groups[0].policy = Arc::new(policy);
    }
    run(&scenario, 42)
}

const HOSTS: usize = 40;

/// How many pieces a host has on order.
const WINDOW: u32 = 4;

/// Makes peers that fetch from an origin alone.
#[derive(Debug, Clone, Copy)]
struct Star {
    /// Whether they ask for pieces at all.
    asks: bool,
}

impl Policy for Star {
    fn name(&self) -> String {
        if self.asks { "one star" } else { "idle ones" }.to_owned()
    }

    fn peer(&self, local: PeerInfo, _seed: u64) -> Box<dyn Peer> {
        Box::new(Leaf {
            local,
            asks: self.asks,
            torrents: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            outputs: VecDeque::new(),
        })
    }
}

/// One host.
#[derive(Debug)]
struct Leaf {
    local: PeerInfo,
    asks: bool,
    torrents: BTreeMap<Digest, Torrent>,
    conns: BTreeMap<ConnId, Digest>,
    next_conn: u64,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Torrent {
    spec: TorrentSpec,
    /// The first piece that was not asked for.
    next: u32,
}

impl Leaf {
    /// What it says of itself, and by what hash.
    fn handshake(&self, digest: &Digest) -> Handshake {
        let spec = &self.torrents[digest].spec;
        Handshake {
            peer_id: self.local.peer_id,
            info_hash: spec.meta.info_hash(),
            digest: *digest,
            namespace: spec.namespace.clone(),
            bitfield: spec.have.to_wire().into(),
            remote_peers: Vec::new(),
            capabilities: None,
        }
    }

    /// Asks for so many more pieces.
    fn ask(&mut self, conn: ConnId, count: u32) {
        let Some(torrent) = self.conns.get(&conn).and_then(|digest| self.torrents.get_mut(digest))
        else {
            return;
        };
        let geometry = torrent.spec.meta.geometry();
        for index in torrent.next..(torrent.next + count).min(geometry.pieces()) {
            let index = PieceIndex(index);
            let length = geometry.len_of(index) as u32;
            let message = Message::PieceRequest { index, offset: 0, length };
            self.outputs.push_back(Output::Send { conn, message });
            torrent.next += 1;
        }
    }
}

impl Peer for Leaf {
    fn add_torrent(&mut self, _now: Time, spec: TorrentSpec) -> Result<(), Error> {
        self.torrents.insert(spec.meta.digest(), Torrent { spec, next: 0 });
        Ok(())
    }

    fn set_demand(&mut self, _: Time, torrent: &Digest, _: DemandId, bytes: Option<Range<u64>>) {
        if bytes.is_some() {
            let info_hash = self.handshake(torrent).info_hash;
            let (torrent, complete, starved) = (*torrent, false, false);
            self.outputs.push_back(Output::Announce { torrent, info_hash, complete, starved });
        }
    }

    fn handle_announced(&mut self, _: Time, torrent: &Digest, result: Result<Announced, Error>) {
        let peers = result.map(|announced| announced.peers).unwrap_or_default();
        if let Some(peer) = peers.into_iter().find(|peer| peer.origin) {
            self.next_conn += 1;
            let conn = ConnId(self.next_conn);
            self.conns.insert(conn, *torrent);
            let handshake = Box::new(self.handshake(torrent));
            self.outputs.push_back(Output::Dial { conn, peer, handshake });
        }
    }

    fn handle_dialed(&mut self, _: Time, conn: ConnId, result: Result<Handshake, CloseReason>) {
        if result.is_ok() && self.asks {
            self.ask(conn, WINDOW);
        }
    }

    fn handle_incoming(
        &mut self,
        _: Time,
        _: IpAddr,
        _: &Handshake,
    ) -> Result<(ConnId, Handshake), Refused> {
        Err(Refused::NotSeeding)
    }

    fn handle_message(&mut self, _: Time, _: ConnId, _: Message) {}

    fn handle_piece(
        &mut self,
        _: Time,
        torrent: &Digest,
        conn: ConnId,
        index: PieceIndex,
        outcome: PieceOutcome,
    ) {
        let Some(known) = self.torrents.get_mut(torrent) else { return };
        if outcome == PieceOutcome::Stored {
            known.spec.have.set(index);
            if known.spec.have.is_full() {
                self.outputs.push_back(Output::Commit { torrent: *torrent });
            }
        }
        self.ask(conn, 1);
    }

    fn handle_piece_sent(&mut self, _: Time, _: ConnId, _: PieceIndex, _: Result<(), ()>) {}

    fn handle_closed(&mut self, _: Time, conn: ConnId, _: CloseReason) {
        self.conns.remove(&conn);
    }

    fn handle_committed(&mut self, _: Time, torrent: &Digest, result: Result<(), Error>) {
        if result.is_ok() {
            self.outputs.push_back(Output::Completed { torrent: *torrent });
        }
    }

    fn handle_discarded(&mut self, _: Time, _: &Digest, _: Result<(), Error>) {}

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}
