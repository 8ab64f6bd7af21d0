//! From a torrent without sums to one with them.

use std::sync::Arc;
use std::time::Duration;

use kraken_core::{Digest, Error, ErrorKind, MetaInfo, PieceIndex, Result, Time, TorrentMeta};
use tokio::time::{sleep, timeout};

use super::config::random_u64;
use super::driver::Driver;
use super::event::Event;
use super::shared::Shared;
use super::torrent::Torrent;
use crate::swarm::TorrentSpec;

impl Driver {
    /// Asks the tracker once more, soon, and not at the same moment as all others who learn of sums
    /// now.
    pub(super) fn refresh(&mut self, digest: &Digest) {
        let Some(entry) = self.entries.get_mut(digest) else { return };
        // Nobody knows more of a blob than the application that brings it.
        if entry.torrent.is_brought() || entry.refreshing.is_some() {
            return;
        }
        entry.refreshing = Some(self.shared.clock.now());
        let (shared, torrent) = (Arc::clone(&self.shared), Arc::clone(&entry.torrent));
        self.shared.tasks.spawn(async move {
            let closing = shared.closing.clone();
            if let Some(result) = closing.run_until_cancelled(refresh(&shared, &torrent)).await {
                shared.report(Event::Refreshed { torrent, result }).await;
            }
        });
    }

    /// There is news of a torrent without sums.
    pub(super) fn on_refreshed(
        &mut self,
        now: Time,
        torrent: &Arc<Torrent>,
        result: Result<TorrentMeta>,
    ) {
        let digest = torrent.digest;
        let asked_at = match self.entries.get_mut(&digest) {
            Some(entry) if Arc::ptr_eq(&entry.torrent, torrent) => entry.refreshing.take(),
            _ => return,
        };
        let since = asked_at.unwrap_or(now);
        match result {
            Ok(TorrentMeta::Final(sums)) => self.settle(now, &digest, sums),
            // That it is on its way says little when nothing comes.
            Ok(meta) if torrent.learn(meta.clone()) => {
                self.on_no_news(now, &digest, since, None);
            }
            Ok(_) => {
                let text = "its origin has begun anew";
                self.give_up(now, &digest, ErrorKind::Unavailable, text);
            }
            // What is here is not what it should be, or is not there any more.
            Err(error) if matches!(error.kind(), ErrorKind::Mismatch | ErrorKind::NotFound) => {
                self.give_up(now, &digest, error.kind(), &error.to_string());
            }
            Err(error) => {
                tracing::debug!(%digest, %error, "no news of a blob's sums");
                self.on_no_news(now, &digest, since, Some(error.to_string()));
            }
        }
    }

    /// The origins cannot say any more of a blob, or have failed to bring it: they may soon, and
    /// pieces may come from others, but readers are not kept for long with nothing. An origin that
    /// has failed begins again when it is asked; that it says so then is no news either.
    fn on_no_news(&mut self, now: Time, digest: &Digest, asked_at: Time, failure: Option<String>) {
        let Some(entry) = self.entries.get_mut(digest) else { return };
        let mut no_news = entry.no_news_since(asked_at);
        no_news.failure = failure.or(no_news.failure);
        let (limit, text) = match &no_news.failure {
            Some(failure) => (NO_NEWS_MAX, format!("its origin brings no more: {failure}")),
            None => {
                (NO_PIECES_MAX, format!("its origin brings it, but no piece in {NO_PIECES_MAX:?}"))
            }
        };
        if now.since(no_news.since) >= limit {
            self.end(now, digest, ErrorKind::Unavailable, &text);
        } else {
            entry.no_news = Some(no_news);
        }
    }

    /// An origin has closed its connection. One may be killed, and the next one goes on; when one
    /// after the other goes and no piece came, none of them can bring the blob.
    pub(super) fn on_origin_gone(&mut self, now: Time, digest: &Digest) {
        let Some(entry) = self.entries.get_mut(digest) else { return };
        if entry.torrent.meta().as_final().is_some() {
            return;
        }
        let mut no_news = entry.no_news_since(now);
        no_news.origins_gone += 1;
        if no_news.origins_gone >= ORIGINS_GONE_MAX && no_news.failure.is_none() {
            let text = format!("{ORIGINS_GONE_MAX} times an origin began to, and went");
            no_news.failure = Some(text);
        }
        entry.no_news = Some(no_news);
    }

    /// Whoever waits for a torrent must ask again; its bytes stay in storage.
    fn end(
        &mut self,
        now: Time,
        digest: &Digest,
        kind: ErrorKind,
        reason: &str,
    ) -> Option<Arc<Torrent>> {
        let entry = self.entries.remove(digest)?;
        self.fail(now, &entry, kind, reason);
        self.swarm.remove_torrent(now, digest);
        Some(Arc::clone(&entry.torrent))
    }

    /// As [`Driver::end`], and what came of the torrent is of no use any more.
    fn give_up(&mut self, now: Time, digest: &Digest, kind: ErrorKind, reason: &str) {
        if let Some(torrent) = self.end(now, digest, kind, reason) {
            self.throw_away(&torrent);
        }
    }

    /// Discards the file of a torrent that is gone, unless another torrent has it by then.
    pub(super) fn throw_away(&self, torrent: &Arc<Torrent>) {
        let (shared, torrent) = (Arc::clone(&self.shared), Arc::clone(torrent));
        self.shared.tasks.spawn(async move {
            let _turn = shared.openings.enter(&torrent.digest).await;
            let latest = shared.openings.latest(&torrent.digest);
            if latest.is_some_and(|latest| !Arc::ptr_eq(&latest, &torrent)) {
                return;
            }
            let discard = move || {
                torrent.end();
                torrent.file.discard()
            };
            // What cannot be thrown away is begun anew by whoever opens it.
            let _ = shared.blocking.run("discard a blob", discard).await;
        });
    }

    /// A torrent has sums from now on.
    pub(super) fn settle(&mut self, now: Time, digest: &Digest, meta: MetaInfo) {
        let Some(entry) = self.entries.get(digest) else { return };
        let meta = TorrentMeta::Final(meta);
        entry.torrent.learn(meta.clone());
        let have = kraken_core::Bitfield::new(meta.geometry().pieces());
        let namespace = entry.torrent.namespace.clone();
        let spec = TorrentSpec { meta, namespace, have, complete: false };
        if let Err(error) = self.swarm.add_torrent(now, spec) {
            tracing::error!(%digest, %error, "sums do not fit their torrent");
        }
    }

    /// The sums that a torrent turned out to have, if it had none.
    pub(super) fn sums_of(&self, digest: &Digest) -> Option<MetaInfo> {
        let torrent = &self.entries.get(digest)?.torrent;
        match torrent.meta() {
            TorrentMeta::Final(_) => None,
            TorrentMeta::Provisional(_) => torrent.file.metainfo(),
        }
    }

    /// The application wrote a piece.
    pub(super) fn on_landed(&mut self, now: Time, torrent: &Arc<Torrent>, index: PieceIndex) {
        let Some(entry) = self.entries.get_mut(&torrent.digest) else { return };
        if Arc::ptr_eq(&entry.torrent, torrent) {
            entry.timeline.on_piece(now);
            entry.state.send_modify(|state| state.progress.pieces += 1);
            self.swarm.handle_landed(now, &torrent.digest, index);
        }
    }
}

/// What the tracker says now; if there are sums, storage has them too.
async fn refresh(shared: &Shared, torrent: &Arc<Torrent>) -> Result<TorrentMeta> {
    sleep(JITTER_MAX.mul_f64(random_u64() as f64 / u64::MAX as f64)).await;
    let ask = shared.tracker.torrent_meta(&torrent.namespace, &torrent.digest);
    let late = |_| {
        let text = format!("metainfo of {}: no answer in {ASK_MAX:?}", torrent.digest);
        Err(Error::new(ErrorKind::Unavailable, text))
    };
    let meta = timeout(ASK_MAX, ask).await.unwrap_or_else(late)?;
    if meta.as_final().is_some_and(|sums| sums.sums().blake3.is_none()) {
        // Readers that were given pieces one by one could be given no more of them.
        let text = format!("metainfo of {}: sums without those of pieces", torrent.digest);
        return Err(Error::new(ErrorKind::Unavailable, text));
    }
    if meta.digest() != torrent.digest || meta.geometry() != torrent.geometry {
        let text = format!("metainfo of {}: it is of another blob", torrent.digest);
        return Err(Error::new(ErrorKind::Mismatch, text));
    }
    if let Some(sums) = meta.as_final().cloned() {
        let (storage, namespace) = (Arc::clone(&shared.storage), torrent.namespace.clone());
        let open = move || storage.open(&sums, &namespace).map(drop);
        shared.blocking.run("take sums", open).await.flatten()?;
    }
    Ok(meta)
}

/// A blob of which nothing comes and of which no origin knows any more is given up after this time:
/// an origin goes on within seconds after its backend is back.
const NO_NEWS_MAX: Duration = Duration::from_secs(20);

/// And one of which an origin says that it comes, after this time without a piece: a long piece of
/// a slow backend takes its time.
const NO_PIECES_MAX: Duration = Duration::from_secs(120);

/// So many connections with origins that end without a piece are as good as an answer that none of
/// them can bring it: a ring has three owners, and of them two may be killed.
const ORIGINS_GONE_MAX: u32 = 3;

/// How long an answer is waited for, or one that is no failure; then it is asked again. A tracker
/// of whose origins one hangs takes three seconds.
const ASK_MAX: Duration = Duration::from_secs(5);

/// Who learns of sums asks for them within this time.
const JITTER_MAX: Duration = Duration::from_millis(200);
