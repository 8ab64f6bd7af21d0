//! What a link really carries, and the entry point of the programs inside hosts.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kraken_core::{Error, ErrorKind, Result};

use crate::client::{Ask, Inside, serve};
use crate::net::Network;

/// The arguments of the hidden subcommand `bench-inside`: none, what to do comes on its standard
/// input.
#[derive(Debug, clap::Args)]
pub struct InsideArgs {}

/// Does inside a host's network what comes on standard input, until that ends.
pub fn inside(_: InsideArgs) -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kraken bench-inside: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The goodput of one plain TCP flow from one host to another in bytes a second, after its first
/// second: the most of three flows, since other work on the machine can only slow one down. Takes
/// some seconds.
///
/// `kraken` is a program whose subcommand `bench-inside` is [`inside`]; its logs go to `logs`.
/// Cancel safe: what was started is killed.
pub async fn goodput(
    network: &Network,
    from: &str,
    to: &str,
    kraken: &Path,
    logs: &Path,
) -> Result<f64> {
    let mut sink = Inside::start("helper", network.host(to), kraken, logs)?;
    let mut source = Inside::start("helper", network.host(from), kraken, logs)?;
    let measure = async {
        let mut most = 0.0_f64;
        for _ in 0..FLOWS {
            let port: u16 = sink.ask(&Ask::Listen).await?;
            let addr = (network.host(to).addr, port).into();
            let send = Ask::Send { addr, lasting: FLOW };
            let (sent, received) =
                tokio::join!(source.ask::<()>(&send), sink.ask::<f64>(&Ask::Receive));
            sent?;
            most = most.max(received?);
        }
        Ok(most)
    };
    let measured = tokio::time::timeout(FLOW_MAX, measure).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} seconds", FLOW_MAX.as_secs());
        Err(Error::new(ErrorKind::Unavailable, message))
    });
    measured.map_err(|e| e.context(format!("measure a flow from {from} to {to}")))
}

/// One was seen to be 4 % slow on a busy machine, and all figures of its command with it.
const FLOWS: u32 = 3;

/// How long a flow is, of which the first second does not count.
const FLOW: Duration = Duration::from_secs(3);

/// Flows that last longer do not arrive.
const FLOW_MAX: Duration = Duration::from_secs(30);
