//! What a build-index can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kraken_backends::TagStore;
use kraken_common::backends::{BackendConfig, WriteBackConfig};
use kraken_common::{Hosts, WatchedHosts};

/// The configuration of a [`BuildIndex`](crate::BuildIndex).
#[derive(Debug, Clone)]
pub struct BuildIndexConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory of its own: what a push was answered for is there until the backend has it.
    pub data_dir: PathBuf,
    /// Where tags are kept.
    pub backend: TagBackend,
    /// How tags get there.
    pub write_back: WriteBackConfig,
    /// The origins.
    pub origins: WatchedHosts,
    /// All build-indexes of the cluster; the others are told of every put. This one is left out
    /// where it is known: by [`Self::names`], or by an address of this host with its own port.
    pub cluster: WatchedHosts,
    /// How the cluster may list this one, each as `host:port`.
    pub names: Vec<String>,
    /// How much later each further build-index is told to write a tag back too. uber/kraken's do;
    /// this one writes at once what it is told of.
    pub put_stagger: Duration,
    /// Whether a put is answered only once the backend has the tag. Otherwise it is answered once
    /// the tag is safe on the local disk.
    pub write_through: bool,
    /// What tags name: the first rule that matches; a put that none matches is refused.
    pub tag_rules: Vec<TagRule>,
}

/// Where tags are kept.
#[derive(Debug, Clone, Default)]
pub enum TagBackend {
    /// A directory inside `data_dir`.
    #[default]
    Embedded,
    /// In these, the first whose namespace matches `repository:tag`; puts reach them through a
    /// journal on the local disk. A put that none matches is refused.
    Routed(Vec<BackendConfig>),
    /// A store elsewhere; puts reach it through a journal on the local disk.
    Store(Arc<dyn TagStore>),
}

/// What some tags name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRule {
    /// A regular expression that matches anywhere in `repository:tag`.
    pub namespace: String,
    /// What those tags name.
    pub tag_type: TagType,
}

/// What tags name, and so what must be there before a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TagType {
    /// A manifest or index, with all that it refers to.
    #[default]
    Docker,
    /// Any blob.
    Default,
}

impl BuildIndexConfig {
    /// Everything under `data_dir`, in front of `origins`.
    pub fn local(data_dir: &Path, origins: Hosts) -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 0).into(),
            data_dir: data_dir.to_owned(),
            backend: TagBackend::Embedded,
            write_back: WriteBackConfig::default(),
            origins: origins.into(),
            cluster: WatchedHosts::default(),
            names: Vec::new(),
            put_stagger: Duration::from_secs(20 * 60),
            write_through: false,
            tag_rules: vec![TagRule::all(TagType::Docker)],
        }
    }
}

impl TagRule {
    /// All tags name this.
    pub fn all(tag_type: TagType) -> Self {
        Self { namespace: ".*".into(), tag_type }
    }
}
