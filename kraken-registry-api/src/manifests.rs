//! Reading and pushing manifests.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use kraken_core::{
    Algorithm, Digest, DigestHasher, Error, ErrorKind, Reference, Repository, TagName,
};

use crate::backend::{Manifest, ManifestStat, Manifests};
use crate::blobs::tags;
use crate::body::{self, Body, Upload};
use crate::conditional;
use crate::failure::{Code, Failure, Subject};
use crate::limits;
use crate::manifest::Document;
use crate::response::{created, response, value};

/// Answers a `GET` or `HEAD`. Ranges are ignored: some clients send `bytes=0-` always, and a 200
/// is a full answer to that.
pub(crate) async fn read(
    manifests: &dyn Manifests,
    repository: &Repository,
    reference: &Reference,
    head: &Parts,
) -> Result<Response<Body>, Failure> {
    let failed = |error| Failure::from_error(&error, Subject::Manifest);
    let (stat, bytes) = if head.method == Method::HEAD {
        (manifests.head(repository, reference).await.map_err(failed)?, None)
    } else {
        let manifest = manifests.get(repository, reference).await.map_err(failed)?;
        (manifest.stat(), Some(manifest.bytes))
    };
    if conditional::is_held(&head.headers, &stat.digest) {
        return Ok(response(StatusCode::NOT_MODIFIED, tags(&stat.digest), body::empty()));
    }
    let headers =
        [(CONTENT_TYPE, media_type(&stat)?), (CONTENT_LENGTH, HeaderValue::from(stat.len))];
    let body = bytes.map_or_else(body::empty, body::full);
    Ok(response(StatusCode::OK, headers.into_iter().chain(tags(&stat.digest)), body))
}

/// Answers a `PUT`.
pub(crate) async fn write(
    manifests: &dyn Manifests,
    repository: &Repository,
    reference: &Reference,
    more_tags: &[TagName],
    head: &Parts,
    body: Upload,
) -> Result<Response<Body>, Failure> {
    let failed = |error| Failure::from_error(&error, Subject::PushedManifest);
    let bytes = collect(body).await.map_err(failed)?;
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::to_str).transpose();
    let content_type = content_type.map_err(|_| {
        Failure::bad_request(Code::ManifestInvalid, "the Content-Type is not visible ASCII")
    })?;
    let document = Document::parse(content_type, &bytes).map_err(failed)?;
    let digest = match reference {
        Reference::Digest(named) => {
            let digest = hash(named.algorithm(), &bytes);
            if digest != *named {
                let message = format!("the manifest hashes to {digest}, not to {named}");
                return Err(Failure::bad_request(Code::DigestInvalid, message));
            }
            digest
        }
        Reference::Tag(_) => hash(Algorithm::Sha256, &bytes),
    };
    let manifest = Manifest { digest, media_type: document.media_type, bytes };
    manifests.put(repository, reference, &manifest).await.map_err(failed)?;
    let mut response = created(&format!("/v2/{repository}/manifests/{digest}"), &digest);
    for tag in more_tags {
        let reference = Reference::Tag(tag.clone());
        manifests.put(repository, &reference, &manifest).await.map_err(failed)?;
        response.headers_mut().append(OCI_TAG, value(tag.as_str()));
    }
    Ok(response)
}

/// The whole body, which the document that is parsed and hashed must be.
async fn collect(body: Upload) -> Result<Bytes, Error> {
    let len_max = limits::MANIFEST_BYTES_MAX as u64;
    if body.size.is_some_and(|size| size > len_max) {
        let message = format!("read a manifest of more than {len_max} bytes");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let mut frames = body.bounded(len_max, ErrorKind::TooLarge);
    let first = frames.try_next().await?.unwrap_or_default();
    let Some(second) = frames.try_next().await? else { return Ok(first) };
    let mut all = BytesMut::from(&first[..]);
    all.extend_from_slice(&second);
    while let Some(frame) = frames.try_next().await? {
        all.extend_from_slice(&frame);
    }
    Ok(all.freeze())
}

fn hash(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = DigestHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

fn media_type(stat: &ManifestStat) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(&stat.media_type).map_err(|error| {
        let context = format!("answer with the media type of manifest {}", stat.digest);
        let error = Error::new(ErrorKind::Internal, context).with_source(error);
        Failure::from_error(&error, Subject::Manifest)
    })
}

const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
