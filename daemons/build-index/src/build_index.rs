//! The build-index as one value: started, asked for its address, closed.

use std::net::SocketAddr;
use std::sync::Arc;

use kraken_backends::origin::OriginConfig;
use kraken_backends::{BuildIndex as NeighborClient, OriginCluster};
use kraken_common::{HostList, Role, Server, Serving};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::{Error, Result};

use crate::config::BuildIndexConfig;
use crate::limits;
use crate::server::Service;
use crate::tags::{Tags, Writer};

/// A running build-index.
#[derive(Debug)]
pub struct BuildIndex {
    serving: Serving,
    service: Arc<Service>,
    writer: Option<Writer>,
}

impl BuildIndex {
    /// Starts a build-index; what an earlier one left unwritten in `data_dir` is written back.
    pub async fn start(config: BuildIndexConfig) -> Result<Self> {
        let origins =
            HostList::new(config.origins.clone()).map_err(|e| e.context("origins"))?.into_vec();
        let neighbors =
            HostList::new(config.neighbors.clone()).map_err(|e| e.context("neighbors"))?.into_vec();
        let Some(origin_name) = origins.first().cloned() else {
            return Err(Error::invalid("origins: a build-index needs at least one"));
        };
        if config.data_dir.as_os_str().is_empty() {
            return Err(Error::invalid("data_dir: a build-index needs a directory of its own"));
        }
        let client = Client::new(ClientConfig::default());
        let polling =
            OriginConfig { poll_time_max: limits::MANIFEST_WAIT_MAX, ..OriginConfig::default() };
        let neighbor_client = match neighbors.as_slice() {
            [] => None,
            hosts => Some(NeighborClient::new(hosts.to_vec(), client.clone())?),
        };
        let server = Server::bind(config.listen, "the build-index", "listen")?;
        let origins = OriginCluster::new(origins, client, polling)?;
        let (tags, writer) = Tags::open(&config).await?;
        let tag_type = config.tag_type;
        let service =
            Arc::new(Service { tags, tag_type, origins, origin_name, neighbors, neighbor_client });
        let serving = server.spawn({
            let service = Arc::clone(&service);
            move |request| Arc::clone(&service).answer(request)
        });
        tracing::info!(addr = %serving.addr(), "build-index serves");
        Ok(Self { serving, service, writer })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// Lets requests under way end, then ends; joins every task. Tags not yet written back stay in
    /// `data_dir` for the next start.
    pub async fn close(self) -> Result<()> {
        let Self { serving, service, writer } = self;
        serving.close().await;
        service.tags.stop();
        match writer {
            Some(writer) => writer.join().await,
            None => Ok(()),
        }
    }
}

impl Role for BuildIndex {
    type Config = BuildIndexConfig;
    const NAME: &'static str = "kraken-build-index";

    async fn start(config: BuildIndexConfig) -> Result<Self> {
        Self::start(config).await
    }

    async fn close(self) -> Result<()> {
        self.close().await
    }
}
