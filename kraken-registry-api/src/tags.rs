//! Lists of tags, by page.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LINK};
use http::{Response, StatusCode};
use kraken_core::{ErrorKind, Repository, TagName};
use serde::Serialize;

use crate::backend::Tags;
use crate::body::{self, Body};
use crate::failure::{Failure, Subject};
use crate::response::{response, value};

/// Answers `GET .../tags/list`: in byte order, after `last`, at most `limit` of them, with a link
/// to the next page if there is more. A page of none has no link: it would lead nowhere.
pub(crate) async fn list(
    tags: &dyn Tags,
    repository: &Repository,
    limit: Option<usize>,
    last: Option<&str>,
) -> Result<Response<Body>, Failure> {
    let listed = tags.list(repository).await;
    let mut names = listed.map_err(|error| Failure::from_error(&error, Subject::Tags))?;
    names.sort_unstable();
    names.dedup();
    if let Some(last) = last {
        names.retain(|name| name.as_str() > last);
    }
    let mut link = None;
    if let Some(limit) = limit.filter(|limit| *limit < names.len()) {
        names.truncate(limit);
        link = names.last().map(|last| {
            value(&format!("</v2/{repository}/tags/list?n={limit}&last={last}>; rel=\"next\""))
        });
    }
    let page = Page { name: repository, tags: &names };
    let json = serde_json::to_vec(&page).map_err(|error| {
        let error =
            kraken_core::Error::new(ErrorKind::Internal, "write a list of tags").with_source(error);
        Failure::from_error(&error, Subject::Tags)
    })?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (CONTENT_LENGTH, HeaderValue::from(json.len())),
    ];
    let mut response = response(StatusCode::OK, headers, body::full(json));
    if let Some(link) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

#[derive(Serialize)]
struct Page<'a> {
    name: &'a Repository,
    tags: &'a [TagName],
}
