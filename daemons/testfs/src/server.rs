//! The file server's routes.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kraken_common::answer::{self, Answer};
use kraken_common::{Body, Chunks, RequestBody, Segments};
use kraken_core::{Error, ErrorKind, Result};
use serde_json::json;

use crate::files::Files;
use crate::limits;
use crate::name::Name;
use crate::pace::Pace;

/// Answers any request.
pub(crate) async fn answer(
    files: Arc<Files>,
    pace: Arc<Pace>,
    request: Request<RequestBody>,
) -> Answer {
    answer::settle(route(&files, &pace, request).await)
}

async fn route(files: &Files, pace: &Arc<Pace>, request: Request<RequestBody>) -> Result<Answer> {
    let segments = Segments::of(request.uri())?;
    let method = request.method().clone();
    if !matches!(segments.as_strs().first(), Some(&("health" | "x"))) {
        pace.latency().await;
    }
    match (&method, segments.as_strs().as_slice()) {
        // Without the line feed of the other roles.
        (&Method::GET, ["health"]) => Ok(answer::text(StatusCode::OK, "OK")),
        (&Method::HEAD, ["files", name @ ..]) if !name.is_empty() => {
            stat(files, &Name::of_file(name)?).await
        }
        (&Method::GET, ["files", name @ ..]) if !name.is_empty() => {
            let (file, len) = files.read(&Name::of_file(name)?).await?;
            answer::bytes(request.headers(), len, |range| {
                let bytes = Body::file(file, range.start, range.end - range.start);
                let bytes = bytes
                    .into_data_stream()
                    .map_err(|error| Error::new(ErrorKind::Io, "read a file").with_source(error));
                let pace = Arc::clone(pace);
                Ok(Body::stream(bytes.then(move |chunk| {
                    let pace = Arc::clone(&pace);
                    async move { pace.pass(chunk).await }
                })))
            })
        }
        (&Method::POST, ["files", name @ ..]) if !name.is_empty() => {
            upload(files, Name::of_file(name), request.into_body()).await
        }
        (&Method::GET, ["list", prefix @ ..]) if !prefix.is_empty() => {
            let paths = files.list(Name::parse(prefix)?).await?;
            // Go's JSON of a list that nothing was ever put into is `null`.
            answer::json(&(!paths.is_empty()).then_some(paths))
        }
        (&Method::GET, ["x", "stats"]) => answer::json(&json!({ "sent": pace.sent() })),
        (_, ["health"] | ["list", _, ..]) => Ok(answer::method_not_allowed("GET")),
        (_, ["files", _, ..]) => Ok(answer::method_not_allowed("GET, HEAD, POST")),
        _ => Ok(answer::no_route()),
    }
}

/// The length in a header of its own, where uber/kraken's clients look for it.
async fn stat(files: &Files, name: &Name) -> Result<Answer> {
    let len = files.len(name).await?;
    let mut answer = answer::empty(StatusCode::OK);
    answer.headers_mut().insert("size", len.into());
    answer.headers_mut().insert(CONTENT_LENGTH, len.into());
    Ok(answer)
}

async fn upload(files: &Files, name: Result<Name>, body: RequestBody) -> Result<Answer> {
    let mut chunks = Chunks::new(body, limits::UPLOAD_LEN_MAX);
    let written = match &name {
        Ok(name) => files.write(name, &mut chunks).await,
        Err(_) => Ok(()),
    };
    let settled = name.and(written);
    let mut refused = 0;
    while settled.is_err() && refused < limits::REFUSED_LEN_MAX {
        let Ok(Some(chunk)) = chunks.next().await else { break };
        refused += chunk.len() as u64;
    }
    settled.map(|()| answer::empty(StatusCode::OK))
}
