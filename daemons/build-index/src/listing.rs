//! Listings as uber/kraken answers them: pages linked by paths.

use http::Uri;
use kraken_backends::build_index::{Links, ListResponse};
use kraken_backends::{Page, TagScope, limits as backend_limits};
use kraken_common::Query;
use kraken_common::answer::{self, Answer};
use kraken_core::http::escape_segment;
use kraken_core::{Error, Result, Tag};

use crate::limits;
use crate::tags::Tags;

/// Answers a listing of `scope` that was asked for at `uri`, each tag shown by `show`.
pub(crate) async fn list(
    tags: &Tags,
    scope: TagScope<'_>,
    uri: &Uri,
    show: fn(&Tag) -> String,
) -> Result<Answer> {
    let asked = Asked::of(uri)?;
    let mut page =
        Page { token: asked.offset, limit: asked.limit.unwrap_or(backend_limits::PAGE_LIMIT_MAX) };
    let mut result: Vec<String> = Vec::new();
    // A client that asked for no limit expects everything at once.
    let next = loop {
        let found = tags.list(scope, &page).await?;
        result.extend(found.tags.iter().map(show));
        match found.next {
            None => break None,
            Some(next) if asked.limit.is_some() || result.len() >= limits::LISTED_AT_ONCE_MAX => {
                break Some(next);
            }
            Some(next) => page = page.after(next),
        }
    };
    let this = uri.path_and_query().map_or_else(|| uri.path(), |whole| whole.as_str());
    let links = Links {
        next: next.map_or_else(String::new, |next| next_link(uri.path(), asked.limit, &next)),
        this: this.to_owned(),
    };
    answer::json(&ListResponse { links, size: result.len() as u64, result: Some(result) })
}

/// What a listing's query asks for.
#[derive(Debug, PartialEq, Eq, Default)]
struct Asked {
    limit: Option<usize>,
    offset: Option<String>,
}

impl Asked {
    /// Only `limit` and `offset` are known, each at most once.
    fn of(uri: &Uri) -> Result<Self> {
        let mut asked = Self::default();
        for (key, value) in Query::of(uri)?.iter() {
            let is_first = match key {
                "limit" => asked.limit.replace(limit(value)?).is_none(),
                "offset" => asked.offset.replace(value.to_owned()).is_none(),
                _ => return Err(Error::invalid(format!("invalid query {key}"))),
            };
            if !is_first {
                return Err(Error::invalid(format!("invalid query {key}: given twice")));
            }
        }
        Ok(asked)
    }
}

fn limit(value: &str) -> Result<usize> {
    match value.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(Error::invalid(format!("invalid limit {value}"))),
    }
}

fn next_link(path: &str, limit: Option<usize>, offset: &str) -> String {
    let limit = limit.map_or_else(String::new, |limit| format!("limit={limit}&"));
    // In a query `+` would be a space, and `&` the end.
    let offset = escape_segment(offset).replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    format!("{path}?{limit}offset={offset}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Asked> {
        Asked::of(&format!("/list/{query}").parse().unwrap())
    }

    #[test]
    fn queries() {
        let whole = Asked { limit: Some(5), offset: Some("a/b:c".into()) };
        assert_eq!(asked("?limit=5&offset=a%2Fb%3Ac").unwrap(), whole);
        assert_eq!(asked("").unwrap(), Asked::default());
        for bad in ["?limit=0", "?limit=-1", "?limit=x", "?limit=1&limit=2", "?n=1", "?offset=%"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_survive_a_round_trip() {
        for token in ["plain", "a+b&c=d", "ä/%41 ?#"] {
            let link = next_link("/list/x", Some(3), token);
            let query = link.strip_prefix("/list/").unwrap().strip_prefix('x').unwrap();
            assert_eq!(asked(query).unwrap().offset.as_deref(), Some(token), "{link}");
        }
    }
}
