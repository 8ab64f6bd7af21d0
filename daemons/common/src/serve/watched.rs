//! What goes on round every handler: the access log, and what is counted.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use kraken_core::{Cause, ErrorKind};

use super::ClientAddr;
use crate::body::{Body, BoxError, RequestBody, Stall};
use crate::metrics::{Connected, Counted, Metrics, Requests, UnderWay};

/// What a server counts, and what it tells of that.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// Where requests are counted, and the classes of their paths.
    pub(super) counted: Option<(Requests, &'static [&'static str])>,
    /// What `GET /metrics` is answered with.
    pub(super) exposed: Option<Metrics>,
}

/// A handler, and what goes on round it.
#[derive(Debug, Clone)]
pub(super) struct Watched<H> {
    pub(super) handler: H,
    pub(super) watch: Watch,
}

impl Watch {
    /// A client has connected.
    pub(super) fn connected(&self) -> Option<Connected> {
        self.counted.as_ref().map(|(requests, _)| requests.connected())
    }

    fn begin(&self, method: &Method, path: &str) -> Option<UnderWay> {
        let (requests, routes) = self.counted.as_ref()?;
        let routes = if path == METRICS { METRICS_ROUTES } else { routes };
        Some(requests.begin(method, path, routes))
    }
}

impl<H> Watched<H> {
    /// Runs the handler, counts, and writes the access log: failures of ours as warnings, whatever
    /// their status, those of clients at info but for a 404, the rest at debug, what is asked all
    /// the time not at all. One line, with its cause, is all that is said of a request that is
    /// refused.
    pub(super) async fn answer<F, B>(
        &self,
        mut request: Request<RequestBody>,
        stall: &Stall,
        client: SocketAddr,
    ) -> Response<Counted>
    where
        H: Fn(Request<RequestBody>) -> F,
        F: Future<Output = Response<B>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        request.extensions_mut().insert(ClientAddr(client));
        let start = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let mut under_way = self.watch.begin(&method, &path);
        let mut response = match &self.watch.exposed {
            Some(metrics) if method == Method::GET && path == METRICS => {
                metrics.answer(request.headers()).await
            }
            _ => (self.handler)(request).await.map(Body::new),
        };
        if stall.happened() && response.status().as_u16() >= 400 {
            // Whatever the handler made of it, the client was too slow, and may try again.
            *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        }
        if let Some(under_way) = &mut under_way {
            under_way.answered(response.status());
        }
        let status = response.status().as_u16();
        let told = response.extensions().get::<Cause>();
        let cause = told.map_or("", Cause::text);
        let duration_ms = start.elapsed().as_millis() as u64;
        let is_routine =
            method == Method::GET && ["/health", "/readiness", METRICS].contains(&path.as_str());
        let stands_for = told.and_then(Cause::stands_for);
        let is_failure = status != 404 || stands_for.is_some();
        if status >= 500 || stands_for == Some(ErrorKind::Unavailable) {
            tracing::warn!(status, %method, path, %client, duration_ms, "{cause}");
        } else if status >= 400 && is_failure {
            tracing::info!(status, %method, path, %client, duration_ms, "{cause}");
        } else if !is_routine {
            tracing::debug!(status, %method, path, %client, duration_ms, "{cause}");
        }
        response.map(|body| Counted::new(body, under_way))
    }
}

/// Where metrics are told; no API of uber/kraken and no registry has such a path.
const METRICS: &str = "/metrics";
const METRICS_ROUTES: &[&str] = &[METRICS];
