//! The upload sessions that clients have open at the proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kraken_common::blocking;
use kraken_core::store::{self, Store, Upload};
use kraken_core::{Algorithm, Error, ErrorKind, Repository, Result};
use kraken_registry_api::UploadId;

use crate::limits;

/// The sessions that are open. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    store: Store,
    open: Arc<Mutex<BTreeMap<UploadId, Session>>>,
}

/// One upload, as the client that pushes sees it.
#[derive(Debug)]
struct Session {
    repository: Repository,
    touched: Instant,
    /// Not a handle to it: the store gives up uploads without a byte that nobody holds, when there
    /// are too many.
    upload: store::UploadId,
    /// Whether one request has it to write or to finish.
    taken: bool,
}

/// The right of one request to write or finish an upload; dropping it, also with the request, gives
/// it back.
#[derive(Debug)]
pub(crate) struct Taken {
    sessions: Sessions,
    id: UploadId,
    pub(crate) upload: Upload,
}

impl Sessions {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, open: Arc::default() }
    }

    /// Opens a session.
    pub(crate) async fn begin(
        &self,
        repository: &Repository,
        algorithm: Algorithm,
    ) -> Result<UploadId> {
        let (sessions, repository) = (self.clone(), repository.clone());
        // All of it at once: an upload without a session would stay when this future is dropped.
        blocking("begin an upload", move || {
            let upload = sessions.store.create_upload(algorithm)?;
            let id: UploadId = upload.id().as_str().parse()?;
            let touched = Instant::now();
            let session =
                Session { repository, touched, upload: upload.id().clone(), taken: false };
            let mut open = sessions.open();
            open.insert(id.clone(), session);
            if open.len() > sessions.store.upload_count() {
                open.retain(|_, session| sessions.store.upload(&session.upload).is_ok());
            }
            Ok(id)
        })
        .await
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// The session's upload, if it is of this repository, to look at.
    pub(crate) fn find(&self, repository: &Repository, id: &UploadId) -> Result<Upload> {
        self.of(repository, id, |_| Ok(()))
    }

    /// The session's upload for this request alone; `Conflict` while another one has it.
    pub(crate) fn take(&self, repository: &Repository, id: &UploadId) -> Result<Taken> {
        let upload = self.of(repository, id, |session| {
            if session.taken {
                let message = format!("upload {id} is being written");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            session.taken = true;
            Ok(())
        })?;
        Ok(Taken { sessions: self.clone(), id: id.clone(), upload })
    }

    /// The session is over, whatever becomes of its upload.
    pub(crate) fn forget(&self, id: &UploadId) {
        self.open().remove(id);
    }

    /// The session is over, and its bytes are gone.
    pub(crate) async fn end(&self, id: &UploadId, upload: Upload) -> Result<()> {
        self.forget(id);
        blocking("drop an upload", move || upload.cancel()).await
    }

    /// Drops every now and then the sessions that nobody has touched for
    /// [`SESSION_IDLE_MAX`](limits::SESSION_IDLE_MAX); never returns.
    pub(crate) async fn sweep(self) {
        loop {
            tokio::time::sleep(limits::SESSION_SWEEP_EVERY).await;
            if let Err(error) = self.drop_idle(limits::SESSION_IDLE_MAX).await {
                tracing::warn!(%error, "idle uploads stay");
            }
        }
    }

    /// One that is being written is not idle, however long that takes.
    async fn drop_idle(&self, idle_max: Duration) -> Result<()> {
        let is_idle = |_: &UploadId, session: &mut Session| {
            !session.taken && session.touched.elapsed() > idle_max
        };
        let idle: Vec<Session> =
            self.open().extract_if(.., is_idle).map(|(_, session)| session).collect();
        let store = self.store.clone();
        blocking("drop idle uploads", move || {
            // One that is not there any more is as good.
            let uploads = idle.iter().filter_map(|session| store.upload(&session.upload).ok());
            uploads.map(|upload| upload.cancel()).fold(Ok(()), Result::and)
        })
        .await
    }

    /// The upload of a session of this repository that `may` be had.
    fn of(
        &self,
        repository: &Repository,
        id: &UploadId,
        may: impl FnOnce(&mut Session) -> Result<()>,
    ) -> Result<Upload> {
        let unknown = || Error::not_found(format!("upload {id} of {repository}"));
        let mut open = self.open();
        let session = open.get_mut(id).filter(|session| session.repository == *repository);
        let session = session.ok_or_else(unknown)?;
        let Ok(upload) = self.store.upload(&session.upload) else {
            open.remove(id);
            return Err(unknown());
        };
        session.touched = Instant::now();
        may(session)?;
        Ok(upload)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<UploadId, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(session) = self.sessions.open().get_mut(&self.id) {
            session.taken = false;
            session.touched = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use kraken_core::store::StoreConfig;

    use super::*;

    #[tokio::test]
    async fn one_request_at_a_time_has_an_upload_and_gives_it_back_however_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { durable: false, ..StoreConfig::under(dir.path()) };
        let sessions = Sessions::new(Store::open(config).unwrap());
        let (ours, other) = ("library/a".parse().unwrap(), "library/b".parse().unwrap());
        let id = sessions.begin(&ours, Algorithm::Sha256).await.unwrap();
        assert_eq!(sessions.take(&other, &id).unwrap_err().kind(), ErrorKind::NotFound);

        let taken = sessions.take(&ours, &id).unwrap();
        assert_eq!(sessions.take(&ours, &id).unwrap_err().kind(), ErrorKind::Conflict);
        taken.upload.append(b"abc").unwrap();
        assert_eq!(sessions.find(&ours, &id).unwrap().len(), 3, "it can be looked at meanwhile");
        drop(taken);

        // A request whose client went away, and one that panicked.
        let taken = sessions.take(&ours, &id).unwrap();
        let request = tokio::spawn(async move {
            let _taken = taken;
            std::future::pending::<()>().await;
        });
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        let taken = sessions.take(&ours, &id).unwrap();
        let request = tokio::spawn(async move {
            let _taken = taken;
            panic!("on purpose");
        });
        assert!(request.await.unwrap_err().is_panic());

        let taken = sessions.take(&ours, &id).unwrap();
        sessions.forget(&id);
        drop(taken);
        assert_eq!(sessions.find(&ours, &id).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_session_that_gave_way_is_gone_and_one_with_bytes_or_a_request_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { uploads_max: 3, ..StoreConfig::under(dir.path()) };
        let sessions = Sessions::new(Store::open(config).unwrap());
        let repository = "library/a".parse().unwrap();
        let begin = async || sessions.begin(&repository, Algorithm::Sha256).await;
        let (written, taken) = (begin().await.unwrap(), begin().await.unwrap());
        sessions.take(&repository, &written).unwrap().upload.append(b"x").unwrap();
        let request = sessions.take(&repository, &taken).unwrap();
        let idle = begin().await.unwrap();
        for _ in 0..10 {
            begin().await.unwrap();
        }
        assert_eq!(sessions.len(), 3);
        assert_eq!(sessions.take(&repository, &idle).unwrap_err().kind(), ErrorKind::NotFound);
        request.upload.append(b"x").unwrap();
        drop(request);
        for id in [written, taken] {
            assert_eq!(sessions.find(&repository, &id).unwrap().len(), 1);
        }
        let last = begin().await.unwrap();
        sessions.take(&repository, &last).unwrap().upload.append(b"x").unwrap();
        assert_eq!(begin().await.unwrap_err().kind(), ErrorKind::NoSpace);
    }

    #[tokio::test]
    async fn idle_sessions_and_their_bytes_go_but_not_while_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { durable: false, ..StoreConfig::under(dir.path()) };
        let sessions = Sessions::new(Store::open(config).unwrap());
        let repository = "library/a".parse().unwrap();
        let idle = sessions.begin(&repository, Algorithm::Sha256).await.unwrap();
        let busy = sessions.begin(&repository, Algorithm::Sha256).await.unwrap();
        let taken = sessions.take(&repository, &busy).unwrap();
        sessions.drop_idle(Duration::from_secs(3600)).await.unwrap();
        let upload = sessions.find(&repository, &idle).unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        sessions.drop_idle(Duration::from_millis(1)).await.unwrap();
        let gone = sessions.find(&repository, &idle).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert_eq!(upload.append(b"x").unwrap_err().kind(), ErrorKind::NotFound);
        taken.upload.append(b"x").unwrap();
    }
}
