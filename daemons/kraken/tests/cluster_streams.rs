//! Blobs that only a slow backend has.

mod cluster;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kraken_core::Digest;
use serde_json::json;

use cluster::content::random;
use cluster::http::{self, Arriving};
use cluster::role::Role;
use cluster::{Cluster, PIECE_LEN, Plan, wait_for};

fn path(digest: &Digest) -> String {
    format!("/v2/library/cold/blobs/{digest}")
}

/// A cluster, and a blob of so many bytes that only its backend has.
fn cold(plan: &Plan, seed: u64, len: usize) -> (Cluster, Vec<u8>, Digest) {
    let cluster = Cluster::start(plan);
    let blob = random(seed, len);
    let digest = cluster.put_cold(&blob);
    (cluster, blob, digest)
}

/// Which origin is the first of a blob's owners: the one that fetches it.
fn first_owner(cluster: &Cluster, digest: &Digest) -> usize {
    let owners = http::get(cluster.origins[0].http, &format!("/blobs/{digest}/locations"));
    let first = owners.header("origin-locations").unwrap().split(',').next().unwrap().to_owned();
    cluster.origins.iter().position(|origin| origin.http.to_string() == first).expect("an owner")
}

/// Reads a blob and looks how much the backend has sent when the first piece is here.
fn read(cluster: &Cluster, addr: SocketAddr, digest: &Digest) -> (u64, Vec<u8>) {
    let arriving = Arriving::get(addr, &path(digest), PIECE_LEN).unwrap();
    let sent = cluster.backend_sent();
    let answer = arriving.whole().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    (sent, answer.body)
}

#[test]
fn agents_and_the_proxy_pass_a_blob_on_while_the_backend_sends_it_once() {
    let plan = Plan {
        origins: 3,
        agents: 2,
        origin: json!({"hashring": {"max_replica": 2}}),
        slow_backend: Some(2_000_000),
        ..Plan::default()
    };
    let (cluster, blob, digest) = cold(&plan, 60, 4_000_000);
    let addrs = [cluster.agents[0].registry, cluster.agents[1].registry, cluster.proxy.http];
    let reads = std::thread::scope(|scope| {
        let readers = addrs.map(|addr| {
            let (cluster, digest) = (&cluster, &digest);
            scope.spawn(move || read(cluster, addr, digest))
        });
        readers.map(|reader| reader.join().unwrap())
    });
    for (sent, bytes) in reads {
        assert!(bytes == blob);
        assert!(sent > 0 && sent < blob.len() as u64, "{sent}: it was cold, and streams");
    }
    assert_eq!(cluster.backend_sent(), blob.len() as u64);
}

/// The first owner finds out, the others and the agents believe it.
#[test]
fn other_bytes_at_the_backend_are_sent_once_and_nobody_waits_any_longer() {
    let plan = Plan { origins: 3, agents: 2, slow_backend: Some(2_000_000), ..Plan::default() };
    let (cluster, mut blob, digest) = cold(&plan, 69, 4_000_000);
    blob[1_500_000] ^= 1;
    std::fs::write(cluster.backend_file(&digest), &blob).unwrap();
    let addrs = [cluster.agents[0].registry, cluster.agents[1].registry, cluster.proxy.http];
    let readers = addrs.map(|addr| Arriving::get(addr, &path(&digest), PIECE_LEN).unwrap());
    let started = Instant::now();
    for reader in readers {
        let broken = reader.whole().unwrap_err();
        assert!(broken.to_string().contains("shorter"), "{broken}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?} for two seconds of bytes");
    for agent in &cluster.agents {
        let log = agent.role.log();
        // One that got the last piece before its origin had hashed it finds out by itself.
        let reasons =
            ["the backend of library/cold has other bytes", "the blob that arrived failed"];
        let told = log.lines().any(|line| {
            line.contains("download failed")
                && reasons.iter().any(|reason| line.contains(reason))
                && line.contains(&digest.to_string())
        });
        assert!(told, "{log}");
    }
    for addr in [cluster.agents[0].registry, cluster.proxy.http] {
        let again = http::try_get(addr, &path(&digest)).unwrap();
        assert!(again.status >= 500, "{again:?}");
    }
    assert_eq!(cluster.backend_sent(), blob.len() as u64);
}

#[test]
fn a_layer_that_is_asked_for_as_a_manifest_stays_where_it_is() {
    let plan = Plan { slow_backend: Some(50_000_000), ..Plan::default() };
    let (cluster, _, digest) = cold(&plan, 71, 9_000_000);
    for addr in [cluster.agents[0].registry, cluster.proxy.http] {
        for method in ["HEAD", "GET"] {
            let path = format!("/v2/library/cold/manifests/{digest}");
            let answer = http::send(method, addr, &path, &[], b"");
            assert_eq!(answer.status, 404, "{answer:?}");
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.backend_sent(), 0);
}

#[test]
fn without_streaming_too_the_backend_sends_a_blob_once() {
    let mut plan = Plan { origins: 3, slow_backend: Some(2_000_000), ..Plan::default() };
    plan.origin_flags = vec!["--no-stream".to_owned()];
    let (cluster, blob, digest) = cold(&plan, 70, 2_000_000);
    for addr in [cluster.agents[0].registry, cluster.proxy.http] {
        assert!(http::get(addr, &path(&digest)).body == blob);
    }
    assert_eq!(cluster.backend_sent(), blob.len() as u64);
}

#[test]
fn a_backend_that_stops_half_way_breaks_readers_off_and_is_gone_on_with() {
    let plan = Plan { slow_backend: Some(1_000_000), ..Plan::default() };
    let (mut cluster, blob, digest) = cold(&plan, 61, 3_000_000);
    let mut readers = Vec::new();
    for addr in [cluster.agents[0].registry, cluster.proxy.http] {
        let arriving = Arriving::get(addr, &path(&digest), PIECE_LEN).unwrap();
        if addr == cluster.proxy.http {
            cluster.testfs.as_mut().unwrap().kill();
        }
        readers.push(arriving);
    }
    for reader in readers {
        let broken = reader.whole().unwrap_err();
        assert!(broken.to_string().contains("shorter"), "{broken}");
    }
    cluster.testfs.as_mut().unwrap().start();
    // A fetch that has failed is not tried again at once.
    let bytes = wait_for("the blob", || {
        let answer = http::try_get(cluster.agents[0].registry, &path(&digest)).ok()?;
        (answer.status == 200).then_some(answer.body)
    });
    assert!(bytes == blob);
    let again = cluster.backend_sent();
    assert!(again < blob.len() as u64, "{again}: what was here is not sent again");
}

#[test]
fn when_the_owner_that_fetches_is_killed_another_goes_on_and_no_reader_fails() {
    let plan = Plan { origins: 3, slow_backend: Some(1_000_000), ..Plan::default() };
    let (mut cluster, blob, digest) = cold(&plan, 62, 6_000_000);
    let half = 2_000_000;
    let mut reader = Arriving::get(cluster.agents[0].registry, &path(&digest), half).unwrap();
    let pusher = Arriving::get(cluster.proxy.http, &path(&digest), half).unwrap();
    let first = first_owner(&cluster, &digest);
    cluster.origins[first].kill();
    reader.read_to(2 * half).unwrap();
    let sent = cluster.backend_sent();
    assert!(sent < 5_500_000, "{sent}: the next owner's pieces are passed on as they come");
    for reader in [reader, pusher] {
        assert!(reader.whole().unwrap().body == blob);
    }
    let sent = cluster.backend_sent();
    assert!(sent < blob.len() as u64 + 1_000_000, "{sent}: goes on with what is here");
}

/// Nobody but the owners had anything of it when the one that fetched it was killed.
#[test]
fn another_owner_goes_on_also_when_no_agent_reads() {
    let plan = Plan { origins: 3, slow_backend: Some(1_000_000), ..Plan::default() };
    let (mut cluster, blob, digest) = cold(&plan, 67, 6_000_000);
    let reader = Arriving::get(cluster.proxy.http, &path(&digest), 3_000_000).unwrap();
    let first = first_owner(&cluster, &digest);
    cluster.origins[first].kill();
    assert!(reader.whole().unwrap().body == blob);
    let sent = cluster.backend_sent();
    assert!(sent < blob.len() as u64 + 1_000_000, "{sent}: goes on with what is here");
}

/// It is longer than what is fetched before its turn at once.
#[test]
fn a_long_range_far_out_goes_on_and_is_not_sent_again() {
    let plan = Plan { slow_backend: Some(10_000_000), ..Plan::default() };
    let (cluster, blob, digest) = cold(&plan, 68, 64_000_000);
    let at = 40_000_000;
    let whole = Arriving::get(cluster.proxy.http, &path(&digest), PIECE_LEN).unwrap();
    let range = format!("bytes={at}-");
    let answer = http::send("GET", cluster.proxy.http, &path(&digest), &[("range", &range)], b"");
    assert_eq!(answer.status, 206, "{answer:?}");
    assert!(answer.body == blob[at..]);
    let sent = cluster.backend_sent();
    assert!(sent < 60_000_000, "{sent}: it did not wait for all that is before it");
    assert!(whole.whole().unwrap().body == blob);
    let sent = cluster.backend_sent();
    assert!(sent < 76_000_000, "{sent}: next to nothing is sent twice");
}

/// Both fetch the blob for a while then, until the one that took over hears of the other.
#[test]
fn an_owner_that_was_away_goes_on_and_the_one_that_took_over_stops() {
    let plan = Plan { origins: 3, slow_backend: Some(2_000_000), ..Plan::default() };
    let (cluster, blob, digest) = cold(&plan, 66, 20_000_000);
    let reader = Arriving::get(cluster.agents[0].registry, &path(&digest), PIECE_LEN).unwrap();
    let first = first_owner(&cluster, &digest);
    cluster.origins[first].signal("STOP");
    wait_for("another owner", || {
        let log: String = cluster.origins.iter().map(Role::log).collect();
        log.contains("goes on without that owner").then_some(())
    });
    let before = cluster.backend_sent();
    wait_for("its pieces", || (cluster.backend_sent() > before + 1_000_000).then_some(()));
    cluster.origins[first].signal("CONT");
    assert!(reader.whole().unwrap().body == blob);
    let sent = cluster.backend_sent();
    assert!(sent < blob.len() as u64 + 8_000_000, "{sent}: one of them stops");
}

/// 40 seconds of the backend lie before it.
#[test]
fn a_range_far_out_of_a_cold_blob_does_not_wait_for_what_is_before_it() {
    let plan = Plan { slow_backend: Some(1_000_000), ..Plan::default() };
    let (cluster, blob, digest) = cold(&plan, 63, 40_000_000);
    let first = Arriving::get(cluster.proxy.http, &path(&digest), PIECE_LEN).unwrap();
    for (addr, at) in [(cluster.proxy.http, 30_000_000), (cluster.agents[0].registry, 35_000_000)] {
        let range = format!("bytes={at}-{}", at + 99);
        let answer = http::send("GET", addr, &path(&digest), &[("range", &range)], b"");
        assert_eq!(answer.status, 206, "{answer:?}");
        assert!(answer.body == blob[at..at + 100]);
    }
    assert!(cluster.backend_sent() < 12_000_000, "{}", cluster.backend_sent());
    drop(first);
}

#[test]
fn the_agent_that_is_left_finishes_from_the_origin() {
    let plan = Plan { agents: 3, slow_backend: Some(1_000_000), ..Plan::default() };
    let (mut cluster, blob, digest) = cold(&plan, 64, 4_000_000);
    let mut readers = cluster.agents.iter().map(|agent| {
        let addr = agent.registry;
        Arriving::get(addr, &path(&digest), 4 * PIECE_LEN).unwrap()
    });
    let left = readers.next().unwrap();
    readers.for_each(drop);
    for agent in &mut cluster.agents[1..] {
        agent.role.kill();
    }
    assert!(left.whole().unwrap().body == blob);
}

/// All of it is here while next to nothing of it was read.
#[test]
fn a_reader_that_is_slower_than_the_swarm_costs_no_memory() {
    let plan = Plan { agents: 1, ..Plan::default() };
    let (cluster, blob, digest) = cold(&plan, 65, 80_000_000);
    let agent = &cluster.agents[0];
    let before = agent.role.anonymous_bytes();
    let reader = Arriving::get(agent.registry, &path(&digest), PIECE_LEN).unwrap();
    let here = cluster.cache_entry("agent-0", &digest);
    let most = wait_for("the blob", || {
        let now = agent.role.anonymous_bytes();
        assert!(now < before + (48 << 20), "{now} bytes, {before} before");
        here.join("data").exists().then_some(now)
    });
    assert!(most < before + (48 << 20));
    assert!(reader.whole().unwrap().body == blob);
}

/// Their connections are full, and what waits for room in them is little.
#[test]
fn slow_readers_of_the_proxy_hold_little_memory_each() {
    const READERS: u64 = 100;
    let (cluster, blob, digest) = cold(&Plan::default(), 72, 40_000_000);
    let proxy = &cluster.proxy;
    assert!(http::get(proxy.http, &path(&digest)).body == blob);
    let before = proxy.anonymous_bytes();
    let get = |_| Arriving::get(proxy.http, &path(&digest), PIECE_LEN).unwrap();
    let _readers: Vec<Arriving> = (0..READERS).map(get).collect();
    std::thread::sleep(Duration::from_secs(2));
    let each = proxy.anonymous_bytes().saturating_sub(before) / READERS;
    assert!(each < 800 << 10, "{each} bytes each");
}
