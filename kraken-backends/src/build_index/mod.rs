//! A remote build-index: where tags are pushed to and asked for inside Kraken.

mod listing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kraken_core::health::PassiveConfig;
use kraken_core::http::{Body, Client, Method, Request, escape_segment, status_of};
use kraken_core::{Digest, Error, ErrorKind, Reference, Repository, Result, Tag, TagName};
use serde::Serialize;

use crate::backend::Page;
use crate::backend_tags::parse_content;
use crate::hosts::Hosts;
use crate::limits;
use crate::tags::{TagPage, TagScope, TagStore};

pub use listing::{Links, ListResponse};

/// The build-indexes of one cluster, every one of which knows every tag; a clone shares everything.
///
/// Hosts are asked in turn, the next one when one does not answer (or answers 429, 502, 503 or
/// 504). As a [`TagStore`] it keeps the contract as far as the servers do. uber/kraken's do not in
/// two things: a tag that names a digest already goes on naming it when it is put again, and a
/// listing shows what is in their backend, so a fresh tag appears once it is written back. A page
/// may be longer than asked for where a server pages by its own size.
#[derive(Debug, Clone)]
pub struct BuildIndex {
    hosts: Arc<Hosts>,
    client: Client,
}

#[derive(Serialize)]
struct DuplicatePut {
    delay: i64,
}

#[derive(Serialize)]
struct DuplicateReplicate<'a> {
    dependencies: &'a [Digest],
    delay: i64,
}

impl BuildIndex {
    /// The cluster of `hosts` (each `host:port`, at least one).
    pub fn new(hosts: Vec<String>, client: Client) -> Result<Self> {
        let hosts = Hosts::new(hosts).map_err(|error| error.context("build-index cluster"))?;
        Ok(Self { hosts: Arc::new(hosts), client })
    }

    /// As [`BuildIndex::new`], with when a host that does not answer counts as ill: it is asked
    /// after the others then.
    pub fn with_health(hosts: Vec<String>, health: PassiveConfig, client: Client) -> Result<Self> {
        let hosts = Hosts::with_health(hosts, health);
        let hosts = hosts.map_err(|error| error.context("build-index cluster"))?;
        Ok(Self { hosts: Arc::new(hosts), client })
    }

    /// Replaces the hosts, as when a DNS name resolves anew.
    pub fn set_hosts(&self, hosts: Vec<String>) -> Result<()> {
        self.hosts.replace(hosts)
    }

    /// The digest that `reference` means in `repository`: its own, or the one its tag names.
    pub async fn resolve(&self, repository: &Repository, reference: &Reference) -> Result<Digest> {
        match reference {
            Reference::Digest(digest) => Ok(*digest),
            Reference::Tag(name) => {
                self.get(&Tag { repository: repository.clone(), name: name.clone() }).await
            }
        }
    }

    /// Puts the tag, and has it replicated to the remote clusters configured there.
    pub async fn put_and_replicate(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        self.put_with(tag, digest, "?replicate=true").await
    }

    /// Whether the tag is in the build-index's backend; uber/kraken's looks nowhere else.
    pub async fn exists(&self, tag: &Tag) -> Result<bool> {
        let path = tag_path(tag);
        let sent = self.ask(|host| {
            self.client.send(Request::to(Method::HEAD, host, &*path).head_timeout(LOOKUP))
        });
        match sent.await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has an existing tag replicated to the remote clusters configured there.
    pub async fn replicate(&self, tag: &Tag) -> Result<()> {
        let path = format!("/remotes{}", tag_path(tag));
        let sent = self.ask(|host| {
            self.client.send(Request::to(Method::POST, host, &*path).head_timeout(REPLICATE))
        });
        sent.await.map(drop)
    }

    /// The address of the origin cluster that this build-index belongs to.
    pub async fn origin(&self) -> Result<String> {
        let body = self
            .ask(|host| async move {
                let request = Request::to(Method::GET, host, "/origin").head_timeout(QUICK);
                self.client.send(request).await?.bytes(limits::ORIGIN_NAME_LEN_MAX).await
            })
            .await?;
        let text = std::str::from_utf8(&body).map(str::trim).unwrap_or_default();
        if text.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, "the build-index names no origin"));
        }
        Ok(text.to_owned())
    }

    /// Whether a host of the cluster is ready.
    pub async fn ready(&self) -> Result<()> {
        let sent = self.ask(|host| {
            self.client.send(Request::to(Method::GET, host, "/readiness").head_timeout(QUICK))
        });
        sent.await.map(drop)
    }

    /// Gives the tag to one neighbour, `host`, which writes it back after `delay` unless it is in
    /// the backend by then. Tried three times.
    pub async fn duplicate_put(
        &self,
        host: &str,
        tag: &Tag,
        digest: &Digest,
        delay: Duration,
    ) -> Result<()> {
        let path = format!("/internal/duplicate{}/digest/{digest}", tag_path(tag));
        let body = json(&DuplicatePut { delay: nanos(delay) })?;
        let request = Request::to(Method::PUT, host, path).body(body).head_timeout(LOOKUP);
        self.client.send_retry(request).await.map(drop)
    }

    /// Gives the task to replicate the tag to one neighbour, `host`, which does it after `delay`
    /// unless it is done by then. Tried three times.
    pub async fn duplicate_replicate(
        &self,
        host: &str,
        tag: &Tag,
        digest: &Digest,
        dependencies: &[Digest],
        delay: Duration,
    ) -> Result<()> {
        let path = format!("/internal/duplicate/remotes{}/digest/{digest}", tag_path(tag));
        let body = json(&DuplicateReplicate { dependencies, delay: nanos(delay) })?;
        let request = Request::to(Method::POST, host, path).body(body).head_timeout(LOOKUP);
        self.client.send_retry(request).await.map(drop)
    }

    /// All tags of a repository, in the order of the pages; `ErrorKind::NotFound` when it has none.
    pub async fn tags_of(&self, repository: &Repository) -> Result<Vec<TagName>> {
        let mut names = Vec::new();
        let mut page = Page::first();
        loop {
            let found = self.list(TagScope::Repository(repository), &page).await?;
            names.extend(found.tags.into_iter().map(|tag| tag.name));
            match found.next {
                Some(token) if names.len() < limits::TAGS_LISTED_MAX => page = page.after(token),
                Some(_) => {
                    let most = limits::TAGS_LISTED_MAX;
                    let message = format!("tags of {repository}: more than {most}");
                    return Err(Error::new(ErrorKind::TooLarge, message));
                }
                None if names.is_empty() => {
                    return Err(Error::not_found(format!("no tags of {repository}")));
                }
                None => return Ok(names),
            }
        }
    }

    async fn put_with(&self, tag: &Tag, digest: &Digest, query: &str) -> Result<()> {
        let path = format!("{}/digest/{digest}{query}", tag_path(tag));
        let sent = self
            .ask(|host| self.client.send(Request::to(Method::PUT, host, &*path).head_timeout(PUT)));
        sent.await.map(drop)
    }

    /// Asks the hosts in turn until one gives an answer of its own.
    async fn ask<T, F: Future<Output = Result<T>>>(
        &self,
        mut ask: impl FnMut(String) -> F,
    ) -> Result<T> {
        let mut failure: Option<Error> = None;
        for host in self.hosts.in_turn() {
            match ask(host.clone()).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    self.hosts.note(&host, &error);
                    // What one answers says more than that another does not.
                    let said = failure.as_ref().and_then(status_of);
                    if failure.is_none() || (said.is_none() && status_of(&error).is_some()) {
                        failure = Some(error);
                    }
                }
                result => return result,
            }
        }
        let nobody = || Error::new(ErrorKind::Unavailable, "there is no build-index to ask");
        Err(failure.unwrap_or_else(nobody))
    }
}

#[async_trait]
impl TagStore for BuildIndex {
    async fn get(&self, tag: &Tag) -> Result<Digest> {
        let path = &*tag_path(tag);
        let content = self
            .ask(|host| async move {
                let request = Request::to(Method::GET, host, path).head_timeout(LOOKUP);
                self.client.send(request).await?.bytes(CONTENT_LEN_MAX).await
            })
            .await?;
        parse_content(&content).map_err(|error| error.context(format!("answer to tag {tag}")))
    }

    async fn put(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        self.put_with(tag, digest, "").await
    }

    async fn list(&self, scope: TagScope<'_>, page: &Page) -> Result<TagPage> {
        listing::page(self, scope, page).await
    }

    async fn delete(&self, tag: &Tag) -> Result<()> {
        let path = tag_path(tag);
        let sent = self.ask(|host| {
            self.client.send(
                Request::to(Method::DELETE, host, &*path)
                    .head_timeout(PUT)
                    .expect(&[200, 202, 204, 404]),
            )
        });
        match sent.await {
            // uber/kraken's has no way to delete a tag.
            Err(error) if status_of(&error) == Some(405) => {
                Err(Error::new(ErrorKind::Unsupported, format!("delete tag {tag}"))
                    .with_source(error))
            }
            result => result.map(drop),
        }
    }
}

fn tag_path(tag: &Tag) -> String {
    format!("/tags/{}", escape_segment(&tag.to_string()))
}

fn nanos(delay: Duration) -> i64 {
    i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX)
}

fn json(body: &impl Serialize) -> Result<Body> {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Error::new(ErrorKind::Internal, "write json").with_source(error))?;
    Ok(bytes.into())
}

/// Longest content of a tag taken.
const CONTENT_LEN_MAX: usize = limits::TAG_CONTENT_LEN_MAX as usize;

/// For answers from memory: uber/kraken's timeout for them.
const QUICK: Duration = Duration::from_secs(5);

/// For looking a tag up, and for duplicates: uber/kraken's timeout.
const LOOKUP: Duration = Duration::from_secs(10);

/// For asking for replication: uber/kraken's timeout.
const REPLICATE: Duration = Duration::from_secs(15);

/// For putting a tag, whose dependencies are then looked up: uber/kraken's timeout.
const PUT: Duration = Duration::from_secs(30);
