//! Removing by age: what nobody used for long, what is old, and more of both while the disk is
//! full.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::statvfs;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::store::cache::Store;
use crate::store::index::{Cached, Inner, Slot};
use crate::store::layout::DATA;
use crate::store::limits;

/// When what is in one area of a store is removed; uber/kraken's knobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupConfig {
    /// Nothing is removed.
    pub disabled: bool,
    /// The time between two runs; for who calls [`Store::clean`].
    pub interval: Duration,
    /// What nobody used for longer goes.
    pub tti: Duration,
    /// What was written longer ago goes, used or not.
    pub ttl: Option<Duration>,
    /// From how many per cent of the file system in use the two below hold; `None` is never.
    pub aggressive_threshold: Option<u8>,
    /// The `ttl` then.
    pub aggressive_ttl: Duration,
    /// For complete blobs, in place of `aggressive_ttl`: the least recently used go until no more
    /// than so many per cent of the file system are in use.
    pub aggressive_lower_threshold: Option<u8>,
}

/// A part of a store that is cleaned by rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Uploads under way. Each write is a use.
    Uploads,
    /// Arriving blobs. Each piece that is written is a use, and so is having it open.
    Downloads,
    /// Complete blobs. Opening is a use, and so is having it open.
    Cache,
}

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// Uploads or blobs that went.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were due but stay for now: open, pinned or not written back.
    pub kept: u64,
    /// Whether the disk was so full that the aggressive rules held.
    pub aggressive: bool,
}

impl Store {
    /// Removes from `area` what `config` no longer wants at `now`. What is not written back or
    /// pinned stays; so does what somebody has open, but for complete blobs that are too old:
    /// those are asked for (see [`Store::on_recall`]) and stay only until the next run if they do
    /// not come back in a moment. All that is due is tried, the first failure told. Blocks.
    pub fn clean(&self, area: Area, config: &CleanupConfig, now: SystemTime) -> Result<Cleaned> {
        if config.disabled {
            return Ok(Cleaned::default());
        }
        let disk = match config.aggressive_threshold {
            Some(_) => Some(Disk::of(self.inner.layout.cache_dir())?),
            None => None,
        };
        self.clean_on(area, config, now, disk)
    }

    pub(super) fn clean_on(
        &self,
        area: Area,
        config: &CleanupConfig,
        now: SystemTime,
        disk: Option<Disk>,
    ) -> Result<Cleaned> {
        let rules = Rules::new(area, config, now, disk);
        let mut run = Run::new(rules.aggressive);
        match area {
            Area::Uploads => self.clean_uploads(&rules, &mut run),
            Area::Downloads => self.inner.clean_downloads(&rules, &mut run),
            Area::Cache => self.inner.clean_cache(&rules, &mut run),
        }
        run.result()
    }

    fn clean_uploads(&self, rules: &Rules, run: &mut Run) {
        for upload in self.uploads() {
            run.note(upload.cancel_if(|touched| rules.is_due(touched, touched)));
        }
    }
}

impl Default for CleanupConfig {
    /// uber/kraken's defaults: every half hour, what was not used for six hours.
    fn default() -> Self {
        Self {
            disabled: false,
            interval: Duration::from_secs(30 * 60),
            tti: Duration::from_secs(6 * 3600),
            ttl: None,
            aggressive_threshold: None,
            aggressive_ttl: Duration::from_secs(3600),
            aggressive_lower_threshold: None,
        }
    }
}

/// What became of one that was looked at.
pub(super) enum Outcome {
    /// It is too young.
    NotDue,
    /// It is due, and in use.
    Kept,
    /// It is gone, with so many bytes.
    Removed(u64),
}

/// How full a file system is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) total: u64,
    pub(super) used: u64,
}

impl Disk {
    fn of(dir: &Path) -> Result<Self> {
        let stat = statvfs(dir).map_err(|error| {
            Error::io(format!("stat the file system of {}", dir.display()), error.into())
        })?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Self {
            total: bytes(stat.f_blocks),
            used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        })
    }

    /// Bytes in use above so many per cent; exactly so many per cent are none.
    fn bytes_above(self, percent: u8) -> u64 {
        let allowed = u128::from(self.total) * u128::from(percent) / 100;
        self.used.saturating_sub(u64::try_from(allowed).unwrap_or(u64::MAX))
    }

    fn reaches(self, percent: u8) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.total) * u128::from(percent)
    }
}

/// What is due at one moment; times in unix seconds.
#[derive(Debug)]
struct Rules {
    now: u64,
    tti: Duration,
    ttl: Option<Duration>,
    /// Bytes that must go whatever their age.
    excess: u64,
    aggressive: bool,
}

impl Rules {
    fn new(area: Area, config: &CleanupConfig, now: SystemTime, disk: Option<Disk>) -> Self {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut rules =
            Self { now, tti: config.tti, ttl: config.ttl, excess: 0, aggressive: false };
        let full = disk.zip(config.aggressive_threshold);
        if let Some((disk, _)) = full.filter(|(disk, threshold)| disk.reaches(*threshold)) {
            rules.aggressive = true;
            match config.aggressive_lower_threshold {
                Some(lower) if area == Area::Cache => rules.excess = disk.bytes_above(lower),
                _ => rules.ttl = Some(config.aggressive_ttl),
            }
        }
        rules
    }

    /// Whether what was written at `modified` and last used at `used` has to go.
    fn is_due(&self, used: u64, modified: u64) -> bool {
        self.is_idle(used) || self.is_old(modified)
    }

    fn is_idle(&self, used: u64) -> bool {
        self.since(used) > self.tti
    }

    fn is_old(&self, modified: u64) -> bool {
        self.ttl.is_some_and(|ttl| self.since(modified) > ttl)
    }

    fn since(&self, time: u64) -> Duration {
        Duration::from_secs(self.now.saturating_sub(time))
    }
}

/// What a run has done so far.
struct Run {
    cleaned: Cleaned,
    failure: Option<Error>,
}

impl Run {
    fn new(aggressive: bool) -> Self {
        Self { cleaned: Cleaned { aggressive, ..Cleaned::default() }, failure: None }
    }

    fn note(&mut self, outcome: Result<Outcome>) {
        match outcome {
            Ok(Outcome::NotDue) => {}
            Ok(Outcome::Kept) => self.cleaned.kept += 1,
            Ok(Outcome::Removed(bytes)) => {
                self.cleaned.removed += 1;
                self.cleaned.bytes += bytes;
            }
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn result(self) -> Result<Cleaned> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.cleaned),
        }
    }
}

impl Inner {
    fn clean_cache(self: &Arc<Self>, rules: &Rules, run: &mut Run) {
        self.note_open(rules.now);
        let (due, old) = self.due(rules);
        self.ask_for(&old);
        for digest in &due {
            run.note(self.remove_due(digest, rules));
        }
        let excess = rules.excess.saturating_sub(run.cleaned.bytes);
        if excess > 0 {
            match self.evict(excess) {
                Ok((blobs, bytes)) => {
                    run.cleaned.removed += blobs;
                    run.cleaned.bytes += bytes;
                }
                Err(error) => run.note(Err(error)),
            }
        }
    }

    /// Complete blobs that are open are in use, now and after a restart.
    fn note_open(self: &Arc<Self>, now: u64) {
        let mut unwritten = Vec::new();
        let mut index = self.index();
        for (digest, slot) in &mut index.slots {
            let Some(cached) = slot.cached.as_mut().filter(|cached| cached.is_open()) else {
                continue;
            };
            cached.accessed = cached.accessed.max(now);
            if now.saturating_sub(cached.accessed_on_disk) >= limits::ACCESS_WRITE_SECS {
                unwritten.push(*digest);
            }
        }
        drop(index);
        for digest in unwritten {
            let Some(exclusive) = self.try_exclusive(&digest) else { continue };
            exclusive.write_access_time(now);
            let mut index = self.index();
            let slot = index.slots.get_mut(&digest);
            if let Some(cached) = slot.and_then(|slot| slot.cached.as_mut()) {
                cached.accessed_on_disk = now;
            }
        }
    }

    /// Complete blobs that are due, in their order; and those of them that would go at once if
    /// nobody had them open.
    fn due(&self, rules: &Rules) -> (Vec<Digest>, Vec<Digest>) {
        let (mut due, mut open) = (Vec::new(), Vec::new());
        for (digest, slot) in &self.index().slots {
            let Some(cached) = &slot.cached else { continue };
            if rules.is_due(cached.accessed, cached.modified) {
                due.push(*digest);
                if cached.is_open() && !cached.persist && slot.pins == 0 {
                    open.push(*digest);
                }
            }
        }
        due.sort_unstable();
        open.sort_unstable();
        (due, open)
    }

    /// Removes a complete blob if it is still due and nobody needs it.
    fn remove_due(self: &Arc<Self>, digest: &Digest, rules: &Rules) -> Result<Outcome> {
        let Some(exclusive) = self.try_exclusive(digest) else { return Ok(Outcome::Kept) };
        let removable = {
            let index = self.index();
            let slot = index.slots.get(digest);
            let Some((slot, cached)) = slot.and_then(|slot| Some((slot, slot.cached.as_ref()?)))
            else {
                return Ok(Outcome::NotDue);
            };
            if !rules.is_due(cached.accessed, cached.modified) {
                return Ok(Outcome::NotDue);
            }
            (slot.pins == 0 && !cached.persist && !cached.is_open()).then_some(cached.len)
        };
        match removable {
            Some(bytes) => exclusive.throw_away_cached().map(|()| Outcome::Removed(bytes)),
            None => Ok(Outcome::Kept),
        }
    }

    fn clean_downloads(self: &Arc<Self>, rules: &Rules, run: &mut Run) {
        if self.layout.download_dir().is_none() {
            return;
        }
        let arriving = |(digest, slot): (&Digest, &Slot)| slot.partial.as_ref().map(|_| *digest);
        let mut digests: Vec<Digest> = self.index().slots.iter().filter_map(arriving).collect();
        digests.sort_unstable();
        for digest in &digests {
            run.note(self.remove_idle(digest, rules));
        }
    }

    /// Removes an arriving blob if nobody has written to it for too long or has it open.
    fn remove_idle(self: &Arc<Self>, digest: &Digest, rules: &Rules) -> Result<Outcome> {
        let data = self.layout.download(digest)?.join(DATA);
        let is_due = || Ok(written(&data)?.is_some_and(|time| rules.is_due(time, time)));
        if !is_due()? {
            return Ok(Outcome::NotDue);
        }
        let Some(exclusive) = self.try_exclusive(digest) else { return Ok(Outcome::Kept) };
        let removable = {
            let index = self.index();
            let Some(slot) = index.slots.get(digest) else { return Ok(Outcome::NotDue) };
            let Some(partial) = &slot.partial else { return Ok(Outcome::NotDue) };
            let free = slot.pins == 0 && partial.open.strong_count() == 0;
            free.then_some(partial.len)
        };
        match removable {
            Some(bytes) if is_due()? => {
                exclusive.throw_away_partial().map(|_| Outcome::Removed(bytes))
            }
            Some(_) => Ok(Outcome::NotDue),
            None => Ok(Outcome::Kept),
        }
    }
}

impl Cached {
    fn is_open(&self) -> bool {
        self.open.strong_count() > 0
    }
}

/// When a file was last written to, in unix seconds; `None` where there is none.
fn written(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(stat) => Ok(Some(u64::try_from(stat.mtime()).unwrap_or(0))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("stat {}", path.display()), error)),
    }
}
