//! The file server as one value: started, asked for its address, closed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use kraken_common::{Role, Server, Serving, blocking};
use kraken_core::{Error, Result};
use tempfile::TempDir;

use crate::config::TestFsConfig;
use crate::files::Files;
use crate::pace::Pace;
use crate::{metrics, server};

/// A running file server. Dropping it does not end it in order; [`TestFs::close`] does.
#[derive(Debug)]
pub struct TestFs {
    serving: Serving,
    files: Arc<Files>,
    /// The root, if it is ours to remove.
    fresh: Option<TempDir>,
}

impl TestFs {
    /// Opens the root and listens.
    pub async fn start(config: TestFsConfig) -> Result<Self> {
        let server = Server::bind(config.listen, "testfs", PORT)?;
        let (files, fresh) = blocking("open the root", move || {
            if let Some(root) = config.root {
                return Ok((Files::open(&root)?, None));
            }
            let fresh = tempfile::Builder::new().prefix("kraken-testfs").tempdir();
            let fresh = fresh.map_err(|e| Error::io("make a root", e))?;
            Ok((Files::open(fresh.path())?, Some(fresh)))
        })
        .await?;
        let files = Arc::new(files);
        let pace = Arc::new(Pace::new(config.egress_bytes_per_sec, config.latency));
        let shared = (Arc::clone(&files), pace);
        let metrics = metrics::of();
        let server = server.with_metrics(&metrics, metrics::ROUTES).exposing(metrics);
        let serving = server.spawn(move |request| {
            let (files, pace) = shared.clone();
            server::answer(files, pace, request)
        });
        tracing::info!(addr = %serving.addr(), root = %files.root().display(), "testfs serves");
        Ok(Self { serving, files, fresh })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// The directory whose files it serves, absolute.
    pub fn root(&self) -> &Path {
        self.files.root()
    }

    /// Lets requests under way end, joins every task, and removes what is ours: a fresh root, or
    /// from a given one all but the files uploaded.
    pub async fn close(self) -> Result<()> {
        let Self { serving, files, fresh } = self;
        serving.close().await;
        files.close().await?;
        let Some(fresh) = fresh else { return Ok(()) };
        let remove = move || fresh.close().map_err(|e| Error::io("remove the root", e));
        blocking("remove the root", remove).await
    }
}

impl Role for TestFs {
    type Config = TestFsConfig;

    const NAME: &'static str = "kraken-testfs";

    fn start(config: TestFsConfig) -> impl Future<Output = Result<Self>> + Send {
        Self::start(config)
    }

    fn close(self) -> impl Future<Output = Result<()>> + Send {
        self.close()
    }
}

/// What names the port in errors.
const PORT: &str = "--port";
