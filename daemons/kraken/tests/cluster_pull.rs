//! What is pushed into a cluster comes out of its agents, peer to peer.

mod cluster;

use kraken_core::Digest;
use serde_json::json;

use cluster::content::{Image, random};
use cluster::{Cluster, PIECE_LEN, Plan, http};

#[test]
fn an_image_pushed_through_the_proxy_comes_out_of_two_agents_byte_for_byte() {
    let cluster = Cluster::start(&Plan { agents: 2, ..Plan::default() });
    // A layer that ends with a piece, one that does not, one shorter than a piece, an empty one.
    let image = Image::new(1, &[16 * PIECE_LEN, 40 * PIECE_LEN + 7, 5, 0]);
    let proxy = cluster.push_to("library/four-layers");
    proxy.push(&image, "1.0");

    std::thread::scope(|scope| {
        for agent in 0..2 {
            let registry = cluster.pull_from(agent, "library/four-layers");
            scope.spawn({
                let image = &image;
                move || registry.pull(image, "1.0")
            });
        }
    });
    for registry in [proxy, cluster.pull_from(0, "library/four-layers")] {
        registry.pull(&image, "1.0");
        registry.pull(&image, &image.digest().to_string());
        let layer = &image.blobs[2];
        let path = registry.path(&format!("blobs/{}", Digest::sha256(layer)));
        let head = registry.send("HEAD", &path, &[], b"");
        let len = layer.len().to_string();
        assert_eq!((head.status, head.header("content-length")), (200, Some(len.as_str())));
        let part = registry.send("GET", &path, &[("range", "bytes=65530-65599")], b"");
        assert_eq!(part.status, 206, "{part:?}");
        assert!(part.body == layer[65530..=65599], "{part:?}");
        let tags = registry.send("GET", &registry.path("tags/list"), &[], b"");
        let tags: serde_json::Value = serde_json::from_slice(&tags.body).unwrap();
        assert_eq!(tags, json!({"name": "library/four-layers", "tags": ["1.0"]}));
    }
    // uber/kraken's way to the same tag.
    let tag = http::get(cluster.agents[1].role.http, "/tags/library%2Ffour-layers%3A1.0");
    assert_eq!((tag.status, tag.text()), (200, image.digest().to_string()));
}

#[test]
fn many_ranges_of_a_blob_come_in_one_answer() {
    let cluster = Cluster::start(&Plan::default());
    let blob = random(80, 20 * PIECE_LEN);
    let digest = cluster.push_to("library/ranges").push_blob(&blob);
    let ranges: Vec<(usize, usize)> =
        (0..200).rev().map(|n| (n * 6007, n * 6007 + n % 7 + 1)).collect();
    let asked: Vec<String> =
        ranges.iter().map(|(start, end)| format!("{start}-{}", end - 1)).collect();
    for registry in [cluster.push_to("library/ranges"), cluster.pull_from(0, "library/ranges")] {
        let path = registry.path(&format!("blobs/{digest}"));
        let answer =
            registry.send("GET", &path, &[("range", &format!("bytes={}", asked.join(",")))], b"");
        assert_eq!(answer.status, 206, "{answer:?}");
        let mut rest = &answer.body[..];
        for (start, end) in &ranges {
            let head_end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let head = String::from_utf8_lossy(&rest[..head_end]);
            assert!(head.contains(&format!("bytes {start}-{}/{}", end - 1, blob.len())), "{head}");
            let (part, after) = rest[head_end..].split_at(end - start);
            assert!(part == &blob[*start..*end], "{head}");
            // The line break before the next part's boundary is a part of that.
            rest = after;
            if let Some(cut) = rest.strip_prefix(b"\r\n") {
                rest = cut;
            }
        }
    }
}

#[test]
fn a_blob_uploaded_to_the_origin_is_downloaded_from_an_agent() {
    let cluster = Cluster::start(&Plan::default());
    let blob = random(2, 9 * PIECE_LEN + 1);
    let digest = Digest::sha256(&blob);
    let origin = cluster.origins[0].http;
    let uploads = format!("/namespace/library%2Ftest/blobs/{digest}/uploads");
    let started = http::send("POST", origin, &uploads, &[], b"");
    assert_eq!(started.status, 200, "{started:?}");
    let upload = format!("{uploads}/{}", started.header("location").unwrap());
    // uber/kraken's form of the header: the end is exclusive. Chunks may come in any order.
    for (start, end) in [(5 * PIECE_LEN, blob.len()), (0, 5 * PIECE_LEN)] {
        let range = format!("{start}-{end}");
        let headers = [("content-range", range.as_str())];
        let sent = http::send("PATCH", origin, &upload, &headers, &blob[start..end]);
        assert_eq!(sent.status, 200, "{sent:?}");
    }
    let done = http::send("PUT", origin, &upload, &[], b"");
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(http::send("POST", origin, &uploads, &[], b"").status, 409);

    let agent = &cluster.agents[0];
    let registry = cluster.pull_from(0, "library/test");
    let head = registry.send("HEAD", &registry.path(&format!("blobs/{digest}")), &[], b"");
    let len = blob.len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, Some(len.as_str())));
    assert_eq!(agent.counter("received_from_origins"), 0, "a HEAD moves no data");

    // Many ask at once; the blob comes once.
    let path = format!("/namespace/library%2Ftest/blobs/{}", digest.hex());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let answer = http::get(agent.role.http, &path);
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(answer.body == blob);
            });
            scope.spawn(|| registry.pull_blob(&blob));
        }
    });
    assert_eq!(agent.counter("received_from_origins"), blob.len() as u64);
}

#[test]
fn agents_have_a_blob_from_each_other_once_the_origin_seeds_no_more() {
    let mut cluster = Cluster::start(&Plan { agents: 2, ..Plan::default() });
    let blob = random(3, 30 * PIECE_LEN + 1000);
    cluster.push_to("library/seeded").push_blob(&blob);
    for agent in 0..2 {
        cluster.pull_from(agent, "library/seeded").pull_blob(&blob);
    }
    cluster.origins[0].config["scheduler"]["seed"] = json!(false);
    cluster.origins[0].restart();

    let third = cluster.add_agent(&json!({}));
    cluster.pull_from(third, "library/seeded").pull_blob(&blob);
    let third = &cluster.agents[third];
    assert_eq!(third.counter("received_from_origins"), 0);
    assert_eq!(third.counter("received_from_peers"), blob.len() as u64);
    assert_eq!(third.counter("duplicate_pieces"), 0);
}
