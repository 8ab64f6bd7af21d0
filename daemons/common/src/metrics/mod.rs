//! What a daemon tells of itself at `GET /metrics`: Prometheus text.
//!
//! A role owns one [`Metrics`]. Its servers count requests in it, and each scrape asks the role for
//! its [`Figures`], which it reads from the plain structs of the libraries. Every name is one of
//! [`names::GROUPS`]; every number has the label `role`.

mod figures;
pub mod names;
#[cfg(feature = "node")]
mod node;
mod process;
mod requests;
pub mod routes;
mod store;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub use self::figures::Figures;
pub(crate) use self::requests::{Connected, Counted, Requests, UnderWay};
use crate::answer::{self, Answer};
use crate::blocking::blocking;
use crate::limits;

/// The numbers of one role. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    role: &'static str,
    requests: Requests,
    registry: Registry,
    sample: Sample,
}

type Sample = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Figures> + Send>> + Send + Sync>;

impl Metrics {
    /// The numbers of `role`; `sample` is asked at every scrape, by several at once, and may be
    /// dropped at any await.
    pub fn new<F, S>(role: &'static str, sample: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = Figures> + Send + 'static,
    {
        let requests = Requests::new();
        let mut registry = Registry::with_labels(role_label(role));
        requests.register(&mut registry);
        Self(Arc::new(Inner {
            role,
            requests,
            registry,
            sample: Box::new(move || Box::pin(sample())),
        }))
    }

    /// All numbers of this moment as OpenMetrics text. Those of the role are left out if it takes
    /// longer than [`limits::SAMPLE_MAX`] to tell them.
    pub async fn open_metrics(&self) -> String {
        let sampled = tokio::time::timeout(limits::SAMPLE_MAX, (self.0.sample)()).await;
        let mut figures = Figures::new();
        figures.set_with(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        figures.set(&names::METRICS_COMPLETE, sampled.is_ok().into());
        figures.extend(sampled);
        let read = || {
            let mut figures = Figures::new();
            process::add(&mut figures);
            Ok(figures)
        };
        figures.extend(blocking("read of this process", read).await);
        let mut scraped = Registry::with_labels(role_label(self.0.role));
        scraped.register_collector(Box::new(figures));
        let mut out = String::new();
        let encoded = text::encode_registry(&mut out, &scraped)
            .and_then(|()| text::encode_registry(&mut out, &self.0.registry))
            .and_then(|()| text::encode_eof(&mut out));
        debug_assert!(encoded.is_ok(), "writing to a string cannot fail");
        out
    }

    /// The answer to `GET /metrics`: OpenMetrics if `headers` ask for it, as Prometheus does, else
    /// the older text format.
    pub async fn answer(&self, headers: &HeaderMap) -> Answer {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        let wants_open = accepted.into_iter().any(|it| it.contains("application/openmetrics-text"));
        let text = self.open_metrics().await;
        let (content_type, text) = match wants_open {
            true => (OPEN_METRICS, text),
            false => (PLAIN, plain(&text)),
        };
        let mut answer = answer::text(StatusCode::OK, text);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        answer
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.0.requests
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("role", &self.0.role).finish_non_exhaustive()
    }
}

fn role_label(role: &'static str) -> impl Iterator<Item = (Cow<'static, str>, Cow<'static, str>)> {
    std::iter::once((Cow::Borrowed("role"), Cow::Borrowed(role)))
}

/// OpenMetrics text as the older format has it, where a counter is named in full in its comments
/// too, and there is neither a unit nor an end.
fn plain(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                out += &format!("# HELP {name}{total} {help}\n");
            }
            out += &format!("# TYPE {name}{total} {kind}\n");
        } else if !line.starts_with('#') {
            out += line;
            out.push('\n');
        }
    }
    out
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
