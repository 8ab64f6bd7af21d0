//! Opening a store: what a crash left goes, what is in the cache is counted.

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Weak;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::store::config::StoreConfig;
use crate::store::index::{Cached, Index, Inner, Partial};
use crate::store::layout::{DATA, Layout, algorithm_root};
use crate::store::sidecar::{self, Sidecar};

/// Opens a store.
pub(super) fn open(config: StoreConfig) -> Result<Inner> {
    let layout = Layout::create(&config)?;
    let lock = lock_dir(layout.cache_dir())?;
    empty_dir(layout.upload_dir())?;
    let index = scan(&layout)?;
    Ok(Inner::new(config, layout, index, lock))
}

/// What was found under one digest.
enum Found {
    Cached(Cached),
    Partial(Partial),
}

/// Reads both directories. The order of use is that of the times of access, then of digests.
fn scan(layout: &Layout) -> Result<Index> {
    let mut found: Vec<(u64, Digest, Found)> = Vec::new();
    each_entry(layout.cache_dir(), |digest, dir| {
        if let Some(cached) = scan_cached(layout, dir)? {
            found.push((cached.accessed, digest, Found::Cached(cached)));
        }
        Ok(())
    })?;
    if let Some(download_dir) = layout.download_dir() {
        each_entry(download_dir, |digest, dir| {
            if let Some((partial, touched)) = scan_partial(layout, dir)? {
                found.push((touched, digest, Found::Partial(partial)));
            }
            Ok(())
        })?;
    }
    found.sort_unstable_by_key(|(time, digest, _)| (*time, *digest));
    let mut index = Index::default();
    for (_, digest, found) in found {
        match found {
            Found::Cached(cached) => {
                index.used += cached.len;
                index.put_cached(&digest, cached);
            }
            Found::Partial(partial) => {
                index.used += partial.len;
                index.put_partial(&digest, partial);
            }
        }
    }
    Ok(index)
}

fn scan_cached(layout: &Layout, dir: &Path) -> Result<Option<Cached>> {
    let Some(data) = clean_entry(layout, dir, &[])? else { return Ok(None) };
    let persist = sidecar::read(dir, Sidecar::PERSIST)?;
    let on_disk = sidecar::read(dir, sidecar::ACCESS_TIME)?
        .and_then(|bytes| sidecar::decode_access_time(&bytes));
    let modified = u64::try_from(data.mtime()).unwrap_or(0);
    Ok(Some(Cached {
        len: data.len(),
        persist: persist.is_some_and(|content| sidecar::persists(&content)),
        accessed: on_disk.unwrap_or(modified),
        accessed_on_disk: on_disk.unwrap_or(0),
        modified,
        open: Weak::new(),
    }))
}

fn scan_partial(layout: &Layout, dir: &Path) -> Result<Option<(Partial, u64)>> {
    let needed: [&[&str]; 2] = [&[Sidecar::TORRENT_META, sidecar::PROVISIONAL], &[sidecar::STATUS]];
    let Some(data) = clean_entry(layout, dir, &needed)? else { return Ok(None) };
    let touched = u64::try_from(data.mtime()).unwrap_or(0);
    Ok(Some((Partial { len: data.len(), open: Weak::new() }, touched)))
}

/// Removes half-written sidecars, and the whole entry where `data` is missing, or all of the
/// sidecars of which it needs one; what `data` looks like otherwise.
fn clean_entry(layout: &Layout, dir: &Path, needed: &[&[&str]]) -> Result<Option<fs::Metadata>> {
    let mut missing: Vec<&[&str]> = needed.to_vec();
    for child in children(dir)? {
        let name = child.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(sidecar::TMP_SUFFIX) {
            sidecar::remove(dir, &name)?;
        } else {
            missing.retain(|any_of| !any_of.contains(&&*name));
        }
    }
    let data = match fs::metadata(dir.join(DATA)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        stat => Some(stat.map_err(|error| Error::io(format!("stat {}", dir.display()), error))?),
    };
    match data {
        Some(data) if missing.is_empty() && data.is_file() => Ok(Some(data)),
        _ => layout.remove_entry(dir).map(|()| None),
    }
}

/// Calls `visit` for each directory that is named and placed like a blob's; the rest is not ours.
fn each_entry(root: &Path, mut visit: impl FnMut(Digest, &Path) -> Result<()>) -> Result<()> {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for outer in shards(&algorithm_root(root, algorithm))? {
            for inner in shards(&outer.path())? {
                for entry in children(&inner.path())? {
                    let Some(digest) = digest_of(algorithm, &outer, &inner, &entry) else {
                        continue;
                    };
                    visit(digest, &entry.path())?;
                }
            }
        }
    }
    Ok(())
}

fn digest_of(
    algorithm: Algorithm,
    outer: &DirEntry,
    inner: &DirEntry,
    entry: &DirEntry,
) -> Option<Digest> {
    let (outer, inner, hex) = (outer.file_name(), inner.file_name(), entry.file_name());
    let hex = hex.to_str()?;
    let rest = hex.strip_prefix(outer.to_str()?)?;
    rest.strip_prefix(inner.to_str()?)?;
    format!("{}:{hex}", algorithm.name()).parse().ok()
}

/// The children that are named like a shard: two lower-case hex characters.
fn shards(dir: &Path) -> Result<Vec<DirEntry>> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut shards = children(dir)?;
    shards.retain(|child| {
        let name = child.file_name();
        let name = name.as_encoded_bytes();
        name.len() == 2 && name.iter().all(is_hex)
    });
    Ok(shards)
}

/// What is in a directory; nothing, where there is none.
fn children(dir: &Path) -> Result<Vec<DirEntry>> {
    let read = match fs::read_dir(dir) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        read => read.and_then(Iterator::collect),
    };
    read.map_err(|error| Error::io(format!("read {}", dir.display()), error))
}

/// Removes everything in a directory but not the directory, which may be a mount point.
fn empty_dir(dir: &Path) -> Result<()> {
    for child in children(dir)? {
        let path = child.path();
        let is_dir = child.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
    }
    Ok(())
}

/// Takes a directory for this process until the file is closed: on the directory itself, so that no
/// file of ours meets uber/kraken's tools. `ErrorKind::Conflict` while another has it. Blocks.
pub fn lock_dir(dir: &Path) -> Result<File> {
    let file =
        File::open(dir).map_err(|error| Error::io(format!("open {}", dir.display()), error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(Error::new(
            ErrorKind::Conflict,
            format!("lock {}: another process has it", dir.display()),
        )),
        Err(error) => Err(Error::io(format!("lock {}", dir.display()), error.into())),
    }
}
