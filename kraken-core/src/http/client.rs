//! The client: sends requests over pooled connections, under deadlines on silence.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Method, Uri, header};
use futures_util::future::{Either, select};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::{OutBody, Progress};
use super::connect::{Connector, TimedConnector, Used, tcp_connector};
use super::failure::{NetworkCause, NetworkError, StatusError, is_transient};
use super::limits::{
    HEADERS_MAX, READ_BUF_LEN_MAX, RETRIES_MAX, RETRY_PAUSE, STATUS_BODY_LEN_MAX,
    STATUS_BODY_WAIT_MAX,
};
use super::{Request, Response};
use crate::{Error, ErrorKind, Result};

/// An HTTP client with its pool of connections; a clone shares the pool.
///
/// It must be used inside a tokio runtime. Connections are driven by tasks of that runtime, which
/// end when the last clone and the last response are gone.
#[derive(Clone)]
pub struct Client {
    pool: legacy::Client<TimedConnector, OutBody>,
    config: Arc<ClientConfig>,
    plain_only: bool,
}

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Longest time a connection may take to be made, names and TLS included.
    pub connect_timeout: Duration,
    /// Longest silence before a response head, counted from the last chunk of the request body
    /// that the connection took. A request may say otherwise.
    pub head_timeout: Duration,
    /// Longest silence within a response body. A request may say otherwise.
    pub body_idle_timeout: Duration,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept for each host.
    pub pool_idle_per_host_max: usize,
    /// Speak HTTP/2 without asking. Otherwise HTTP/1.1, or HTTP/2 where the connector says that it
    /// was negotiated.
    pub http2_only: bool,
    /// The scheme of requests made by [`Request::to`].
    pub scheme: Scheme,
    /// The `User-Agent` of requests that set none.
    pub user_agent: HeaderValue,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Plain TCP.
    #[default]
    Http,
    /// TLS, by a connector handed in.
    Https,
}

/// An attempt that failed.
struct Failed {
    error: Error,
    /// A connection that had answered before went away under this request: the server may have
    /// closed it as idle at the same moment.
    stale: bool,
}

impl Client {
    /// A client for `http` URLs.
    pub fn new(config: ClientConfig) -> Self {
        let mut tcp = tcp_connector();
        tcp.enforce_http(true);
        // Leaves time to try the second address of a name.
        tcp.set_connect_timeout(Some(config.connect_timeout));
        Self { plain_only: true, ..Self::with_connector(config, Connector::new(tcp)) }
    }

    /// A client whose connections `connector` makes; it decides what it does with each scheme.
    pub fn with_connector(config: ClientConfig, connector: Connector) -> Self {
        let pool = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.pool_idle_timeout)
            .pool_max_idle_per_host(config.pool_idle_per_host_max)
            .http1_max_buf_size(READ_BUF_LEN_MAX)
            .http1_max_headers(HEADERS_MAX)
            .http2_only(config.http2_only)
            .http2_adaptive_window(true)
            .retry_canceled_requests(true)
            .build(TimedConnector::new(connector, config.connect_timeout));
        Self { pool, config: Arc::new(config), plain_only: false }
    }

    /// Sends `request` and waits for the response head.
    ///
    /// A status that the request does not expect is an error, see [`status_of`](super::status_of).
    /// An idempotent request whose pooled connection the server closed meanwhile is sent once
    /// more. Cancelling by dropping the future gives up the connection.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let idempotent = request.method.is_idempotent();
        let again = if idempotent { request.try_clone() } else { None };
        match (self.attempt(request).await, again) {
            (Err(Failed { stale: true, .. }), Some(again)) => {
                self.attempt(again).await.map_err(|failed| failed.error)
            }
            (result, _) => result.map_err(|failed| failed.error),
        }
    }

    /// Sends `request`, and twice more after 250 ms each if there is no answer or one of 429, 502,
    /// 503 and 504. A body that can be sent only once is not retried.
    ///
    /// The caller vouches that the request may arrive twice.
    pub async fn send_retry(&self, request: Request) -> Result<Response> {
        let mut request = request;
        for _ in 0..RETRIES_MAX {
            let Some(again) = request.try_clone() else { break };
            match self.send(request).await {
                Err(error) if is_transient(&error) => tokio::time::sleep(RETRY_PAUSE).await,
                result => return result,
            }
            request = again;
        }
        self.send(request).await
    }

    async fn attempt(&self, mut request: Request) -> Result<Response, Failed> {
        let uri = request.uri(self.config.scheme)?;
        let what: Arc<str> = format!("{} {}", request.method, Shown(&uri)).into();
        if self.plain_only && uri.scheme_str() != Some("http") {
            let message = format!("{what}: this client speaks plain http only");
            return Err(Error::new(ErrorKind::Unsupported, message).into());
        }
        let response = self.exchange(&mut request, uri, &what).await?;
        if let Some(used) = response.extensions().get::<Used>() {
            used.set();
        }
        let idle_timeout = request.body_idle_timeout.unwrap_or(self.config.body_idle_timeout);
        let response = Response::new(response, Arc::clone(&what), idle_timeout);
        if request.is_expected(response.status()) {
            return Ok(response);
        }
        let (status, headers, mut body) = response.into_parts();
        let reading = body.read_head(STATUS_BODY_LEN_MAX);
        let text = tokio::time::timeout(STATUS_BODY_WAIT_MAX, reading).await.unwrap_or_default();
        Err(StatusError::new(status, headers, &text).into_error(&what).into())
    }

    /// Sends the request's head and body and waits for the response head.
    async fn exchange(
        &self,
        request: &mut Request,
        uri: Uri,
        what: &str,
    ) -> Result<::http::Response<Incoming>, Failed> {
        let head_timeout = request.head_timeout.unwrap_or(self.config.head_timeout);
        let body = std::mem::take(&mut request.body);
        let mut out = ::http::Request::new(());
        *out.method_mut() = request.method.clone();
        *out.uri_mut() = uri;
        *out.headers_mut() = std::mem::take(&mut request.headers);
        let headers = out.headers_mut();
        headers.entry(header::USER_AGENT).or_insert_with(|| self.config.user_agent.clone());
        // hyper leaves it out for an empty body, and some servers answer 411 to that.
        if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let progress = Progress::new();
        let body = body.open(Arc::clone(&progress)).await.map_err(|e| e.context(what))?;
        let sent = self.pool.request(out.map(|()| body));
        let answer = match select(sent, pin!(silence(&progress, head_timeout))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                let detail = format!("after {head_timeout:?}");
                let failure = NetworkError::new(NetworkCause::HeadTimeout, detail);
                return Err(failure.into_error(what).into());
            }
        };
        answer.map_err(|error| {
            if let Some(failure) = progress.take_failure() {
                return failure.context(what).into();
            }
            let stale = was_used(&error);
            let failure = NetworkError::classify(&error, error.is_connect());
            Failed { error: failure.into_error(what), stale }
        })
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(60),
            body_idle_timeout: Duration::from_secs(30),
            pool_idle_timeout: Duration::from_secs(90),
            pool_idle_per_host_max: 32,
            http2_only: false,
            scheme: Scheme::Http,
            user_agent: HeaderValue::from_static(concat!("kraken/", env!("CARGO_PKG_VERSION"))),
        }
    }
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", &self.config).finish_non_exhaustive()
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, stale: false }
    }
}

/// A URL as errors show it: without user and query, where secrets travel.
struct Shown<'a>(&'a Uri);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.0;
        write!(f, "{}://", uri.scheme_str().unwrap_or_default())?;
        f.write_str(uri.host().unwrap_or_default())?;
        if let Some(port) = uri.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(uri.path())?;
        if uri.query().is_some() { f.write_str("?..") } else { Ok(()) }
    }
}

/// Returns once nothing of the request body has been taken for `timeout`.
async fn silence(progress: &Progress, timeout: Duration) {
    let mut last = progress.last();
    loop {
        tokio::time::sleep_until(last + timeout).await;
        let latest = progress.last();
        if latest == last {
            return;
        }
        last = latest;
    }
}

fn was_used(error: &legacy::Error) -> bool {
    let mut extensions = ::http::Extensions::new();
    if let Some(info) = error.connect_info() {
        info.get_extras(&mut extensions);
    }
    extensions.get::<Used>().is_some_and(Used::is_set)
}
