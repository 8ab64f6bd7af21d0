//! The upload sessions that clients have open at the proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kraken_common::blocking;
use kraken_core::store::{Store, Upload};
use kraken_core::{Algorithm, Error, Repository, Result};
use kraken_registry_api::UploadId;
use tokio::sync::Mutex as AsyncMutex;

/// The sessions that are open.
#[derive(Debug)]
pub(crate) struct Sessions {
    store: Store,
    open: Mutex<BTreeMap<UploadId, Session>>,
}

/// One upload, as the client that pushes sees it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    repository: Repository,
    touched: Instant,
    /// Held by the one request that writes, finishes or cancels; a second one is refused.
    pub(crate) upload: Arc<AsyncMutex<Upload>>,
}

impl Sessions {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, open: Mutex::new(BTreeMap::new()) }
    }

    /// Opens a session, and drops those that nobody has touched for [`IDLE_MAX`].
    pub(crate) async fn begin(
        &self,
        repository: &Repository,
        algorithm: Algorithm,
    ) -> Result<UploadId> {
        let store = self.store.clone();
        let upload = blocking("write an upload", move || store.create_upload(algorithm)).await?;
        let id: UploadId = upload.id().as_str().parse()?;
        let session = Session {
            repository: repository.clone(),
            touched: Instant::now(),
            upload: Arc::new(AsyncMutex::new(upload)),
        };
        let expired: Vec<Session> = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.insert(id.clone(), session);
            let idle = |_: &UploadId, session: &mut Session| session.touched.elapsed() > IDLE_MAX;
            open.extract_if(.., idle).map(|(_, session)| session).collect()
        };
        for session in expired {
            // One that is being written is not idle after all: its request ends it.
            if let Ok(upload) = session.upload.try_lock_owned() {
                blocking("write an upload", move || upload.cancel()).await?;
            }
        }
        Ok(id)
    }

    /// The session, if it is of this repository.
    pub(crate) fn find(&self, repository: &Repository, id: &UploadId) -> Result<Session> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(id) {
            Some(session) if session.repository == *repository => {
                session.touched = Instant::now();
                Ok(session.clone())
            }
            _ => Err(Error::not_found(format!("upload {id} of {repository}"))),
        }
    }

    /// The session is over, whatever becomes of its upload.
    pub(crate) fn forget(&self, id: &UploadId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// A session that nobody has touched for so long is dropped when the next one begins.
const IDLE_MAX: Duration = Duration::from_secs(3600);
