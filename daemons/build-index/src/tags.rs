//! Tags to digests: the journal before the backend, a copy behind it.

mod remote;
mod writer;

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use kraken_backends::{BackendTags, Layout, LocalDisk, Page, Router, TagPage, TagScope, TagStore};
use kraken_common::{backends, blocking};
use kraken_core::http::Client;
use kraken_core::store::lock_dir;
use kraken_core::{Digest, Error, ErrorKind, Result, Tag};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{BuildIndexConfig, TagBackend};
use crate::journal::Journal;
use crate::limits;
use crate::tags::remote::Remote;
pub(crate) use crate::tags::writer::Writer;
use crate::tags::writer::Writing;

/// All tags this build-index knows.
#[derive(Debug)]
pub(crate) struct Tags {
    backend: Arc<dyn TagStore>,
    /// The backend, where it is many.
    routed: Option<Arc<BackendTags<Router>>>,
    write_back: Option<WriteBack>,
    write_through: bool,
    /// What keeps other processes from the directory.
    _lock: Arc<File>,
}

/// What stands before a backend that is not the local disk.
#[derive(Debug)]
struct WriteBack {
    remote: Arc<Remote>,
    journal: Journal,
    /// What the backend was last given, for when it is away. Only the task writes it.
    copies: Arc<BackendTags<LocalDisk>>,
    cancel: CancellationToken,
}

impl Tags {
    /// Opens the tags of a build-index, and starts the task that writes back if there is one.
    pub(crate) async fn open(
        config: &BuildIndexConfig,
        client: &Client,
    ) -> Result<(Self, Option<Writer>)> {
        let write_through = config.write_through;
        let dir = &config.data_dir;
        let lock = lock(dir.clone()).await.map_err(|error| error.context("store.cache_dir"))?;
        let lock = Arc::new(lock);
        let mut routed = None;
        let backend: Arc<dyn TagStore> = match &config.backend {
            TagBackend::Embedded => {
                let local = LocalDisk::open(dir.join("tags"), Layout::DockerTag).await?;
                let backend = Arc::new(BackendTags::new(local));
                let write_back = None;
                return Ok((
                    Self { backend, routed, write_back, write_through, _lock: lock },
                    None,
                ));
            }
            TagBackend::Routed(configs) => {
                let (router, _) = backends::open(configs, Layout::DockerTag, client).await?;
                let router = Arc::new(BackendTags::new(router));
                routed = Some(Arc::clone(&router));
                router
            }
            TagBackend::Store(backend) => Arc::clone(backend),
        };
        let journal = Journal::open(dir.join("journal")).await?;
        let copies = LocalDisk::open(dir.join("copies"), Layout::DockerTag).await?;
        let copies = Arc::new(BackendTags::new(copies));
        let remote = Arc::new(Remote::new(Arc::clone(&backend), routed.clone()));
        let cancel = CancellationToken::new();
        let writer = Writer::spawn(Writing {
            remote: Arc::clone(&remote),
            journal: journal.clone(),
            copies: Arc::clone(&copies),
            cancel: cancel.clone(),
            config: config.write_back,
            _lock: Arc::clone(&lock),
        });
        let write_back = Some(WriteBack { remote, journal, copies, cancel });
        Ok((Self { backend, routed, write_back, write_through, _lock: lock }, Some(writer)))
    }

    /// Fails if no backend is for the tag: a put of it could never be written back.
    pub(crate) fn check(&self, tag: &Tag) -> Result<()> {
        match &self.routed {
            Some(routed) => routed.backend().route(&tag.to_string().parse()?).map(drop),
            None => Ok(()),
        }
    }

    /// Whether the backends that must be ready are.
    pub(crate) async fn ready(&self) -> Result<()> {
        match &self.routed {
            Some(routed) => routed.backend().ready(&"readiness:readiness".parse()?).await,
            None => Ok(()),
        }
    }

    /// The digest the tag names: the latest put, wherever it has got to. While the backend is away,
    /// what it was last given from here; [`ErrorKind::Unavailable`] if that was nothing.
    pub(crate) async fn find(&self, tag: &Tag) -> Result<Digest> {
        let Some(WriteBack { remote, journal, copies, .. }) = &self.write_back else {
            return self.backend.get(tag).await;
        };
        if let Some(digest) = journal.latest(tag) {
            return Ok(digest);
        }
        if remote.is_away(tag) {
            // Probes find out when it is back: nobody else is to wait for it.
            let away = || {
                Error::new(ErrorKind::Unavailable, format!("find tag {tag}: its backend is away"))
            };
            return copies.get(tag).await.map_err(|_| away());
        }
        match remote.get(tag).await {
            Err(e) if e.kind() == ErrorKind::Unavailable => copies.get(tag).await.map_err(|_| e),
            answer => answer,
        }
    }

    /// Makes the tag, which [`Tags::check`] allows, name `digest`: durable, and what
    /// [`Tags::find`] finds, on return.
    ///
    /// Where puts are written through and the backend is away this fails, although the put stays in
    /// the journal: the client cannot know, and may put again.
    pub(crate) async fn put(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        let Some(WriteBack { journal, .. }) = &self.write_back else {
            return self.backend.put(tag, digest).await;
        };
        let number = journal.append(tag, digest).await?;
        if self.write_through
            && timeout(limits::WRITE_THROUGH_MAX, journal.settled(number)).await.is_err()
        {
            let message = format!("write tag {tag} through: the backend does not take it");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    /// How many tags have a put that the backend does not have yet.
    pub(crate) fn unwritten(&self) -> usize {
        self.write_back.as_ref().map_or(0, |write_back| write_back.journal.len())
    }

    /// One page of tags, from the backend; puts before it get a moment to be there.
    pub(crate) async fn list(&self, scope: TagScope<'_>, page: &Page) -> Result<TagPage> {
        if let Some(WriteBack { journal, .. }) = &self.write_back {
            let settled = journal.settled_up_to(journal.last_number());
            if timeout(limits::LISTING_WAIT_MAX, settled).await.is_err() {
                tracing::warn!("a listing without tags that are not yet in the backend");
            }
        }
        self.backend.list(scope, page).await
    }

    /// Ends the task that writes back; what is left stays in the journal.
    pub(crate) fn stop(&self) {
        if let Some(write_back) = &self.write_back {
            write_back.cancel.cancel();
        }
    }
}

impl Drop for Tags {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes the directory for this process, making it if need be. Two that number their puts in one
/// journal would overwrite each other's.
async fn lock(dir: PathBuf) -> Result<File> {
    blocking("lock the directory", move || {
        fs::create_dir_all(&dir)
            .map_err(|error| Error::io(format!("make {}", dir.display()), error))?;
        lock_dir(&dir)
    })
    .await
}

#[cfg(test)]
mod tests;
