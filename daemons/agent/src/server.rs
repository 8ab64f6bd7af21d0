//! The agent's HTTP endpoints, uber/kraken's `agentserver`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use kraken_backends::TagStore as _;
use kraken_common::answer::{self, Answer};
use kraken_common::{Body, RequestBody, Segments, blocking};
use kraken_core::http::Request;
use kraken_core::store::Store;
use kraken_core::{Digest, Error, ErrorKind, InfoHash, Result, SendfileQueue, Tag};
use kraken_p2p::node::{DownloadPhase, DownloadStatus};
use kraken_p2p::swarm::Blacklisted;
use kraken_registry_api::BlobReader as _;
use serde_json::json;

use crate::limits;
use crate::parts::{self, Parts};

/// Answers one request.
pub(crate) async fn answer(parts: Arc<Parts>, request: http::Request<RequestBody>) -> Answer {
    answer::settle(route(&parts, &request).await)
}

async fn route(parts: &Parts, request: &http::Request<RequestBody>) -> Result<Answer> {
    let segments = Segments::of(request.uri())?;
    match (request.method(), &segments.as_strs()[..]) {
        (&Method::GET, ["health"]) => {
            probe(parts).await?;
            Ok(answer::text(StatusCode::OK, "OK"))
        }
        (&Method::GET, ["readiness"]) => Ok(readiness(parts).await),
        (&Method::GET, ["tags", tag]) => {
            let tag: Tag = tag.parse()?;
            // uber/kraken's words; its status for every failure but 404 is 500, of which a 503 is
            // the kind that tells a caller to ask again.
            let digest =
                parts.build_index.get(&tag).await.map_err(|error| error.context("get tag"))?;
            Ok(answer::text(StatusCode::OK, digest.to_string()))
        }
        (&Method::GET, ["namespace", namespace, "blobs", digest]) => {
            let digest = Digest::parse_wire_name(digest)?;
            blob(parts, namespace, &digest, request.extensions().get()).await
        }
        (&Method::DELETE, ["blobs", digest]) => {
            remove(parts, &Digest::parse_wire_name(digest)?).await
        }
        (&Method::GET, ["x", "blacklist"]) => blacklist(parts).await,
        (&Method::GET, ["x", "downloads"]) => downloads(parts).await,
        (&Method::GET, ["x", "stats"]) => stats(parts).await,
        _ => Ok(answer::no_route()),
    }
}

async fn probe(parts: &Parts) -> Result<()> {
    parts.node.probe(limits::PROBE_TIMEOUT).await.map_err(|error| {
        // As uber/kraken has it: a node that does not answer is a 500, not a 503.
        Error::new(ErrorKind::Internal, "probe torrent client").with_source(error)
    })
}

/// The node, a build-index and a tracker answer.
async fn readiness(parts: &Parts) -> Answer {
    let (node, build_index) = tokio::join!(probe(parts), parts.build_index.ready());
    let tracker = tracker_ready(parts).await;
    let failures: Vec<String> = [node, build_index, tracker]
        .into_iter()
        .filter_map(|result| result.err().map(|error| error.to_string()))
        .collect();
    if failures.is_empty() {
        return answer::text(StatusCode::OK, "OK");
    }
    // uber/kraken's words; what the log is told is one line.
    let text = format!("agent not ready: {}", failures.join("\n"));
    let answer = answer::text(StatusCode::SERVICE_UNAVAILABLE, text);
    answer::because(answer, format!("agent not ready: {}", failures.join("; ")))
}

/// One of the trackers answers its own `/readiness`.
async fn tracker_ready(parts: &Parts) -> Result<()> {
    let mut result = Err(Error::new(ErrorKind::Unavailable, "no tracker is configured"));
    for tracker in parts.tracker.trackers() {
        let request = Request::get(format!("http://{tracker}/readiness"));
        result = parts.http.send(request.head_timeout(limits::READY_TIMEOUT)).await.map(drop);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The whole blob, as it arrives.
async fn blob(
    parts: &Parts,
    namespace: &str,
    digest: &Digest,
    queue: Option<&SendfileQueue>,
) -> Result<Answer> {
    let blob = match parts::open(parts, &namespace.parse()?, digest).await {
        Ok(blob) => blob,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
        // uber/kraken's agents answer 500 when the backend cannot be reached.
        Err(error) => {
            return Err(Error::new(ErrorKind::Internal, "download torrent").with_source(error));
        }
    };
    let whole = 0..blob.len;
    let stream = match queue {
        Some(queue) => blob.stream_to(whole, queue),
        None => blob.stream(whole),
    };
    let mut answer = answer::empty(StatusCode::OK);
    answer.headers_mut().insert(http::header::CONTENT_LENGTH, blob.len.into());
    *answer.body_mut() = Body::stream(stream);
    Ok(answer)
}

async fn remove(parts: &Parts, digest: &Digest) -> Result<Answer> {
    parts.node.remove(digest).await?;
    let (store, digest) = (parts.store.clone(), *digest);
    blocking("remove torrent", move || store.delete(&digest, true))
        .await
        .map_err(|error| error.context("remove torrent"))?;
    parts.recent.forget(&digest);
    Ok(answer::empty(StatusCode::OK))
}

async fn blacklist(parts: &Parts) -> Result<Answer> {
    let (entries, store) = (parts.node.blacklist().await?, parts.store.clone());
    let entries = blocking("name the torrents of the blacklist", move || {
        let mut info_hashes = BTreeMap::new();
        for torrent in entries.iter().map(|entry| entry.torrent) {
            if let Entry::Vacant(vacant) = info_hashes.entry(torrent) {
                vacant.insert(info_hash(&store, &torrent)?);
            }
        }
        let shaped = entries.iter().map(|entry| {
            let info_hash = info_hashes.get(&entry.torrent).copied().flatten();
            blacklist_entry(entry, info_hash)
        });
        Ok(shaped.collect::<Vec<_>>())
    });
    answer::json(&entries.await?)
}

/// The info hash of a torrent; `None` if its blob has left the disk meanwhile.
fn info_hash(store: &Store, digest: &Digest) -> Result<Option<InfoHash>> {
    let metainfo = match store.metainfo(digest)? {
        Some(metainfo) => Some(metainfo),
        None => store.find(digest)?.and_then(|blob| blob.metainfo()),
    };
    Ok(metainfo.map(|metainfo| metainfo.info_hash()))
}

/// uber/kraken's shape, whose clients read arrays of 20 numbers and an `int64`; `torrent` and
/// `addr` are ours.
fn blacklist_entry(entry: &Blacklisted, info_hash: Option<InfoHash>) -> serde_json::Value {
    // For as long as the torrent is here is, in nanoseconds, for ever.
    let nanos = |left: Duration| i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
    json!({
        "peer_id": entry.peer_id,
        "info_hash": info_hash.unwrap_or_else(|| InfoHash::new([0; 20])),
        "remaining": entry.remaining.map_or(i64::MAX, nanos),
        "torrent": entry.torrent,
        "addr": entry.addr,
    })
}

/// The downloads that somebody waits for, those that have waited longest first; then those that
/// ended lately.
async fn downloads(parts: &Parts) -> Result<Answer> {
    let downloads = parts.node.downloads(limits::DOWNLOADS_TOLD_MAX).await?;
    answer::json(&downloads.iter().map(download).collect::<Vec<_>>())
}

fn download(download: &DownloadStatus) -> serde_json::Value {
    json!({
        "digest": download.digest,
        "namespace": download.namespace,
        "state": match download.phase {
            DownloadPhase::AskingForMetainfo => "asking_for_metainfo",
            DownloadPhase::LookingForPeers => "looking_for_peers",
            DownloadPhase::Downloading => "downloading",
            DownloadPhase::Verifying => "verifying",
            DownloadPhase::Complete => "complete",
            DownloadPhase::Failed => "failed",
            DownloadPhase::Left => "left",
        },
        "length": download.blob_len,
        "bytes_verified": download.bytes_verified,
        "bytes_from_origins": download.bytes_from_origins,
        "bytes_from_peers": download.bytes_from_peers,
        "seconds": download.age.as_secs_f64(),
        "seconds_by": download.times.named().map(|(part, time)| (part, time.as_secs_f64())).into_iter().collect::<BTreeMap<_, _>>(),
        "peers": download.peers,
    })
}

/// Some of the numbers of `/metrics`, as JSON.
async fn stats(parts: &Parts) -> Result<Answer> {
    let stats = parts.node.stats().await?;
    answer::json(&json!({
        "received_from_origins": stats.received_from_origins,
        "received_from_peers": stats.received_from_peers,
        "sent": stats.sent,
        "duplicate_pieces": stats.duplicate_pieces,
        "corrupt_pieces": stats.corrupt_pieces,
    }))
}

#[cfg(test)]
mod tests {
    use kraken_core::PeerId;

    use super::*;

    #[test]
    fn a_blacklist_has_uber_krakens_shape() {
        let torrent = Digest::sha256(b"x");
        let entry = |remaining| Blacklisted {
            torrent,
            peer_id: PeerId::new([7; 20]),
            addr: "10.0.0.1:9".into(),
            remaining,
        };
        let shaped = blacklist_entry(&entry(Some(Duration::from_millis(3))), None);
        assert_eq!(
            shaped,
            json!({
                "peer_id": ([7; 20]),
                "info_hash": ([0; 20]),
                "remaining": 3_000_000,
                "torrent": torrent.to_string(),
                "addr": "10.0.0.1:9",
            })
        );
        let shaped = blacklist_entry(&entry(None), Some(InfoHash::new([9; 20])));
        assert_eq!(shaped["info_hash"], json!(([9; 20])));
        assert_eq!(shaped["remaining"], json!(i64::MAX));
    }
}
