//! The backend of tags, and whether it answers.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;

use futures_util::future::join_all;
use kraken_backends::{BackendTags, Router, TagStore};
use kraken_core::http::status_of;
use kraken_core::{Digest, Error, ErrorKind, Result, Tag};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::limits;

/// A backend of which it is known whether it is away, so that of many who have a copy only the
/// first waits for it.
///
/// It is away once it did not answer a question in time, and back once it answers any: one of
/// [`Remote::probe`], or a write.
#[derive(Debug)]
pub(super) struct Remote {
    store: Arc<dyn TagStore>,
    /// The backend, where it is many.
    routed: Option<Arc<BackendTags<Router>>>,
    /// Those that are away, each with the tag that was last asked for: one that only some tag has
    /// made seem so is not probed with that tag for ever.
    away: watch::Sender<BTreeMap<BackendId, Tag>>,
}

/// Tells the backends of a router apart.
pub(super) type BackendId = usize;

impl Remote {
    pub(super) fn new(store: Arc<dyn TagStore>, routed: Option<Arc<BackendTags<Router>>>) -> Self {
        Self { store, routed, away: watch::Sender::default() }
    }

    /// The digest the tag names there; [`ErrorKind::Unavailable`] in bounded time if it does not
    /// answer. Of a question that is given up before, nothing is remembered.
    pub(super) async fn get(&self, tag: &Tag) -> Result<Digest> {
        let answer = timeout(limits::FIND_MAX, self.store.get(tag)).await.unwrap_or_else(|_| {
            let message =
                format!("find tag {tag}: the backend gave no answer in {:?}", limits::FIND_MAX);
            Err(Error::new(ErrorKind::Unavailable, message))
        });
        match &answer {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                // One that answers with a failure is there: it may fail for this tag alone.
                if status_of(error).is_none() {
                    self.left(tag, error);
                }
            }
            _ => self.returned(tag),
        }
        answer
    }

    /// Makes the tag name `digest` there.
    pub(super) async fn put(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        self.store.put(tag, digest).await?;
        self.returned(tag);
        Ok(())
    }

    /// Whether the backend of the tag is known to be away; the tag is what it is probed with then.
    pub(super) fn is_away(&self, tag: &Tag) -> bool {
        let backend = self.backend_of(tag);
        // The usual answer needs no lock against others who ask.
        if !self.away.borrow().contains_key(&backend) {
            return false;
        }
        let mut is_away = false;
        self.away.send_if_modified(|away| {
            if let Some(probed) = away.get_mut(&backend) {
                probed.clone_from(tag);
                is_away = true;
            }
            false
        });
        is_away
    }

    /// Asks those that are away whether they are back, for ever, one question to each at a time.
    pub(super) async fn probe(&self) {
        let mut away = self.away.subscribe();
        // The sender lives as long as this.
        while away.wait_for(|away| !away.is_empty()).await.is_ok() {
            sleep(limits::PROBE_PAUSE).await;
            let tags: Vec<Tag> = self.away.borrow().values().cloned().collect();
            join_all(tags.iter().map(|tag| self.get(tag))).await;
        }
    }

    /// The backend of a tag; those that have none any more share an id.
    pub(super) fn backend_of(&self, tag: &Tag) -> BackendId {
        let route = |routed: &BackendTags<Router>| {
            let backend = routed.backend().route(&tag.to_string().parse().ok()?).ok()?;
            // The router lives as long as this, so no two of its backends are ever in one place.
            Some(ptr::from_ref(backend).cast::<()>().addr())
        };
        self.routed.as_deref().and_then(route).unwrap_or_default()
    }

    fn left(&self, tag: &Tag, error: &Error) {
        let backend = self.backend_of(tag);
        let is_new = self.away.send_if_modified(|away| away.insert(backend, tag.clone()).is_none());
        if is_new {
            tracing::warn!(%tag, %error, "tags have only their copies here: their backend is away");
        }
    }

    fn returned(&self, tag: &Tag) {
        let backend = self.backend_of(tag);
        if !self.away.borrow().contains_key(&backend) {
            return;
        }
        if self.away.send_if_modified(|away| away.remove(&backend).is_some()) {
            tracing::info!(%tag, "the backend of tags answers again");
        }
    }
}
