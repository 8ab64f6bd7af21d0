//! Refusals as the distribution-spec words them: a status, a code and a message.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use kraken_core::{Cause, Error, ErrorKind};
use serde::Serialize;

use crate::body::{self, Body};
use crate::response::{API_VERSION, API_VERSION_2};

/// An answer other than success: what becomes `{"errors":[{"code","message","detail"}]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    code: Code,
    message: String,
    /// What the log is told where that is more than the message.
    cause: Option<Cause>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The codes of the distribution-spec, and two of docker/distribution it has no word for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The blob is not known to the registry.
    BlobUnknown,
    /// The upload is malformed, or its chunk is out of order.
    BlobUploadInvalid,
    /// There is no such upload session.
    BlobUploadUnknown,
    /// The client may not do that.
    Denied,
    /// The digest is malformed or does not match the content.
    DigestInvalid,
    /// The manifest refers to content the registry does not have.
    ManifestBlobUnknown,
    /// The manifest is malformed.
    ManifestInvalid,
    /// The manifest is not known to the registry.
    ManifestUnknown,
    /// The repository name is malformed.
    NameInvalid,
    /// The repository is not known to the registry.
    NameUnknown,
    /// No byte of the ranges asked for exists (docker/distribution's code).
    RangeInvalid,
    /// The length does not match what was declared, or exceeds a limit.
    SizeInvalid,
    /// The registry cannot answer at the moment (docker/distribution's code).
    Unavailable,
    /// The operation is not supported.
    Unsupported,
    /// None of the other codes fits.
    Unknown,
}

/// What a request was about: decides which code "not found" and "invalid" become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Blob,
    Upload,
    Manifest,
    /// A manifest being pushed: what is missing is something it refers to.
    PushedManifest,
    Tags,
}

impl Failure {
    /// An answer of `status` with `code`; `message` says what was wrong.
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), cause: None, headers: Vec::new() }
    }

    /// 405: this registry does not do that; `allow` lists the methods that work here. It is empty
    /// where none does: RFC 9110 (10.2.1, 15.5.6) wants the header even then.
    pub fn unsupported(message: impl Into<String>, allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message)
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    pub(crate) fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The answer to a backend's `error` about `subject`: its outermost text is for the client, its
    /// causes, which may name paths and hosts, are for the log.
    pub(crate) fn from_error(error: &Error, subject: Subject) -> Self {
        let told = error.outermost();
        let failure = match error.kind() {
            ErrorKind::NotFound if subject == Subject::PushedManifest => {
                Self::new(StatusCode::NOT_FOUND, subject.unknown(), told)
            }
            ErrorKind::NotFound => {
                Self::new(StatusCode::NOT_FOUND, subject.unknown(), subject.unknown_text())
            }
            ErrorKind::Invalid => Self::bad_request(subject.invalid(), told),
            ErrorKind::Conflict if subject == Subject::Upload => {
                Self::new(StatusCode::CONFLICT, subject.invalid(), told)
            }
            // What the registry has is wrong, not what the client said.
            ErrorKind::Mismatch if matches!(subject, Subject::Blob | Subject::Manifest) => {
                let message = "what the registry has of it is not what its digest says";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
            }
            ErrorKind::Mismatch => Self::bad_request(Code::DigestInvalid, told),
            ErrorKind::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, told)
            }
            ErrorKind::NoSpace => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::Unavailable, told)
            }
            ErrorKind::Unavailable | ErrorKind::Pending => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, told)
            }
            ErrorKind::Unsupported => Self::unsupported(told, subject.other_methods()),
            ErrorKind::Cancelled => {
                let message = "the registry is shutting down";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message)
            }
            _ => {
                let message = "the registry failed; its log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
            }
        };
        Self { cause: Some(error.into()), ..failure }
    }

    /// With this header, in place of another of its name.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code of the distribution-spec.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What was wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// 403: whoever asks may not; for what stands before a registry and lets not everybody in.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Denied, message)
    }

    /// The answer as it goes to the client, with its [`Cause`] beside it.
    pub fn into_response(self) -> Response<Body> {
        let document = Document {
            errors: [Entry { code: self.code.as_str(), message: &self.message, detail: () }],
        };
        let json = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
        let length = HeaderValue::from(json.len());
        let mut response = Response::new(body::full(json));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.headers_mut().insert(API_VERSION, API_VERSION_2);
        response.extensions_mut().insert(self.cause.unwrap_or_else(|| self.message.into()));
        response
    }
}

impl Code {
    /// The code as it stands in the JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::Denied => "DENIED",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl Subject {
    fn unknown(self) -> Code {
        match self {
            Self::Blob => Code::BlobUnknown,
            Self::Upload => Code::BlobUploadUnknown,
            Self::Manifest => Code::ManifestUnknown,
            Self::PushedManifest => Code::ManifestBlobUnknown,
            Self::Tags => Code::NameUnknown,
        }
    }

    /// What [`Subject::unknown`] means, in docker/distribution's words.
    fn unknown_text(self) -> &'static str {
        match self {
            Self::Blob => "blob unknown to registry",
            Self::Upload => "blob upload unknown to registry",
            Self::Manifest => "manifest unknown",
            Self::PushedManifest => "blob of the manifest unknown to registry",
            Self::Tags => "repository name not known to registry",
        }
    }

    /// The methods that still work on it when a backend does not do what was asked of it.
    fn other_methods(self) -> &'static str {
        match self {
            // Only its end can be refused so: where its bytes go is what is not supported.
            Self::Upload => "GET, HEAD, PATCH, DELETE",
            Self::PushedManifest => "GET, HEAD",
            Self::Blob | Self::Manifest | Self::Tags => "",
        }
    }

    fn invalid(self) -> Code {
        match self {
            Self::Blob => Code::DigestInvalid,
            Self::Upload => Code::BlobUploadInvalid,
            Self::Manifest | Self::PushedManifest => Code::ManifestInvalid,
            Self::Tags => Code::NameInvalid,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    message: &'a str,
    /// Always null: messages say all there is.
    detail: (),
}
