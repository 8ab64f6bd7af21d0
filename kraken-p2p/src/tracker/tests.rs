//! Announces from body to answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kraken_core::{Digest, Error, ErrorKind, InfoHash, PeerId, PeerInfo, Result, Time};

use super::*;

fn peer(n: u8, origin: bool, complete: bool) -> PeerInfo {
    let ip = format!("10.0.0.{n}");
    PeerInfo { peer_id: PeerId::from_addr(&ip, 8080), ip, port: 8080, origin, complete }
}

fn request(peer: PeerInfo) -> AnnounceRequest {
    let digest = Digest::sha256(b"hello kraken");
    let info_hash = InfoHash::new([1; 20]);
    AnnounceRequest { name: digest.hex(), digest: Some(digest), info_hash, peer }
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
    let nobody = AnnounceResponse { peers: None, interval: 3_000_000_000 };
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
    let origin = peer(50, true, true);
    let first = announcer
        .announce(&request(peer(1, false, false)), Ok(vec![origin.clone()]), Time::ZERO)
        .await
        .unwrap();
    assert_eq!(peers_of(first), [origin]);
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
    let origins = vec![peer(50, true, true)];
    let response = announcer.announce(&asker, Ok(origins.clone()), Time::ZERO).await.unwrap();
    assert_eq!(peers_of(response), origins);
    let broken = Err(Error::new(ErrorKind::Unavailable, "origins down"));
    let error = announcer.announce(&asker, broken, Time::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
