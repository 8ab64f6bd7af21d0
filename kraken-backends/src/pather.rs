//! Object names to paths and back: uber/kraken's `name_path`.

use std::str::FromStr;

use kraken_core::{Algorithm, Digest, Error, Result, Tag};

use crate::name::ObjectName;

/// A layout below a root: where an object's path is, and which object a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pather {
    layout: Layout,
    /// No trailing slash; may be empty or absolute.
    root: String,
}

/// How names become paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `<root>/<name>`.
    Identity,
    /// A digest's wire name at `<root>/docker/registry/v2/blobs/<algorithm>/<hh>/<hex>/data`:
    /// where docker/distribution keeps it too.
    ShardedDockerBlob,
    /// `repo:tag` at `<root>/docker/registry/v2/repositories/<repo>/_manifests/tags/<tag>/` in the
    /// file `current/link`: where docker/distribution keeps it too.
    DockerTag,
}

impl Pather {
    /// The layout below `root`, which may be empty.
    pub fn new(layout: Layout, root: &str) -> Self {
        Self { layout, root: root.trim_end_matches('/').to_owned() }
    }

    /// The layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What every path begins with, and listing prefixes are below; empty for no root.
    pub fn base_path(&self) -> String {
        match self.layout {
            Layout::Identity => self.root.clone(),
            Layout::ShardedDockerBlob => self.join(BLOBS),
            Layout::DockerTag => self.join(REPOSITORIES),
        }
    }

    /// The path of `name`; `Invalid` if the layout has no place for such a name.
    pub fn path(&self, name: &ObjectName) -> Result<String> {
        let below = match self.layout {
            Layout::Identity => name.as_str().to_owned(),
            Layout::ShardedDockerBlob => {
                let digest = Digest::parse_wire_name(name.as_str())
                    .map_err(|error| error.context("path of a blob"))?;
                let hex = digest.hex();
                // Hex of a digest: ASCII, and longer than two characters.
                format!("{BLOBS}/{}/{}/{hex}/data", digest.algorithm().name(), &hex[..2])
            }
            Layout::DockerTag => {
                let tag: Tag =
                    name.as_str().parse().map_err(|error: Error| error.context("path of a tag"))?;
                format!("{REPOSITORIES}/{}{TAGS}{}{LINK}", tag.repository, tag.name)
            }
        };
        Ok(self.join(&below))
    }

    /// The name whose path is `path`; `None` for a path that no name has, such as the other files
    /// that docker/distribution keeps beside tags.
    pub fn name(&self, path: &str) -> Option<ObjectName> {
        let below = match self.root.as_str() {
            "" => path,
            root => path.strip_prefix(root)?.strip_prefix('/')?,
        };
        match self.layout {
            Layout::Identity => below.parse().ok(),
            Layout::ShardedDockerBlob => blob_name(below),
            Layout::DockerTag => tag_name(below),
        }
    }

    fn join(&self, below: &str) -> String {
        if self.root.is_empty() { below.to_owned() } else { format!("{}/{below}", self.root) }
    }
}

impl FromStr for Layout {
    type Err = Error;

    /// By uber/kraken's names: `identity`, `sharded_docker_blob`, `docker_tag`.
    fn from_str(s: &str) -> Result<Self> {
        match s {
            "identity" => Ok(Self::Identity),
            "sharded_docker_blob" => Ok(Self::ShardedDockerBlob),
            "docker_tag" => Ok(Self::DockerTag),
            _ => Err(Error::invalid(format!(
                "name_path {s:?}: none of identity, sharded_docker_blob, docker_tag"
            ))),
        }
    }
}

fn blob_name(below: &str) -> Option<ObjectName> {
    let rest = below.strip_prefix(BLOBS)?.strip_prefix('/')?.strip_suffix("/data")?;
    let (algorithm, rest) = rest.split_once('/')?;
    let (shard, hex) = rest.split_once('/')?;
    let digest: Digest = match algorithm.parse::<Algorithm>().ok()? {
        Algorithm::Sha256 => Digest::parse_wire_name(hex).ok()?,
        Algorithm::Sha512 => format!("sha512:{hex}").parse().ok()?,
    };
    hex.strip_prefix(shard).filter(|_| shard.len() == 2)?;
    Some(ObjectName::from(&digest))
}

fn tag_name(below: &str) -> Option<ObjectName> {
    let rest = below.strip_prefix(REPOSITORIES)?.strip_prefix('/')?.strip_suffix(LINK)?;
    let (repository, name) = rest.rsplit_once(TAGS)?;
    let tag: Tag = format!("{repository}:{name}").parse().ok()?;
    ObjectName::try_from(&tag).ok()
}

/// Where docker/distribution keeps blobs.
const BLOBS: &str = "docker/registry/v2/blobs";

/// Where docker/distribution keeps repositories.
const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// Between a repository and a tag.
const TAGS: &str = "/_manifests/tags/";

/// After a tag.
const LINK: &str = "/current/link";

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(layout: Layout, root: &str, name: &str, path: &str) {
        let pather = Pather::new(layout, root);
        let name: ObjectName = name.parse().unwrap();
        assert_eq!(pather.path(&name).unwrap(), path);
        assert_eq!(pather.name(path), Some(name));
    }

    #[test]
    fn names_become_paths_and_back() {
        check(Layout::Identity, "", "a/b", "a/b");
        check(Layout::Identity, "/base/", "a/b", "/base/a/b");
        check(
            Layout::ShardedDockerBlob,
            "/base",
            HEX,
            &format!("/base/docker/registry/v2/blobs/sha256/e3/{HEX}/data"),
        );
        let long = format!("{HEX}{HEX}");
        check(
            Layout::ShardedDockerBlob,
            "",
            &format!("sha512:{long}"),
            &format!("docker/registry/v2/blobs/sha512/e3/{long}/data"),
        );
        check(
            Layout::DockerTag,
            "root",
            "library/nginx:1.0",
            "root/docker/registry/v2/repositories/library/nginx/_manifests/tags/1.0/current/link",
        );
    }

    #[test]
    fn paths_of_no_name_have_none() {
        let blobs = Pather::new(Layout::ShardedDockerBlob, "root");
        for path in [
            "root".to_owned(),
            format!("root/docker/registry/v2/blobs/sha256/ff/{HEX}/data"),
            format!("docker/registry/v2/blobs/sha256/e3/{HEX}/data"),
            format!("root/docker/registry/v2/blobs/sha256/e3/{HEX}/other"),
            format!("rooted/docker/registry/v2/blobs/sha256/e3/{HEX}/data"),
        ] {
            assert_eq!(blobs.name(&path), None, "{path}");
        }
        let tags = Pather::new(Layout::DockerTag, "");
        let beside =
            format!("docker/registry/v2/repositories/a/_manifests/tags/b/index/sha256/{HEX}/link");
        assert_eq!(tags.name(&beside), None);
        assert_eq!(Pather::new(Layout::Identity, "/r").name("/r"), None);
    }

    #[test]
    fn names_a_layout_has_no_place_for_are_refused() {
        let name: ObjectName = "no-digest".parse().unwrap();
        assert!(Pather::new(Layout::ShardedDockerBlob, "").path(&name).is_err());
        assert!(Pather::new(Layout::DockerTag, "").path(&name).is_err());
        assert!("docker".parse::<Layout>().is_err());
        assert_eq!("docker_tag".parse::<Layout>().unwrap(), Layout::DockerTag);
    }
}
