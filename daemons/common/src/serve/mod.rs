//! The HTTP server of every daemon: HTTP/1.1 and HTTP/2 by prior knowledge on one port, everything
//! bounded, ended in order.

mod guard;
mod sendfile;
mod streams;
#[cfg(test)]
mod tests;
mod watched;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use kraken_core::{Error, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::sendfile::SendfileStream;
use self::streams::{Streams, Use};
use self::watched::{Watch, Watched};
use crate::body::{BoxError, RequestBody, Stall};
use crate::limits;
use crate::metrics::Metrics;

/// A bound port, ready to serve.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    drain_max: Duration,
    head_wait_max: Duration,
    read_stall_max: Duration,
    watch: Watch,
}

/// A server that runs in a task of its own.
#[derive(Debug)]
pub struct Serving {
    addr: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The other end of the connection a request came by; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddr(pub SocketAddr);

impl Server {
    /// Binds `addr`. If that fails the error says what wanted the port and which `setting` moves
    /// it elsewhere. Must be called inside a tokio runtime.
    pub fn bind(addr: SocketAddr, what: &str, setting: &str) -> Result<Self> {
        let context = |e: std::io::Error| {
            let hint = match e.kind() {
                std::io::ErrorKind::AddrInUse => "is in use",
                std::io::ErrorKind::PermissionDenied => "needs a permission this process lacks",
                std::io::ErrorKind::AddrNotAvailable => "is not an address of this host",
                _ => "cannot be bound",
            };
            Error::io(format!("`{setting}`: listen for {what}: {addr} {hint}; choose another"), e)
        };
        let listener = listen(addr).map_err(context)?;
        let addr = listener.local_addr().map_err(context)?;
        Ok(Self {
            listener,
            addr,
            drain_max: limits::DRAIN_MAX,
            head_wait_max: limits::HEAD_WAIT_MAX,
            read_stall_max: limits::READ_STALL_MAX,
            watch: Watch::default(),
        })
    }

    /// Counts requests in `metrics`, by the class of their paths: the first of `routes` that
    /// matches. In a route `{digest}` stands for any one segment, `{name..}` for one or more.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &Metrics, routes: &'static [&'static str]) -> Self {
        self.watch.counted = Some((metrics.requests().clone(), routes));
        self
    }

    /// Answers `GET /metrics` with all of `metrics`, ahead of the handler.
    #[must_use]
    pub fn exposing(mut self, metrics: Metrics) -> Self {
        self.watch.exposed = Some(metrics);
        self
    }

    /// How long requests under way at shutdown get.
    #[must_use]
    pub fn with_drain_max(mut self, drain_max: Duration) -> Self {
        self.drain_max = drain_max;
        self
    }

    /// How long a client may take for the head of a request, and how long its connection may idle.
    #[must_use]
    pub fn with_head_wait_max(mut self, head_wait_max: Duration) -> Self {
        self.head_wait_max = head_wait_max;
        self
    }

    /// How long a client may take for [`limits::READ_BYTES_MIN`] of a request's body.
    #[must_use]
    pub fn with_read_stall_max(mut self, read_stall_max: Duration) -> Self {
        self.read_stall_max = read_stall_max;
        self
    }

    /// The address bound: with the port the system chose where port 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves in a task of its own until [`Serving::close`].
    pub fn spawn<H, F, B>(self, handler: H) -> Serving
    where
        H: Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let cancel = CancellationToken::new();
        let addr = self.addr;
        let task = tokio::spawn(self.serve(handler, cancel.clone()));
        Serving { addr, cancel, task }
    }

    /// Serves until `cancel`; then accepts no more, lets the requests under way end until the drain
    /// deadline, breaks the rest off, and returns when every task of it has ended.
    ///
    /// The handler may be dropped at any await when its client goes away.
    pub async fn serve<H, F, B>(self, handler: H, cancel: CancellationToken)
    where
        H: Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { listener, drain_max, head_wait_max, read_stall_max, watch, .. } = self;
        // If this future is dropped, its connections end with it.
        let stop = CancellationToken::new();
        let _stop_on_drop = stop.clone().drop_guard();
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        let sendfile = sendfile::Shared::new();
        while let Some((stream, client, slot)) = accept(&listener, &slots, &cancel).await {
            let builder = http(&tasks, &stop, head_wait_max);
            let stream = SendfileStream::new(stream, &sendfile);
            let (drain, stop) = (cancel.clone(), stop.clone());
            let bounds = Bounds { drain, stop, head_wait_max, read_stall_max };
            let connected = watch.connected();
            let watched = Watched { handler: handler.clone(), watch: watch.clone() };
            let connection = connection(builder, stream, client, watched, bounds);
            tasks.spawn(async move {
                connection.await;
                drop((slot, connected));
            });
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(drain_max, tasks.wait()).await.is_err() {
            stop.cancel();
            tasks.wait().await;
        }
    }
}

impl Serving {
    /// The address served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Drains and joins the server; see [`Server::serve`].
    pub async fn close(mut self) {
        self.cancel.cancel();
        if let Err(e) = (&mut self.task).await {
            tracing::error!(error = %e, "the server's task ended abnormally");
        }
    }
}

impl Drop for Serving {
    /// Without [`Serving::close`] everything is broken off at once.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When and how a connection ends, and how long its client may be silent.
struct Bounds {
    drain: CancellationToken,
    stop: CancellationToken,
    head_wait_max: Duration,
    read_stall_max: Duration,
}

/// hyper's tasks (one for each HTTP/2 stream), counted with the server's and stopped with them.
#[derive(Clone)]
struct Executor {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(future).await;
        });
    }
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted daemon takes its port back while old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(limits::BACKLOG_MAX)
}

/// The next connection and its slot; `None` once cancelled.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    cancel: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let next = async {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    if let Err(e) = stream.set_nodelay(true) {
                        tracing::debug!(%client, error = %e, "connection gone at once");
                        continue;
                    }
                    // A socket of both families shows IPv4 addresses in their IPv6 form, which
                    // nobody looks for in a log.
                    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                    return Some((stream, client, slot));
                }
                // Out of descriptors, or a client that left at once: neither ends the listener.
                Err(e) => {
                    tracing::warn!(error = %e, "accept refused");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    };
    cancel.run_until_cancelled(next).await.flatten()
}

fn http(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    head_wait_max: Duration,
) -> Builder<Executor> {
    let mut builder = Builder::new(Executor { tasks: tasks.clone(), stop: stop.clone() });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_wait_max)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_PER_CONN_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX as u32)
        .adaptive_window(true)
        .max_send_buf_size(limits::STREAM_UNSENT_MAX)
        .keep_alive_interval(limits::PING_EVERY)
        .keep_alive_timeout(limits::PING_EVERY);
    builder
}

/// Serves one connection to its end.
async fn connection<H, F, B>(
    builder: Builder<Executor>,
    stream: SendfileStream,
    client: SocketAddr,
    watched: Watched<H>,
    bounds: Bounds,
) where
    H: Fn(Request<RequestBody>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let streams = Streams::new();
    let service = service_fn({
        let (streams, queue) = (streams.clone(), stream.queue().clone());
        move |mut request: Request<Incoming>| {
            // An HTTP/2 connection cuts bodies into frames of its own.
            if request.version() < Version::HTTP_2 {
                request.extensions_mut().insert(queue.clone());
            }
            let stream = streams.begin();
            let (watched, stall) = (watched.clone(), Stall::default());
            let request =
                request.map(|body| RequestBody::new(body, bounds.read_stall_max, stall.clone()));
            async move {
                let answer = watched.answer(request, &stall, client).await;
                Ok::<_, Infallible>(answer.map(|body| stream.hold(body)))
            }
        }
    });
    let io = TokioIo::new(stream);
    let mut connection = pin!(builder.serve_connection(io, service));
    // hyper's own timeout starts only once it knows the version, and HTTP/2 has none: pings keep
    // a connection that nobody uses open.
    let mut idle = pin!(tokio::time::sleep(bounds.head_wait_max));
    let (mut draining, mut ending) = (false, false);
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(e) = result {
                    tracing::debug!(%client, error = %e, "connection broke");
                }
                return;
            }
            () = &mut idle => {
                let now = Instant::now();
                let next = match streams.now() {
                    Use::Unasked => return,
                    Use::Idle(since) if now < since + bounds.head_wait_max => since,
                    // It was asked to end, and had as long again.
                    Use::Idle(_) if ending => return,
                    Use::Idle(_) => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                        now
                    }
                    Use::Busy => now,
                };
                idle.as_mut().reset(next + bounds.head_wait_max);
            }
            () = bounds.drain.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = bounds.stop.cancelled() => return,
        }
    }
}
