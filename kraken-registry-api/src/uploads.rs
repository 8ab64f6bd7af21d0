//! Pushing blobs: sessions, chunks, whole blobs and mounts.

use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE,
};
use http::{HeaderMap, Response, StatusCode};
use kraken_core::limits::BLOB_LEN_MAX;
use kraken_core::{Algorithm, Digest, Error, ErrorKind, Repository};

use crate::backend::Uploads;
use crate::body::{self, Body, Upload};
use crate::failure::{Code, Failure, Subject};
use crate::range;
use crate::response::{created, response, value};
use crate::upload_id::UploadId;

/// An upload session a request is about.
pub(crate) struct Session<'a> {
    uploads: &'a dyn Uploads,
    repository: Repository,
    id: UploadId,
}

impl<'a> Session<'a> {
    pub(crate) fn new(uploads: &'a dyn Uploads, repository: Repository, id: UploadId) -> Self {
        Self { uploads, repository, id }
    }

    /// `PATCH`: a chunk that says where it belongs, or a stream that goes at the end.
    pub(crate) async fn append(
        self,
        headers: &HeaderMap,
        body: Upload,
    ) -> Result<Response<Body>, Failure> {
        let len = self.take(headers, body).await?;
        Ok(self.progress(StatusCode::ACCEPTED, len))
    }

    /// `PUT`: the last chunk, if there is one, and the end.
    pub(crate) async fn finish(
        self,
        headers: &HeaderMap,
        body: Upload,
        digest: &Digest,
    ) -> Result<Response<Body>, Failure> {
        self.take(headers, body).await?;
        self.uploads.finish(&self.repository, &self.id, digest).await.map_err(failed)?;
        Ok(created(&blob_location(&self.repository, digest), digest))
    }

    /// `GET`: where to go on.
    pub(crate) async fn status(self) -> Result<Response<Body>, Failure> {
        let len = self.len().await?;
        Ok(self.progress(StatusCode::NO_CONTENT, len))
    }

    /// `DELETE`.
    pub(crate) async fn cancel(self) -> Result<Response<Body>, Failure> {
        self.uploads.cancel(&self.repository, &self.id).await.map_err(failed)?;
        Ok(response(StatusCode::NO_CONTENT, [], body::empty()))
    }

    async fn len(&self) -> Result<u64, Failure> {
        self.uploads.len(&self.repository, &self.id).await.map_err(failed)
    }

    /// Appends the body and returns the new length.
    async fn take(&self, headers: &HeaderMap, body: Upload) -> Result<u64, Failure> {
        let len = self.len().await?;
        let declared = headers.get(CONTENT_RANGE).map(|text| {
            let range = text.to_str().ok().and_then(range::parse_chunk);
            range.ok_or_else(|| {
                Failure::bad_request(Code::BlobUploadInvalid, "a malformed Content-Range")
            })
        });
        let declared = declared.transpose()?;
        if declared.as_ref().is_some_and(|range| range.start != len) {
            return Err(self.out_of_order(len));
        }
        // An empty body adds nothing, whatever end it names.
        if body.size == Some(0) {
            return Ok(len);
        }
        let room = BLOB_LEN_MAX.saturating_sub(len);
        let (len_max, past_max) = match &declared {
            Some(range) if range.end - range.start <= room => {
                (range.end - range.start, ErrorKind::Invalid)
            }
            _ => (room, ErrorKind::TooLarge),
        };
        let size_differs =
            |size| Failure::bad_request(Code::SizeInvalid, wrong_size(size, len_max));
        match body.size {
            Some(size) if size > room => {
                let message = wrong_size(size, room);
                return Err(Failure::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    Code::SizeInvalid,
                    message,
                ));
            }
            Some(size) if declared.is_some() && size != len_max => return Err(size_differs(size)),
            _ => {}
        }
        let bytes = body.bounded(len_max, past_max);
        let written = self.uploads.write(&self.repository, &self.id, len, bytes).await;
        match written {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Err(self.out_of_order(self.len().await?))
            }
            Err(error) => Err(failed(error)),
            Ok(end) if declared.as_ref().is_some_and(|range| range.end != end) => {
                Err(size_differs(end.saturating_sub(len)))
            }
            Ok(end) => Ok(end),
        }
    }

    /// 416 with what the client needs to go on; the session is untouched.
    fn out_of_order(&self, len: u64) -> Failure {
        let message = format!("the chunk does not begin at {len}, where the upload ends");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let failure = Failure::new(status, Code::BlobUploadInvalid, message);
        self.headers(len)
            .into_iter()
            .fold(failure, |failure, (name, value)| failure.with_header(name, value))
    }

    fn progress(&self, status: StatusCode, len: u64) -> Response<Body> {
        let mut response = response(status, self.headers(len), body::empty());
        if status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        response
    }

    fn headers(&self, len: u64) -> [(HeaderName, HeaderValue); 3] {
        // The last byte is inclusive; clients take `0-0` for "nothing yet" as well.
        let last = len.saturating_sub(1);
        [
            (LOCATION, value(&format!("/v2/{}/blobs/uploads/{}", self.repository, self.id))),
            (RANGE, value(&format!("0-{last}"))),
            (UPLOAD_UUID, value(self.id.as_str())),
        ]
    }
}

/// `POST`: a new session.
pub(crate) async fn start(
    uploads: &dyn Uploads,
    repository: &Repository,
    algorithm: Algorithm,
) -> Result<Response<Body>, Failure> {
    let begun = uploads.begin(repository, algorithm).await;
    let id = begun.map_err(|error| not_begun(failed(error)))?;
    Ok(Session::new(uploads, repository.clone(), id).progress(StatusCode::ACCEPTED, 0))
}

/// `POST ?digest=`: the whole blob at once.
pub(crate) async fn whole(
    uploads: &dyn Uploads,
    repository: &Repository,
    digest: &Digest,
    body: Upload,
) -> Result<Response<Body>, Failure> {
    let begun = uploads.begin(repository, digest.algorithm()).await;
    let id = begun.map_err(|error| not_begun(failed(error)))?;
    let session = Session::new(uploads, repository.clone(), id.clone());
    match session.finish(&HeaderMap::new(), body, digest).await {
        Ok(response) => Ok(response),
        Err(failure) => {
            // The client never learned of the session; if it cannot be dropped, it expires.
            let _ = uploads.cancel(repository, &id).await;
            Err(not_begun(failure))
        }
    }
}

/// `POST ?mount=`: a blob that is there already, or else an ordinary session.
pub(crate) async fn mount(
    uploads: &dyn Uploads,
    repository: &Repository,
    digest: &Digest,
    from: Option<&Repository>,
) -> Result<Response<Body>, Failure> {
    match uploads.mount(repository, digest, from).await {
        Ok(true) => return Ok(created(&blob_location(repository, digest), digest)),
        Ok(false) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(not_begun(failed(error))),
    }
    start(uploads, repository, digest.algorithm()).await
}

fn failed(error: Error) -> Failure {
    Failure::from_error(&error, Subject::Upload)
}

/// A refusal where sessions begin: the methods that work on a session do not work there.
fn not_begun(failure: Failure) -> Failure {
    if failure.status() == StatusCode::METHOD_NOT_ALLOWED {
        return failure.with_header(ALLOW, HeaderValue::from_static(""));
    }
    failure
}

fn blob_location(repository: &Repository, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

fn wrong_size(size: u64, expected: u64) -> String {
    format!("a body of {size} bytes where {expected} were declared or allowed")
}

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
