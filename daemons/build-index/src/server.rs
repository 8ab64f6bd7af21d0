//! The build-index's routes.

use std::sync::Arc;

use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use kraken_backends::{BuildIndex as NeighborClient, OriginCluster, TagScope};
use kraken_common::answer::{self, Answer, Cause};
use kraken_common::{Query, RequestBody, Segments, path, read_bounded};
use kraken_core::{Digest, Error, ErrorKind, Result, Tag};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::TagType;
use crate::tags::Tags;
use crate::{dependencies, limits, listing};

/// What every request is answered from.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) tags: Tags,
    pub(crate) tag_type: TagType,
    pub(crate) origins: OriginCluster,
    /// What other clusters are told as this cluster's origin.
    pub(crate) origin_name: String,
    pub(crate) neighbors: Vec<String>,
    /// A client of the neighbours; `None` if there are none.
    pub(crate) neighbor_client: Option<NeighborClient>,
}

/// The body of a duplicate put. The delay after which to write back is not kept to: what is written
/// at once cannot overwrite a later put.
#[derive(Deserialize)]
struct DuplicatePut {
    #[serde(default, rename = "delay")]
    _delay: i64,
}

/// The body of a duplicate replication.
#[derive(Deserialize)]
struct DuplicateReplicate {
    #[serde(default, rename = "dependencies")]
    _dependencies: Option<Vec<Digest>>,
    #[serde(default, rename = "delay")]
    _delay: i64,
}

impl Service {
    /// Answers any request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Answer {
        answer::settle(self.route(request).await)
    }

    async fn route(&self, request: Request<RequestBody>) -> Result<Answer> {
        let segments = Segments::of(request.uri())?;
        let method = request.method().clone();
        match (&method, segments.as_strs().as_slice()) {
            (&Method::GET, ["health"]) => Ok(answer::ok()),
            (&Method::GET, ["readiness"]) => Ok(self.readiness().await),
            (&Method::GET, ["origin"]) => {
                Ok(answer::text(StatusCode::OK, self.origin_name.clone()))
            }
            (&Method::GET | &Method::HEAD, ["tags", tag]) => self.find(&parse_tag(tag)?).await,
            (&Method::PUT, ["tags", tag, "digest", digest]) => {
                // No destination is configured, so there is nothing to replicate to.
                Query::of(request.uri())?.bool_or("replicate", false)?;
                self.put(&parse_tag(tag)?, path::digest(digest)?).await
            }
            (&Method::POST, ["remotes", "tags", tag]) => {
                let found = self.find(&parse_tag(tag)?).await?;
                Ok(answer::empty(found.status()))
            }
            (&Method::GET, ["repositories", repository, "tags"]) => {
                let repository = path::required("repo", repository)?.parse()?;
                let scope = TagScope::Repository(&repository);
                let uri = request.uri();
                listing::list(&self.tags, scope, uri, |tag| tag.name.to_string()).await
            }
            (&Method::GET, ["list", prefix @ ..]) if !prefix.is_empty() => {
                let prefix = prefix.join("/");
                let is_all = prefix.trim_matches('/').is_empty();
                let scope = if is_all { TagScope::All } else { TagScope::Under(&prefix) };
                listing::list(&self.tags, scope, request.uri(), Tag::to_string).await
            }
            (&Method::PUT, ["internal", "duplicate", "tags", tag, "digest", digest]) => {
                let (tag, digest) = (parse_tag(tag)?, path::digest(digest)?);
                read_json::<DuplicatePut>(request).await?;
                self.tags.put(&tag, &digest).await.map_err(|e| e.context("storage"))?;
                Ok(answer::empty(StatusCode::OK))
            }
            (
                &Method::POST,
                ["internal", "duplicate", "remotes", "tags", tag, "digest", digest],
            ) => {
                parse_tag(tag)?;
                path::digest(digest)?;
                read_json::<DuplicateReplicate>(request).await?;
                Ok(answer::empty(StatusCode::OK))
            }
            (_, segments) => Ok(unrouted(segments)),
        }
    }

    async fn readiness(&self) -> Answer {
        // Any digest does: it only picks who is asked first.
        match self.origins.ready(&Digest::sha256(&[])).await {
            Ok(()) => answer::ok(),
            Err(e) => answer::not_ready(&e),
        }
    }

    /// The digest of a tag as text. A backend that is away is a 404, as in uber/kraken: a push
    /// looks its tag up first, and must not fail for that.
    async fn find(&self, tag: &Tag) -> Result<Answer> {
        match self.tags.find(tag).await {
            Ok(digest) => Ok(answer::text(StatusCode::OK, digest.to_string())),
            Err(e) if e.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%tag, error = %e, "tag not found because the backend is away");
                let mut answer = answer::empty(StatusCode::NOT_FOUND);
                answer.extensions_mut().insert(Cause(e.to_string()));
                Ok(answer)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Err(e),
            // What the backend holds is not what we wrote there: not the client's fault.
            Err(e) => {
                let message = format!("storage: {e}");
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }

    async fn put(&self, tag: &Tag, digest: Digest) -> Result<Answer> {
        dependencies::check(&self.origins, tag, digest, self.tag_type).await?;
        self.tags.put(tag, &digest).await.map_err(|e| e.context("storage"))?;
        self.tell_neighbors(tag, &digest).await;
        Ok(answer::empty(StatusCode::OK))
    }

    /// Gives the put to the neighbours; those that do not take it find it in the backend.
    async fn tell_neighbors(&self, tag: &Tag, digest: &Digest) {
        let Some(client) = &self.neighbor_client else { return };
        let told = self.neighbors.iter().zip(1..).map(|(host, turn)| async move {
            let delay = limits::NEIGHBOR_STAGGER.saturating_mul(turn);
            if let Err(e) = client.duplicate_put(host, tag, digest, delay).await {
                tracing::warn!(%tag, neighbor = host, error = %e, "neighbour not told of a tag");
            }
        });
        if tokio::time::timeout(limits::NEIGHBORS_WAIT_MAX, join_all(told)).await.is_err() {
            tracing::warn!(%tag, "not every neighbour was told of a tag in time");
        }
    }
}

/// The answer where the method or the path is not known.
fn unrouted(segments: &[&str]) -> Answer {
    answer::method_not_allowed(match segments {
        ["health" | "readiness" | "origin"] | ["repositories", _, "tags"] | ["list", _, ..] => {
            "GET"
        }
        ["tags", _] => "GET, HEAD",
        ["tags", _, "digest", _] | ["internal", "duplicate", "tags", _, "digest", _] => "PUT",
        ["remotes", "tags", _] | ["internal", "duplicate", "remotes", "tags", _, "digest", _] => {
            "POST"
        }
        _ => return answer::no_route(),
    })
}

fn parse_tag(tag: &str) -> Result<Tag> {
    path::required("tag", tag)?.parse()
}

async fn read_json<T: DeserializeOwned>(request: Request<RequestBody>) -> Result<T> {
    let body = read_bounded(request.into_body(), limits::INTERNAL_BODY_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|e| Error::invalid("decode body").with_source(e))
}
