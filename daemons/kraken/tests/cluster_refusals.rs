//! What a cluster answers to requests that it cannot or should not serve.

mod cluster;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::{BufMut as _, BytesMut};
use kraken_core::{Digest, InfoHash, PeerId};
use kraken_p2p::wire::{self, Handshake, Message};
use serde_json::{Value, json};

use cluster::content::random;
use cluster::http::{self, Answer};
use cluster::role::{Port, Role};
use cluster::{Cluster, PATIENCE, PIECE_LEN, Plan, wait_for};

fn code(answer: &Answer) -> String {
    let document: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {answer:?}"));
    let code = &document["errors"][0]["code"];
    code.as_str().unwrap_or_else(|| panic!("no code: {answer:?}")).to_owned()
}

#[test]
fn what_nobody_has_is_404_in_the_words_of_the_spec() {
    let cluster = Cluster::start(&Plan::default());
    let unknown = Digest::sha256(b"nobody pushed this");
    for registry in [cluster.push_to("library/none"), cluster.pull_from(0, "library/none")] {
        let cases = [
            (registry.blob(&unknown), "BLOB_UNKNOWN"),
            (registry.manifest(&unknown.to_string()), "MANIFEST_UNKNOWN"),
            (registry.manifest("no-such-tag"), "MANIFEST_UNKNOWN"),
        ];
        for (answer, want) in cases {
            assert_eq!((answer.status, code(&answer).as_str()), (404, want), "{answer:?}");
        }
        let path = registry.path(&format!("blobs/{unknown}"));
        assert_eq!(registry.send("HEAD", &path, &[], b"").status, 404);
        let malformed = registry.send("GET", &registry.path("blobs/sha256:12"), &[], b"");
        assert_eq!((malformed.status, code(&malformed).as_str()), (400, "DIGEST_INVALID"));
    }
    let agent = cluster.agents[0].role.http;
    let path = format!("/namespace/library%2Fnone/blobs/{}", unknown.hex());
    assert_eq!(http::get(agent, &path).status, 404);
    assert_eq!(http::get(agent, "/tags/library%2Fnone%3A1").status, 404);
    assert_eq!(http::get(agent, "/no/such/path").status, 404);
}

#[test]
fn an_agent_takes_no_pushes_and_bytes_must_match_their_digest() {
    let cluster = Cluster::start(&Plan::default());
    let agent = cluster.pull_from(0, "library/push").try_push_blob(b"to the wrong place");
    assert_eq!((agent.status, code(&agent).as_str()), (405, "UNSUPPORTED"));

    let proxy = cluster.push_to("library/push");
    let wrong = Digest::sha256(b"something else");
    let path = proxy.path(&format!("blobs/uploads/?digest={wrong}"));
    let answer = proxy.send("POST", &path, &[], b"not what was announced");
    assert_eq!((answer.status, code(&answer).as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(proxy.blob(&wrong).status, 404);
    assert_eq!(proxy.blob(&Digest::sha256(b"not what was announced")).status, 404);
}

#[test]
fn a_manifest_is_served_as_what_it_was_pushed_or_it_is_not_taken() {
    let cluster = Cluster::start(&Plan::default());
    let (proxy, agent) = (cluster.push_to("library/types"), cluster.pull_from(0, "library/types"));
    let config = proxy.push_blob(b"{}").to_string();
    let image = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config,
            "size": 2},
        "layers": [],
    });
    let index = json!({"schemaVersion": 2, "manifests": []});
    let docker = "application/vnd.docker.distribution.manifest";
    let with_type = |document: &Value, media_type: &str| {
        let mut document = document.clone();
        document["mediaType"] = json!(media_type);
        document
    };
    let [docker_image, docker_list] =
        [format!("{docker}.v2+json"), format!("{docker}.list.v2+json")];
    let oci = "application/vnd.oci.image";
    let [oci_image, oci_index] =
        [format!("{oci}.manifest.v1+json"), format!("{oci}.index.v1+json")];
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let signed = format!("{docker}.v1+prettyjws");
    let cases = [
        // Clients of the first OCI specification leave the type out.
        (&oci_image, image.clone(), 201),
        (&oci_index, index.clone(), 201),
        (&docker_image, with_type(&image, &docker_image), 201),
        (&docker_list, with_type(&index, &docker_list), 201),
        (&artifact.to_owned(), with_type(&json!({"blobs": []}), artifact), 201),
        (&docker_image, image.clone(), 400),
        (&docker_list, index.clone(), 400),
        (&signed, json!({"schemaVersion": 1, "name": "library/types"}), 400),
        (&artifact.to_owned(), json!({"blobs": []}), 400),
    ];
    for (number, (media_type, document, status)) in cases.into_iter().enumerate() {
        let bytes = document.to_string().into_bytes();
        let tag = format!("tag-{number}");
        let path = proxy.path(&format!("manifests/{tag}"));
        let pushed = proxy.send("PUT", &path, &[("content-type", media_type)], &bytes);
        assert_eq!(pushed.status, status, "{media_type}: {pushed:?}");
        if status != 201 {
            assert_eq!(code(&pushed), "MANIFEST_INVALID");
            assert!(pushed.text().contains("mediaType"), "{pushed:?}");
            continue;
        }
        for registry in [proxy, agent] {
            for reference in [tag.clone(), Digest::sha256(&bytes).to_string()] {
                let got = registry.manifest(&reference);
                assert_eq!(got.status, 200, "{media_type}: {got:?}");
                assert_eq!(got.header("content-type"), Some(media_type.as_str()));
                assert!(got.body == bytes);
            }
        }
    }
}

#[test]
fn an_agent_without_a_build_index_says_that_it_could_not_get_the_tag() {
    let mut cluster = Cluster::start(&Plan::default());
    cluster.build_index.kill();
    let agent = cluster.agents[0].role.http;
    let answer = http::get(agent, "/tags/library%2Fnone%3A1");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text().starts_with("get tag: "), "{answer:?}");
    let blacklist = http::get(agent, "/x/blacklist");
    assert_eq!((blacklist.status, blacklist.text().as_str()), (200, "[]"));
}

#[test]
fn a_layer_asked_for_as_a_manifest_is_not_downloaded() {
    let cluster = Cluster::start(&Plan::default());
    let layer = random(81, 9 << 20);
    let digest = cluster.push_to("library/layer").push_blob(&layer);
    for registry in [cluster.push_to("library/layer"), cluster.pull_from(0, "library/layer")] {
        let answer = registry.manifest(&digest.to_string());
        assert_eq!((answer.status, code(&answer).as_str()), (404, "MANIFEST_UNKNOWN"));
    }
    assert!(cluster.agents[0].counter("received_from_origins") < layer.len() as u64);
    cluster.pull_from(0, "library/layer").pull_blob(&layer);
    let answer = cluster.pull_from(0, "library/layer").manifest(&digest.to_string());
    assert_eq!(answer.status, 404);
}

#[test]
fn a_port_already_taken_is_named_with_the_flag_that_moves_it() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let free: Vec<Port> = (0..2).map(|_| Port::reserve()).collect();
    let data_dir = dir.path().join("data");
    let others = json!({"hosts": {"static": ["127.0.0.1:1"]}});
    let store = json!({"cache_dir": data_dir.join("cache"), "download_dir": data_dir.join("down")});
    let agent = json!({"store": store, "tracker": others, "build_index": others});
    let tracker = json!({"origin": others});
    let backends = json!([cluster::backend(".*", &data_dir.join("backend"))]);
    let store = cluster::castore(&data_dir);
    let types = json!([{"namespace": ".*", "type": "docker"}]);
    let build_index =
        json!({"origin": others, "store": store, "backends": backends, "tag_types": types});
    let proxy = json!({"origin": others, "build_index": others, "castore": store});
    let cases: [(&'static str, &[&str], Value); 5] = [
        ("agent", &["agent-registry-port", "peer-port", "agent-server-port"], agent),
        ("origin", &["blobserver-port", "peer-port"], json!({"castore": store})),
        ("tracker", &["port"], tracker),
        ("build-index", &["port"], build_index),
        ("proxy", &["port"], proxy),
    ];
    for (kind, flags, mut config) in cases {
        for flag in flags {
            let mut others = free.iter().map(Port::addr);
            let ports: Vec<(&str, SocketAddr)> = flags
                .iter()
                .map(|other| (*other, if other == flag { addr } else { others.next().unwrap() }))
                .collect();
            if kind == "origin" {
                let own = ports.iter().find(|(flag, _)| *flag == "blobserver-port").unwrap().1;
                config["cluster"] = json!({"static": [own]});
                config["backends"] = backends.clone();
            }
            let name = format!("{kind}-{flag}");
            let mut role = Role::new(dir.path(), &name, kind, &ports, config.clone(), addr);
            let (status, log) = role.run_to_end();
            assert!(!status.success(), "{kind}: {status}");
            let says = |word: &str| log.lines().any(|line| line.contains(word));
            assert!(says(&addr.to_string()), "{kind} --{flag} does not name the port: {log}");
            assert!(says(&format!("--{flag}")), "{kind} does not name --{flag}: {log}");
        }
    }
}

#[test]
fn garbage_on_the_peer_port_closes_its_connection_and_no_other() {
    let cluster = Cluster::start(&Plan::default());
    let blob = random(12, 4 * PIECE_LEN);
    let digest = cluster.push_to("library/garbage").push_blob(&blob);
    cluster.pull_from(0, "library/garbage").pull_blob(&blob);
    let metainfo = metainfo(&cluster, &digest);

    let greeting = handshake(&digest, metainfo.info_hash());
    let with = |bytes: &[u8]| [&greeting[..], bytes].concat();
    let negative = (-1i64).cast_unsigned();
    let not_fields = [&4u32.to_be_bytes()[..], b"\xff\xff\xff\xff"].concat();
    let cases: [(Vec<u8>, &str); 8] = [
        (b"GET / HTTP/1.1\r\nhost: agent\r\n\r\n".to_vec(), "a frame of 1195725856 bytes"),
        (u32::MAX.to_be_bytes().to_vec(), "a frame of 4294967295 bytes"),
        (not_fields, "a varint is cut short"),
        (handshake(&digest, "0".repeat(40).parse().unwrap()), "info hash"),
        (with(&(1u32 << 20).to_be_bytes()), "a frame of 1048576 bytes"),
        (with(&span_frame(1, 4, negative, 0, 1)), "index -1 is negative"),
        (with(&span_frame(2, 5, 0, 0, PIECE_LEN as u64)), "that were not asked for"),
        (with(&span_frame(3, 6, 4, 0, 0)), "piece 4"),
    ];
    let roles = [
        (&cluster.agents[0].role, cluster.agents[0].peer),
        (&cluster.origins[0], cluster.origins[0].reserved[1].addr()),
    ];
    for (role, addr) in roles {
        for (bytes, reason) in &cases {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(bytes);
            let mut answer = Vec::new();
            // A close with unread bytes is a reset, which is as good.
            let ended = stream.read_to_end(&mut answer);
            let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
            assert!(!ended.as_ref().is_err_and(timed_out), "{reason}: not closed");
            // A handshake at most.
            assert!(answer.len() < 1024, "{reason}: {} bytes", answer.len());
            wait_for(reason, || role.log().contains(reason).then_some(()));
        }
        assert!(!role.log().contains("panicked"), "{}", role.log());
    }
    assert_eq!(http::get(cluster.agents[0].role.http, "/health").status, 200);
    cluster.pull_from(0, "library/garbage").pull_blob(&blob);
    // Both still serve peers.
    let mut cluster = cluster;
    let second = cluster.add_agent(&json!({}));
    cluster.pull_from(second, "library/garbage").pull_blob(&blob);
}

fn metainfo(cluster: &Cluster, digest: &Digest) -> kraken_core::MetaInfo {
    let path = format!("/namespace/library%2Fgarbage/blobs/{digest}/metainfo");
    let answer = http::get(cluster.tracker.http, &path);
    assert_eq!(answer.status, 200, "{answer:?}");
    kraken_core::MetaInfo::from_json(&answer.body).unwrap()
}

/// What an honest peer with nothing says first.
fn handshake(digest: &Digest, info_hash: InfoHash) -> Vec<u8> {
    let handshake = Handshake {
        peer_id: "1234567890123456789012345678901234567890".parse::<PeerId>().unwrap(),
        info_hash,
        digest: *digest,
        namespace: "library/garbage".parse().unwrap(),
        bitfield: kraken_core::Bitfield::new(4).to_wire().into(),
        remote_peers: Vec::new(),
        capabilities: None,
    };
    let mut frame = BytesMut::new();
    wire::encode(&Message::Handshake(Box::new(handshake)), &mut frame);
    frame.to_vec()
}

/// A frame with a piece and a span of it, whose numbers need not make sense.
fn span_frame(kind: u8, field: u8, index: u64, offset: u64, length: u64) -> Vec<u8> {
    let mut span = BytesMut::new();
    for (number, value) in [(2u8, index), (3, offset), (4, length)] {
        span.put_u8(number << 3);
        put_varint(&mut span, value);
    }
    let mut message = BytesMut::new();
    message.put_slice(&[2 << 3, kind, field << 3 | 2, span.len() as u8]);
    message.extend_from_slice(&span);
    let mut frame = BytesMut::new();
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(&message);
    frame.to_vec()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
