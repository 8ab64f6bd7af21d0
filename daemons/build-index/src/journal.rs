//! The puts that the backend does not have yet, on the local disk and in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraken_common::blocking;
use kraken_core::{Digest, Error, ErrorKind, Result, Tag};
use tokio::sync::watch;

use crate::limits;

/// A journal of puts, one file each, named by its number. Of two puts of one tag the one with the
/// higher number counts.
///
/// A put that was answered is in its file, synced, so it outlives the process. Numbers and files
/// change together inside one call on the blocking pool, which a caller that goes away does not
/// stop halfway. A clone shares everything.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
}

/// A put that the backend does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unwritten {
    pub(crate) number: u64,
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    state: Mutex<State>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    by_tag: BTreeMap<Tag, (u64, Digest)>,
    by_number: BTreeMap<u64, Tag>,
    /// The tags of puts that [`Journal::take_new`] has not told yet. Not a number up to which it
    /// has: files are done in any order.
    new: BTreeSet<Tag>,
    next_number: u64,
    /// Puts whose file is being written.
    in_flight: usize,
    /// Files that no longer count and must go before any put is settled: else, after a crash, an
    /// older put would overwrite a newer one.
    leftovers: BTreeSet<u64>,
}

impl Journal {
    /// Opens the journal in `dir`, making it if need be, with what an earlier process left in it.
    pub(crate) async fn open(dir: PathBuf) -> Result<Self> {
        blocking("open the journal", move || {
            let state = load(&dir)
                .map_err(|e| Error::io(format!("open the journal {}", dir.display()), e))?;
            let (changes, _) = watch::channel(0);
            Ok(Self { shared: Arc::new(Shared { dir, state: Mutex::new(state), changes }) })
        })
        .await
    }

    /// Makes the put durable and returns its number. [`ErrorKind::NoSpace`] when the journal is
    /// full.
    pub(crate) async fn append(&self, tag: &Tag, digest: &Digest) -> Result<u64> {
        let (shared, tag, digest) = (Arc::clone(&self.shared), tag.clone(), *digest);
        blocking("write the journal", move || shared.append(tag, digest)).await
    }

    /// The digest of the latest put of the tag, if the backend does not have it yet.
    pub(crate) fn latest(&self, tag: &Tag) -> Option<Digest> {
        self.shared.lock().by_tag.get(tag).map(|(_, digest)| *digest)
    }

    /// The latest put of the tag, if the backend does not have it yet.
    pub(crate) fn latest_put(&self, tag: &Tag) -> Option<Unwritten> {
        let state = self.shared.lock();
        let &(number, digest) = state.by_tag.get(tag)?;
        Some(Unwritten { number, tag: tag.clone(), digest })
    }

    /// The tags that have been put since this was last asked; at first, all there are.
    pub(crate) fn take_new(&self) -> BTreeSet<Tag> {
        std::mem::take(&mut self.shared.lock().new)
    }

    /// Forgets a put that the backend has.
    pub(crate) async fn settle(&self, put: &Unwritten) -> Result<()> {
        let (shared, put) = (Arc::clone(&self.shared), put.clone());
        blocking("shorten the journal", move || shared.settle(&put)).await
    }

    /// How many tags have a put that the backend does not have yet.
    pub(crate) fn len(&self) -> usize {
        self.shared.lock().by_tag.len()
    }

    /// The highest number given so far.
    pub(crate) fn last_number(&self) -> u64 {
        self.shared.lock().next_number.saturating_sub(1)
    }

    /// Returns once the backend has, of all puts up to `number`, those that still count.
    pub(crate) async fn settled_up_to(&self, number: u64) {
        let mut changes = self.shared.changes.subscribe();
        loop {
            let first = self.shared.lock().by_number.keys().next().copied();
            if first.is_none_or(|first| first > number) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns once put `number` is in the backend, or another put of its tag has replaced it.
    pub(crate) async fn settled(&self, number: u64) {
        let mut changes = self.shared.changes.subscribe();
        while self.shared.lock().by_number.contains_key(&number) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, tag: Tag, digest: Digest) -> Result<u64> {
        let number = {
            let mut state = self.lock();
            let files = state.by_number.len() + state.in_flight + state.leftovers.len();
            if files >= limits::UNWRITTEN_MAX {
                return Err(Error::new(
                    ErrorKind::NoSpace,
                    format!("put tag {tag}: the backend lacks {} already", limits::UNWRITTEN_MAX),
                ));
            }
            let number = state.next_number;
            state.next_number += 1;
            state.in_flight += 1;
            number
        };
        let written = write(&self.dir, number, &format!("{tag} {digest}\n"));
        let leftover = {
            let mut state = self.lock();
            state.in_flight -= 1;
            let leftover = match &written {
                Ok(()) => state.insert(number, tag.clone(), digest),
                Err(_) => Some(number),
            };
            state.leftovers.extend(leftover);
            leftover
        };
        // It goes at once, or puts of one tag would fill the disk while the backend is away. It
        // is a leftover until it is gone, so that no put is settled before; one that cannot go now
        // stays one.
        if let Some(leftover) = leftover
            && self.remove(leftover).is_ok()
        {
            self.lock().leftovers.remove(&leftover);
        }
        written.map_err(|e| Error::io(format!("write tag {tag} to the journal"), e))?;
        self.changes.send_modify(|changes| *changes += 1);
        Ok(number)
    }

    fn settle(&self, put: &Unwritten) -> Result<()> {
        let leftovers = self.lock().leftovers.clone();
        for leftover in &leftovers {
            self.remove(*leftover)?;
        }
        // The file before the entry: if that fails the put stays, and is only written once more.
        self.remove(put.number)?;
        sync_dir(&self.dir).map_err(|e| Error::io(format!("sync {}", self.dir.display()), e))?;
        let mut state = self.lock();
        state.leftovers.retain(|leftover| !leftovers.contains(leftover));
        if state.by_number.remove(&put.number).is_some() {
            state.by_tag.remove(&put.tag);
        }
        drop(state);
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    fn remove(&self, number: u64) -> Result<()> {
        let path = self.dir.join(number.to_string());
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", path.display()), e))
            }
            _ => Ok(()),
        }
    }
}

impl State {
    /// Enters a put; returns the number of the one that no longer counts, if there is one.
    fn insert(&mut self, number: u64, tag: Tag, digest: Digest) -> Option<u64> {
        let replaced = match self.by_tag.get(&tag) {
            Some((other, _)) if *other > number => return Some(number),
            Some((other, _)) => Some(*other),
            None => None,
        };
        if let Some(replaced) = replaced {
            self.by_number.remove(&replaced);
        }
        self.by_number.insert(number, tag.clone());
        self.new.insert(tag.clone());
        self.by_tag.insert(tag, (number, digest));
        replaced
    }
}

/// Reads all of `dir`, removing files that no longer count and those of unfinished puts.
fn load(dir: &Path) -> io::Result<State> {
    fs::create_dir_all(dir)?;
    // Numbers begin at 1, so that 0 is before all of them.
    let mut state = State { next_number: 1, ..State::default() };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(UNFINISHED) {
            fs::remove_file(&path)?;
            continue;
        }
        let Ok(number) = name.parse::<u64>() else { continue };
        state.next_number = state.next_number.max(number.saturating_add(1));
        match read(&path)? {
            Some((tag, digest)) => {
                if let Some(replaced) = state.insert(number, tag, digest) {
                    fs::remove_file(dir.join(replaced.to_string()))?;
                }
            }
            // It stays for a person to look at; a name that is no number is not ours either.
            None => tracing::error!(path = %path.display(), "not a put: left alone"),
        }
    }
    sync_dir(dir)?;
    // The directory itself may be new.
    if let Some(parent) = dir.parent() {
        sync_dir(parent)?;
    }
    Ok(state)
}

fn read(path: &Path) -> io::Result<Option<(Tag, Digest)>> {
    let mut line = String::new();
    let file = File::open(path)?;
    if file.take(limits::JOURNAL_LINE_LEN_MAX).read_to_string(&mut line).is_err() {
        return Ok(None);
    }
    let Some((tag, digest)) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')) else {
        return Ok(None);
    };
    Ok(tag.parse().ok().zip(digest.parse().ok()))
}

/// Writes a file whole and durably, or not at all.
fn write(dir: &Path, number: u64, line: &str) -> io::Result<()> {
    let unfinished = dir.join(format!("{number}{UNFINISHED}"));
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, dir.join(number.to_string()))?;
        sync_dir(dir)
    });
    if written.is_err() {
        // Opening the journal removes it otherwise.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// How the name of a file that is being written ends.
const UNFINISHED: &str = ".part";

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> Tag {
        format!("repo:{name}").parse().unwrap()
    }

    fn digest(n: u8) -> Digest {
        Digest::sha256(&[n])
    }

    async fn open(dir: &Path) -> Journal {
        Journal::open(dir.join("journal")).await.unwrap()
    }

    #[tokio::test]
    async fn puts_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        journal.append(&tag("a"), &digest(1)).await.unwrap();
        journal.append(&tag("b"), &digest(2)).await.unwrap();
        journal.append(&tag("a"), &digest(3)).await.unwrap();
        let puts = |journal: &Journal| ["a", "b"].map(|name| journal.latest_put(&tag(name)));
        let before = puts(&journal);
        assert_eq!(journal.len(), 2);
        drop(journal);
        fs::write(dir.path().join("journal/99.part"), "repo:c").unwrap();
        fs::write(dir.path().join("journal/98"), "half").unwrap();
        let journal = open(dir.path()).await;
        assert_eq!(puts(&journal), before);
        assert_eq!(journal.take_new(), BTreeSet::from([tag("a"), tag("b")]));
        assert_eq!(journal.take_new(), BTreeSet::new());
        assert_eq!(journal.latest(&tag("a")), Some(digest(3)));
        assert_eq!(journal.latest(&tag("c")), None);
        // Numbers go on above all that were there.
        assert_eq!(journal.append(&tag("d"), &digest(4)).await.unwrap(), 99);
    }

    #[tokio::test]
    async fn an_earlier_put_never_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        journal.append(&tag("a"), &digest(1)).await.unwrap();
        let first = journal.latest_put(&tag("a")).unwrap();
        journal.append(&tag("a"), &digest(2)).await.unwrap();
        // Written back meanwhile: that settles only the first.
        journal.settle(&first).await.unwrap();
        assert_eq!(journal.latest(&tag("a")), Some(digest(2)));
        let second = journal.latest_put(&tag("a")).unwrap();
        journal.settle(&second).await.unwrap();
        assert_eq!(journal.latest(&tag("a")), None);
        drop(journal);
        assert_eq!(open(dir.path()).await.len(), 0);
    }

    #[tokio::test]
    async fn puts_of_one_tag_are_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        for n in 0..20 {
            journal.append(&tag("a"), &digest(n)).await.unwrap();
        }
        let files = || fs::read_dir(dir.path().join("journal")).unwrap().count();
        assert_eq!(files(), 1);
        assert!(journal.shared.lock().leftovers.is_empty());
        let put = journal.latest_put(&tag("a")).unwrap();
        assert_eq!(put.digest, digest(19));
        journal.settle(&put).await.unwrap();
        assert_eq!(files(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_removed_counts_and_keeps_puts_from_being_settled() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        let number = journal.append(&tag("a"), &digest(1)).await.unwrap();
        let path = dir.path().join("journal").join(number.to_string());
        fs::remove_file(&path).unwrap();
        // A directory cannot be removed as a file, whoever tries.
        fs::create_dir(&path).unwrap();
        journal.append(&tag("a"), &digest(2)).await.unwrap();
        let put = journal.latest_put(&tag("a")).unwrap();
        journal.settle(&put).await.unwrap_err();
        assert_eq!(journal.latest(&tag("a")), Some(digest(2)));
        fs::remove_dir(&path).unwrap();
        journal.settle(&put).await.unwrap();
        assert!(journal.shared.lock().leftovers.is_empty());
    }

    #[tokio::test]
    async fn files_of_both_puts_of_a_tag_mean_the_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        fs::create_dir_all(&path).unwrap();
        for (number, n) in [(9, 1), (10, 2), (8, 3)] {
            fs::write(path.join(number.to_string()), format!("repo:a {}\n", digest(n))).unwrap();
        }
        let journal = open(dir.path()).await;
        assert_eq!(journal.latest(&tag("a")), Some(digest(2)));
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn waiting_ends_when_settled() {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path()).await;
        journal.settled_up_to(journal.last_number()).await;
        let number = journal.append(&tag("a"), &digest(1)).await.unwrap();
        let put = journal.latest_put(&tag("a")).unwrap();
        let waiting = async {
            tokio::join!(journal.settled(number), journal.settled_up_to(number));
        };
        let settling = async {
            tokio::task::yield_now().await;
            journal.settle(&put).await.unwrap();
        };
        tokio::join!(waiting, settling);
    }
}
