//! `kraken dev`: a whole cluster in one process that proves itself and then serves.

mod client;
mod cluster;
mod image;
mod proof;

use std::cell::Cell;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kraken_common::logging::{self, LoggingConfig};
use kraken_common::shutdown::Signals;
use kraken_core::{Error, Result};

use self::cluster::Cluster;

/// How long everything may take to end after Ctrl-C; what is still there then is dropped.
const CLOSE_MAX: Duration = Duration::from_millis(1300);

/// How long calls of the system under way may take after that.
const BLOCKING_MAX: Duration = Duration::from_millis(300);

/// How often the removal of the temporary directory is tried.
const REMOVE_TRIES: u32 = 20;

/// The exit code after Ctrl-C during the proof: 128 and the number of SIGINT, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// The flags of `kraken dev`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// How many agents to run
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    agents: u16,
    /// Where to keep all data; kept afterwards. Without it a temporary directory is used and
    /// removed
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The proxy's port; the others follow from it. 0 takes free ports
    #[arg(long, default_value_t = 15000)]
    port_base: u16,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Exit after the proof, with status 0 or 1
    #[arg(long)]
    once: bool,
    /// What to log, e.g. `info` or `kraken_p2p=debug`
    #[arg(long, default_value = "warn")]
    log: String,
}

/// Runs the command in a runtime of its own.
pub(crate) fn main(args: Args) -> ExitCode {
    let log = LoggingConfig { level: args.log.clone(), ..LoggingConfig::default() };
    let runtime = logging::init(&log).and_then(|()| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("start the runtime", error))
    });
    let code = runtime.and_then(|runtime| {
        // Signals first: from here on an interrupt leaves nothing behind.
        let signals = runtime.block_on(async { Signals::listen_in_terminal() })?;
        let data = DataDir::new(args.data_dir.as_deref())?;
        let code = runtime.block_on(run(&args, signals, data.path()));
        runtime.shutdown_timeout(BLOCKING_MAX);
        data.leave()?;
        code
    });
    code.unwrap_or_else(|error| {
        eprintln!("kraken dev: {error}");
        ExitCode::FAILURE
    })
}

async fn run(args: &Args, mut signals: Signals, data_dir: &Path) -> Result<ExitCode> {
    println!("data directory: {}", data_dir.display());
    let cluster = Cluster::start(args, data_dir).await?;
    // A leftover of a run that was killed must not say that this one is ready. The directory is
    // ours now: each role has locked its part.
    let _ = std::fs::remove_file(data_dir.join(cluster::ADDRESSES_FILE));
    println!("the cluster runs; pushing and pulling an image to prove it");
    let proven = Cell::new(false);
    let code = tokio::select! {
        code = prove_and_serve(args, &cluster, data_dir, &proven) => code,
        _ = signals.next() => {
            println!("stopping");
            Ok(if proven.get() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INTERRUPTED) })
        }
    };
    let _ = std::fs::remove_file(data_dir.join(cluster::ADDRESSES_FILE));
    if tokio::time::timeout(CLOSE_MAX, cluster.close()).await.is_err() {
        tracing::warn!("some tasks did not end in {CLOSE_MAX:?}");
    }
    code
}

/// Ends only with `--once` or when the proof fails; otherwise serves until it is dropped.
async fn prove_and_serve(
    args: &Args,
    cluster: &Cluster,
    data_dir: &Path,
    proven: &Cell<bool>,
) -> Result<ExitCode> {
    let report = proof::run(cluster).await?;
    print!("{report}");
    if !report.passed() {
        eprintln!("kraken dev: the proof failed");
        return Ok(ExitCode::FAILURE);
    }
    if args.once {
        return Ok(ExitCode::SUCCESS);
    }
    proven.set(true);
    cluster.write_addresses(data_dir)?;
    print!("{}", cluster.instructions());
    std::future::pending().await
}

/// The directory of all data: the user's, or a temporary one that goes at the end.
enum DataDir {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl DataDir {
    fn new(chosen: Option<&Path>) -> Result<Self> {
        let Some(path) = chosen else {
            return tempfile::Builder::new()
                .prefix("kraken-dev-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| Error::io("make a temporary directory", error));
        };
        let context = || {
            format!("make the data directory {}; choose another with --data-dir", path.display())
        };
        std::fs::create_dir_all(path).map_err(|error| Error::io(context(), error))?;
        path.canonicalize().map(Self::Kept).map_err(|error| Error::io(context(), error))
    }

    /// Removes what is not to be kept.
    fn leave(self) -> Result<()> {
        let Self::Temporary(dir) = self else { return Ok(()) };
        let path = dir.keep();
        let mut tries = 0;
        loop {
            match std::fs::remove_dir_all(&path) {
                // What has not ended in time may write one more file.
                Err(_) if tries < REMOVE_TRIES => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                removed => {
                    return removed
                        .map_err(|error| Error::io(format!("remove {}", path.display()), error));
                }
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}
