//! Which file is where, and the few ways in which directories change.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::store::config::StoreConfig;
use crate::store::upload_id::UploadId;

/// The directories of one store.
#[derive(Debug)]
pub(super) struct Layout {
    upload_dir: PathBuf,
    download_dir: Option<PathBuf>,
    cache_dir: PathBuf,
    /// Whether what changes a directory is flushed to disk.
    durable: bool,
}

impl Layout {
    /// Makes the directories that are not there and checks that a rename can go between them.
    pub(super) fn create(config: &StoreConfig) -> Result<Self> {
        let layout = Self {
            upload_dir: make_root(&config.upload_dir)?,
            download_dir: config.download_dir.as_deref().map(make_root).transpose()?,
            cache_dir: make_root(&config.cache_dir)?,
            durable: config.durable,
        };
        let roots = [Some(&layout.cache_dir), layout.download_dir.as_ref()];
        let device = device_of(&layout.upload_dir)?;
        for root in roots.into_iter().flatten() {
            if root.starts_with(&layout.upload_dir) {
                return Err(Error::invalid(format!(
                    "open the store: {} is inside the upload directory, which is wiped",
                    root.display()
                )));
            }
            if device_of(root)? != device {
                return Err(Error::invalid(format!(
                    "open the store: {} and {} are not on one file system",
                    root.display(),
                    layout.upload_dir.display()
                )));
            }
        }
        Ok(layout)
    }

    pub(super) fn upload_dir(&self) -> &Path {
        &self.upload_dir
    }

    pub(super) fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    pub(super) fn download_dir(&self) -> Option<&Path> {
        self.download_dir.as_deref()
    }

    pub(super) fn durable(&self) -> bool {
        self.durable
    }

    /// The directory of one upload.
    pub(super) fn upload(&self, id: &UploadId) -> PathBuf {
        self.upload_dir.join(id.as_str())
    }

    /// The directory of one complete blob.
    pub(super) fn cached(&self, digest: &Digest) -> PathBuf {
        entry_dir(&self.cache_dir, digest)
    }

    /// The directory of one arriving blob.
    pub(super) fn download(&self, digest: &Digest) -> Result<PathBuf> {
        match &self.download_dir {
            Some(dir) => Ok(entry_dir(dir, digest)),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!("download {digest}: the store has no download directory"),
            )),
        }
    }

    /// Makes a directory and those above it.
    pub(super) fn make_dir(&self, dir: &Path) -> Result<()> {
        make_dirs(dir, self.durable)
            .map_err(|error| Error::io(format!("make {}", dir.display()), error))
    }

    /// Removes an entry with all that is in it; one that is not there is as good.
    ///
    /// `data` goes last: whatever stops this half-way leaves either a blob without sidecars, which
    /// is hashed before it is used, or nothing.
    pub(super) fn remove_entry(&self, dir: &Path) -> Result<()> {
        match remove_tree(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", dir.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// Moves a whole entry; what was at `to` is junk and removed.
    pub(super) fn move_entry(&self, from: &Path, to: &Path) -> Result<()> {
        let parent = to.parent().unwrap_or(to);
        self.make_dir(parent)?;
        self.remove_entry(to)?;
        self.sync_dir(from)?;
        fs::rename(from, to).map_err(|error| {
            Error::io(format!("rename {} to {}", from.display(), to.display()), error)
        })?;
        let synced =
            self.sync_dir(parent).and_then(|()| self.sync_dir(from.parent().unwrap_or(from)));
        if synced.is_err() {
            // It was not moved as far as anybody is told.
            let _ = fs::rename(to, from);
        }
        synced
    }

    /// Flushes a directory's names to disk, where the store is durable.
    pub(super) fn sync_dir(&self, dir: &Path) -> Result<()> {
        if !self.durable {
            return Ok(());
        }
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| Error::io(format!("flush {}", dir.display()), error))
    }
}

/// The name of the file with the blob's bytes.
pub(super) const DATA: &str = "data";

/// The directory below a root that holds the blobs of an algorithm.
pub(super) fn algorithm_root(root: &Path, algorithm: Algorithm) -> PathBuf {
    match algorithm {
        Algorithm::Sha256 => root.to_owned(),
        // Apart, so that uber/kraken's tools meet no names that they cannot parse.
        Algorithm::Sha512 => root.join(algorithm.name()),
    }
}

fn entry_dir(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let mut dir = algorithm_root(root, digest.algorithm());
    dir.push(&hex[0..2]);
    dir.push(&hex[2..4]);
    dir.push(&hex);
    dir
}

/// Makes one of the configured directories; its path without links.
fn make_root(dir: &Path) -> Result<PathBuf> {
    make_dirs(dir, false)
        .and_then(|()| fs::canonicalize(dir))
        .map_err(|error| Error::io(format!("make {}", dir.display()), error))
}

fn make_dirs(dir: &Path, durable: bool) -> io::Result<()> {
    let builder = || {
        let mut builder = DirBuilder::new();
        builder.mode(DIR_MODE);
        builder
    };
    match builder().create(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = dir.parent() else { return Err(error) };
            make_dirs(parent, durable)?;
            match builder().create(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Err(error) => return Err(error),
    }
    match dir.parent() {
        Some(parent) if durable => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in fs::read_dir(dir)? {
        let child = child?;
        if child.file_name() == DATA {
            continue;
        }
        if child.file_type()?.is_dir() {
            fs::remove_dir_all(child.path())?;
        } else {
            fs::remove_file(child.path())?;
        }
    }
    fs::remove_dir_all(dir)
}

fn device_of(dir: &Path) -> Result<u64> {
    let stat =
        fs::metadata(dir).map_err(|error| Error::io(format!("stat {}", dir.display()), error))?;
    Ok(stat.dev())
}

/// uber/kraken's mode of directories.
const DIR_MODE: u32 = 0o775;
