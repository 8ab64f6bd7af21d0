//! Three origins, of which any two keep a blob.

mod cluster;

use serde_json::json;

use cluster::content::{Image, random};
use cluster::{Cluster, PIECE_LEN, Plan};

#[test]
fn with_one_of_three_origins_killed_pushes_and_pulls_go_on() {
    let plan =
        Plan { origins: 3, origin: json!({"hashring": {"max_replica": 2}}), ..Plan::default() };
    let mut cluster = Cluster::start(&plan);
    // Six blobs and more: each origin owns some, first or second.
    let before = Image::new(30, &[PIECE_LEN, 2 * PIECE_LEN, 3 * PIECE_LEN, 4, 5, 6]);
    cluster.push_to("library/ring").push(&before, "before");
    for blob in &before.blobs {
        let digest = kraken_core::Digest::sha256(blob);
        let copies = (0..3).filter(|origin| cluster.origin_entry(*origin, &digest).exists());
        assert_eq!(copies.count(), 2, "{digest}: an answered push is on two origins");
    }

    cluster.origins[1].kill();
    cluster.pull_from(0, "library/ring").pull(&before, "before");
    let after = Image::new(31, &[5 * PIECE_LEN, 40, 50, 60, 70, 80]);
    cluster.push_to("library/ring").push(&after, "after");
    cluster.pull_from(0, "library/ring").pull(&after, "after");
    cluster.push_to("library/ring").pull(&after, "after");
}

#[test]
fn any_origin_tells_who_owns_a_blob() {
    let plan = Plan {
        origins: 3,
        agents: 0,
        origin: json!({"hashring": {"max_replica": 2}}),
        ..Plan::default()
    };
    let cluster = Cluster::start(&plan);
    let digest = cluster.push_to("library/ring").push_blob(&random(32, 1000));
    let path = format!("/blobs/{digest}/locations");
    let answers: Vec<String> = cluster
        .origins
        .iter()
        .map(|origin| {
            let answer = cluster::http::get(origin.http, &path);
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.header("origin-locations").unwrap().to_owned()
        })
        .collect();
    assert_eq!(answers[0].split(',').count(), 2, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}
