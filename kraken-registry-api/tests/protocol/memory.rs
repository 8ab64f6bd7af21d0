//! A registry in memory that keeps the contracts of the backend traits, and a client without a
//! network.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kraken_core::{
    Algorithm, Cause, Digest, DigestHasher, Error, ErrorKind, Reference, Repository, Result,
    TagName,
};
use kraken_registry_api::{
    Backend, BlobReader, BlobSource, ByteStream, Manifest, Manifests, Registry, Tags, UploadId,
    Uploads,
};

/// Everything in maps; with `read_only`, an agent: no uploads and no tags.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) read_only: bool,
    /// Blobs are given in chunks of this many bytes, or whole.
    pub(crate) chunk: Option<usize>,
    /// Blobs fail after this many bytes.
    pub(crate) break_after: Option<usize>,
    /// What every call fails with.
    pub(crate) broken: Mutex<Option<ErrorKind>>,
    pub(crate) opened: Mutex<usize>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    blobs: BTreeMap<(Repository, Digest), Bytes>,
    uploads: BTreeMap<(Repository, UploadId), Vec<u8>>,
    manifests: BTreeMap<(Repository, Digest), Manifest>,
    tags: BTreeMap<Repository, BTreeMap<TagName, Digest>>,
    begun: u64,
}

impl Memory {
    pub(crate) fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        self.state().blobs.insert((repository.parse().unwrap(), digest), bytes);
        digest
    }

    pub(crate) fn sessions(&self) -> usize {
        self.state().uploads.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn check(&self) -> Result<()> {
        match *self.broken.lock().unwrap() {
            Some(kind) => {
                let cause = Error::new(kind, "http://inner.host");
                Err(Error::new(kind, "break on purpose at /secret/path").with_source(cause))
            }
            None => Ok(()),
        }
    }
}

impl Backend for Memory {
    fn blobs(&self) -> &dyn BlobSource {
        self
    }

    fn manifests(&self) -> &dyn Manifests {
        self
    }

    fn uploads(&self) -> Option<&dyn Uploads> {
        (!self.read_only).then_some(self)
    }

    fn tags(&self) -> Option<&dyn Tags> {
        (!self.read_only).then_some(self)
    }
}

struct Open {
    bytes: Bytes,
    chunk: usize,
    break_after: Option<usize>,
}

impl BlobReader for Open {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn stream(&self, range: Range<u64>) -> ByteStream {
        assert!(range.start < range.end && range.end <= self.size(), "{range:?}");
        let bytes = self.bytes.slice(range.start as usize..range.end as usize);
        let end = self.break_after.unwrap_or(usize::MAX);
        let mut chunks: Vec<Result<Bytes>> = bytes
            .slice(..bytes.len().min(end))
            .chunks(self.chunk)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        if end < bytes.len() {
            chunks.push(Err(Error::new(ErrorKind::Unavailable, "the swarm is gone")));
        }
        stream::iter(chunks).boxed()
    }
}

#[async_trait]
impl BlobSource for Memory {
    async fn stat(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        self.check()?;
        let state = self.state();
        let blob = state.blobs.get(&(repository.clone(), *digest));
        blob.map(|bytes| bytes.len() as u64).ok_or_else(|| Error::not_found("find a blob"))
    }

    async fn open(&self, repository: &Repository, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        self.stat(repository, digest).await?;
        *self.opened.lock().unwrap() += 1;
        let bytes = self.state().blobs[&(repository.clone(), *digest)].clone();
        let chunk = self.chunk.unwrap_or(bytes.len()).max(1);
        Ok(Box::new(Open { bytes, chunk, break_after: self.break_after }))
    }
}

#[async_trait]
impl Uploads for Memory {
    async fn begin(&self, repository: &Repository, _: Algorithm) -> Result<UploadId> {
        self.check()?;
        let mut state = self.state();
        state.begun += 1;
        let id: UploadId = format!("upload-{}", state.begun).parse()?;
        state.uploads.insert((repository.clone(), id.clone()), Vec::new());
        Ok(id)
    }

    async fn len(&self, repository: &Repository, id: &UploadId) -> Result<u64> {
        self.check()?;
        let state = self.state();
        let upload = state.uploads.get(&(repository.clone(), id.clone()));
        upload.map(|bytes| bytes.len() as u64).ok_or_else(|| Error::not_found("find an upload"))
    }

    async fn write(
        &self,
        repository: &Repository,
        id: &UploadId,
        offset: u64,
        mut bytes: ByteStream,
    ) -> Result<u64> {
        let mut len = self.len(repository, id).await?;
        if len != offset {
            return Err(Error::new(ErrorKind::Conflict, "write elsewhere"));
        }
        while let Some(next) = bytes.try_next().await? {
            len += next.len() as u64;
            let mut state = self.state();
            let upload = state.uploads.get_mut(&(repository.clone(), id.clone()));
            upload.ok_or_else(|| Error::not_found("find an upload"))?.extend_from_slice(&next);
        }
        Ok(len)
    }

    async fn finish(&self, repository: &Repository, id: &UploadId, digest: &Digest) -> Result<()> {
        self.len(repository, id).await?;
        let mut state = self.state();
        let bytes = state.uploads.remove(&(repository.clone(), id.clone())).unwrap();
        let mut hasher = DigestHasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            return Err(Error::new(ErrorKind::Mismatch, "finish an upload"));
        }
        state.blobs.insert((repository.clone(), *digest), bytes.into());
        Ok(())
    }

    async fn cancel(&self, repository: &Repository, id: &UploadId) -> Result<()> {
        let removed = self.state().uploads.remove(&(repository.clone(), id.clone()));
        removed.map(drop).ok_or_else(|| Error::not_found("cancel an upload"))
    }

    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: Option<&Repository>,
    ) -> Result<bool> {
        self.check()?;
        let mut state = self.state();
        let found = state
            .blobs
            .iter()
            .find(|((name, key), _)| key == digest && from.is_none_or(|from| from == name))
            .map(|(_, bytes)| bytes.clone());
        let Some(bytes) = found else { return Ok(false) };
        state.blobs.insert((repository.clone(), *digest), bytes);
        Ok(true)
    }
}

#[async_trait]
impl Manifests for Memory {
    async fn get(&self, repository: &Repository, reference: &Reference) -> Result<Manifest> {
        self.check()?;
        let state = self.state();
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => {
                state.tags.get(repository).and_then(|tags| tags.get(tag)).copied()
            }
        };
        digest
            .and_then(|digest| state.manifests.get(&(repository.clone(), digest)))
            .cloned()
            .ok_or_else(|| Error::not_found("find a manifest"))
    }

    async fn put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<()> {
        self.check()?;
        let document = manifest.document()?;
        let mut state = self.state();
        let have: BTreeSet<Digest> = state
            .blobs
            .keys()
            .chain(state.manifests.keys())
            .filter(|(name, _)| name == repository)
            .map(|(_, digest)| *digest)
            .collect();
        for child in document.blobs().chain(&document.manifests) {
            if !have.contains(&child.digest) {
                return Err(Error::not_found(format!("find {}", child.digest)));
            }
        }
        state.manifests.insert((repository.clone(), manifest.digest), manifest.clone());
        if let Reference::Tag(tag) = reference {
            let tags = state.tags.entry(repository.clone()).or_default();
            tags.insert(tag.clone(), manifest.digest);
        }
        Ok(())
    }
}

#[async_trait]
impl Tags for Memory {
    async fn list(&self, repository: &Repository) -> Result<Vec<TagName>> {
        self.check()?;
        let state = self.state();
        let tags =
            state.tags.get(repository).ok_or_else(|| Error::not_found("find a repository"))?;
        // In no useful order, as the contract allows.
        Ok(tags.keys().rev().cloned().collect())
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What the server's log is told.
    pub(crate) reason: Option<String>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the error it is, checked for form.
    pub(crate) fn error(&self) -> String {
        assert!(self.header("content-type").starts_with("application/json"), "{self:?}");
        let json = self.json();
        let error = &json["errors"][0];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        assert!(error.get("detail").is_some(), "{json}");
        error["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.error().as_str()), (status, code), "{self:?}");
        self
    }
}

/// Sends one request; `headers` are `name: value`.
pub(crate) async fn send(
    registry: &Registry<Memory>,
    method: &str,
    target: &str,
    headers: &[&str],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(target);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let (head, body) = registry.answer(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(head.headers["docker-distribution-api-version"], "registry/2.0");
    let declared = head.headers.get("content-length").map(|len| len.to_str().unwrap().to_owned());
    if method == "HEAD" {
        assert!(body.is_empty());
    } else if let Some(declared) = declared {
        assert_eq!(declared, body.len().to_string());
    }
    let reason = head.extensions.get::<Cause>().map(|cause| cause.text().to_owned());
    assert_eq!(reason.is_some(), head.status.as_u16() >= 400, "every refusal has a reason");
    Answer { status: head.status, headers: head.headers, reason, body }
}

pub(crate) async fn get(registry: &Registry<Memory>, target: &str) -> Answer {
    send(registry, "GET", target, &[], "").await
}
