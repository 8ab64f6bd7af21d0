//! What an embedder supplies: the contracts behind the protocol.
//!
//! Errors are answered by their kind: `NotFound` 404, `Invalid` 400, `Mismatch` of what is pushed
//! 400 `DIGEST_INVALID`, `Conflict` of an upload 409, `TooLarge` 413, `NoSpace` 507, `Unavailable`
//! and `Pending` 503, `Unsupported` 405, all others 500. The client reads the outermost text of an
//! error; its causes are only logged. Every method may be called by many requests at once, and its
//! future may be dropped at any await when a client goes away.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use kraken_core::{
    Algorithm, Digest, Error, ErrorKind, Reference, Repository, Result, SendfileQueue, TagName,
};

use crate::manifest::Document;
use crate::upload_id::UploadId;

/// Bytes in order, in pieces of any size; it ends at its first error.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// What a registry is made of; a part that is absent is answered 405 `UNSUPPORTED`.
///
/// One type usually implements this and the parts; an agent has no uploads.
pub trait Backend: Send + Sync + 'static {
    /// Where blobs are read.
    fn blobs(&self) -> &dyn BlobSource;

    /// Where manifests are read and, if it can, written.
    fn manifests(&self) -> &dyn Manifests;

    /// Where blobs are pushed to. Without it, manifests are not taken either.
    fn uploads(&self) -> Option<&dyn Uploads> {
        None
    }

    /// Where tags are listed.
    fn tags(&self) -> Option<&dyn Tags> {
        None
    }
}

impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn blobs(&self) -> &dyn BlobSource {
        (**self).blobs()
    }

    fn manifests(&self) -> &dyn Manifests {
        (**self).manifests()
    }

    fn uploads(&self) -> Option<&dyn Uploads> {
        (**self).uploads()
    }

    fn tags(&self) -> Option<&dyn Tags> {
        (**self).tags()
    }
}

/// Blobs by digest.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// The blob's length in bytes, `NotFound` if there is none. Answers `HEAD`: it must not move
    /// the blob, nor wait for it.
    async fn stat(&self, repository: &Repository, digest: &Digest) -> Result<u64>;

    /// Opens the blob for reading; it may still be arriving. Called once per `GET`.
    async fn open(&self, repository: &Repository, digest: &Digest) -> Result<Box<dyn BlobReader>>;
}

/// An open blob. Dropping it, or a stream of it, ends the reader's interest.
pub trait BlobReader: Send {
    /// Length of the whole blob in bytes, as `stat` has it.
    fn size(&self) -> u64;

    /// The bytes of `range`, which is not empty and lies inside the blob. Called once per range of
    /// the request, in the order asked, each after the stream before it has ended.
    ///
    /// The stream waits for bytes that are still arriving. It fails rather than give a byte that is
    /// not vouched for: what has been sent by then breaks off, so the client sees a broken transfer
    /// and never a whole answer of wrong bytes. The last bytes of the whole blob come only when the
    /// blob is known to match its digest.
    fn stream(&self, range: Range<u64>) -> ByteStream;

    /// The same for a connection that can send files itself: chunks may be lent by `queue` instead
    /// of read, if the stream gives them in the order they were lent.
    fn stream_to(&self, range: Range<u64>, queue: &SendfileQueue) -> ByteStream {
        let _ = queue;
        self.stream(range)
    }
}

/// A blob in memory.
impl BlobReader for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn stream(&self, range: Range<u64>) -> ByteStream {
        let bytes = match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if start <= end && end <= self.len() => Ok(self.slice(start..end)),
            _ => Err(Error::invalid(format!("read {range:?} of a blob of {}", self.len()))),
        };
        Box::pin(stream::iter([bytes]))
    }
}

/// Upload sessions: blobs on their way in. Each belongs to one repository; an id of another
/// repository is `NotFound`, as is one that is finished, cancelled or expired.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Opens an empty session. `algorithm` is a hint of what the digest will be, so that bytes can
    /// be hashed as they come; [`finish`](Self::finish) may still name another.
    ///
    /// A client may never come back to it: sessions that stand still must expire.
    async fn begin(&self, repository: &Repository, algorithm: Algorithm) -> Result<UploadId>;

    /// How many bytes the session has.
    async fn len(&self, repository: &Repository, id: &UploadId) -> Result<u64>;

    /// Appends `bytes` at `offset` and returns the new length. If the session's length is not
    /// `offset`, or another write is going on, it fails with `Conflict` and takes nothing.
    ///
    /// When the stream fails, or the future is dropped, the bytes taken so far stay and count in
    /// [`len`](Self::len): clients resume from there. The stream's error is returned.
    async fn write(
        &self,
        repository: &Repository,
        id: &UploadId,
        offset: u64,
        bytes: ByteStream,
    ) -> Result<u64>;

    /// Turns the session into the blob `digest`. Success means the blob is as durable as this
    /// registry promises; it is then readable in `repository`, and the session is gone.
    ///
    /// Bytes that do not hash to `digest` are `Mismatch`, and the session is gone too, as it may be
    /// where there is no room for the blob (`NoSpace`); after any other failure it stands, and
    /// finishing may be tried again. `Conflict` while a write is going on. A blob that was there
    /// already is a success.
    async fn finish(&self, repository: &Repository, id: &UploadId, digest: &Digest) -> Result<()>;

    /// Drops the session and its bytes.
    async fn cancel(&self, repository: &Repository, id: &UploadId) -> Result<()>;

    /// Makes a blob that is there already readable in `repository`, without moving it, and says
    /// whether it could. `from` is where the client believes it to be, if it says so. Idempotent.
    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: Option<&Repository>,
    ) -> Result<bool>;
}

/// Manifests by tag and by digest, byte for byte as they were pushed.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// The manifest, `NotFound` if there is none.
    async fn get(&self, repository: &Repository, reference: &Reference) -> Result<Manifest>;

    /// What `HEAD` tells of the manifest, `NotFound` if there is none. As it is, it reads the
    /// manifest and drops the content.
    async fn head(&self, repository: &Repository, reference: &Reference) -> Result<ManifestStat> {
        Ok(self.get(repository, reference).await?.stat())
    }

    /// Stores the manifest, so that it is found by its digest and, if `reference` is a tag, by that
    /// too. The caller has checked the digest and that the content is well-formed. Something it
    /// refers to that must be there and is not (see [`Manifest::document`]) is `NotFound`.
    /// Idempotent. Never called where there are no [`Uploads`]; as it is, it refuses.
    async fn put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<()> {
        let _ = manifest;
        let message = format!("put manifest {repository}:{reference}: this registry is read only");
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// The tags of a repository.
#[async_trait]
pub trait Tags: Send + Sync {
    /// All tags, in any order; `NotFound` if there is no such repository.
    async fn list(&self, repository: &Repository) -> Result<Vec<TagName>>;
}

/// A manifest with what its bytes alone do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// The content, untouched.
    pub bytes: Bytes,
}

impl Manifest {
    /// What the content says of itself and of other content.
    pub fn document(&self) -> Result<Document> {
        Document::parse(Some(&self.media_type), &self.bytes)
    }

    /// What `HEAD` tells of it.
    pub fn stat(&self) -> ManifestStat {
        ManifestStat {
            digest: self.digest,
            media_type: self.media_type.clone(),
            len: self.bytes.len() as u64,
        }
    }
}

/// A manifest without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestStat {
    /// The digest of the content.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Length of the content in bytes.
    pub len: u64,
}
