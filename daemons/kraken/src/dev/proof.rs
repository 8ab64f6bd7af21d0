//! The proof: an image goes in through the proxy and comes out of every agent, byte for byte, and
//! the agents fetched it from each other too.

use std::fmt;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{join_all, select};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kraken_agent::Agent;
use kraken_core::http::Client;
use kraken_core::{Digest, Error, ErrorKind, Result};

use super::client::Registry;
use super::cluster::Cluster;
use super::image::Image;

/// The origin may seed this many bytes a second during the proof, so that agents have time to
/// fetch from each other.
const ORIGIN_BYTES_PER_SEC: u64 = 64 << 20;
const LAYERS: usize = 2;
const LAYER_LEN: usize = 64 << 20;
const REPOSITORY: &str = "kraken/proof";
const TAG: &str = "1";

/// What came of the proof.
pub(super) struct Report {
    image_len: u64,
    push: Duration,
    rows: Vec<Row>,
}

struct Row {
    agent: usize,
    from_origin: u64,
    from_peers: u64,
    took: Duration,
    failure: Option<String>,
}

impl Report {
    /// Whether every agent delivered every byte and got some of them from a peer. A lone agent has
    /// no peers.
    pub(super) fn passed(&self) -> bool {
        let alone = self.rows.len() == 1;
        self.rows.iter().all(|row| row.failure.is_none() && (alone || row.from_peers > 0))
    }
}

/// Pushes through the proxy, pulls from all agents at once.
pub(super) async fn run(cluster: &Cluster) -> Result<Report> {
    let seed = SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
    let image = tokio::task::spawn_blocking(move || Image::generate(seed, LAYERS, LAYER_LEN))
        .await
        .map_err(|error| Error::new(ErrorKind::Cancelled, "make an image").with_source(error))?
        .map_err(|error| Error::io("make an image", error))?;
    let image_len = image.blobs.iter().map(|blob| blob.len() as u64).sum();
    let client = Client::new(Default::default());
    let proxy = Registry { client: &client, addr: cluster.proxy.addr(), repository: REPOSITORY };

    let started = Instant::now();
    proxy.push(&image, TAG).await.map_err(|error| error.context("push through the proxy"))?;
    let push = started.elapsed();

    cluster.origin.node().set_egress_limit(ORIGIN_BYTES_PER_SEC);
    let rows = pull_from_all(cluster, &client, &image, image_len).await;
    cluster.origin.node().set_egress_limit(0);
    Ok(Report { image_len, push, rows })
}

async fn pull_from_all(
    cluster: &Cluster,
    client: &Client,
    image: &Image,
    image_len: u64,
) -> Vec<Row> {
    let bars = MultiProgress::new();
    if !std::io::stderr().is_terminal() {
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
    let pulls = cluster.agents.iter().enumerate().map(|(number, agent)| {
        let bar = bars.add(progress_bar(number, image_len));
        pull_watched(number, agent, client, image, bar)
    });
    let rows = join_all(pulls).await;
    let _ = bars.clear();
    rows
}

/// Pulls from one agent while its bar follows what its node has received.
async fn pull_watched(
    number: usize,
    agent: &Agent,
    client: &Client,
    image: &Image,
    bar: ProgressBar,
) -> Row {
    let before = agent.node().stats().await.unwrap_or_default();
    let received = async || {
        let now = agent.node().stats().await.unwrap_or_default();
        (
            now.received_from_origins.saturating_sub(before.received_from_origins),
            now.received_from_peers.saturating_sub(before.received_from_peers),
        )
    };
    let started = Instant::now();
    let pull = std::pin::pin!(pull(agent, client, image));
    let watch = std::pin::pin!(async {
        loop {
            let (from_origin, from_peers) = received().await;
            bar.set_position(from_origin + from_peers);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let failure = match select(pull, watch).await {
        futures_util::future::Either::Left((result, _)) => result.err(),
        futures_util::future::Either::Right(((), _)) => None,
    };
    bar.finish();
    let (from_origin, from_peers) = received().await;
    Row {
        agent: number + 1,
        from_origin,
        from_peers,
        took: started.elapsed(),
        failure: failure.map(|error: Error| error.to_string()),
    }
}

/// Manifest first, then all blobs at once, as docker does.
async fn pull(agent: &Agent, client: &Client, image: &Image) -> Result<()> {
    let registry = Registry { client, addr: agent.registry_addr(), repository: REPOSITORY };
    let manifest = registry.pull_manifest(TAG).await?;
    if manifest != image.manifest {
        return Err(Error::new(ErrorKind::Mismatch, "the manifest is not the one that was pushed"));
    }
    let digests: Vec<Digest> = image.blobs.iter().map(|blob| Digest::sha256(blob)).collect();
    let pulls = join_all(digests.iter().map(|digest| registry.pull_blob(digest))).await;
    for (pulled, blob) in pulls.into_iter().zip(&image.blobs) {
        if pulled? != blob.len() as u64 {
            return Err(Error::new(ErrorKind::Mismatch, "a blob of another length"));
        }
    }
    Ok(())
}

fn progress_bar(number: usize, len: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:40}] {bytes:>10}/{total_bytes} {binary_bytes_per_sec}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(len).with_style(style.progress_chars("=> "));
    bar.set_prefix(format!("agent {}", number + 1));
    bar
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "pushed {:.0} MiB through the proxy in {:.2} s; pulled from {} agents at once, \
             the origin seeding at most {:.0} MiB/s:\n",
            mib(self.image_len),
            self.push.as_secs_f64(),
            self.rows.len(),
            mib(ORIGIN_BYTES_PER_SEC),
        )?;
        writeln!(f, "agent  from origin  from peers  seconds  verified")?;
        for row in &self.rows {
            writeln!(
                f,
                "{:>5}  {:>7.1} MiB  {:>6.1} MiB  {:>7.2}  {}",
                row.agent,
                mib(row.from_origin),
                mib(row.from_peers),
                row.took.as_secs_f64(),
                match &row.failure {
                    None if row.from_peers == 0 && self.rows.len() > 1 =>
                        "yes, but nothing came from a peer",
                    None => "yes",
                    Some(failure) => failure,
                },
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(agent: usize, from_peers: u64, failure: Option<&str>) -> Row {
        Row {
            agent,
            from_origin: 1,
            from_peers,
            took: Duration::from_secs(1),
            failure: failure.map(str::to_owned),
        }
    }

    fn report(rows: Vec<Row>) -> Report {
        Report { image_len: 2, push: Duration::from_secs(1), rows }
    }

    #[test]
    fn an_agent_that_got_nothing_from_a_peer_fails_the_proof() {
        assert!(report(vec![row(1, 1, None), row(2, 1, None)]).passed());
        let lonely = report(vec![row(1, 1, None), row(2, 0, None)]);
        assert!(!lonely.passed());
        assert!(lonely.to_string().contains("nothing came from a peer"), "{lonely}");
        assert!(!report(vec![row(1, 1, None), row(2, 1, Some("wrong bytes"))]).passed());
        assert!(report(vec![row(1, 0, None)]).passed());
    }
}
