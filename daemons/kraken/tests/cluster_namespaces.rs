//! One blob in several namespaces: every one of their backends gets it.

mod cluster;

use std::fs;
use std::path::{Path, PathBuf};

use cluster::content::{Image, random};
use cluster::registry::Registry;
use cluster::{Cluster, PIECE_LEN, Plan, wait_for};
use kraken_core::Digest;
use serde_json::json;

/// A cluster whose namespaces `one/` and `two/` have backends of their own, one origin.
struct TwoBackends {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl TwoBackends {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let backend = |name: &str| cluster::backend(&format!("^{name}/"), &dir.path().join(name));
        let origin = json!({"backends": [backend("one"), backend("two")]});
        let cluster = Cluster::start(&Plan { origin, agents: 0, ..Plan::default() });
        Self { cluster, dir }
    }

    fn file(&self, backend: &str, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.dir.path().join(backend).join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Puts a file where the backend needs a directory: nobody can write there, not even root.
    fn block(&self, backend: &str) -> PathBuf {
        let obstacle = self.dir.path().join(backend).join("docker");
        let _ = fs::remove_dir_all(&obstacle);
        fs::create_dir_all(self.dir.path().join(backend)).unwrap();
        fs::write(&obstacle, b"in the way").unwrap();
        obstacle
    }

    fn wait_until_written(&self, digest: &Digest) {
        let persist = self.cluster.origin_entry(0, digest).join("_persist");
        wait_for("the end of _persist", || (!persist.exists()).then_some(()));
    }
}

fn assert_holds(file: &Path, bytes: &[u8]) {
    assert!(fs::read(file).is_ok_and(|found| found == bytes), "not in {}", file.display());
}

fn put(registry: &Registry<'_>, path: &str, bytes: &[u8]) -> u16 {
    let headers = [("content-type", cluster::content::MANIFEST_TYPE)];
    registry.send("PUT", &registry.path(path), &headers, bytes).status
}

#[test]
fn a_blob_pushed_to_a_second_namespace_is_still_written_back_to_the_first() {
    let mut test = TwoBackends::start();
    let obstacles = [test.block("one"), test.block("two")];
    let blob = random(70, 3 * PIECE_LEN);
    let digest = test.cluster.push_to("one/app").push_blob(&blob);
    assert_eq!(test.cluster.push_to("two/app").push_blob(&blob), digest);
    // What is pending is known after a kill too.
    test.cluster.origins[0].restart();
    for (backend, obstacle) in ["one", "two"].into_iter().zip(obstacles) {
        fs::remove_file(obstacle).unwrap();
        let written = test.file(backend, &digest);
        wait_for(backend, || written.exists().then_some(()));
        assert_holds(&written, &blob);
    }
    test.wait_until_written(&digest);
}

#[test]
fn a_sidecar_that_cannot_be_read_holds_up_no_other_blob_and_no_start() {
    let mut test = TwoBackends::start();
    let obstacle = test.block("one");
    let registry = test.cluster.push_to("one/app");
    let blobs: Vec<Vec<u8>> = (72..75).map(|seed| random(seed, 1000)).collect();
    let digests: Vec<Digest> = blobs.iter().map(|blob| registry.push_blob(blob)).collect();
    test.cluster.origins[0].kill();
    let broken = test.cluster.origin_entry(0, &digests[1]);
    fs::write(broken.join("_namespace"), b"\xff").unwrap();
    fs::remove_file(obstacle).unwrap();
    test.cluster.origins[0].start();
    for digest in [&digests[0], &digests[2]] {
        let written = test.file("one", digest);
        wait_for("the write-back", || written.exists().then_some(()));
        test.wait_until_written(digest);
    }
    assert!(broken.join("_persist").exists(), "it waits for somebody to look at it");
    assert!(test.cluster.origins[0].log().contains(&digests[1].to_string()));
}

#[test]
fn a_blob_that_the_client_did_not_send_again_reaches_the_second_backend() {
    let test = TwoBackends::start();
    let image = Image::new(71, &[2 * PIECE_LEN, 100]);
    test.cluster.push_to("one/app").push(&image, "1");
    let digests: Vec<Digest> = image.blobs.iter().map(|blob| Digest::sha256(blob)).collect();
    for digest in &digests {
        test.wait_until_written(digest);
    }
    // One is mounted; the others are found by HEAD, and only the manifest is pushed.
    let two = test.cluster.push_to("two/app");
    let mount = format!("blobs/uploads/?mount={}&from=one/app", digests[1]);
    assert_eq!(put_nothing(&two, &mount), 201);
    let mounted = test.file("two", &digests[1]);
    wait_for("the mounted blob", || mounted.exists().then_some(()));
    let head = two.send("HEAD", &two.path(&format!("blobs/{}", digests[0])), &[], b"");
    assert_eq!(head.status, 200);
    assert_eq!(put(&two, "manifests/1", &image.manifest), 201);
    for (digest, blob) in digests.iter().zip(&image.blobs) {
        let written = test.file("two", digest);
        wait_for("the write-back", || written.exists().then_some(()));
        assert_holds(&written, blob);
    }
    // What nobody has is neither mounted nor taken for there.
    let unknown = Digest::sha256(b"nobody pushed this");
    assert_eq!(put_nothing(&two, &format!("blobs/uploads/?mount={unknown}&from=one/app")), 202);
    let manifest = String::from_utf8(image.manifest.clone()).unwrap();
    let manifest = manifest.replace(&digests[0].to_string(), &unknown.to_string());
    assert_eq!(put(&two, "manifests/2", manifest.as_bytes()), 404);
}

fn put_nothing(registry: &Registry<'_>, path: &str) -> u16 {
    registry.send("POST", &registry.path(path), &[], b"").status
}
