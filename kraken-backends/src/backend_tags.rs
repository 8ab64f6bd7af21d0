//! Tags as small objects of a blob backend.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result, Tag};

use crate::backend::{BlobBackend, Page};
use crate::limits;
use crate::name::ObjectName;
use crate::source::BytesSource;
use crate::tags::{TagPage, TagScope, TagStore};

/// A [`TagStore`] over a backend whose layout is
/// [`Layout::DockerTag`](crate::Layout::DockerTag).
///
/// A tag is an object named `repo:tag` that contains `sha256:<hex>` with no newline: what
/// uber/kraken writes, and docker/distribution can read. The backend's namespace is the whole tag,
/// as in uber/kraken; for a listing it is the repository or the prefix.
#[derive(Debug)]
pub struct BackendTags<B> {
    backend: B,
}

impl<B: BlobBackend> BackendTags<B> {
    /// Tags kept in `backend`.
    pub fn new(backend: B) -> Self {
        Self { backend }
    }

    /// The backend below.
    pub fn backend(&self) -> &B {
        &self.backend
    }
}

#[async_trait]
impl<B: BlobBackend> TagStore for BackendTags<B> {
    async fn get(&self, tag: &Tag) -> Result<Digest> {
        let (namespace, name) = address(tag)?;
        let mut stream = self.backend.download(&namespace, &name, None, None).await?;
        let mut content = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            if (content.len() + chunk.len()) as u64 > limits::TAG_CONTENT_LEN_MAX {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("read tag {tag}: more than {} bytes", limits::TAG_CONTENT_LEN_MAX),
                ));
            }
            content.extend_from_slice(&chunk);
        }
        parse_content(&content).map_err(|error| error.context(format!("read tag {tag}")))
    }

    async fn put(&self, tag: &Tag, digest: &Digest) -> Result<()> {
        let (namespace, name) = address(tag)?;
        self.backend.upload(&namespace, &name, &BytesSource::new(digest.to_string())).await
    }

    async fn list(&self, scope: TagScope<'_>, page: &Page) -> Result<TagPage> {
        let (namespace, prefix) = match scope {
            TagScope::All => (String::new(), String::new()),
            TagScope::Under(prefix) => (prefix.to_owned(), prefix.to_owned()),
            TagScope::Repository(repository) => {
                (repository.to_string(), format!("{repository}/_manifests/tags"))
            }
        };
        let listed = self.backend.list(&namespace.parse()?, &prefix, page).await?;
        // What is no tag was put there by someone else, and has no place in an answer.
        let tags = listed.names.iter().filter_map(|name| name.as_str().parse().ok()).collect();
        Ok(TagPage { tags, next: listed.next })
    }

    async fn delete(&self, tag: &Tag) -> Result<()> {
        let (namespace, name) = address(tag)?;
        self.backend.delete(&namespace, &name).await
    }
}

fn address(tag: &Tag) -> Result<(Namespace, ObjectName)> {
    Ok((tag.to_string().parse()?, ObjectName::try_from(tag)?))
}

/// The digest in a tag's content; a newline after it, as an editor leaves one, is forgiven.
pub(crate) fn parse_content(content: &[u8]) -> Result<Digest> {
    let text = std::str::from_utf8(content)
        .map_err(|error| Error::invalid("content of a tag").with_source(error))?;
    text.trim_end().parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalDisk;
    use crate::pather::Layout;
    use crate::suite;

    #[tokio::test]
    async fn passes_the_suite() {
        let dir = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(dir.path(), Layout::DockerTag).await.unwrap();
        suite::tag_store(&BackendTags::new(disk)).await;
    }

    #[tokio::test]
    async fn content_and_place_are_those_of_uber_kraken() {
        let dir = tempfile::tempdir().unwrap();
        let tags = BackendTags::new(LocalDisk::open(dir.path(), Layout::DockerTag).await.unwrap());
        let (tag, digest): (Tag, _) = ("a/b:c".parse().unwrap(), Digest::sha256(b""));
        tags.put(&tag, &digest).await.unwrap();
        let path =
            dir.path().join("docker/registry/v2/repositories/a/b/_manifests/tags/c/current/link");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        std::fs::write(&path, format!("{digest}\n")).unwrap();
        assert_eq!(tags.get(&tag).await.unwrap(), digest);
        std::fs::write(&path, [b'x'; 1000]).unwrap();
        assert_eq!(tags.get(&tag).await.unwrap_err().kind(), ErrorKind::TooLarge);
        std::fs::write(&path, "half").unwrap();
        assert_eq!(tags.get(&tag).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
