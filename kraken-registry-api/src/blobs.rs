//! `GET` and `HEAD` of blobs, whole and in ranges.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    RANGE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use kraken_core::{Digest, Repository, SendfileQueue};

use crate::backend::{BlobReader, BlobSource};
use crate::body::{self, BlobBody, Body, Part};
use crate::conditional;
use crate::failure::{Code, Failure, Subject};
use crate::range::{self, ByteRanges};
use crate::response::{CONTENT_DIGEST, response, value};

/// Answers a `GET` or `HEAD`. Only a `GET` that is to be given bytes opens the blob.
pub(crate) async fn read(
    blobs: &dyn BlobSource,
    repository: &Repository,
    digest: &Digest,
    head: &Parts,
) -> Result<Response<Body>, Failure> {
    let failed = |error| Failure::from_error(&error, Subject::Blob);
    let held = conditional::is_held(&head.headers, digest);
    let reader: Box<dyn BlobReader> = if head.method == Method::HEAD || held {
        Box::new(SizeOnly(blobs.stat(repository, digest).await.map_err(failed)?))
    } else {
        blobs.open(repository, digest).await.map_err(failed)?
    };
    if held {
        return Ok(response(StatusCode::NOT_MODIFIED, tags(digest), body::empty()));
    }
    let size = reader.size();
    let answer = Answer { reader, digest, queue: head.extensions.get().cloned() };
    let ranges = match head.headers.get(RANGE).and_then(|text| text.to_str().ok()) {
        Some(text) if conditional::range_counts(&head.headers, digest) => range::parse(text, size),
        _ => ByteRanges::Whole,
    };
    match ranges {
        ByteRanges::Unsatisfiable => Err(unsatisfiable(size)),
        ByteRanges::Whole => Ok(answer.whole()),
        ByteRanges::Partial(ranges) => Ok(match <[Range<u64>; 1]>::try_from(ranges) {
            Ok([range]) => answer.single(range),
            Err(ranges) => answer.multi(ranges),
        }),
    }
}

/// What an answer is made of.
struct Answer<'a> {
    reader: Box<dyn BlobReader>,
    digest: &'a Digest,
    /// Where the server can send files itself.
    queue: Option<SendfileQueue>,
}

impl Answer<'_> {
    fn whole(self) -> Response<Body> {
        let range = 0..self.reader.size();
        self.of(StatusCode::OK, [Part::Range(range)].into(), OCTETS)
    }

    fn single(self, range: Range<u64>) -> Response<Body> {
        let shown = value(&content_range(&range, self.reader.size()));
        let parts = [Part::Range(range)].into();
        let mut response = self.of(StatusCode::PARTIAL_CONTENT, parts, OCTETS);
        response.headers_mut().insert(CONTENT_RANGE, shown);
        response
    }

    /// As many parts as were asked for, in the order asked: containers/image counts them.
    fn multi(self, ranges: Vec<Range<u64>>) -> Response<Body> {
        // No blob holds the start of its own digest, so the boundary cannot occur in a part.
        let boundary: String = self.digest.hex().chars().take(BOUNDARY_LEN).collect();
        let mut parts = VecDeque::with_capacity(ranges.len() * 2 + 1);
        for range in ranges {
            let shown = content_range(&range, self.reader.size());
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {OCTETS}\r\nContent-Range: {shown}\r\n\r\n"
            );
            parts.push_back(Part::Text(head.into()));
            parts.push_back(Part::Range(range));
        }
        parts.push_back(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        self.of(StatusCode::PARTIAL_CONTENT, parts, &content_type)
    }

    fn of(self, status: StatusCode, parts: VecDeque<Part>, content_type: &str) -> Response<Body> {
        let body = BlobBody::new(self.reader, parts, self.queue);
        let headers = [
            (CONTENT_TYPE, value(content_type)),
            (CONTENT_LENGTH, HeaderValue::from(body.len())),
            (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        ];
        response(status, headers.into_iter().chain(tags(self.digest)), body.boxed_unsync())
    }
}

fn unsatisfiable(size: u64) -> Failure {
    let message = format!("no such range in a blob of {size} bytes");
    Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::RangeInvalid, message)
        .with_header(CONTENT_RANGE, value(&format!("bytes */{size}")))
}

/// The headers that name the content.
pub(crate) fn tags(digest: &Digest) -> [(HeaderName, HeaderValue); 2] {
    [(CONTENT_DIGEST, value(&digest.to_string())), (ETAG, value(&conditional::etag(digest)))]
}

fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// What a `HEAD` reads from: its answer takes the size and never asks for bytes.
struct SizeOnly(u64);

impl BlobReader for SizeOnly {
    fn size(&self) -> u64 {
        self.0
    }

    fn stream(&self, _: Range<u64>) -> crate::backend::ByteStream {
        Box::pin(futures_util::stream::empty())
    }
}

const OCTETS: &str = "application/octet-stream";

/// Long enough never to be met by chance, short enough for RFC 2046 (70).
const BOUNDARY_LEN: usize = 48;
