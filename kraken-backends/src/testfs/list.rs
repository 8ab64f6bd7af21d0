//! One page of a listing, which the server gives only whole.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use kraken_core::http::{Method, Request, status_of};
use kraken_core::{Error, Result};
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};

use super::{TestFsBackend, escape, path_components};
use crate::backend::{ListPage, Page};
use crate::limits;
use crate::name::ObjectName;
use crate::pather::Pather;

/// Reads a listing and keeps the names of one page and one more, so that the memory a listing takes
/// is that of its text. Names are in the order of their text, whatever the server's is.
struct PageOf<'a> {
    pather: &'a Pather,
    /// What paths must be below; empty for any.
    top: &'a str,
    after: Option<&'a ObjectName>,
    limit: usize,
}

pub(super) async fn page(backend: &TestFsBackend, prefix: &str, page: &Page) -> Result<ListPage> {
    let (token, limit) = page.checked()?;
    let after = token
        .map(str::parse)
        .transpose()
        .map_err(|error: Error| error.context("token of a testfs listing"))?;
    let mut top = path_components(&backend.pather.base_path())?;
    top.extend(path_components(prefix)?);
    let top = top.join("/");
    let listing = match fetch(backend, &top).await {
        // Either there is no such directory or it cannot be read; the root is always there.
        Err(error) if !top.is_empty() && status_of(&error) == Some(500) => {
            fetch(backend, "").await.map_err(|second| second.context(format!("after {error}")))?
        }
        result => result?,
    };
    let page_of = PageOf { pather: &backend.pather, top: &top, after: after.as_ref(), limit };
    page_of.read(&listing).map_err(|error| {
        Error::invalid(format!("listing of testfs {}", backend.addr)).with_source(error)
    })
}

async fn fetch(backend: &TestFsBackend, top: &str) -> Result<Bytes> {
    let path = format!("/list/{}", escape(top));
    let answer = backend.send(Request::to(Method::GET, &*backend.addr, path)).await?;
    answer.bytes(limits::FILE_LISTING_BYTES_MAX).await
}

impl PageOf<'_> {
    fn read(self, listing: &[u8]) -> serde_json::Result<ListPage> {
        let limit = self.limit;
        let mut json = serde_json::Deserializer::from_slice(listing);
        let mut names = json.deserialize_any(self)?;
        json.end()?;
        let more = names.len() > limit;
        if more {
            names.pop_last();
        }
        let next = names.last().filter(|_| more).map(ToString::to_string);
        Ok(ListPage { names: names.into_iter().collect(), next })
    }

    fn name(&self, path: &str) -> Option<ObjectName> {
        let is_below = self.top.is_empty()
            || path.strip_prefix(self.top).is_some_and(|below| below.starts_with('/'));
        // Files that are no objects were put there by someone else.
        let name = self.pather.name(path).filter(|_| is_below)?;
        self.after.is_none_or(|after| name > *after).then_some(name)
    }
}

impl<'de> Visitor<'de> for PageOf<'_> {
    type Value = BTreeSet<ObjectName>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("paths of files, or null")
    }

    /// Go's JSON of no paths.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut paths: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(path) = paths.next_element::<String>()? {
            names.extend(self.name(&path));
            if names.len() > self.limit.saturating_add(1) {
                names.pop_last();
            }
        }
        Ok(names)
    }
}
