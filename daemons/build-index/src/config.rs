//! What a build-index can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kraken_backends::TagStore;
use serde::Deserialize;

/// The configuration of a [`BuildIndex`](crate::BuildIndex).
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct BuildIndexConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory of its own: what a push was answered for is there until the backend has it.
    pub data_dir: PathBuf,
    /// Where tags are kept.
    pub backend: TagBackend,
    /// The origins, as `host:port`.
    pub origins: Vec<String>,
    /// The other build-indexes of the cluster, as `host:port`; they are told of every put.
    pub neighbors: Vec<String>,
    /// Whether a put is answered only once the backend has the tag. Otherwise it is answered once
    /// the tag is safe on the local disk.
    pub write_through: bool,
    /// What tags name.
    pub tag_type: TagType,
}

/// Where tags are kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagBackend {
    /// A directory inside `data_dir`.
    #[default]
    Embedded,
    /// This directory, laid out as docker/distribution does.
    LocalDisk(PathBuf),
    /// A store elsewhere; puts reach it through a journal on the local disk.
    #[serde(skip)]
    Store(Arc<dyn TagStore>),
}

/// What tags name, and so what must be there before a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagType {
    /// A manifest or index, with all that it refers to.
    #[default]
    Docker,
    /// Any blob.
    Default,
}

impl BuildIndexConfig {
    /// Everything under `data_dir`, in front of `origins`.
    pub fn local(data_dir: &Path, origins: Vec<String>) -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 0).into(),
            data_dir: data_dir.to_owned(),
            backend: TagBackend::Embedded,
            origins,
            neighbors: Vec::new(),
            write_through: false,
            tag_type: TagType::Docker,
        }
    }
}

impl Default for BuildIndexConfig {
    fn default() -> Self {
        Self::local(Path::new(""), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_a_backend() {
        let text = r#"{"data_dir":"/d","origins":["a:1"],"backend":{"local_disk":"/tags"}}"#;
        let config: BuildIndexConfig = serde_json::from_str(text).unwrap();
        assert!(
            matches!(config.backend, TagBackend::LocalDisk(path) if path == Path::new("/tags"))
        );
        let config: BuildIndexConfig = serde_json::from_str(r#"{"tag_type":"default"}"#).unwrap();
        assert!(matches!(config.backend, TagBackend::Embedded));
        assert_eq!(config.tag_type, TagType::Default);
    }
}
