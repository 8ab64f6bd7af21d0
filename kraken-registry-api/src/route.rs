//! From method, path and query to what is asked: pure, over any bytes.
//!
//! Repository names hold slashes, so paths are taken apart from the right.

use std::borrow::Cow;

use http::{Method, StatusCode};
use kraken_core::{Algorithm, Digest, Error, Reference, Repository, TagName};
use percent_encoding::percent_decode_str;

use crate::failure::{Code, Failure};
use crate::limits;
use crate::upload_id::UploadId;

/// One operation of the distribution-spec with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// `GET /v2/`: does this speak the protocol?
    Ping,
    /// `GET` or `HEAD` of a blob.
    ReadBlob {
        /// The repository it is read from.
        repository: Repository,
        /// The blob.
        digest: Digest,
    },
    /// `POST .../blobs/uploads/`: open an upload session.
    StartUpload {
        /// The repository it is pushed to.
        repository: Repository,
        /// What `digest-algorithm` announces the blob's digest to be; SHA-256 unless it is there.
        algorithm: Algorithm,
    },
    /// `POST .../blobs/uploads/?digest=`: the whole blob in one request.
    UploadWhole {
        /// The repository it is pushed to.
        repository: Repository,
        /// The blob's digest.
        digest: Digest,
    },
    /// `POST .../blobs/uploads/?mount=`: make a blob of another repository readable here.
    Mount {
        /// The repository it is to be readable in.
        repository: Repository,
        /// The blob.
        digest: Digest,
        /// Where the client says the blob is.
        from: Option<Repository>,
    },
    /// `GET` of an upload session: how far is it?
    UploadStatus {
        /// The repository of the session.
        repository: Repository,
        /// The session.
        id: UploadId,
    },
    /// `PATCH` of an upload session: the next chunk, or a stream.
    AppendUpload {
        /// The repository of the session.
        repository: Repository,
        /// The session.
        id: UploadId,
    },
    /// `PUT` of an upload session: the last chunk, if any, and the end.
    FinishUpload {
        /// The repository of the session.
        repository: Repository,
        /// The session.
        id: UploadId,
        /// What the whole must hash to.
        digest: Digest,
    },
    /// `DELETE` of an upload session.
    CancelUpload {
        /// The repository of the session.
        repository: Repository,
        /// The session.
        id: UploadId,
    },
    /// `GET` or `HEAD` of a manifest.
    ReadManifest {
        /// The repository it is read from.
        repository: Repository,
        /// The manifest.
        reference: Reference,
    },
    /// `PUT` of a manifest.
    WriteManifest {
        /// The repository it is pushed to.
        repository: Repository,
        /// Where it is to be found.
        reference: Reference,
        /// Tags it is to have as well (`?tag=`, with a digest only).
        tags: Vec<TagName>,
    },
    /// `GET .../tags/list`.
    ListTags {
        /// The repository.
        repository: Repository,
        /// At most so many tags; all of them if the client does not say.
        limit: Option<usize>,
        /// Only tags after this text.
        last: Option<String>,
    },
}

/// Takes a request's method, path and query (both still percent-encoded) apart.
pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Failure> {
    let query = query.unwrap_or_default();
    if path.len() > limits::PATH_LEN_MAX || query.len() > limits::QUERY_LEN_MAX {
        let message = "the path or the query is too long";
        return Err(Failure::new(StatusCode::URI_TOO_LONG, Code::Unsupported, message));
    }
    let Ok(path) = percent_decode_str(path).decode_utf8() else {
        return Err(Failure::bad_request(Code::NameInvalid, "the path is not UTF-8"));
    };
    let query = Query(query);
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match resource(&path) {
        Some(Resource::Root) if reads => Ok(Route::Ping),
        Some(Resource::Root) => Err(Failure::unsupported("the root is only read", READ)),
        Some(Resource::Blob(name, digest)) => {
            if !reads {
                return Err(Failure::unsupported("blobs are only read here", READ));
            }
            Ok(Route::ReadBlob { repository: repository(name)?, digest: parse_digest(digest)? })
        }
        Some(Resource::Uploads(name)) => start_upload(method, name, &query),
        Some(Resource::Upload(name, id)) => upload(method, name, id, &query),
        Some(Resource::Manifest(name, reference)) => manifest(method, name, reference, &query),
        Some(Resource::Tags(name)) => {
            if !reads {
                return Err(Failure::unsupported("tag lists are only read", READ));
            }
            let (limit, last) = (page_size(&query)?, query.value("last").map(Cow::into_owned));
            Ok(Route::ListTags { repository: repository(name)?, limit, last })
        }
        // Clients go on to the tag that stands in for referrers at a 404, and give up at a 405.
        Some(Resource::Referrers) => Err(Failure::new(
            StatusCode::NOT_FOUND,
            Code::Unsupported,
            "this registry has no referrers",
        )),
        None => Err(Failure::new(
            StatusCode::NOT_FOUND,
            Code::Unsupported,
            "this registry has no such resource",
        )),
    }
}

/// What a path names, before its parts are checked.
enum Resource<'a> {
    Root,
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
    Manifest(&'a str, &'a str),
    Tags(&'a str),
    Referrers,
}

fn resource(path: &str) -> Option<Resource<'_>> {
    let path = path.strip_prefix("/v2")?;
    if matches!(path, "" | "/") {
        return Some(Resource::Root);
    }
    let path = path.strip_prefix('/')?;
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Resource::Tags(name));
    }
    if let Some(name) = path.strip_suffix("/blobs/uploads") {
        return Some(Resource::Uploads(name));
    }
    let (head, tail) = path.rsplit_once('/')?;
    if let Some(name) = head.strip_suffix("/blobs/uploads") {
        return Some(if tail.is_empty() {
            Resource::Uploads(name)
        } else {
            Resource::Upload(name, tail)
        });
    }
    if let Some(name) = head.strip_suffix("/blobs") {
        return Some(Resource::Blob(name, tail));
    }
    if let Some(name) = head.strip_suffix("/manifests") {
        return Some(Resource::Manifest(name, tail));
    }
    head.ends_with("/referrers").then_some(Resource::Referrers)
}

fn start_upload(method: &Method, name: &str, query: &Query<'_>) -> Result<Route, Failure> {
    if method != Method::POST {
        return Err(Failure::unsupported("uploads are started by POST", "POST"));
    }
    let repository = repository(name)?;
    if let Some(digest) = query.value("mount") {
        let digest = parse_digest(&digest)?;
        let from = query.value("from").filter(|from| !from.is_empty());
        let from = from.map(|from| self::repository(&from)).transpose()?;
        return Ok(Route::Mount { repository, digest, from });
    }
    if let Some(digest) = query.value("digest") {
        return Ok(Route::UploadWhole { repository, digest: parse_digest(&digest)? });
    }
    let algorithm = query.value("digest-algorithm").map(|name| name.parse()).transpose();
    let algorithm = algorithm
        .map_err(|error: Error| Failure::bad_request(Code::DigestInvalid, error.to_string()))?
        .unwrap_or(Algorithm::Sha256);
    Ok(Route::StartUpload { repository, algorithm })
}

fn upload(method: &Method, name: &str, id: &str, query: &Query<'_>) -> Result<Route, Failure> {
    let repository = repository(name)?;
    let id = id.parse().map_err(|error: Error| {
        Failure::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, error.to_string())
    })?;
    match *method {
        Method::GET | Method::HEAD => Ok(Route::UploadStatus { repository, id }),
        Method::PATCH => Ok(Route::AppendUpload { repository, id }),
        Method::DELETE => Ok(Route::CancelUpload { repository, id }),
        Method::PUT => match query.value("digest") {
            Some(digest) => {
                Ok(Route::FinishUpload { repository, id, digest: parse_digest(&digest)? })
            }
            None => {
                let message = "an upload is finished with the parameter digest";
                Err(Failure::bad_request(Code::DigestInvalid, message))
            }
        },
        _ => {
            let allow = "GET, HEAD, PATCH, PUT, DELETE";
            Err(Failure::unsupported("not a method of an upload", allow))
        }
    }
}

fn manifest(
    method: &Method,
    name: &str,
    reference: &str,
    query: &Query<'_>,
) -> Result<Route, Failure> {
    if !matches!(*method, Method::GET | Method::HEAD | Method::PUT) {
        let allow = "GET, HEAD, PUT";
        return Err(Failure::unsupported("manifests are only read and put here", allow));
    }
    let repository = repository(name)?;
    let reference: Reference = reference.parse().map_err(|error: Error| {
        let code =
            if reference.contains(':') { Code::DigestInvalid } else { Code::ManifestInvalid };
        Failure::bad_request(code, error.to_string())
    })?;
    if method != Method::PUT {
        return Ok(Route::ReadManifest { repository, reference });
    }
    let mut tags = Vec::new();
    if matches!(reference, Reference::Digest(_)) {
        for tag in query.values("tag") {
            if tags.len() == limits::TAGS_PER_PUT_MAX {
                let message = format!("more than {} tags at once", limits::TAGS_PER_PUT_MAX);
                return Err(Failure::bad_request(Code::ManifestInvalid, message));
            }
            tags.push(tag.parse().map_err(|error: Error| {
                Failure::bad_request(Code::ManifestInvalid, error.to_string())
            })?);
        }
    }
    Ok(Route::WriteManifest { repository, reference, tags })
}

fn page_size(query: &Query<'_>) -> Result<Option<usize>, Failure> {
    let Some(text) = query.value("n") else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "the parameter n is not a number";
        return Err(Failure::bad_request(Code::Unsupported, message));
    }
    let limit = text.parse().unwrap_or(limits::TAGS_PAGE_MAX);
    Ok(Some(limit.min(limits::TAGS_PAGE_MAX)))
}

fn repository(name: &str) -> Result<Repository, Failure> {
    name.parse().map_err(|error: Error| Failure::bad_request(Code::NameInvalid, error.to_string()))
}

fn parse_digest(text: &str) -> Result<Digest, Failure> {
    text.parse()
        .map_err(|error: Error| Failure::bad_request(Code::DigestInvalid, error.to_string()))
}

/// A query string; parameters nobody asks for (such as `ns`) are passed over.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(key, _)| percent_decode_str(key).eq(name.bytes()))
            .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy())
    }

    fn value(&self, name: &'static str) -> Option<Cow<'a, str>> {
        self.values(name).next()
    }
}

const READ: &str = "GET, HEAD";

#[cfg(test)]
mod tests;
