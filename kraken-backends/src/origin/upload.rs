//! Uploads to an origin: start, chunks, commit.

use std::ops::Range;
use std::time::Duration;

use kraken_core::http::{Body, Method, escape_segment, status_of};
use kraken_core::{Digest, Error, ErrorKind, Namespace, Result};
use serde::Serialize;

use super::host::{Origin, blob_path};
use crate::limits;
use crate::source::UploadSource;

/// Which of the three kinds of upload it is.
#[derive(Debug)]
enum Route<'a> {
    /// By a client of the cluster.
    Public(&'a Namespace),
    /// By the replica that a client uploaded to; written back after a delay.
    Duplicate(&'a Namespace, Duration),
    /// By the replica that fetched the blob from its backend.
    Transfer,
}

/// The body that commits a duplicate upload; Go marshals the field under its own name.
#[derive(Serialize)]
struct DuplicateCommit {
    #[serde(rename = "Delay")]
    delay: i64,
}

impl Origin {
    /// Uploads the blob as a client of the cluster: it is replicated and written back. That the
    /// origin has the blob already is success.
    pub async fn upload(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        source: &dyn UploadSource,
    ) -> Result<()> {
        upload(self, &Route::Public(namespace), digest, source).await
    }

    /// Uploads the blob as another replica: it is written back after `delay`, unless it is in the
    /// backend by then, and not replicated again.
    pub async fn duplicate_upload(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        source: &dyn UploadSource,
        delay: Duration,
    ) -> Result<()> {
        upload(self, &Route::Duplicate(namespace, delay), digest, source).await
    }

    /// Uploads a blob that its backend has: it is neither written back nor replicated.
    pub async fn transfer(&self, digest: &Digest, source: &dyn UploadSource) -> Result<()> {
        upload(self, &Route::Transfer, digest, source).await
    }
}

/// Uploads the blob. A 409 anywhere means that the origin has it, which is what was wanted.
///
/// Chunks are streamed from the source; none is held in memory.
async fn upload(
    origin: &Origin,
    route: &Route<'_>,
    digest: &Digest,
    source: &dyn UploadSource,
) -> Result<()> {
    match run(origin, route, digest, source).await {
        Err(error) if status_of(&error) == Some(409) => Ok(()),
        result => result,
    }
}

async fn run(
    origin: &Origin,
    route: &Route<'_>,
    digest: &Digest,
    source: &dyn UploadSource,
) -> Result<()> {
    let len = source.len();
    let uploads = uploads_path(route, digest);
    let start = origin.request(Method::POST, format!("{uploads}?size={len}"));
    let answer = origin.send(start).await?;
    let id = upload_id(answer.header("location").unwrap_or_default())
        .map_err(|error| error.context(format!("upload {digest} to {}", origin.host())))?;
    let mut position = 0;
    while position < len {
        let chunk = position..len.min(position.saturating_add(origin.chunk_len()));
        position = chunk.end;
        patch(origin, &format!("{uploads}/{id}"), chunk, source).await?;
    }
    commit(origin, route, digest, &id).await
}

async fn patch(
    origin: &Origin,
    path: &str,
    chunk: Range<u64>,
    source: &dyn UploadSource,
) -> Result<()> {
    let body = Body::stream(chunk.end - chunk.start, source.open(chunk.clone()).await?);
    // uber/kraken's own form: no unit, an exclusive end, no total.
    let range = format!("{}-{}", chunk.start, chunk.end);
    let request = origin.request(Method::PATCH, path.to_owned()).header("content-range", range);
    origin.send(request.body(body)).await.map(drop)
}

async fn commit(origin: &Origin, route: &Route<'_>, digest: &Digest, id: &str) -> Result<()> {
    let (path, body) = match route {
        Route::Duplicate(namespace, delay) => {
            let path = format!("/internal/duplicate{}/uploads/{id}", blob_path(namespace, digest));
            let delay = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
            let body = serde_json::to_vec(&DuplicateCommit { delay }).map_err(|error| {
                Error::new(ErrorKind::Internal, "write a commit's body").with_source(error)
            })?;
            (path, Body::from(body))
        }
        Route::Public(_) | Route::Transfer => {
            (format!("{}/{id}", uploads_path(route, digest)), Body::empty())
        }
    };
    let request = origin.request(Method::PUT, path).body(body).head_timeout(limits::ORIGIN_COMMIT);
    origin.send(request).await.map(drop)
}

fn uploads_path(route: &Route<'_>, digest: &Digest) -> String {
    match route {
        Route::Public(namespace) | Route::Duplicate(namespace, _) => {
            format!("{}/uploads", blob_path(namespace, digest))
        }
        Route::Transfer => format!("/internal/blobs/{digest}/uploads"),
    }
}

/// The upload's id from the `Location` header, which is the bare id, as a path segment.
fn upload_id(location: &str) -> Result<String> {
    if location.is_empty() || location.len() > limits::UPLOAD_ID_LEN_MAX {
        let message = format!("the answer names its upload by {} bytes", location.len());
        return Err(Error::new(ErrorKind::Internal, message));
    }
    Ok(escape_segment(location))
}
