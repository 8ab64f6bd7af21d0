//! What was answered 201 is there, whoever is killed.

mod cluster;

use std::fs;

use cluster::content::{Image, random};
use cluster::{Cluster, PIECE_LEN, Plan, wait_for};

#[test]
fn an_answered_push_survives_the_kill_of_the_origin_and_is_written_back() {
    let mut cluster = Cluster::start(&Plan::default());
    // A file where the backend needs a directory: nobody can write there, not even root.
    let obstacle = cluster.backend_dir().join("docker");
    let _ = fs::remove_dir_all(&obstacle);
    fs::create_dir_all(cluster.backend_dir()).unwrap();
    fs::write(&obstacle, b"in the way").unwrap();

    let blob = random(6, 5 * PIECE_LEN + 3);
    let digest = cluster.push_to("library/durable").push_blob(&blob);
    cluster.origins[0].kill();
    let persist = cluster.origin_entry(0, &digest).join("_persist");
    assert!(persist.exists(), "what is not written back is marked so");

    // The backend is still out of order, and the blob is there all the same.
    cluster.origins[0].start();
    cluster.pull_from(0, "library/durable").pull_blob(&blob);
    cluster.push_to("library/durable").pull_blob(&blob);
    assert!(persist.exists());

    fs::remove_file(&obstacle).unwrap();
    let written = cluster.backend_file(&digest);
    wait_for("the write-back", || written.exists().then_some(()));
    wait_for("the end of _persist", || (!persist.exists()).then_some(()));
    assert!(fs::read(&written).unwrap() == blob);
}

#[test]
fn a_push_cut_short_at_the_201_is_written_back_after_the_restart() {
    let mut cluster = Cluster::start(&Plan::default());
    let image = Image::new(7, &[2 * PIECE_LEN, 10]);
    cluster.push_to("library/cut").push(&image, "latest");
    cluster.origins[0].restart();
    let manifest = [image.manifest.clone()];
    for blob in image.blobs.iter().chain(&manifest) {
        let digest = kraken_core::Digest::sha256(blob);
        let persist = cluster.origin_entry(0, &digest).join("_persist");
        wait_for("the write-back", || (!persist.exists()).then_some(()));
        assert!(fs::read(cluster.backend_file(&digest)).unwrap() == *blob);
    }
    cluster.pull_from(0, "library/cut").pull(&image, "latest");
}

#[test]
fn a_blob_that_only_the_backend_has_is_fetched_from_there() {
    let mut cluster = Cluster::start(&Plan::default());
    let image = Image::new(8, &[7 * PIECE_LEN]);
    cluster.push_to("library/cold").push(&image, "1");
    for blob in &image.blobs {
        let digest = kraken_core::Digest::sha256(blob);
        let persist = cluster.origin_entry(0, &digest).join("_persist");
        wait_for("the write-back", || (!persist.exists()).then_some(()));
    }
    let layer = kraken_core::Digest::sha256(&image.blobs[1]);
    cluster.origins[0].kill();
    fs::remove_dir_all(cluster.origin_entry(0, &layer)).unwrap();
    cluster.origins[0].start();
    cluster.pull_from(0, "library/cold").pull(&image, "1");
    // The agent may have its last piece before the origin has settled the blob.
    let data = cluster.origin_entry(0, &layer).join("data");
    wait_for("the origin to keep the blob", || data.exists().then_some(()));
}

#[test]
fn a_tag_pushed_again_names_the_new_image_at_once() {
    let mut cluster = Cluster::start(&Plan::default());
    let (proxy, agent) =
        (cluster.push_to("library/moving"), cluster.pull_from(0, "library/moving"));
    for (seed, len) in [(9, 100), (10, 200), (9, 100), (11, 300)] {
        let image = Image::new(seed, &[len]);
        proxy.push(&image, "latest");
        proxy.pull(&image, "latest");
        agent.pull(&image, "latest");
    }
    // The last one is what a restarted build-index knows.
    cluster.build_index.restart();
    agent.pull(&Image::new(11, &[300]), "latest");
}
