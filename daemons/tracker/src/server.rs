//! The tracker's routes.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, StatusCode};
use kraken_common::answer::{self, Answer};
use kraken_common::{RequestBody, Segments, path, read_bounded};
use kraken_core::http::status_of;
use kraken_core::{Error, ErrorKind, InfoHash, PROVISIONAL_HEADER, Result, Time};
use kraken_p2p::tracker::{
    AnnounceRequest, Announcer, BLOB_HEADER, BLOB_UNKNOWN, limits as p2p_limits,
};

use crate::origins::{Failure, Origins, Relayed};

/// What every request is answered from.
#[derive(Debug)]
pub(crate) struct Service {
    announcer: Announcer,
    origins: Origins,
    /// The epoch of the peer store's clock.
    start: Instant,
}

impl Service {
    pub(crate) fn new(announcer: Announcer, origins: Origins) -> Arc<Self> {
        Arc::new(Self { announcer, origins, start: Instant::now() })
    }

    pub(crate) fn announcer(&self) -> &Announcer {
        &self.announcer
    }

    /// Asks these origins from now on.
    pub(crate) fn set_origins(&self, hosts: Vec<String>) {
        self.origins.set_hosts(hosts);
    }

    /// An origin has passed a check.
    pub(crate) fn heard_from(&self, origin: &String) {
        self.origins.heard_from(origin);
    }

    /// Answers any request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Answer {
        answer::settle(self.route(request).await)
    }

    async fn route(&self, request: Request<RequestBody>) -> Result<Answer> {
        let segments = Segments::of(request.uri())?;
        let is_get = request.method() == Method::GET;
        match segments.as_strs().as_slice() {
            ["health"] if is_get => Ok(answer::ok()),
            ["readiness"] if is_get => Ok(match self.origins.check_readiness().await {
                Ok(()) => answer::ok(),
                Err(e) => answer::not_ready(&e),
            }),
            ["announce"] if is_get => self.announce(request, None).await,
            ["announce", info_hash] if request.method() == Method::POST => {
                let info_hash = path::required("infohash", info_hash)?;
                let info_hash =
                    info_hash.parse().map_err(|e: Error| e.context("parse infohash"))?;
                self.announce(request, Some(info_hash)).await
            }
            ["namespace", namespace, "blobs", digest, "metainfo"] if is_get => {
                self.metainfo(&request, namespace, digest).await
            }
            ["namespace", namespace, "blobs", digest] if request.method() == Method::HEAD => {
                self.stat(namespace, digest).await
            }
            ["namespace", _, "blobs", _] => Ok(answer::method_not_allowed("HEAD")),
            ["health" | "readiness" | "announce"] | ["namespace", _, "blobs", _, "metainfo"] => {
                Ok(answer::method_not_allowed("GET"))
            }
            ["announce", _] => Ok(answer::method_not_allowed("POST")),
            _ => Ok(answer::no_route()),
        }
    }

    /// An announce; the info hash in the path wins over that in the body.
    async fn announce(
        &self,
        request: Request<RequestBody>,
        info_hash: Option<InfoHash>,
    ) -> Result<Answer> {
        let body =
            read_bounded(request.into_body(), p2p_limits::ANNOUNCE_REQUEST_BYTES_MAX).await?;
        let mut announce = AnnounceRequest::from_json(&body)?;
        announce.info_hash = info_hash.unwrap_or(announce.info_hash);
        let digest = announce.blob().map_err(|e| e.context("get request digest"))?;
        let complete = announce.peer.complete;
        // A peer that has the whole blob is told of nobody, so nobody need be found.
        let origins = if complete { Ok(Vec::new()) } else { self.origins.seeders(digest).await };
        let failure = origins.as_ref().err().cloned();
        let origins = origins.map_err(|failure| failure.to_error());
        let now = Time::ZERO + self.start.elapsed();
        let response = self.announcer.announce(&announce, origins, now).await?;
        match failure {
            Some(failure) if response.peers.is_none() => {
                let message = format!("no peers available: origin store: {failure}");
                Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, message))
            }
            _ => Ok(answer::json_bytes(response.to_json())),
        }
    }

    /// The blob's length, as an origin tells it; not in uber/kraken.
    async fn stat(&self, namespace: &str, digest: &str) -> Result<Answer> {
        let namespace = path::required("namespace", namespace)?.parse()?;
        match self.origins.stat(namespace, path::digest(digest)?).await {
            Ok(len) => {
                let mut answer = answer::empty(StatusCode::OK);
                answer.headers_mut().insert(CONTENT_LENGTH, len.into());
                Ok(answer)
            }
            Err(failure) => {
                let mut answer = relay_failure(&failure);
                if failure.kind() == ErrorKind::NotFound {
                    let value = HeaderValue::from_static(BLOB_UNKNOWN);
                    answer.headers_mut().insert(BLOB_HEADER, value);
                }
                Ok(answer)
            }
        }
    }

    async fn metainfo(
        &self,
        request: &Request<RequestBody>,
        namespace: &str,
        digest: &str,
    ) -> Result<Answer> {
        let namespace = path::required("namespace", namespace)?.parse()?;
        let digest = path::digest(digest)?;
        let provisional = request.headers().contains_key(PROVISIONAL_HEADER);
        match self.origins.metainfo(namespace, digest, provisional).await {
            Ok(Relayed { json, no_store }) => {
                let mut answer = answer::json_bytes(json);
                if no_store {
                    let value = HeaderValue::from_static("no-store");
                    answer.headers_mut().insert(CACHE_CONTROL, value);
                }
                Ok(answer)
            }
            Err(failure) => Ok(relay_failure(&failure)),
        }
    }
}

/// The status an origin answered goes on to the peer, which decides by it; a failure to reach one
/// has a status of its own.
fn relay_failure(failure: &Failure) -> Answer {
    match status_of(failure.error()).and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => {
            answer::of_kind(refusal(status, format!("origin: {failure}")), failure.kind())
        }
        None => answer::failure(failure.error()),
    }
}

fn refusal(status: StatusCode, message: String) -> Answer {
    answer::because(answer::text(status, message.clone()), message)
}
