//! A disk that is full in the middle of a push.

mod cluster;

use std::process::{Command, Stdio};

use kraken_core::Digest;
use serde_json::json;

use cluster::content::random;
use cluster::http;
use cluster::{Cluster, PIECE_LEN, Plan, castore};

const DISK_LEN: usize = 16 << 20;

/// A push that cannot fit is refused with the reason; nothing of it is readable; what fits is
/// still taken, and read by an agent.
fn check_refusal_and_recovery(cluster: &Cluster) {
    let proxy = cluster.push_to("library/large");
    let small = random(20, 3 * PIECE_LEN);
    proxy.push_blob(&small);

    let large = random(21, DISK_LEN + DISK_LEN / 2);
    let digest = Digest::sha256(&large);
    let refused = proxy.try_push_blob(&large);
    assert!([507, 503].contains(&refused.status), "{refused:?}");
    let reason = refused.text();
    assert!(
        ["No space left", "are in use"].iter().any(|text| reason.contains(text)),
        "the client is not told why: {refused:?}"
    );
    for registry in [proxy, cluster.pull_from(0, "library/large")] {
        assert_eq!(registry.blob(&digest).status, 404, "a part of a blob is readable");
    }
    let path = format!("/internal/namespace/library%2Flarge/blobs/{digest}");
    assert_eq!(http::send("HEAD", cluster.origins[0].http, &path, &[], b"").status, 404);

    let other = random(22, 5 * PIECE_LEN);
    proxy.push_blob(&other);
    for blob in [&small, &other] {
        cluster.pull_from(0, "library/large").pull_blob(blob);
    }
}

#[test]
fn an_origin_at_its_capacity_refuses_what_does_not_fit() {
    let plan = Plan { origin: json!({"castore": {"capacity_bytes": DISK_LEN}}), ..Plan::default() };
    check_refusal_and_recovery(&Cluster::start(&plan));
}

#[test]
fn an_origin_whose_disk_is_full_refuses_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let Some(wrapper) = small_disk_at(dir.path()) else { return };
    let origin = json!({"castore": castore(dir.path())});
    check_refusal_and_recovery(&Cluster::start(&Plan {
        origin,
        origin_wrapper: wrapper,
        ..Plan::default()
    }));
}

#[test]
fn a_proxy_whose_disk_is_full_refuses_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let Some(wrapper) = small_disk_at(dir.path()) else { return };
    let proxy = json!({"castore": castore(dir.path())});
    check_refusal_and_recovery(&Cluster::start(&Plan {
        proxy,
        proxy_wrapper: wrapper,
        ..Plan::default()
    }));
}

/// A command line to put before a role: at `dir` the role, and nobody else, sees a disk of
/// [`DISK_LEN`] bytes that is gone with it. `None` where the system lets this user make no such
/// disk; then the test of the capacity has to do, but with `KRAKEN_TESTS_MOUNT` set it is an error.
fn small_disk_at(dir: &std::path::Path) -> Option<Vec<String>> {
    let script =
        format!("mount -t tmpfs -o size={DISK_LEN} tmpfs '{}' && exec \"$@\"", dir.display());
    let words = |unshare: &[&str]| -> Vec<String> {
        let script = ["sh", "-c", &script, "sh"];
        unshare.iter().chain(&script).map(|word| (*word).to_owned()).collect()
    };
    let ways = [words(&["unshare", "--mount"]), words(&["unshare", "--mount", "--map-root-user"])];
    let found = ways.into_iter().find(|way| {
        let mut command = Command::new(&way[0]);
        command.args(&way[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        assert!(std::env::var_os("KRAKEN_TESTS_MOUNT").is_none(), "no small disk can be mounted");
        eprintln!("not tested: this user may not mount a small disk, not even for one process");
    }
    found
}
