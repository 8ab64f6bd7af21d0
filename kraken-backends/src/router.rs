//! Which backend a namespace belongs to.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use kraken_core::{Error, ErrorKind, Namespace, Result};
use regex::Regex;

use crate::backend::{BlobBackend, BlobStat, ListPage, Page, Version};
use crate::name::ObjectName;
use crate::source::{BlobStream, UploadSource};

/// Picks a backend by the namespace: the first route whose pattern matches anywhere in it, as in
/// uber/kraken.
///
/// The namespace `__noop__` always goes to a backend that keeps nothing. A namespace that no route
/// matches is `Unsupported`, so it is never taken for a blob that does not exist.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
}

/// One entry of a [`Router`].
#[derive(Debug)]
pub struct Route {
    pattern: Regex,
    backend: Arc<dyn BlobBackend>,
    must_ready: bool,
}

/// A backend that keeps nothing: uploads succeed, nothing is ever found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noop;

impl Route {
    /// A route for namespaces in which `pattern` matches, unanchored.
    pub fn new(pattern: &str, backend: Arc<dyn BlobBackend>) -> Result<Self> {
        let pattern = Regex::new(pattern).map_err(|error| {
            Error::invalid(format!("backend namespace {pattern:?}")).with_source(error)
        })?;
        Ok(Self { pattern, backend, must_ready: false })
    }

    /// Whether the service is unready while this backend does not answer.
    #[must_use]
    pub fn must_ready(mut self, must_ready: bool) -> Self {
        self.must_ready = must_ready;
        self
    }
}

impl Router {
    /// A router that tries `routes` in order.
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    /// The backend of `namespace`; `Unsupported` if there is none.
    pub fn route(&self, namespace: &Namespace) -> Result<&dyn BlobBackend> {
        if namespace.as_str() == NOOP {
            return Ok(&Noop);
        }
        let found = self.routes.iter().find(|route| route.pattern.is_match(namespace.as_str()));
        match found {
            Some(route) => Ok(&*route.backend),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!("no backend is configured for namespace {namespace:?}"),
            )),
        }
    }

    /// Whether every backend that must be ready answers a stat of `probe`, a name of no object;
    /// that it knows none is an answer.
    pub async fn ready(&self, probe: &ObjectName) -> Result<()> {
        let namespace: Namespace = "readiness".parse()?;
        for route in self.routes.iter().filter(|route| route.must_ready) {
            match route.backend.stat(&namespace, probe).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(
                        error.context(format!("backend of {:?} not ready", route.pattern.as_str()))
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl BlobBackend for Router {
    async fn stat(&self, namespace: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        self.route(namespace)?.stat(namespace, name).await
    }

    async fn download(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<BlobStream> {
        self.route(namespace)?.download(namespace, name, range, version).await
    }

    async fn upload(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        source: &dyn UploadSource,
    ) -> Result<()> {
        self.route(namespace)?.upload(namespace, name, source).await
    }

    async fn list(&self, namespace: &Namespace, prefix: &str, page: &Page) -> Result<ListPage> {
        self.route(namespace)?.list(namespace, prefix, page).await
    }

    async fn delete(&self, namespace: &Namespace, name: &ObjectName) -> Result<()> {
        self.route(namespace)?.delete(namespace, name).await
    }
}

#[async_trait]
impl BlobBackend for Noop {
    async fn stat(&self, _: &Namespace, name: &ObjectName) -> Result<BlobStat> {
        Err(nothing(name))
    }

    async fn download(
        &self,
        _: &Namespace,
        name: &ObjectName,
        _: Option<Range<u64>>,
        _: Option<&Version>,
    ) -> Result<BlobStream> {
        Err(nothing(name))
    }

    async fn upload(&self, _: &Namespace, _: &ObjectName, _: &dyn UploadSource) -> Result<()> {
        Ok(())
    }

    async fn list(&self, _: &Namespace, _: &str, _: &Page) -> Result<ListPage> {
        Ok(ListPage::default())
    }

    async fn delete(&self, _: &Namespace, _: &ObjectName) -> Result<()> {
        Ok(())
    }
}

fn nothing(name: &ObjectName) -> Error {
    Error::not_found(format!("{name}: namespace {NOOP} keeps nothing"))
}

/// The namespace that uber/kraken reserves for keeping nothing.
pub const NOOP: &str = "__noop__";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalDisk;
    use crate::pather::Layout;
    use crate::source::BytesSource;
    use crate::suite;

    async fn disk(dir: &tempfile::TempDir, name: &str) -> Arc<LocalDisk> {
        Arc::new(LocalDisk::open(dir.path().join(name), Layout::Identity).await.unwrap())
    }

    #[tokio::test]
    async fn the_first_pattern_that_matches_anywhere_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (disk(&dir, "one").await, disk(&dir, "two").await);
        let router = Router::new(vec![
            Route::new("app", one.clone()).unwrap(),
            Route::new("^lib(rary)?/", two.clone()).unwrap(),
        ]);
        let name: ObjectName = "x".parse().unwrap();
        for (namespace, holder) in [("library/app", &one), ("library/x", &two)] {
            let namespace = namespace.parse().unwrap();
            router.upload(&namespace, &name, &BytesSource::new("x")).await.unwrap();
            assert!(holder.stat(&namespace, &name).await.is_ok());
            router.delete(&namespace, &name).await.unwrap();
        }
        let error = router.stat(&"other".parse().unwrap(), &name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("\"other\""), "{error}");
        assert!(Route::new("(", one).is_err());
    }

    #[tokio::test]
    async fn a_router_with_one_route_passes_the_suite() {
        let dir = tempfile::tempdir().unwrap();
        let router = Router::new(vec![Route::new(".*", disk(&dir, "one").await).unwrap()]);
        suite::blob_backend(&router, &suite::plain_names).await;
    }

    #[tokio::test]
    async fn noop_swallows_uploads_and_finds_nothing() {
        let router = Router::new(Vec::new());
        let (namespace, name) = (NOOP.parse().unwrap(), "x".parse().unwrap());
        router.upload(&namespace, &name, &BytesSource::new("x")).await.unwrap();
        let error = router.stat(&namespace, &name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let page = router.list(&namespace, "", &Page::first()).await.unwrap();
        assert!(page.names.is_empty());
    }

    #[tokio::test]
    async fn readiness_asks_only_those_that_must_be_ready() {
        let dir = tempfile::tempdir().unwrap();
        let probe = "repo:tag".parse().unwrap();
        // A layout that takes no such name stands for a backend that answers with an error.
        let odd = Arc::new(LocalDisk::open(dir.path(), Layout::ShardedDockerBlob).await.unwrap());
        let good = Route::new("a", disk(&dir, "one").await).unwrap().must_ready(true);
        let routes = vec![good, Route::new("b", odd.clone()).unwrap()];
        Router::new(routes).ready(&probe).await.unwrap();
        let routes = vec![Route::new("b", odd).unwrap().must_ready(true)];
        Router::new(routes).ready(&probe).await.unwrap_err();
    }
}
