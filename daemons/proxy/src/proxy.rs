//! A proxy as it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request};
use kraken_backends::origin::OriginConfig;
use kraken_backends::{BuildIndex, OriginCluster};
use kraken_common::answer::{self, Answer};
use kraken_common::metrics::routes;
use kraken_common::{Body, Cleaner, Companion, Role, Server, Serving, blocking};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::store::{Area, Store};
use kraken_core::{Digest, Error, ErrorKind, Result};
use kraken_registry_api::Registry;
use tokio::task::JoinSet;

use crate::config::ProxyConfig;
use crate::metrics;
use crate::parts::Parts;
use crate::registry::ProxyRegistry;

/// A running proxy. Dropping it does not end it in order; [`Proxy::close`] does.
#[derive(Debug)]
pub struct Proxy {
    /// At least one.
    serving: Vec<Serving>,
    addr: SocketAddr,
    /// Drops idle sessions; it ends with the proxy.
    sweep: JoinSet<()>,
    /// Follows the hosts of origins and build-indexes.
    following: Companion,
    cleaner: Cleaner,
}

impl Proxy {
    /// Opens the upload area and listens.
    pub async fn start(config: ProxyConfig) -> Result<Self> {
        let servers = config.listen.iter().map(|addr| Server::bind(*addr, "the proxy", PORT));
        let servers = servers.collect::<Result<_>>()?;
        Self::serve(servers, config).await
    }

    /// As [`Proxy::start`], by servers that listen already.
    pub(crate) async fn serve(servers: Vec<Server>, config: ProxyConfig) -> Result<Self> {
        let Some(addr) = servers.first().map(Server::addr) else {
            return Err(Error::invalid("listen: a proxy needs an address"));
        };
        let areas = [(Area::Uploads, config.upload_cleanup), (Area::Cache, config.cache_cleanup)];
        let ProxyConfig { store, origins, build_indexes, .. } = config;
        let known = origins.at_start().await.map_err(|e| e.context("origin.hosts"))?;
        let known_tags =
            build_indexes.at_start().await.map_err(|e| e.context("build_index.hosts"))?;
        let store = blocking("open the store", move || Store::open(store)).await;
        let store = store.map_err(|error| error.context("castore"))?;
        let client = Client::new(ClientConfig::default());
        let cluster = OriginConfig::default();
        let parts = Arc::new(Parts {
            store,
            origins: OriginCluster::new(known.clone(), client.clone(), cluster)?,
            build_index: BuildIndex::new(known_tags.clone(), client.clone())?,
        });
        let following = Companion::spawn({
            let parts = Arc::clone(&parts);
            async move {
                let origins = origins.follow(known, &client, |hosts| {
                    warn(parts.origins.set_hosts(hosts), "origins stay as they were");
                });
                let build_indexes = build_indexes.follow(known_tags, &client, |hosts| {
                    warn(parts.build_index.set_hosts(hosts), "build-indexes stay as they were");
                });
                tokio::join!(origins, build_indexes);
            }
        });
        let cleaner = Cleaner::start(&parts.store, areas);
        let backend = ProxyRegistry::new(Arc::clone(&parts));
        let mut sweep = JoinSet::new();
        sweep.spawn(backend.sessions.clone().sweep());
        let metrics = metrics::of(Arc::clone(&backend));
        let registry = Registry::from_arc(backend);
        let serving = servers.into_iter().map(|server| {
            let (parts, registry) = (Arc::clone(&parts), registry.clone());
            let server = server.with_metrics(&metrics, routes::REGISTRY).exposing(metrics.clone());
            server.spawn(move |request| answer(Arc::clone(&parts), registry.clone(), request))
        });
        Ok(Self { serving: serving.collect(), addr, sweep, following, cleaner })
    }

    /// Where clients push to and pull from; the first address of several.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where clients push to and pull from.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.serving.iter().map(Serving::addr).collect()
    }

    /// Lets requests under way end and joins every task.
    pub async fn close(mut self) -> Result<()> {
        join_all(self.serving.into_iter().map(Serving::close)).await;
        self.following.close().await;
        self.sweep.shutdown().await;
        self.cleaner.close().await;
        Ok(())
    }
}

impl Role for Proxy {
    type Config = ProxyConfig;

    const NAME: &'static str = "kraken-proxy";

    fn start(config: ProxyConfig) -> impl Future<Output = Result<Self>> + Send {
        Self::start(config)
    }

    fn close(self) -> impl Future<Output = Result<()>> + Send {
        self.close()
    }
}

pub(crate) async fn answer<B>(
    parts: Arc<Parts>,
    registry: Registry<ProxyRegistry>,
    request: Request<B>,
) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Some(answer) = health(&parts, &request).await {
        return answer;
    }
    registry.answer(request).await.map(Body::new)
}

fn warn(changed: Result<()>, what: &str) {
    if let Err(error) = changed {
        tracing::warn!(%error, "{what}");
    }
}

/// The answer to `/health` and `/readiness`; `None` for any other path.
async fn health<B>(parts: &Parts, request: &Request<B>) -> Option<Answer> {
    if request.method() != Method::GET {
        return None;
    }
    match request.uri().path() {
        "/health" => Some(answer::ok()),
        "/readiness" => {
            let probe = Digest::sha256(b"readiness");
            let (origins, tags) =
                tokio::join!(parts.origins.ready(&probe), parts.build_index.ready());
            let failures: Vec<String> = [origins, tags]
                .into_iter()
                .filter_map(|r| r.err().map(|e| e.to_string()))
                .collect();
            Some(if failures.is_empty() {
                answer::ok()
            } else {
                answer::not_ready(&Error::new(ErrorKind::Unavailable, failures.join("; ")))
            })
        }
        _ => None,
    }
}

/// The flags that move the ports, for errors.
const PORT: &str = "--port";
