//! Listings of a build-index, paged by the server where it can and here where it cannot.

use std::time::Duration;

use kraken_core::http::{Method, Request, escape_segment, status_of};
use kraken_core::{Error, ErrorKind, Result, Tag};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::BuildIndex;
use crate::backend::Page;
use crate::limits;
use crate::tags::{TagPage, TagScope};

/// The answer of `/list/*` and `/repositories/{repo}/tags`, as uber/kraken writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListResponse {
    /// Where this page is and where the next.
    #[serde(rename = "Links", default)]
    pub links: Links,
    /// How many names are on this page.
    #[serde(default)]
    pub size: u64,
    /// The names; uber/kraken writes `null` for none.
    #[serde(default)]
    pub result: Option<Vec<String>>,
}

/// The links of a [`ListResponse`]: paths with a query.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Links {
    /// The next page; empty on the last.
    #[serde(default)]
    pub next: String,
    /// This page.
    #[serde(rename = "self", default)]
    pub this: String,
}

impl ListResponse {
    /// The `offset` with which the next page is asked for; `None` on the last page.
    pub fn next_offset(&self) -> Result<Option<String>> {
        if self.links.next.is_empty() {
            return Ok(None);
        }
        let query = self.links.next.split_once('?').map_or("", |(_, query)| query);
        let offset = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("offset="))
            .filter(|offset| !offset.is_empty() && offset.len() <= limits::PAGE_TOKEN_LEN_MAX)
            .ok_or_else(|| Error::invalid("the next link of a listing has no usable offset"))?;
        let plus = offset.replace('+', " ");
        let decoded = percent_decode_str(&plus).decode_utf8();
        decoded
            .map(|offset| Some(offset.into_owned()))
            .map_err(|error| Error::invalid("offset of a listing").with_source(error))
    }
}

/// What a page's token holds.
enum Token {
    /// The server's own offset.
    Offset(String),
    /// The last tag of a page that was cut here.
    After(Tag),
}

impl Token {
    fn parse(token: &str) -> Result<Self> {
        if let Some(offset) = token.strip_prefix(OFFSET) {
            return Ok(Self::Offset(offset.to_owned()));
        }
        match token.strip_prefix(AFTER) {
            Some(tag) => Ok(Self::After(tag.parse()?)),
            None => Err(Error::invalid("listing token: not one of a build-index's client")),
        }
    }
}

/// One page of the tags in `scope`.
///
/// uber/kraken's build-index answers 500 to a page's limit where its backend cannot page (testfs,
/// HDFS), and with everything where the backend does not care (SQL). Then the whole listing is
/// fetched for each page, sorted, and cut here.
pub(super) async fn page(index: &BuildIndex, scope: TagScope<'_>, page: &Page) -> Result<TagPage> {
    let (token, limit) = page.checked()?;
    let offset = match token.map(Token::parse).transpose()? {
        Some(Token::After(tag)) => {
            return Ok(cut(everything(index, scope).await?, Some(&tag), limit));
        }
        Some(Token::Offset(offset)) => Some(offset),
        None => None,
    };
    let answer = match fetch(index, scope, Some(limit), offset.as_deref()).await {
        Err(error) if offset.is_none() && status_of(&error) == Some(500) => {
            return Ok(cut(everything(index, scope).await?, None, limit));
        }
        answer => answer?,
    };
    let next = answer.next_offset()?.map(|offset| format!("{OFFSET}{offset}"));
    let tags = tags(scope, answer);
    if next.is_none() && offset.is_none() && tags.len() > limit {
        return Ok(cut(tags, None, limit));
    }
    Ok(TagPage { tags, next })
}

/// All tags in `scope`, asked for without a limit; a server that pages all the same is followed.
async fn everything(index: &BuildIndex, scope: TagScope<'_>) -> Result<Vec<Tag>> {
    let mut all = Vec::new();
    let mut offset = None;
    loop {
        let answer = fetch(index, scope, None, offset.as_deref()).await?;
        let next = answer.next_offset()?;
        all.extend(tags(scope, answer));
        if all.len() > limits::TAGS_LISTED_MAX {
            let message = format!("list tags: more than {}", limits::TAGS_LISTED_MAX);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if next.is_none() {
            return Ok(all);
        }
        if next == offset {
            let message = "list tags: the next page is the same page";
            return Err(Error::new(ErrorKind::Internal, message));
        }
        offset = next;
    }
}

/// The first `limit` tags in order, after `after`.
fn cut(mut all: Vec<Tag>, after: Option<&Tag>, limit: usize) -> TagPage {
    all.sort_unstable();
    all.dedup();
    let mut rest = all.into_iter().filter(|tag| after.is_none_or(|after| tag > after)).peekable();
    let tags: Vec<Tag> = rest.by_ref().take(limit).collect();
    let next = match (rest.peek(), tags.last()) {
        (Some(_), Some(last)) => Some(format!("{AFTER}{last}")),
        _ => None,
    };
    TagPage { tags, next }
}

async fn fetch(
    index: &BuildIndex,
    scope: TagScope<'_>,
    limit: Option<usize>,
    offset: Option<&str>,
) -> Result<ListResponse> {
    let mut query = Vec::new();
    if let Some(limit) = limit {
        query.push(format!("limit={limit}"));
    }
    if let Some(offset) = offset {
        query.push(format!("offset={}", utf8_percent_encode(offset, NON_ALPHANUMERIC)));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let path = &*format!("{}{mark}{}", list_path(scope), query.join("&"));
    index
        .ask(|host| async move {
            let request = Request::to(Method::GET, host, path).head_timeout(LIST);
            index.client.send(request).await?.json(limits::LISTING_BYTES_MAX).await
        })
        .await
}

fn list_path(scope: TagScope<'_>) -> String {
    match scope {
        TagScope::All => "/list/".into(),
        TagScope::Under(prefix) => {
            let escaped: Vec<String> = prefix.split('/').map(escape_segment).collect();
            format!("/list/{}", escaped.join("/"))
        }
        TagScope::Repository(repository) => {
            format!("/repositories/{}/tags", escape_segment(repository.as_str()))
        }
    }
}

/// The tags of an answer: names of tags in a repository's, `repo:tag` in others. What is neither
/// is left out.
fn tags(scope: TagScope<'_>, answer: ListResponse) -> Vec<Tag> {
    let names = answer.result.unwrap_or_default().into_iter();
    match scope {
        TagScope::Repository(repository) => names
            .filter_map(|name| name.parse().ok())
            .map(|name| Tag { repository: repository.clone(), name })
            .collect(),
        TagScope::All | TagScope::Under(_) => names.filter_map(|name| name.parse().ok()).collect(),
    }
}

/// Before a server's offset in a token.
const OFFSET: &str = "offset:";

/// Before the last tag in a token.
const AFTER: &str = "after:";

/// For a listing: uber/kraken's timeout.
const LIST: Duration = Duration::from_secs(60);
