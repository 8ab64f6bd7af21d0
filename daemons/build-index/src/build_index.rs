//! The build-index as one value: started, asked for its address, closed.

use std::net::SocketAddr;
use std::sync::Arc;

use kraken_backends::OriginCluster;
use kraken_backends::origin::OriginConfig;
use kraken_common::{Companion, HostSource, Role, Server, Serving, WatchedHosts};
use kraken_core::http::{Client, ClientConfig};
use kraken_core::{Error, Result};
use regex::Regex;

use crate::config::{BuildIndexConfig, TagRule, TagType};
use crate::neighbors::Neighbors;
use crate::server::Service;
use crate::tags::{Tags, Writer};
use crate::{limits, metrics};

/// A running build-index.
#[derive(Debug)]
pub struct BuildIndex {
    serving: Serving,
    service: Arc<Service>,
    writer: Option<Writer>,
    /// Follows the hosts of origins and neighbours.
    following: Companion,
}

impl BuildIndex {
    /// Starts a build-index; what an earlier one left unwritten in `data_dir` is written back.
    pub async fn start(config: BuildIndexConfig) -> Result<Self> {
        if config.data_dir.as_os_str().is_empty() {
            return Err(Error::invalid("data_dir: a build-index needs a directory of its own"));
        }
        let tag_rules = compiled(&config.tag_rules)?;
        let server = Server::bind(config.listen, "the build-index", PORT)?;
        let origin_hosts =
            config.origins.at_start().await.map_err(|e| e.context("origin.hosts"))?;
        let origin_name = match (&config.origins.hosts.source, origin_hosts.first()) {
            (HostSource::Dns(name), _) => name.clone(),
            (HostSource::Static(_), Some(first)) => first.clone(),
            (HostSource::Static(_), None) => {
                return Err(Error::invalid("origin.hosts: a build-index needs at least one"));
            }
        };
        let client = Client::new(ClientConfig::default());
        let polling =
            OriginConfig { poll_time_max: limits::MANIFEST_WAIT_MAX, ..OriginConfig::default() };
        let origins = OriginCluster::new(origin_hosts.clone(), client.clone(), polling)?;
        let (tags, writer) = Tags::open(&config, &client).await?;
        let port = server.addr().port();
        let neighbors =
            Neighbors::find(config.cluster, config.names, port, client.clone(), config.put_stagger)
                .await
                .map_err(|e| e.context("cluster.hosts"))?;
        let service = Arc::new(Service { tags, tag_rules, origins, origin_name, neighbors });
        let following = Companion::spawn({
            let service = Arc::clone(&service);
            async move { follow(&service, &config.origins, origin_hosts, &client).await }
        });
        let metrics = metrics::of(Arc::clone(&service));
        let server = server.with_metrics(&metrics, metrics::ROUTES).exposing(metrics);
        let serving = server.spawn({
            let service = Arc::clone(&service);
            move |request| Arc::clone(&service).answer(request)
        });
        tracing::info!(addr = %serving.addr(), "build-index serves");
        Ok(Self { serving, service, writer, following })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.serving.addr()
    }

    /// Lets requests under way end, then ends; joins every task. Tags not yet written back stay in
    /// `data_dir` for the next start.
    pub async fn close(self) -> Result<()> {
        let Self { serving, service, writer, following } = self;
        serving.close().await;
        following.close().await;
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

/// Follows who is to be asked and told, for ever.
async fn follow(service: &Service, origins: &WatchedHosts, known: Vec<String>, client: &Client) {
    let set_origins = |hosts| {
        if let Err(error) = service.origins.set_hosts(hosts) {
            tracing::warn!(%error, "origins stay as they were");
        }
    };
    tokio::join!(origins.follow(known, client, set_origins), service.neighbors.follow());
}

fn compiled(rules: &[TagRule]) -> Result<Vec<(Regex, TagType)>> {
    let compile = |rule: &TagRule| {
        let pattern = Regex::new(&rule.namespace)
            .map_err(|e| Error::invalid(format!("tag_types: {:?}", rule.namespace)).with_source(e));
        Ok((pattern?, rule.tag_type))
    };
    rules.iter().map(compile).collect()
}

/// What names the port in errors.
const PORT: &str = "--port";
