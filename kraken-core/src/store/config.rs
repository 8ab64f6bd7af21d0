//! What an embedder says about the store.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::store::limits;

/// Where the store is and how much it may hold.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Uploads. **Everything in it is removed when the store is opened**, as uber/kraken does.
    pub upload_dir: PathBuf,
    /// Blobs that arrive piece by piece; without it there are no downloads.
    pub download_dir: Option<PathBuf>,
    /// Complete blobs. On the same file system as the other two, since blobs get here by rename.
    pub cache_dir: PathBuf,
    /// Bytes that uploads, downloads and cache may take together; `None` leaves it to the disk.
    pub capacity_bytes: Option<u64>,
    /// Whether a commit returns only when the blob would survive a power failure. Without it, a
    /// blob survives the end of the process but is hashed anew when first opened after a reboot.
    pub durable: bool,
    /// Uploads open at once. One more takes the place of the one that has stood still for longest
    /// among those without a byte; without any it is refused with `ErrorKind::NoSpace`.
    pub uploads_max: usize,
}

impl StoreConfig {
    /// The three directories below one, and defaults.
    pub fn under(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            upload_dir: dir.join("upload"),
            download_dir: Some(dir.join("download")),
            cache_dir: dir.join("cache"),
            ..Self::default()
        }
    }

    /// Refuses directories that are missing here or that lie within what is wiped.
    pub(super) fn check(&self) -> Result<()> {
        let rest = [Some(&self.cache_dir), self.download_dir.as_ref()];
        for dir in rest.into_iter().flatten().chain([&self.upload_dir]) {
            if dir.as_os_str().is_empty() {
                return Err(Error::invalid("open the store: a directory is not configured"));
            }
        }
        for dir in rest.into_iter().flatten() {
            if dir.starts_with(&self.upload_dir) {
                return Err(Error::invalid(format!(
                    "open the store: {} is inside the upload directory {}, which is wiped",
                    dir.display(),
                    self.upload_dir.display()
                )));
            }
        }
        if self.download_dir.as_ref() == Some(&self.cache_dir) {
            return Err(Error::invalid(
                "open the store: download and cache directory are the same",
            ));
        }
        Ok(())
    }
}

impl Default for StoreConfig {
    /// No directories (they must be given), no ceiling, durable.
    fn default() -> Self {
        Self {
            upload_dir: PathBuf::new(),
            download_dir: None,
            cache_dir: PathBuf::new(),
            capacity_bytes: None,
            durable: true,
            uploads_max: limits::UPLOADS_MAX,
        }
    }
}
