//! The client of an origin cluster against fakes that answer as uber/kraken does.

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::fake::{Answer, Fake, Seen, answer, broken, client, nobody, with};
use crate::source::BytesSource;
use crate::suite::BrokenSource;

const UID: &str = "8f1a7a4e-0000-4000-8000-000000000001";

fn quick() -> OriginConfig {
    OriginConfig {
        upload_chunk_len: 1000,
        poll_pause: Duration::from_millis(1),
        poll_pause_max: Duration::from_millis(5),
        ..OriginConfig::default()
    }
}

fn cluster(hosts: &[String]) -> OriginCluster {
    OriginCluster::new(hosts.to_vec(), client(), quick()).unwrap()
}

fn namespace() -> Namespace {
    "library/nginx:1.0".parse().unwrap()
}

fn located(owners: &str) -> Answer {
    with(answer(200, ""), "origin-locations", owners)
}

/// An origin that takes uploads, as uber/kraken's does, and is its own only owner.
fn takes_uploads(seen: &Seen, own: &str) -> Answer {
    match (seen.method.as_str(), seen.path.ends_with("/locations")) {
        ("GET", true) => located(own),
        ("POST", _) => with(answer(200, ""), "location", UID),
        ("PATCH" | "PUT", _) => answer(200, ""),
        _ => answer(404, ""),
    }
}

async fn read(cluster: &OriginCluster, digest: &Digest) -> Result<(Option<u64>, Vec<u8>)> {
    let (len, stream) = cluster.download(&namespace(), digest).await?;
    let parts: Vec<Bytes> = stream.try_collect().await?;
    Ok((len, parts.concat()))
}

#[tokio::test]
async fn an_upload_goes_in_chunks_of_uber_krakens_form() {
    let fake = Fake::serve(takes_uploads).await;
    let bytes: Vec<u8> = (0..2500_u32).map(|n| n as u8).collect();
    let digest = Digest::sha256(&bytes);
    let source = BytesSource::new(bytes.clone());
    cluster(&[fake.host()]).upload(&namespace(), &digest, &source).await.unwrap();
    let base = format!("/namespace/library%2Fnginx:1.0/blobs/{digest}/uploads");
    assert_eq!(
        fake.lines(),
        [
            format!("GET /blobs/{digest}/locations"),
            format!("POST {base}?size=2500"),
            format!("PATCH {base}/{UID}"),
            format!("PATCH {base}/{UID}"),
            format!("PATCH {base}/{UID}"),
            format!("PUT {base}/{UID}"),
        ]
    );
    let chunks: Vec<Seen> = fake.seen().into_iter().filter(|seen| seen.method == "PATCH").collect();
    let ranges: Vec<&str> = chunks.iter().map(|seen| seen.header("content-range")).collect();
    assert_eq!(ranges, ["0-1000", "1000-2000", "2000-2500"]);
    assert_eq!(chunks[2].header("content-length"), "500");
    assert_eq!(chunks.iter().flat_map(|seen| seen.body.to_vec()).collect::<Vec<_>>(), bytes);
}

#[tokio::test]
async fn an_empty_blob_has_no_chunks() {
    let fake = Fake::serve(takes_uploads).await;
    let digest = Digest::sha256(b"");
    cluster(&[fake.host()]).upload(&namespace(), &digest, &BytesSource::new("")).await.unwrap();
    assert!(fake.seen().iter().all(|seen| seen.method != "PATCH"));
    assert_eq!(fake.seen().last().unwrap().method, "PUT");
}

#[tokio::test]
async fn a_conflict_is_success_and_ends_the_upload() {
    for step in ["POST", "PATCH", "PUT"] {
        let fake = Fake::serve(move |seen, own| match seen.method == step {
            true => answer(409, ""),
            false => takes_uploads(seen, own),
        })
        .await;
        let digest = Digest::sha256(b"x");
        let source = BytesSource::new("x");
        cluster(&[fake.host()]).upload(&namespace(), &digest, &source).await.unwrap();
        assert_eq!(fake.seen().last().unwrap().method, step);
    }
}

#[tokio::test]
async fn the_next_owner_is_asked_when_one_is_down_or_overloaded() {
    let good = Fake::serve(takes_uploads).await;
    let busy = Fake::serve(|_, _| answer(503, "")).await;
    let owners = format!("{},{},{}", nobody().await, busy.host(), good.host());
    let guide = Fake::serve(move |_, _| located(&owners)).await;
    let cluster = cluster(&[nobody().await, guide.host()]);
    let digest = Digest::sha256(b"x");
    cluster.upload(&namespace(), &digest, &BytesSource::new("x")).await.unwrap();
    assert_eq!(busy.seen().len(), 1);
    assert_eq!(good.seen().last().unwrap().method, "PUT");
}

#[tokio::test]
async fn an_answer_that_no_other_owner_would_better_is_returned() {
    let other = Fake::serve(takes_uploads).await;
    let other_host = other.host();
    let strict = Fake::serve(move |seen, own| match seen.method.as_str() {
        "GET" => located(&format!("{own},{other_host}")),
        _ => answer(400, "parse content range"),
    })
    .await;
    let digest = Digest::sha256(b"x");
    let source = BytesSource::new("x");
    let sent = cluster(&[strict.host()]).upload(&namespace(), &digest, &source).await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(other.seen().is_empty());
    let fake = Fake::serve(takes_uploads).await;
    let sent = cluster(&[fake.host()]).upload(&namespace(), &digest, &BrokenSource).await;
    assert!(sent.unwrap_err().to_string().contains("broken source"));
}

#[tokio::test]
async fn replicas_copy_to_each_other_by_routes_of_their_own() {
    let fake = Fake::serve(takes_uploads).await;
    let digest = Digest::sha256(b"x");
    let origin = cluster(&[fake.host()]).origin(&fake.host());
    let source = BytesSource::new("x");
    let delay = Duration::from_secs(30);
    origin.duplicate_upload(&namespace(), &digest, &source, delay).await.unwrap();
    let commit = fake.seen().pop().unwrap();
    assert_eq!(
        commit.line(),
        format!(
            "PUT /internal/duplicate/namespace/library%2Fnginx:1.0/blobs/{digest}/uploads/{UID}"
        )
    );
    assert_eq!(commit.body, r#"{"Delay":30000000000}"#);
    origin.transfer(&digest, &source).await.unwrap();
    assert_eq!(
        fake.lines()[3..],
        [
            format!("POST /internal/blobs/{digest}/uploads?size=1"),
            format!("PATCH /internal/blobs/{digest}/uploads/{UID}"),
            format!("PUT /internal/blobs/{digest}/uploads/{UID}"),
        ]
    );
}

#[tokio::test]
async fn a_stat_finds_the_owner_that_has_the_blob() {
    let holder = Fake::serve(|seen, _| match seen.path.ends_with("?local=true") {
        true => with(answer(200, ""), "content-length", "7340032"),
        false => with(answer(200, ""), "content-length", "5"),
    })
    .await;
    let holder_host = holder.host();
    let empty = Fake::serve(move |seen, own| match seen.method.as_str() {
        "GET" => located(&format!("{own},{holder_host}")),
        _ => answer(404, ""),
    })
    .await;
    let cluster_of_two = cluster(&[empty.host()]);
    let digest = Digest::sha256(b"x");
    assert_eq!(cluster_of_two.stat(&namespace(), &digest, true).await.unwrap(), 7_340_032);
    assert_eq!(cluster_of_two.stat(&namespace(), &digest, false).await.unwrap(), 5);
    assert_eq!(
        holder.lines()[1],
        format!("HEAD /internal/namespace/library%2Fnginx:1.0/blobs/{digest}")
    );
    drop(holder);
    let error = cluster_of_two.stat(&namespace(), &digest, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_download_waits_for_the_backend() {
    let fake = Fake::serve({
        let left = std::sync::atomic::AtomicI32::new(3);
        move |seen, own| match seen.path.ends_with("/locations") {
            true => located(own),
            false if left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) > 0 => answer(202, ""),
            false => answer(200, "the blob"),
        }
    })
    .await;
    let digest = Digest::sha256(b"the blob");
    let (len, bytes) = read(&cluster(&[fake.host()]), &digest).await.unwrap();
    assert_eq!((len, &*bytes), (Some(8), &b"the blob"[..]));
    assert_eq!(fake.seen().len(), 5);
}

#[tokio::test]
async fn an_origin_that_stays_at_202_is_given_up() {
    let fake = Fake::serve(|seen, own| match seen.path.ends_with("/locations") {
        true => located(own),
        false => answer(202, ""),
    })
    .await;
    let config = OriginConfig { poll_time_max: Duration::from_millis(20), ..quick() };
    let cluster = OriginCluster::new(vec![fake.host()], client(), config).unwrap();
    let digest = Digest::sha256(b"x");
    let error = read(&cluster, &digest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = cluster.metainfo(&namespace(), &digest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Pending);
    cluster.prefetch(&namespace(), &digest).await.unwrap();
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_at_the_next_owner() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::sha256(&bytes);
    // The one knows no ranges, as uber/kraken's; the other answers them, as ours.
    for knows_ranges in [false, true] {
        let whole = bytes.clone();
        let second = Fake::serve(move |seen, _| {
            let start = seen.header("range").trim_start_matches("bytes=").trim_end_matches('-');
            let start: usize = start.parse().unwrap();
            if !knows_ranges {
                return answer(200, whole.clone());
            }
            let range = format!("bytes {start}-{}/{}", whole.len() - 1, whole.len());
            with(answer(206, whole[start..].to_vec()), "content-range", &range)
        })
        .await;
        let (second_host, half) = (second.host(), bytes[..40_000].to_vec());
        let first = Fake::serve(move |seen, own| {
            match (seen.path.ends_with("/locations"), seen.header("range")) {
                (true, _) => located(&format!("{own},{second_host}")),
                (_, "") => broken(half.clone()),
                _ => answer(500, "failed again"),
            }
        })
        .await;
        let (_, found) = read(&cluster(&[first.host()]), &digest).await.unwrap();
        assert!(found == bytes, "{} bytes", found.len());
        assert_eq!(second.seen().len(), 1);
    }
}

/// An origin that has `bytes` and, if so told, answers single ranges as ours does.
fn serves(bytes: Vec<u8>, knows_ranges: bool) -> impl Fn(&Seen, &str) -> Answer {
    move |seen, own| {
        let range = seen.header("range").strip_prefix("bytes=").filter(|_| knows_ranges);
        match (seen.path.ends_with("/locations"), range.and_then(|range| range.split_once('-'))) {
            (true, _) => located(own),
            (false, None) => answer(200, bytes.clone()),
            (false, Some((start, last))) => {
                let start: usize = start.parse().unwrap();
                let end = bytes.len() - 1;
                let last = last.parse().map_or(end, |last: usize| last.min(end));
                let part = bytes[start..=last].to_vec();
                let range = format!("bytes {start}-{last}/{}", bytes.len());
                with(answer(206, part), "content-range", &range)
            }
        }
    }
}

#[tokio::test]
async fn a_range_is_asked_for_and_cut_out_where_the_origin_knows_none() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::sha256(&bytes);
    for knows_ranges in [false, true] {
        let fake = Fake::serve(serves(bytes.clone(), knows_ranges)).await;
        let cluster = cluster(&[fake.host()]);
        for range in [0..1, 0..100_000, 10..20, 65_000..99_999, 99_999..100_000, 7..7] {
            let stream =
                cluster.download_range(&namespace(), &digest, range.clone()).await.unwrap();
            let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
            let wanted = range.start as usize..range.end as usize;
            assert!(parts.concat() == bytes[wanted], "{range:?} {knows_ranges}");
        }
        let beyond = cluster.download_range(&namespace(), &digest, 99_000..100_001).await;
        if let Ok(stream) = beyond {
            let read: Result<Vec<Bytes>> = stream.try_collect().await;
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Mismatch);
        }
        let asked: Vec<Seen> =
            fake.seen().into_iter().filter(|seen| !seen.path.ends_with("/locations")).collect();
        assert_eq!(asked[2].header("range"), "bytes=10-19");
        assert_eq!(asked.len(), 6, "nothing is asked for an empty range");
    }
}

#[tokio::test]
async fn a_range_that_breaks_goes_on_where_it_stopped() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::sha256(&bytes);
    let second = Fake::serve(serves(bytes.clone(), true)).await;
    let (second_host, part) = (second.host(), bytes[1000..30_000].to_vec());
    let first = Fake::serve(move |seen, own| match seen.path.ends_with("/locations") {
        true => located(&format!("{own},{second_host}")),
        false if seen.header("range") == "bytes=1000-89999" => {
            let mut answer = broken(part.clone());
            *answer.status_mut() = http::StatusCode::PARTIAL_CONTENT;
            with(answer, "content-range", "bytes 1000-89999/100000")
        }
        false => answer(500, "failed again"),
    })
    .await;
    let cluster = cluster(&[first.host()]);
    let stream = cluster.download_range(&namespace(), &digest, 1000..90_000).await.unwrap();
    let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(parts.concat() == bytes[1000..90_000]);
    assert_eq!(second.seen()[0].header("range"), "bytes=30000-89999");
}

#[tokio::test]
async fn an_owner_that_has_the_blob_sees_to_its_write_back_in_another_namespace() {
    let holder = Fake::serve(|seen, _| match seen.method.as_str() {
        "HEAD" => with(answer(200, ""), "content-length", "5"),
        _ => answer(409, ""),
    })
    .await;
    let holder_host = holder.host();
    let empty = Fake::serve(move |seen, own| match seen.method.as_str() {
        "GET" => located(&format!("{own},{holder_host}")),
        _ => answer(404, ""),
    })
    .await;
    let digest = Digest::sha256(b"x");
    cluster(&[empty.host()]).ensure_write_back(&namespace(), &digest).await.unwrap();
    let blob = format!("/namespace/library%2Fnginx:1.0/blobs/{digest}");
    assert_eq!(
        holder.lines(),
        [format!("HEAD /internal{blob}?local=true"), format!("POST {blob}/uploads")]
    );
    assert!(empty.seen().iter().all(|seen| seen.method != "POST"), "no upload is begun in vain");
}

#[tokio::test]
async fn a_blob_that_no_owner_has_must_be_in_the_backend() {
    for (status, kind) in [(200, None), (404, Some(ErrorKind::NotFound))] {
        let fake = Fake::serve(move |seen, own| match seen.path.as_str() {
            path if path.ends_with("/locations") => located(own),
            path if path.ends_with("?local=true") => answer(404, ""),
            _ => with(answer(status, ""), "content-length", "5"),
        })
        .await;
        let digest = Digest::sha256(b"x");
        let ensured = cluster(&[fake.host()]).ensure_write_back(&namespace(), &digest).await;
        assert_eq!(ensured.err().map(|error| error.kind()), kind);
        assert!(fake.seen().iter().all(|seen| seen.method != "POST"));
    }
}

#[tokio::test]
async fn a_blob_that_no_owner_has_is_not_found() {
    let fake = Fake::serve(|seen, own| match seen.path.ends_with("/locations") {
        true => located(own),
        false => answer(404, ""),
    })
    .await;
    let error = read(&cluster(&[fake.host()]), &Digest::sha256(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn metainfo_is_that_of_the_blob_asked_for() {
    let metainfo = MetaInfo::of_bytes(Digest::sha256(b"some bytes"), b"some bytes", 4).unwrap();
    let json = metainfo.to_json();
    let fake = Fake::serve(move |seen, own| match seen.path.ends_with("/locations") {
        true => located(own),
        false => answer(200, json.clone()),
    })
    .await;
    let cluster = cluster(&[fake.host()]);
    let found = cluster.metainfo(&namespace(), &metainfo.digest()).await.unwrap();
    assert_eq!(found.info_hash(), metainfo.info_hash());
    let other = cluster.metainfo(&namespace(), &Digest::sha256(b"other")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Mismatch);
}

#[tokio::test]
async fn owners_are_those_that_answer() {
    let ids = vec!["7"; 20].join(",");
    let rest = r#""zone":"z","cluster":"c","origin":true"#;
    let json = format!(r#"{{"ip":"10.0.0.1","port":8080,"peer_id":[{ids}],{rest}}}"#);
    let down = nobody().await;
    let fake = Fake::serve(move |seen, own| match seen.path.as_str() {
        "/internal/peercontext" => answer(200, json.clone()),
        _ => located(&format!("{down},{own}")),
    })
    .await;
    let owners = cluster(&[fake.host()]).owners(&Digest::sha256(b"x")).await.unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!((&*owners[0].ip, owners[0].port, owners[0].origin), ("10.0.0.1", 8080, true));
}

#[tokio::test]
async fn a_remote_cluster_is_named_in_the_path() {
    let fake = Fake::serve(|seen, own| match seen.path.ends_with("/locations") {
        true => located(own),
        false => answer(200, ""),
    })
    .await;
    let digest = Digest::sha256(b"x");
    let cluster = cluster(&[fake.host()]);
    cluster.replicate(&namespace(), &digest, "kraken-origin.dca1:9003").await.unwrap();
    assert_eq!(
        fake.lines()[1],
        format!(
            "POST /namespace/library%2Fnginx:1.0/blobs/{digest}/remote/kraken-origin.dca1:9003"
        )
    );
    cluster.ready(&digest).await.unwrap();
    assert_eq!(fake.lines().pop().unwrap(), "GET /readiness");
}

#[tokio::test]
async fn every_call_can_be_made_from_a_spawned_task() {
    fn check<F: Future + Send>(_: F) {}
    let cluster = cluster(&["127.0.0.1:1".to_owned()]);
    let (namespace, digest, source) = (namespace(), Digest::sha256(b"x"), BytesSource::new("x"));
    check(cluster.locations(&digest));
    check(cluster.owners(&digest));
    check(cluster.upload(&namespace, &digest, &source));
    check(cluster.stat(&namespace, &digest, true));
    check(cluster.metainfo(&namespace, &digest));
    check(cluster.download(&namespace, &digest));
    check(cluster.replicate(&namespace, &digest, "remote"));
    check(cluster.download_range(&namespace, &digest, 1..2));
    check(cluster.ensure_write_back(&namespace, &digest));
    check(cluster.prefetch(&namespace, &digest));
    check(cluster.ready(&digest));
}
