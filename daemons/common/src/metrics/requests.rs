//! Counting the requests of servers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::figures::base_name;
use super::names::{self, Definition};
use super::routes;
use crate::body::{Body, BoxError};

/// What the servers of one role count; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    ended: Family<Ended, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    bytes: Family<Answered, Counter>,
    in_flight: Gauge,
    connections: Gauge,
}

/// A request from its head to the end of its answer, which is when this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    requests: Requests,
    asked: Asked,
    started: Instant,
    status: u16,
    bytes: u64,
}

/// A connection of a client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

/// The body of an answer whose request is counted until it ends.
#[derive(Debug)]
pub(crate) struct Counted {
    body: Body,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            ended: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS_SECS)),
            bytes: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
        }
    }

    /// Puts everything counted here into `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        put(registry, &names::HTTP_REQUESTS, self.ended.clone());
        put(registry, &names::HTTP_REQUEST_DURATION_SECONDS, self.durations.clone());
        put(registry, &names::HTTP_RESPONSE_BYTES, self.bytes.clone());
        put(registry, &names::HTTP_REQUESTS_IN_FLIGHT, self.in_flight.clone());
        put(registry, &names::HTTP_CONNECTIONS, self.connections.clone());
    }

    /// A request has come; its `path` is one of `routes`, or none that is known.
    pub(crate) fn begin(
        &self,
        method: &Method,
        path: &str,
        routes: &'static [&'static str],
    ) -> UnderWay {
        let asked = Asked { method: class_of(method), route: routes::class(routes, path) };
        self.in_flight.inc();
        let (requests, started) = (self.clone(), Instant::now());
        UnderWay { requests, asked, started, status: CLIENT_LEFT, bytes: 0 }
    }

    /// A client has connected.
    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

impl UnderWay {
    /// There is an answer; its body is still to be sent.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Asked { method, route } = self.asked;
        let requests = &self.requests;
        requests.in_flight.dec();
        let ended = Ended { method, route, status: self.status };
        requests.ended.get_or_create(&ended).inc();
        let secs = self.started.elapsed().as_secs_f64();
        requests.durations.get_or_create(&self.asked).observe(secs);
        if self.bytes > 0 {
            requests.bytes.get_or_create(&Answered { route }).inc_by(self.bytes);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Counted {
    /// `body`, and its request if it is counted.
    pub(crate) fn new(body: Body, under_way: Option<UnderWay>) -> Self {
        Self { body, under_way }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(under_way)) = (&polled, &mut self.under_way) {
            under_way.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn put(registry: &mut Registry, definition: &'static Definition, metric: impl Metric) {
    registry.register(base_name(definition), definition.help, metric);
}

/// A client may send any word for a method; those nobody knows are one.
fn class_of(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];
    KNOWN.iter().find(|known| method.as_str() == **known).copied().unwrap_or(routes::OTHER)
}

/// The status of a request whose client left before there was an answer: nginx's.
const CLIENT_LEFT: u16 = 499;

/// From an answer out of memory to a layer of some gigabytes over a slow line.
const BUCKETS_SECS: [f64; 11] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];
