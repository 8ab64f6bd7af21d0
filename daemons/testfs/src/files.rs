//! The files under the root: found, read, replaced whole, listed.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kraken_common::{Chunks, RequestBody, blocking};
use kraken_core::{Error, ErrorKind, Result};
use tempfile::NamedTempFile;
use tokio_util::task::TaskTracker;

use crate::limits::LISTED_MAX;
use crate::name::{Name, UPLOADS_DIR};

/// A directory of files. Every call of the system runs on the blocking pool; none outlives
/// [`Files::close`].
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    /// Counts the calls under way, as a request that is broken off leaves its last one behind.
    calls: TaskTracker,
    /// Holds the lock on the root, so that no second server takes our uploads for leftovers.
    _lock: File,
}

impl Files {
    /// Takes `root`, which is made if missing, and clears uploads that a crash has left there.
    /// Blocks.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let context = |e| Error::io(format!("open root {}", root.display()), e);
        fs::create_dir_all(root).map_err(context)?;
        let root = root.canonicalize().map_err(context)?;
        let lock = File::open(&root).map_err(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("open root {}: another server has it", root.display());
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            Err(TryLockError::Error(e)) => return Err(context(e)),
        }
        let uploads = root.join(UPLOADS_DIR);
        remove_dir(&uploads).and_then(|()| fs::create_dir(&uploads)).map_err(context)?;
        Ok(Self { root, calls: TaskTracker::new(), _lock: lock })
    }

    /// The directory, absolute.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file called `name` and its length; later uploads do not change what it holds.
    pub(crate) async fn read(&self, name: &Name) -> Result<(File, u64)> {
        let (root, found) = (self.root.clone(), name.clone());
        let read = move || {
            let file = File::open(find_file(&root, &found)?.0)?;
            // Its own length: an upload may have come between the look and the opening.
            let len = file.metadata()?.len();
            Ok((file, len))
        };
        self.call(read).await?.map_err(|e| Error::io(format!("read file {name}"), e))
    }

    /// The length of the file called `name`.
    pub(crate) async fn len(&self, name: &Name) -> Result<u64> {
        let (root, found) = (self.root.clone(), name.clone());
        let len = move || Ok(find_file(&root, &found)?.1.len());
        self.call(len).await?.map_err(|e| Error::io(format!("stat file {name}"), e))
    }

    /// Makes `chunks` the content of the file called `name`, all at once or, if they fail or this
    /// future is dropped, not at all.
    pub(crate) async fn write(&self, name: &Name, chunks: &mut Chunks<RequestBody>) -> Result<()> {
        let context = |e: io::Error| {
            let kind = match e.kind() {
                io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => ErrorKind::Conflict,
                // Nobody asked for a file that must exist, so 404 would mislead.
                io::ErrorKind::NotFound => ErrorKind::Io,
                _ => return Error::io(format!("write file {name}"), e),
            };
            Error::new(kind, format!("write file {name}")).with_source(e)
        };
        let uploads = self.root.join(UPLOADS_DIR);
        let mut upload = self.call(move || create_upload(&uploads)).await?.map_err(context)?;
        while let Some(chunk) = chunks.next().await? {
            let append = move || upload.write_all(&chunk).map(|()| upload);
            upload = self.call(append).await?.map_err(context)?;
        }
        let (root, place_name) = (self.root.clone(), name.clone());
        self.call(move || place(upload, &root, &place_name)).await?.map_err(context)
    }

    /// The files below `prefix` (`None`: all), relative to the root, component by component in
    /// order. A prefix that is itself a file has none below it; one that is missing fails, and
    /// not as `NotFound`: uber/kraken answers 500.
    pub(crate) async fn list(&self, prefix: Option<Name>) -> Result<Vec<String>> {
        let what = prefix.as_ref().map_or_else(|| "all files".to_owned(), |p| format!("files {p}"));
        let root = self.root.clone();
        self.call(move || walk(&root, prefix.as_ref()))
            .await?
            .map_err(|e| Error::new(ErrorKind::Io, format!("list {what}")).with_source(e))
    }

    /// Waits until no call of the system is under way, also of requests broken off, and leaves
    /// nothing of ours in the root. Idempotent; nothing else may be called after it.
    pub(crate) async fn close(&self) -> Result<()> {
        self.calls.close();
        self.calls.wait().await;
        let uploads = self.root.join(UPLOADS_DIR);
        let removed = self.call(move || remove_dir(&uploads)).await?;
        removed.map_err(|e| Error::io(format!("tidy up root {}", self.root.display()), e))
    }

    /// Runs `work` on the blocking pool; what it made is dropped there if nobody waits any more.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<io::Result<T>> {
        let counted = self.calls.token();
        // Counted until what it made is gone.
        let (result, _) = blocking("access files", move || Ok((work(), counted))).await?;
        Ok(result)
    }
}

/// Removes a directory that may be missing, with all it holds.
fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Where `name` is, and what is there. Symbolic links, which no upload makes, count as missing,
/// since they may lead out of the root.
fn find(root: &Path, name: &Name) -> io::Result<(PathBuf, Metadata)> {
    let mut path = root.to_owned();
    let mut meta = fs::symlink_metadata(&path)?;
    for component in name.components() {
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        path.push(component);
        meta = fs::symlink_metadata(&path)?;
    }
    if meta.is_symlink() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((path, meta))
}

/// As [`find`], and anything but a regular file counts as missing: opening a pipe, say, would hang.
fn find_file(root: &Path, name: &Name) -> io::Result<(PathBuf, Metadata)> {
    let found = find(root, name)?;
    if found.1.is_file() { Ok(found) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// An empty file in `uploads` that goes away unless it is placed.
fn create_upload(uploads: &Path) -> io::Result<NamedTempFile> {
    // As any other new file: the owner's mask decides who else may read it.
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new().permissions(permissions).tempfile_in(uploads)
}

/// Puts `upload` where `name` says, in place of any file there, and makes the directories on the
/// way.
fn place(upload: NamedTempFile, root: &Path, name: &Name) -> io::Result<()> {
    let mut path = root.to_owned();
    for component in name.components() {
        match fs::create_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
            }
            made => made?,
        }
        path.push(component);
    }
    upload.persist(path)?;
    Ok(())
}

/// The files below `prefix`, relative to `root`, in order; names that are no text, which no URL
/// spells, are left out.
fn walk(root: &Path, prefix: Option<&Name>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let start = match prefix {
        None => root.to_owned(),
        Some(prefix) => match find(root, prefix)? {
            (path, meta) if meta.is_dir() => path,
            _ => return Ok(found),
        },
    };
    let uploads = root.join(UPLOADS_DIR);
    // What is still to visit, the next one last.
    let mut pending = vec![(start, true)];
    while let Some((path, is_dir)) = pending.pop() {
        if !is_dir {
            let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
            found.extend(relative.map(str::to_owned));
            continue;
        }
        let below = pending.len();
        for entry in fs::read_dir(&path)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if (kind.is_file() || kind.is_dir()) && path != uploads {
                pending.push((path, kind.is_dir()));
            }
            if found.len() + pending.len() > LISTED_MAX {
                return Err(io::Error::other(format!("more than {LISTED_MAX} files")));
            }
        }
        if let Some(entries) = pending.get_mut(below..) {
            entries.sort_unstable_by(|a, b| b.cmp(a));
        }
    }
    Ok(found)
}
