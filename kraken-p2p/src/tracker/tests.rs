//! Announces from body to answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kraken_core::{
    Digest, Error, ErrorKind, InfoHash, PeerContext, PeerId, PeerInfo, Result, Time,
};

use super::*;

fn peer(n: u8, origin: bool, complete: bool) -> PeerInfo {
    let ip = format!("10.0.0.{n}");
    PeerInfo { peer_id: PeerId::from_addr(&ip, 8080), ip, port: 8080, origin, complete }
}

fn request(peer: PeerInfo) -> AnnounceRequest {
    let digest = Digest::sha256(b"hello kraken");
    let info_hash = InfoHash::new([1; 20]);
    AnnounceRequest {
        name: digest.hex(),
        digest: Some(digest),
        info_hash,
        peer,
        zone: String::new(),
        starved: false,
    }
}

/// What the origin of this number says of itself.
fn origin(n: u8, zone: &str) -> PeerContext {
    let PeerInfo { peer_id, ip, port, .. } = peer(n, true, true);
    let (zone, cluster) = (zone.to_owned(), String::new());
    PeerContext { ip, port, peer_id, zone, cluster, origin: true }
}

fn peers_of(response: AnnounceResponse) -> Vec<PeerInfo> {
    response.peers.unwrap_or_default()
}

/// A store that is down.
#[derive(Debug)]
struct Down;

#[async_trait]
impl PeerStore for Down {
    async fn update(&self, _: InfoHash, _: &PeerInfo, _: Time) -> Result<()> {
        Err(Error::new(ErrorKind::Unavailable, "down"))
    }

    async fn sample(&self, _: &InfoHash, _: usize, _: u64, _: Time) -> Result<Vec<PeerInfo>> {
        Err(Error::new(ErrorKind::Unavailable, "down"))
    }
}

#[test]
fn announces_have_the_json_of_the_go_original() {
    let ids = ["1"; 20].join(",");
    let hex = Digest::sha256(b"hello kraken").hex();
    let peer = format!(r#"{{"peer_id":[{ids}],"ip":"10.0.0.1","port":8080"#);
    let body = format!(
        r#"{{"name":"{hex}","digest":"sha256:{hex}","info_hash":[{ids}],"peer":{peer},"origin":false,"complete":true}}}}"#
    );
    let request = AnnounceRequest::from_json(body.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&request).unwrap(), body);
    for old in [r#""digest":null,"#, ""] {
        let body = body.replace(&format!(r#""digest":"sha256:{hex}","#), old);
        let old = AnnounceRequest::from_json(body.as_bytes()).unwrap();
        assert_eq!(old.blob().unwrap(), request.blob().unwrap());
    }
    let nobody = AnnounceResponse { interval: 3_000_000_000, ..AnnounceResponse::default() };
    let json = r#"{"peers":null,"interval":3000000000}"#;
    assert_eq!(serde_json::to_string(&nobody).unwrap(), json);
    for (from, to) in [
        ("8080", "0"),
        ("8080", "65536"),
        ("8080", "-1"),
        ("10.0.0.1", ""),
        ("10.0.0.1", "a/b"),
        ("10.0.0.1", &"a".repeat(254)),
        ("[1,", "["),
        ("sha256:", "md5:"),
    ] {
        assert!(AnnounceRequest::from_json(body.replace(from, to).as_bytes()).is_err(), "{to}");
    }
    let long = vec![b' '; limits::ANNOUNCE_REQUEST_BYTES_MAX + 1];
    assert_eq!(AnnounceRequest::from_json(&long).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn completeness_puts_complete_peers_before_origins_before_the_rest() {
    let policy: HandoutPolicy = "completeness".parse().unwrap();
    let config = HandoutConfig { policy, ..HandoutConfig::default() };
    let sampled = (1..40).map(|n| peer(n, false, n % 3 == 0)).collect();
    let origins = (50..53).map(|n| peer(n, true, true)).collect();
    let peers = peers_of(handout(&request(peer(99, false, false)), sampled, origins, &config, 1));
    let classes: Vec<u8> = peers
        .iter()
        .map(|peer| match (peer.origin, peer.complete) {
            (false, true) => 0,
            (true, _) => 1,
            (false, false) => 2,
        })
        .collect();
    assert_eq!(classes.len(), 42);
    assert!(classes.is_sorted(), "{classes:?}");
    assert!(!peers[..13].is_sorted_by(|a, b| a.ip <= b.ip), "random within a class");
    assert!("rarest".parse::<HandoutPolicy>().is_err());
}

#[test]
fn the_default_mixes_all() {
    let config = HandoutConfig { policy: "default".parse().unwrap(), ..HandoutConfig::default() };
    let sampled: Vec<_> = (1..40).map(|n| peer(n, false, n % 3 == 0)).collect();
    let origins = vec![peer(50, true, true)];
    let asker = request(peer(99, false, false));
    let places: Vec<usize> = (0..20)
        .map(|seed| {
            let peers = peers_of(handout(&asker, sampled.clone(), origins.clone(), &config, seed));
            peers.iter().position(|peer| peer.origin).unwrap()
        })
        .collect();
    assert!(places.iter().any(|place| *place < 10) && places.iter().any(|place| *place > 30));
}

#[test]
fn nobody_is_told_of_itself_and_no_one_twice() {
    let asker = peer(1, false, false);
    let restarted = PeerInfo { peer_id: PeerId::new([9; 20]), ..asker.clone() };
    let origin = peer(5, true, true);
    let sampled = vec![asker.clone(), restarted, peer(2, false, false), peer(5, false, true)];
    let config = HandoutConfig { policy: HandoutPolicy::Completeness, ..HandoutConfig::default() };
    let response = handout(&request(asker), sampled, vec![origin.clone()], &config, 1);
    assert_eq!(peers_of(response), [origin, peer(2, false, false)]);
}

#[test]
fn handouts_are_bounded() {
    let crowd = |from: u32, origin| -> Vec<PeerInfo> {
        (from..from + 2000)
            .map(|n| {
                let mut id = [0; 20];
                id[..4].copy_from_slice(&n.to_be_bytes());
                PeerInfo { peer_id: PeerId::new(id), ip: format!("h{n}"), ..peer(0, origin, true) }
            })
            .collect()
    };
    let asker = request(peer(1, false, false));
    for (peers_max, origins, expected) in
        [(50, 0, 50), (50, 3, 53), (usize::MAX, 3, 1000), (50, 2000, 1000), (0, 0, 0)]
    {
        let config = HandoutConfig { peers_max, ..HandoutConfig::default() };
        let origins = crowd(1 << 20, true).split_off(2000 - origins);
        let response = handout(&asker, crowd(0, false), origins, &config, 1);
        assert_eq!(response.peers.as_ref().map_or(0, Vec::len), expected);
        assert_eq!(response.peers.is_none(), expected == 0, "an empty list is null");
        assert_eq!(response.interval, 3_000_000_000);
    }
}

#[tokio::test]
async fn who_announces_is_handed_to_the_next() {
    let store = Arc::new(MemoryPeerStore::default());
    let announcer = Announcer::new(store.clone(), HandoutConfig::default(), 1);
    let first = announcer
        .announce(&request(peer(1, false, false)), Ok(vec![origin(50, "")]), Time::ZERO)
        .await
        .unwrap();
    assert_eq!(peers_of(first), [peer(50, true, true)]);
    let done = announcer.announce(&request(peer(2, false, true)), Ok(vec![]), Time::ZERO).await;
    assert_eq!(done.unwrap().peers, None, "who has everything needs nobody");
    let broken = Err(Error::new(ErrorKind::Unavailable, "origins down"));
    let third = announcer.announce(&request(peer(3, false, false)), broken, Time::ZERO).await;
    let mut peers = peers_of(third.unwrap());
    peers.sort_unstable_by(|a, b| a.ip.cmp(&b.ip));
    assert_eq!(peers, [peer(1, false, false), peer(2, false, true)]);
    assert_eq!(store.len(), 3);
    let peers = Some(PeerCounts { peers: 3, torrents: 1 });
    let stats = AnnouncerStats { complete: 1, incomplete: 2, empty: 0, handed_out: 3, peers };
    assert_eq!(announcer.stats(), stats);
    let late = Time::ZERO + TTL_DEFAULT + Duration::from_secs(1);
    let alone = announcer.announce(&request(peer(1, false, false)), Ok(vec![]), late).await;
    assert_eq!(alone.unwrap().peers, None);
}

#[tokio::test]
async fn either_the_store_or_the_origins_may_be_down() {
    let announcer = Announcer::new(Arc::new(Down), HandoutConfig::default(), 1);
    let asker = request(peer(1, false, false));
    let origins = vec![origin(50, "")];
    let response = announcer.announce(&asker, Ok(origins), Time::ZERO).await.unwrap();
    assert_eq!(peers_of(response), [peer(50, true, true)]);
    let broken = Err(Error::new(ErrorKind::Unavailable, "origins down"));
    let error = announcer.announce(&asker, broken, Time::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// A tracker to whom zones make a difference, with an origin in zone `home`.
struct Zoned(Announcer);

impl Zoned {
    fn new(zone_bridges: usize) -> Self {
        let config = HandoutConfig { zone_bridges, ..HandoutConfig::default() };
        Self(Announcer::new(Arc::new(MemoryPeerStore::default()), config, 1))
    }

    async fn ask(&self, n: u8, zone: &str, starved: bool, secs: u64) -> (Vec<u8>, bool) {
        self.ask_with(n, zone, starved, secs, "home").await
    }

    async fn ask_with(
        &self,
        n: u8,
        zone: &str,
        starved: bool,
        secs: u64,
        home: &str,
    ) -> (Vec<u8>, bool) {
        let request =
            AnnounceRequest { zone: zone.to_owned(), starved, ..request(peer(n, false, false)) };
        let now = Time::ZERO + Duration::from_secs(secs);
        let response = self.0.announce(&request, Ok(vec![origin(50, home)]), now).await.unwrap();
        let bridge = response.bridge;
        let last = |peer: PeerInfo| peer.ip.rsplit('.').next().unwrap().parse().unwrap();
        let mut peers: Vec<u8> = peers_of(response).into_iter().map(last).collect();
        peers.sort_unstable();
        (peers, bridge)
    }

    async fn tell(&self, n: u8, zone: &str, starved: bool, secs: u64, peers: &[u8], bridge: bool) {
        let (told, is_bridge) = self.ask(n, zone, starved, secs).await;
        assert_eq!((&told[..], is_bridge), (peers, bridge), "{n} of {zone:?} at {secs} s");
    }
}

#[tokio::test]
async fn of_a_zone_few_are_told_of_what_is_outside() {
    let zoned = Zoned::new(2);
    zoned.tell(1, "home", false, 0, &[50], false).await;
    zoned.tell(2, "home", false, 0, &[1, 50], false).await;
    zoned.tell(11, "far", false, 0, &[1, 2, 50], true).await;
    zoned.tell(12, "far", false, 0, &[1, 2, 11, 50], true).await;
    zoned.tell(13, "far", false, 0, &[11, 12], false).await;
    zoned.tell(3, "home", false, 0, &[1, 2, 50], false).await;
    zoned.tell(21, "", false, 0, &[1, 2, 3, 11, 12, 13, 50], false).await;
    zoned.tell(11, "far", false, 1, &[1, 2, 3, 12, 13, 21, 50], true).await;
    // Who gets nothing takes part, one each three seconds; at home it is told of everyone.
    zoned.tell(13, "far", true, 10, &[1, 2, 3, 11, 12, 21, 50], true).await;
    zoned.tell(14, "far", true, 11, &[11, 12, 13], false).await;
    assert!(zoned.ask(14, "far", true, 13).await.1);
    assert!(zoned.ask(1, "home", true, 13).await.0.contains(&11));
    // Of origins that say no zone everyone is told of everyone.
    assert_eq!(zoned.ask_with(16, "far", false, 13, "").await.0.len(), 9);
    // Bridges that are not heard of any more make room.
    assert!(!zoned.ask(15, "far", false, 300).await.1);
    assert!(zoned.ask(15, "far", false, 320).await.1);
}

#[tokio::test]
async fn without_bridges_zones_make_no_difference() {
    let zoned = Zoned::new(0);
    zoned.tell(1, "home", false, 0, &[50], false).await;
    zoned.tell(11, "far", false, 0, &[1, 50], false).await;
    zoned.tell(12, "far", false, 0, &[1, 11, 50], false).await;
}

#[tokio::test]
async fn a_bridge_that_is_complete_stays_one() {
    let zoned = Zoned::new(1);
    assert!(zoned.ask(11, "far", false, 0).await.1);
    let done = AnnounceRequest { zone: "far".to_owned(), ..request(peer(11, false, true)) };
    let at = |secs| Time::ZERO + Duration::from_secs(secs);
    assert_eq!(zoned.0.announce(&done, Ok(Vec::new()), at(10)).await.unwrap().peers, None);
    zoned.tell(12, "far", false, 1000, &[11], false).await;
    assert!(zoned.ask(12, "far", false, 4000).await.1);
}
