//! Tests of the store on a real directory.

mod cache;
mod cleanup;
mod download;
mod evict;
mod provisional;
mod upload;
mod write_backs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use tempfile::TempDir;

use crate::store::{Blob, Store, StoreConfig};
use crate::{Algorithm, Digest, MetaInfo, PieceIndex};

/// 12 bytes, three pieces of five.
const HELLO: &[u8] = b"hello kraken";

/// A store in a directory that goes away with it.
struct Fixture {
    dir: TempDir,
    capacity_bytes: Option<u64>,
    durable: bool,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), capacity_bytes: None, durable: false }
    }

    fn with_capacity(bytes: u64) -> Self {
        Self { capacity_bytes: Some(bytes), ..Self::new() }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig {
            capacity_bytes: self.capacity_bytes,
            durable: self.durable,
            ..StoreConfig::under(self.dir.path())
        }
    }

    /// Opens the store; every handle of the last one must be gone.
    fn open(&self) -> Store {
        Store::open(self.config()).unwrap()
    }

    fn cached(&self, digest: &Digest) -> PathBuf {
        entry(&self.dir.path().join("cache"), digest)
    }

    fn download(&self, digest: &Digest) -> PathBuf {
        entry(&self.dir.path().join("download"), digest)
    }
}

fn entry(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join(&hex[..2]).join(&hex[2..4]).join(&hex)
}

fn hello() -> MetaInfo {
    MetaInfo::of_bytes(Digest::sha256(HELLO), HELLO, 5).unwrap()
}

/// Puts bytes in the cache by an upload.
fn put(store: &Store, bytes: &[u8]) -> Digest {
    let upload = store.create_upload(Algorithm::Sha256).unwrap();
    upload.append(bytes).unwrap();
    let digest = Digest::sha256(bytes);
    upload.commit(&digest, &[]).unwrap();
    digest
}

/// Writes and marks a piece of [`HELLO`].
fn give(blob: &Blob, index: u32, readable: bool) {
    let range = hello().geometry().range(PieceIndex(index));
    blob.write_at(range.start, &HELLO[range.start as usize..range.end as usize]).unwrap();
    blob.mark(PieceIndex(index), readable).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(children) = fs::read_dir(dir) else { return Vec::new() };
    let name =
        |child: std::io::Result<fs::DirEntry>| child.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = children.map(name).collect();
    names.sort();
    names
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
