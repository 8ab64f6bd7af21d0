//! A proxy as it runs.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::service::Service as _;
use kraken_backends::origin::OriginConfig;
use kraken_backends::{BuildIndex, OriginCluster};
use kraken_common::answer::{self, Answer};
use kraken_common::{Body, RequestBody, Role, Server, Serving, blocking};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::store::{Store, StoreConfig};
use kraken_core::{Digest, Result};
use kraken_registry_api::Registry;
use tokio::task::JoinSet;

use crate::config::ProxyConfig;
use crate::parts::Parts;
use crate::registry::ProxyRegistry;

/// A running proxy. Dropping it does not end it in order; [`Proxy::close`] does.
#[derive(Debug)]
pub struct Proxy {
    serving: Serving,
    /// Drops idle sessions; it ends with the proxy.
    sweep: JoinSet<()>,
}

impl Proxy {
    /// Opens the upload area and listens.
    pub async fn start(config: ProxyConfig) -> Result<Self> {
        let server = Server::bind(config.listen, "the proxy", "listen")?;
        Self::serve(server, config).await
    }

    /// As [`Proxy::start`], by a server that listens already.
    pub(crate) async fn serve(server: Server, config: ProxyConfig) -> Result<Self> {
        let under = StoreConfig::under(&config.data_dir);
        // Uploads in progress need not survive a power failure.
        let store = StoreConfig { download_dir: None, durable: false, ..under };
        let store = blocking("open the store", move || Store::open(store)).await?;
        let client = Client::new(ClientConfig::default());
        let origins = config.origins;
        let parts = Arc::new(Parts {
            store,
            origins: OriginCluster::new(origins, client.clone(), OriginConfig::default())?,
            build_index: BuildIndex::new(config.build_indexes, client)?,
        });
        let backend = ProxyRegistry::new(Arc::clone(&parts));
        let mut sweep = JoinSet::new();
        sweep.spawn(backend.sessions.clone().sweep());
        let registry = Registry::from_arc(backend);
        let serving = server.spawn(move |request: Request<RequestBody>| {
            let (parts, registry) = (Arc::clone(&parts), registry.clone());
            async move {
                if let Some(answer) = health(&parts, &request).await {
                    return answer;
                }
                match registry.call(request).await {
                    Ok(response) => response.map(Body::new),
                    Err(never) => match never {},
                }
            }
        });
        Ok(Self { serving, sweep })
    }

    /// Where clients push to and pull from.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// Lets requests under way end and joins every task.
    pub async fn close(mut self) -> Result<()> {
        self.serving.close().await;
        self.sweep.shutdown().await;
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

/// The answer to `/health` and `/readiness`; `None` for any other path.
async fn health(parts: &Parts, request: &Request<RequestBody>) -> Option<Answer> {
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
                answer::text(StatusCode::SERVICE_UNAVAILABLE, failures.join("\n"))
            })
        }
        _ => None,
    }
}
