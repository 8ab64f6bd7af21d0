//! The build-index's routes.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use kraken_backends::{OriginCluster, TagScope};
use kraken_common::answer::{self, Answer};
use kraken_common::{Query, RequestBody, Segments, path, read_bounded};
use kraken_core::{Digest, Error, ErrorKind, Result, Tag};
use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::TagType;
use crate::neighbors::Neighbors;
use crate::tags::Tags;
use crate::{dependencies, limits, listing};

/// What every request is answered from.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) tags: Tags,
    pub(crate) tag_rules: Vec<(Regex, TagType)>,
    pub(crate) origins: OriginCluster,
    /// What other clusters are told as this cluster's origin.
    pub(crate) origin_name: String,
    pub(crate) neighbors: Neighbors,
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
                let mut bare = answer::empty(found.status());
                *bare.extensions_mut() = found.into_parts().0.extensions;
                Ok(bare)
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
                self.tags.check(&tag)?;
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
        let any = Digest::sha256(&[]);
        match tokio::try_join!(self.origins.ready(&any), self.tags.ready()) {
            Ok(_) => answer::ok(),
            Err(e) => answer::not_ready(&e),
        }
    }

    /// The digest of a tag as text.
    ///
    /// Of a backend that cannot be asked, unlike in uber/kraken, a 404 is not made: the tag may
    /// well be there, so a client is to ask another build-index, or again. What must not fail
    /// although nobody knows, the look of a push at what it is going to put, is for the proxy to
    /// see to. Tags that no backend is for are a 404.
    async fn find(&self, tag: &Tag) -> Result<Answer> {
        match self.tags.find(tag).await {
            Ok(digest) => Ok(answer::text(StatusCode::OK, digest.to_string())),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(e),
            Err(e) if e.kind() == ErrorKind::Unavailable => Err(e.context("storage")),
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                Ok(answer::disguised(&e.context(format!("tag {tag} not found"))))
            }
            // What the backend holds is not what we wrote there: not the client's fault.
            Err(e) => {
                let message = format!("storage: {e}");
                Err(Error::new(ErrorKind::Internal, message))
            }
        }
    }

    async fn put(&self, tag: &Tag, digest: Digest) -> Result<Answer> {
        let tag_type = self.tag_type(tag)?;
        self.tags.check(tag)?;
        dependencies::check(&self.origins, tag, digest, tag_type).await?;
        self.tags.put(tag, &digest).await.map_err(|e| e.context("storage"))?;
        self.neighbors.tell(tag, &digest).await;
        Ok(answer::empty(StatusCode::OK))
    }

    /// What the tag names.
    fn tag_type(&self, tag: &Tag) -> Result<TagType> {
        let text = tag.to_string();
        let rule = self.tag_rules.iter().find(|(namespace, _)| namespace.is_match(&text));
        rule.map(|(_, tag_type)| *tag_type).ok_or_else(|| {
            let message = format!("no entry of tag_types is for tag {text:?}");
            Error::new(ErrorKind::Unsupported, message)
        })
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
