//! Where a blob store keeps its files.

use std::path::PathBuf;

#[cfg(feature = "program")]
use kraken_core::Result;
use serde::Deserialize;

#[cfg(feature = "program")]
use crate::upstream::Section;

/// The directories of a blob store, on one file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "PathBuf")]
pub struct StoreDirs {
    /// Uploads under way. **Emptied at each start.**
    pub upload: PathBuf,
    /// Complete blobs.
    pub cache: PathBuf,
}

impl StoreDirs {
    /// Both below one directory.
    pub fn under(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { upload: dir.join("upload"), cache: dir.join("cache") }
    }

    /// What `castore` of uber/kraken's configuration says.
    #[cfg(feature = "program")]
    pub fn configured(castore: &Section<'_>) -> Result<Self> {
        Ok(Self { upload: castore.value("upload_dir")?, cache: castore.value("cache_dir")? })
    }
}

impl From<PathBuf> for StoreDirs {
    fn from(dir: PathBuf) -> Self {
        Self::under(dir)
    }
}
