//! Blobs in a directory of the local disk: the embedded default.

mod list;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use kraken_core::{Error, ErrorKind, Namespace, Result};
use tokio::io::AsyncWriteExt;

use crate::backend::{BlobBackend, BlobStat, ListPage, Page, Version, resolve_range};
use crate::limits;
use crate::name::{ObjectName, prefix_components};
use crate::pather::{Layout, Pather};
use crate::source::{BlobStream, UploadSource, stream_file};

/// A directory that keeps blobs as files, laid out by a [`Layout`].
///
/// An upload is written to a temporary file in `.kraken-uploads`, synced, renamed into place, and
/// its directories synced, so what was answered survives a power cut. The version is the file's
/// length, mtime and inode; an upload always makes a new inode. All namespaces share the directory.
/// Several processes may share it too.
#[derive(Debug)]
pub struct LocalDisk {
    root: PathBuf,
    pather: Pather,
    /// Makes temporary names unique inside this process; `boot` does so between processes.
    uploads: AtomicU64,
    boot: String,
}

impl LocalDisk {
    /// Opens the directory, making it if need be, and removes what uploads that crashed a day or
    /// more ago left behind.
    pub async fn open(root: impl Into<PathBuf>, layout: Layout) -> Result<Self> {
        let root = root.into();
        let temporary = root.join(TEMPORARY);
        let now = SystemTime::now();
        blocking("open a local backend", move || {
            std::fs::create_dir_all(&temporary)
                .map_err(|error| Error::io(format!("create {}", temporary.display()), error))?;
            remove_leftovers(&temporary, now)
        })
        .await?;
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            root,
            pather: Pather::new(layout, ""),
            uploads: AtomicU64::new(0),
            boot: format!("{}-{}", std::process::id(), since_epoch.as_nanos()),
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &ObjectName) -> Result<PathBuf> {
        let path = self.pather.path(name)?;
        if path.split('/').next() == Some(TEMPORARY) {
            return Err(Error::invalid(format!("object name {name}: {TEMPORARY} is reserved")));
        }
        Ok(self.root.join(path))
    }

    async fn write_temporary(&self, source: &dyn UploadSource) -> Result<Temporary> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(TEMPORARY).join(format!("{}-{number}", self.boot));
        let temporary = Temporary { path, placed: false };
        let path = &temporary.path;
        let io_error = |error| Error::io(format!("write {}", path.display()), error);
        let mut options = tokio::fs::OpenOptions::new();
        // The umask of a container may be zero; what backends keep is nobody else's to write.
        let mut file =
            options.write(true).create_new(true).mode(0o644).open(path).await.map_err(io_error)?;
        let mut bytes = source.open(0..source.len()).await?;
        let mut written: u64 = 0;
        while let Some(chunk) = bytes.try_next().await? {
            file.write_all(&chunk).await.map_err(io_error)?;
            written += chunk.len() as u64;
        }
        if written != source.len() {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("upload {} bytes: the source had {written}", source.len()),
            ));
        }
        file.flush().await.map_err(io_error)?;
        file.sync_all().await.map_err(io_error)?;
        Ok(temporary)
    }
}

#[async_trait]
impl BlobBackend for LocalDisk {
    async fn stat(&self, _: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        let path = self.path(name)?;
        let metadata =
            tokio::fs::metadata(&path).await.map_err(|error| lookup_error("stat", name, error))?;
        object_stat(name, &metadata)
    }

    async fn download(
        &self,
        _: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        let path = self.path(name)?;
        let (file, metadata) = blocking("open a blob", move || {
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            Ok(opened.map(|(metadata, file)| (file, metadata)))
        })
        .await?
        .map_err(|error| lookup_error("open", name, error))?;
        let stat = object_stat(name, &metadata)?;
        if version.is_some_and(|version| Some(version) != stat.version.as_ref()) {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("open {name}: it is no longer the version asked for"),
            ));
        }
        Ok(stream_file(Arc::new(file), resolve_range(name, range, stat.len)?))
    }

    async fn upload(
        &self,
        _: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        let path = self.path(name)?;
        let temporary =
            self.write_temporary(source).await.map_err(|e| e.context(format!("upload {name}")))?;
        let root = self.root.clone();
        let what = format!("upload {name}");
        blocking("upload a blob", move || {
            put_in_place(temporary, &path, &root).map_err(|error| Error::io(what, error))
        })
        .await
    }

    async fn list(&self, _: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        let walk = list::Walk::new(&self.root, &self.pather, prefix_components(prefix)?, page)?;
        blocking("list a local backend", move || walk.run()).await
    }

    async fn delete(&self, _: &Namespace, name: &ObjectName) -> Result<()> {
        let path = self.path(name)?;
        let root = self.root.clone();
        let what = format!("delete {name}");
        blocking("delete a blob", move || {
            remove(&path, &root).map_err(|error| Error::io(what, error))
        })
        .await
    }
}

/// A file not yet in place; dropping it removes it.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    placed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            // Nobody is left to tell; what stays behind is removed after a day.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Renames the temporary file to `path`, and makes that durable up to `root`.
fn put_in_place(mut temporary: Temporary, path: &Path, root: &Path) -> io::Result<()> {
    let mut attempts = 0;
    while let Err(error) = std::fs::rename(&temporary.path, path) {
        attempts += 1;
        if error.kind() != io::ErrorKind::NotFound || attempts >= limits::RENAME_ATTEMPTS_MAX {
            return Err(error);
        }
        // The directory is missing, maybe because a delete just emptied and removed it. Making it
        // may lose the same race halfway; the rename then finds out.
        if let Some(directory) = path.parent()
            && let Err(error) = std::fs::create_dir_all(directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    temporary.placed = true;
    // Also the upper ones: this call or one beside it may have just made them.
    for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(root)) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Unlinks the file and the directories it leaves empty, so that a deleted `a/b` does not stand in
/// the way of an object `a`.
fn remove(path: &Path, root: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if is_absent(&error) => return Ok(()),
        result => result?,
    }
    let above = path.ancestors().skip(1).take_while(|directory| *directory != root);
    for directory in above {
        if std::fs::remove_dir(directory).is_err() {
            // Not empty, or being removed by someone else; either way the unlink above is in it.
            return match File::open(directory) {
                Err(error) if is_absent(&error) => Ok(()),
                result => result?.sync_all(),
            };
        }
    }
    File::open(root)?.sync_all()
}

fn remove_leftovers(directory: &Path, now: SystemTime) -> Result<()> {
    let io_error = |error| Error::io(format!("sweep {}", directory.display()), error);
    for entry in std::fs::read_dir(directory).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        // A file that vanishes meanwhile is another process' upload or sweep.
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        let old = age.is_ok_and(|modified| {
            now.duration_since(modified).is_ok_and(|age| age > limits::TEMPORARY_AGE_MAX)
        });
        if old
            && let Err(error) = std::fs::remove_file(entry.path())
            && !is_absent(&error)
        {
            return Err(io_error(error));
        }
    }
    Ok(())
}

fn object_stat(name: &ObjectName, metadata: &Metadata) -> Result<BlobStat> {
    if !metadata.is_file() {
        return Err(Error::not_found(format!("stat {name}: no such object")));
    }
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    let version =
        Version::new(format!("{}-{seconds}.{nanos:09}-{}", metadata.len(), metadata.ino()));
    Ok(BlobStat { len: metadata.len(), version: Some(version) })
}

fn lookup_error(verb: &str, name: &ObjectName, error: io::Error) -> Error {
    if is_absent(&error) {
        Error::not_found(format!("{verb} {name}: no such object"))
    } else {
        Error::io(format!("{verb} {name}"), error)
    }
}

/// Whether nothing is there; a file where the path needs a directory means the same.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Runs `work` on the blocking pool and waits for it.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Cancelled, what).with_source(error)),
    }
}

/// Where uploads are written before they are renamed: on the same file system, in no listing.
const TEMPORARY: &str = ".kraken-uploads";
