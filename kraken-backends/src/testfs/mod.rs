//! The client of a testfs, the HTTP file server that stands in for storage in tests.

mod download;
mod list;
#[cfg(test)]
mod tests;

use std::ops::Range;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use kraken_core::http::{Body, Client, Method, Request, Response, escape_segment, status_of};
use kraken_core::{Error, ErrorKind, Namespace, Result};

use crate::backend::{BlobBackend, BlobStat, ListPage, Page, Version, resolve_range};
use crate::name::{ObjectName, prefix_components};
use crate::pather::{Layout, Pather};
use crate::source::{BlobStream, UploadSource};

/// Objects as files of a testfs, ours or uber/kraken's; a clone shares the connections.
///
/// It keeps the contract of [`BlobBackend`] as far as the servers do, which have no pages, versions
/// or deletes:
///
/// - A page is cut out of the whole listing, and a range out of the whole file as it arrives where
///   the server knows no ranges, as uber/kraken's does not.
/// - `stat` tells no version, and `delete` and a download of a version are `Unsupported`.
/// - They take a colon for a slash. Only [`Layout::Identity`] has paths with one: there `a:b` and
///   `a/b` are one object, which is listed as `a/b`.
/// - uber/kraken's leaves what arrived of an upload that broke off, and takes a directory for an
///   object in `stat`. It also makes every request wait while an upload is under way, and an
///   upload while a download is.
///
/// Waits are bounded by the client's deadlines on silence. Errors keep the status that was answered
/// ([`status_of`]); a 500, by which the server reports what its own disk refused, is `Io`.
#[derive(Debug, Clone)]
pub struct TestFsBackend {
    addr: String,
    pather: Pather,
    client: Client,
}

/// Where a [`TestFsBackend`] keeps its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFsBackendConfig {
    /// The server, as `host:port`.
    pub addr: String,
    /// The directory of the server below which everything is kept; may be empty. Slashes at its
    /// ends mean nothing.
    pub root: String,
    /// How names become paths below the root: uber/kraken's `name_path`.
    pub layout: Layout,
}

impl TestFsBackend {
    /// The backend on the server at `config.addr`, which is not contacted yet.
    pub fn new(config: TestFsBackendConfig, client: Client) -> Result<Self> {
        if config.addr.is_empty() {
            return Err(Error::invalid("testfs backend: no address"));
        }
        let root = path_components(&config.root)
            .map_err(|error| error.context("root of a testfs backend"))?
            .join("/");
        Ok(Self { addr: config.addr, pather: Pather::new(config.layout, &root), client })
    }

    /// The server's address.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    async fn len(&self, name: &ObjectName) -> Result<u64> {
        let answer = self.send(self.to_file(Method::HEAD, name)?).await?;
        let size = answer.header("size").and_then(|size| size.parse().ok());
        size.filter(|len| *len <= kraken_core::limits::BLOB_LEN_MAX).ok_or_else(|| {
            let message = format!("testfs {} tells no size of {name}", self.addr);
            Error::new(ErrorKind::Internal, message)
        })
    }

    fn to_file(&self, method: Method, name: &ObjectName) -> Result<Request> {
        let path = escape(&self.pather.path(name)?);
        Ok(Request::to(method, &*self.addr, format!("/files/{path}")))
    }

    async fn send(&self, request: Request) -> Result<Response> {
        self.client.send(request.expect(&[200, 206])).await.map_err(|error| {
            match status_of(&error) {
                Some(500) => Error::new(ErrorKind::Io, "ask a testfs").with_source(error),
                _ => error,
            }
        })
    }
}

#[async_trait]
impl BlobBackend for TestFsBackend {
    async fn stat(&self, _: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        Ok(BlobStat { len: self.len(name).await?, version: None })
    }

    async fn download(
        &self,
        _: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        if version.is_some() {
            let message = format!("download a version of {name}: a testfs knows none");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        // uber/kraken's does not declare the length of what it sends. It must be asked for before:
        // during a download, an upload that waits for its end would keep the answer back.
        let len = self.len(name).await?;
        if resolve_range(name, range.clone(), len)?.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let mut request = self.to_file(Method::GET, name)?;
        if let Some(Range { start, end }) = &range {
            let asked = format!("bytes={start}-{}", end - 1);
            request = request.header("range", asked);
        }
        let answer = self.send(request).await?;
        let told = answer.header("content-range").unwrap_or_default();
        if let Some(Range { start, end }) = &range
            && told.starts_with(&format!("bytes {start}-{}/", end - 1))
        {
            let len = end - start;
            return Ok(download::cut(answer.stream(), name.clone(), len, 0..len));
        }
        // The file may have been replaced since.
        let len = answer.content_length().unwrap_or(len);
        let range = resolve_range(name, range, len)?;
        Ok(download::cut(answer.stream(), name.clone(), len, range))
    }

    async fn upload(
        &self,
        _: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        let request = self.to_file(Method::POST, name)?;
        let body = Body::stream(source.len(), source.open(0..source.len()).await?);
        self.send(request.body(body)).await.map(drop)
    }

    async fn list(&self, _: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        list::page(self, prefix, page).await
    }

    async fn delete(&self, _: &Namespace, name: &ObjectName) -> Result<()> {
        // A name without a place is `Invalid` here too.
        self.pather.path(name)?;
        let message = format!("delete {name}: a testfs keeps what it has");
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// The components of a path as the server reads it.
fn path_components(path: &str) -> Result<Vec<String>> {
    let path = path.replace(':', "/");
    Ok(prefix_components(&path)?.into_iter().map(str::to_owned).collect())
}

/// The path for use in a URL.
fn escape(path: &str) -> String {
    path.split('/').map(escape_segment).collect::<Vec<_>>().join("/")
}
