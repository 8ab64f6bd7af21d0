//! How connections are made: a connector behind one type, with a deadline.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower_service::Service;

use super::failure::{NetworkCause, NetworkError};

/// Makes connections for a [`Client`](super::Client): plain TCP, or whatever service is handed in.
///
/// A TLS connector (such as hyper-rustls') is any `tower_service::Service<Uri>` whose response is a
/// hyper stream; it says by `Connected::negotiated_h2` that the other side chose HTTP/2.
#[derive(Clone)]
pub struct Connector {
    connect: Arc<dyn Fn(Uri) -> Connecting + Send + Sync>,
}

/// An error of any type, as connectors return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection, whatever it is made of.
pub(super) struct Io {
    stream: Box<dyn Stream>,
    used: Used,
}

/// Whether a connection has answered a request before: only such a one can have been closed by a
/// server that saw it idle.
#[derive(Clone, Default)]
pub(super) struct Used(Arc<AtomicBool>);

/// The connector as the pool uses it, with the connect timeout over all of it: name, TCP, TLS.
#[derive(Clone)]
pub(super) struct TimedConnector {
    connector: Connector,
    timeout: Duration,
}

trait Stream: Read + Write + Connection + Unpin + Send {}

impl<S: Read + Write + Connection + Unpin + Send> Stream for S {}

type Connecting = Pin<Box<dyn Future<Output = Result<Io, BoxError>> + Send>>;

impl Connector {
    /// A connector around `service`, which is cloned for each connection.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Uri> + Clone + Send + Sync + 'static,
        S::Response: Read + Write + Connection + Unpin + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        let connect = move |uri: Uri| -> Connecting {
            let mut service = service.clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let stream = service.call(uri).await.map_err(Into::into)?;
                Ok(Io { stream: Box::new(stream), used: Used::default() })
            })
        };
        Self { connect: Arc::new(connect) }
    }
}

impl Used {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl TimedConnector {
    pub(super) fn new(connector: Connector, timeout: Duration) -> Self {
        Self { connector, timeout }
    }
}

impl Service<Uri> for TimedConnector {
    type Response = Io;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let connecting = (self.connector.connect)(uri);
        let timeout = self.timeout;
        Box::pin(async move {
            tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| {
                let detail = format!("after {timeout:?}");
                Err(NetworkError::new(NetworkCause::ConnectTimeout, detail).into())
            })
        })
    }
}

impl Connection for Io {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.used.clone())
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// The TCP half of a connector, for a TLS connector to wrap: no delay on writes, any scheme.
pub fn tcp_connector() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp
}
