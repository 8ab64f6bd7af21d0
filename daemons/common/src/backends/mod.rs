//! Where an origin keeps blobs for good, and a build-index tags: what can be configured, and what
//! it is opened as.

#[cfg(feature = "program")]
mod settings;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kraken_backends::layers::{Retry, RetryConfig, Throttle, ThrottleConfig};
use kraken_backends::{
    BlobBackend, Layout, LocalDisk, Route, Router, TestFsBackend, TestFsBackendConfig,
};
use kraken_core::Result;
use kraken_core::http::Client;

#[cfg(feature = "program")]
pub use settings::configured;

/// One place where blobs or tags are kept for good, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendConfig {
    /// A regular expression that matches anywhere in the namespaces that are kept there.
    pub namespace: String,
    /// What it is.
    pub kind: BackendKind,
    /// Whether the daemon is unready while it does not answer.
    pub must_ready: bool,
    /// How fast it may be, all daemons of the cluster together.
    pub bandwidth: ThrottleConfig,
}

/// What a backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendKind {
    /// This directory, laid out as docker/distribution does.
    Local(PathBuf),
    /// A testfs.
    TestFs(TestFsBackendConfig),
}

/// How what waits for a backend gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteBackConfig {
    /// The longest pause before what failed is tried again.
    pub retry_interval: Duration,
    /// The longest pause between two tries while a backend is away.
    pub probe_interval: Duration,
    /// How much is tried at once for one namespace; others get [`Self::spare`] more.
    pub at_once: usize,
    /// How much more is tried at once for namespaces that are not the busiest.
    pub spare: usize,
}

/// The bandwidths that a router's backends have.
#[derive(Debug, Default)]
pub struct Bandwidths(Vec<(ThrottleConfig, Arc<dyn Adjust>)>);

/// A throttle, whatever it throttles.
trait Adjust: fmt::Debug + Send + Sync {
    fn adjust(&self, config: &ThrottleConfig);
}

impl BackendConfig {
    /// Everything in the directory `root`.
    pub fn local(root: impl Into<PathBuf>) -> Self {
        Self {
            namespace: ".*".into(),
            kind: BackendKind::Local(root.into()),
            must_ready: false,
            bandwidth: ThrottleConfig::default(),
        }
    }
}

impl WriteBackConfig {
    /// The first pause before what failed is tried again; it doubles from there.
    pub fn retry_initial(&self) -> Duration {
        RETRY_INITIAL.min(self.retry_interval)
    }
}

impl Bandwidths {
    /// This daemon takes its share of what `members` may have together.
    pub fn divide(&self, members: usize) {
        let members = u64::try_from(members).unwrap_or(u64::MAX).max(1);
        // Zero would be no limit at all.
        let share = |rate: u64| if rate == 0 { 0 } else { (rate / members).max(1) };
        for (whole, throttle) in &self.0 {
            throttle.adjust(&ThrottleConfig {
                ingress_bytes_per_sec: share(whole.ingress_bytes_per_sec),
                egress_bytes_per_sec: share(whole.egress_bytes_per_sec),
            });
        }
    }
}

impl Default for WriteBackConfig {
    fn default() -> Self {
        let interval = Duration::from_secs(2);
        Self { retry_interval: interval, probe_interval: interval, at_once: 6, spare: 2 }
    }
}

impl<B: BlobBackend> Adjust for Throttle<B> {
    fn adjust(&self, config: &ThrottleConfig) {
        Self::adjust(self, config);
    }
}

/// Opens all of `configs`: a router over them in their order. Directories of this machine are laid
/// out as `layout` says. Servers are not contacted yet.
pub async fn open(
    configs: &[BackendConfig],
    layout: Layout,
    client: &Client,
) -> Result<(Router, Bandwidths)> {
    let (mut routes, mut bandwidths) = (Vec::new(), Bandwidths::default());
    for config in configs {
        let (backend, throttle) = match &config.kind {
            BackendKind::Local(root) => {
                let local = LocalDisk::open(root, layout).await;
                let context = || format!("backend of {:?}", config.namespace);
                throttled(local.map_err(|error| error.context(context()))?, &config.bandwidth)
            }
            BackendKind::TestFs(testfs) => {
                let testfs = TestFsBackend::new(testfs.clone(), client.clone())?;
                throttled(Retry::new(testfs, RetryConfig::default()), &config.bandwidth)
            }
        };
        bandwidths.0.push((config.bandwidth.clone(), throttle));
        routes.push(Route::new(&config.namespace, backend)?.must_ready(config.must_ready));
    }
    Ok((Router::new(routes), bandwidths))
}

fn throttled<B: BlobBackend + 'static>(
    backend: B,
    bandwidth: &ThrottleConfig,
) -> (Arc<dyn BlobBackend>, Arc<dyn Adjust>) {
    let throttle = Arc::new(Throttle::new(backend, bandwidth));
    (Arc::clone(&throttle) as Arc<dyn BlobBackend>, throttle)
}

/// A failure that passes at once is not worth the whole pause.
const RETRY_INITIAL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
