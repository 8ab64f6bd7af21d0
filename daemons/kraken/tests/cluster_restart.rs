//! Roles that die or are asked to end, and what they find when they start again.

mod cluster;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use kraken_core::Digest;
use serde_json::json;

use cluster::content::random;
use cluster::{Cluster, PIECE_LEN, Plan, http, wait_for};

const PIECES: usize = 64;

#[test]
fn a_killed_agent_keeps_its_pieces_but_not_one_that_was_tampered_with() {
    let throttle = json!({"scheduler": {"conn": {"bandwidth":
        {"enable": true, "egress_bits_per_sec": 8 * 12 * PIECE_LEN}}}});
    let mut cluster = Cluster::start(&Plan { origin: throttle, ..Plan::default() });
    let blob = random(4, PIECES * PIECE_LEN);
    let digest = cluster.push_to("library/big").push_blob(&blob);
    let entry = cluster.download_entry(0, &digest);
    // A piece that is marked counts one byte 1.
    let marked = || -> Option<Vec<usize>> {
        let status = fs::read(entry.join("_status")).ok()?;
        assert_eq!(status.len(), PIECES);
        Some((0..PIECES).filter(|piece| status[*piece] == 1).collect())
    };

    let registry = cluster.pull_from(0, "library/big").addr;
    let path = format!("/v2/library/big/blobs/{digest}");
    let first = std::thread::spawn(move || http::try_get(registry, &path));
    wait_for("ten pieces", || marked().filter(|marked| marked.len() >= 10));
    cluster.agents[0].role.kill();
    let cut_off = first.join().unwrap();
    assert!(cut_off.is_err(), "a download that was cut off: {cut_off:?}");

    // Between the look at the bitmap and the kill more may have come.
    let marked = marked().unwrap();
    assert!((10..PIECES).contains(&marked.len()), "{marked:?}");
    let data = File::options().write(true).open(entry.join("data")).unwrap();
    let tampered = (marked[3] * PIECE_LEN) as u64;
    data.write_all_at(b"not what came over the wire", tampered + 1000).unwrap();

    cluster.origins[0].config["scheduler"]["conn"]["bandwidth"]["enable"] = json!(false);
    cluster.origins[0].restart();
    cluster.agents[0].role.start();
    cluster.pull_from(0, "library/big").pull_blob(&blob);
    let missing = PIECES - marked.len() + 1;
    let agent = &cluster.agents[0];
    assert_eq!(agent.counter("received_from_origins"), (missing * PIECE_LEN) as u64);
    assert_eq!(agent.counter("received_from_peers"), 0);
    // A complete blob is in the cache, not among the downloads.
    wait_for("the move to the cache", || (!entry.exists()).then_some(()));
}

#[test]
fn a_restarted_agent_serves_what_it_had_without_anybody_else() {
    let mut cluster = Cluster::start(&Plan::default());
    let blob = random(5, 3 * PIECE_LEN);
    let digest: Digest = cluster.push_to("library/kept").push_blob(&blob);
    cluster.pull_from(0, "library/kept").pull_blob(&blob);
    cluster.origins[0].kill();
    cluster.tracker.kill();
    cluster.agents[0].role.restart();
    let answer = cluster.pull_from(0, "library/kept").blob(&digest);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body == blob);
    assert_eq!(cluster.agents[0].counter("received_from_origins"), 0);
}

#[test]
fn a_blob_changed_on_disk_is_not_served_but_fetched_again() {
    let mut cluster = Cluster::start(&Plan::default());
    let blob = random(6, 3 * PIECE_LEN);
    let digest = cluster.push_to("library/changed").push_blob(&blob);
    let persist = cluster.origin_entry(0, &digest).join("_persist");
    wait_for("the write-back", || (!persist.exists()).then_some(()));
    cluster.pull_from(0, "library/changed").pull_blob(&blob);

    let tamper = |entry: &std::path::Path| {
        let data = File::options().write(true).open(entry.join("data")).unwrap();
        data.write_all_at(b"a worm was here", PIECE_LEN as u64).unwrap();
    };
    cluster.agents[0].role.kill();
    tamper(&cluster.cache_entry("agent-0", &digest));
    cluster.agents[0].role.start();
    cluster.pull_from(0, "library/changed").pull_blob(&blob);
    assert!(cluster.agents[0].counter("received_from_origins") > 0);

    // The origin has it again from its backend.
    cluster.origins[0].kill();
    tamper(&cluster.cache_entry("origin-0", &digest));
    cluster.origins[0].start();
    cluster.push_to("library/changed").pull_blob(&blob);
    let fresh = cluster.add_agent(&json!({}));
    cluster.pull_from(fresh, "library/changed").pull_blob(&blob);
}

#[test]
fn every_role_asked_to_end_does_so_in_order() {
    let mut cluster = Cluster::start(&Plan::default());
    let blob = random(7, 3 * PIECE_LEN);
    cluster.push_to("library/ended").push_blob(&blob);
    cluster.pull_from(0, "library/ended").pull_blob(&blob);
    let Cluster { origins, tracker, build_index, proxy, agents, .. } = &mut cluster;
    for role in [&mut agents[0].role, proxy, build_index, tracker, &mut origins[0]] {
        let status = role.terminate();
        assert!(status.success(), "{status}: {}", role.log());
    }
}
