//! `kraken bench` as a command.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kraken_common::launch::EXIT_CONFIG;
use kraken_common::shutdown::Signals;
use kraken_core::{Error, Result};

use crate::plan::Plan;
use crate::result::Report;
use crate::session::{self, Progress};
use crate::units::{self, Cap};
use crate::{net, plot, report, scenarios};

/// The flags of `kraken bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The scenario's name; `list` shows them all
    #[arg(value_name = "SCENARIO|list")]
    pub(crate) scenario: String,
    /// How many agents pull
    #[arg(long, value_name = "N")]
    pub(crate) agents: Option<usize>,
    /// How many origins hold the blob
    #[arg(long, value_name = "N")]
    pub(crate) origins: Option<usize>,
    /// Length of the blob, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) size: Option<u64>,
    /// Length of a piece, such as 4MiB
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) piece: Option<u64>,
    /// What an agent's link carries each way in a second, such as 40MiB
    #[arg(long, value_name = "RATE|none", value_parser = units::parse_cap)]
    pub(crate) agent_rate: Option<Cap>,
    /// What an origin's link carries each way in a second
    #[arg(long, value_name = "RATE|none", value_parser = units::parse_cap)]
    pub(crate) origin_rate: Option<Cap>,
    /// Runs of each system, taking turns
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    /// Other programs to run beside these: kraken-agent, kraken-origin and kraken-tracker in DIR,
    /// with uber/kraken's flags and configuration; may be given several times
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    pub(crate) binaries: Vec<(String, PathBuf)>,
    /// Configure the system of this name as is best for uber/kraken; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) tuned: Vec<String>,
    /// Run only what --binaries names
    #[arg(long)]
    pub(crate) no_own: bool,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots to this directory
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Where data goes while it runs; without it the directory for temporary files
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Run although other work takes the CPU
    #[arg(long)]
    pub(crate) force: bool,
    /// Run all hosts on the loopback device, without caps; needs no root
    #[arg(long)]
    pub(crate) loopback: bool,
}

/// Runs the command: 0 if all runs were done, 1 if not, 64 for wrong arguments, 130 after Ctrl-C;
/// nothing that it started or made is left.
pub fn main(args: Args) -> ExitCode {
    if args.scenario == "list" {
        print(&scenarios::list());
        return ExitCode::SUCCESS;
    }
    let plan = std::env::current_exe()
        .map_err(|error| Error::io("find this program's own file", error))
        .and_then(|kraken| Plan::new(&args, kraken));
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return failed(&error, EXIT_CONFIG),
    };
    with_hosts(plan)
        .and_then(|plan| Ok((Outputs::new(&args)?, plan)))
        .and_then(|(outputs, plan)| run(&plan, outputs))
        .unwrap_or_else(|error| failed(&error, EXIT_FAILED))
}

/// How the runs ended.
enum Ended {
    Done,
    Failed(Error),
    Interrupted,
}

fn run(plan: &Plan, outputs: Outputs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start the runtime", error))?;
    let mut report = session::empty(plan);
    for line in &plan.notices {
        eprintln!("kraken bench: {line}");
    }
    print(&report::heading(&report));
    let progress = Progress::new(u64::from(plan.runs) * plan.systems.len() as u64);
    let ended = runtime.block_on(until_interrupted(plan, &mut report, &progress))?;
    progress.finish();
    runtime.shutdown_timeout(BLOCKING_MAX);
    // What was measured before an end that came too early is worth having.
    print(&format!("\n{}", report::table(&report)));
    let written = outputs.write(&report);
    match ended {
        Ended::Done => written.map(|()| ExitCode::SUCCESS),
        Ended::Failed(error) => Ok(failed(&error, EXIT_FAILED)),
        Ended::Interrupted => {
            eprintln!("kraken bench: interrupted");
            Ok(ExitCode::from(EXIT_INTERRUPTED))
        }
    }
}

async fn until_interrupted(plan: &Plan, report: &mut Report, progress: &Progress) -> Result<Ended> {
    let mut signals = Signals::listen()?;
    let ended = tokio::select! {
        biased;
        _ = signals.next() => return Ok(Ended::Interrupted),
        ended = session::measure(plan, report, progress) => ended,
    };
    let Err(error) = ended else { return Ok(Ended::Done) };
    // Ctrl-C goes to every process of the terminal: one of ours may have failed of it first.
    match tokio::time::timeout(SIGNAL_MAX, signals.next()).await {
        Ok(_) => Ok(Ended::Interrupted),
        Err(_) => Ok(Ended::Failed(error)),
    }
}

/// The plan with links if this machine can have them, or without if it needs none.
fn with_hosts(plan: Plan) -> Result<Plan> {
    if !plan.namespaces {
        return Ok(plan);
    }
    let Err(error) = net::check_namespaces() else { return Ok(plan) };
    if scenarios::needs_links(&plan.scenario) || rustix::process::geteuid().is_root() {
        return Err(error.context("links with caps (--loopback does without)"));
    }
    plan.on_loopback(&error.to_string())
}

/// Where the report goes beside the terminal; made before the first run, since it would be a pity
/// after the last.
struct Outputs {
    json: Option<(PathBuf, File)>,
    svg: Option<PathBuf>,
}

impl Outputs {
    fn new(args: &Args) -> Result<Self> {
        let json = args.json.clone().map(|path| {
            let file = File::create(&path).map_err(|error| cannot_write(&path, error))?;
            Ok::<_, Error>((path, file))
        });
        if let Some(dir) = &args.svg {
            std::fs::create_dir_all(dir).map_err(|error| cannot_write(dir, error))?;
        }
        Ok(Self { json: json.transpose()?, svg: args.svg.clone() })
    }

    fn write(self, report: &Report) -> Result<()> {
        if let Some((path, mut file)) = self.json {
            file.write_all(&report::json(report)?).map_err(|error| cannot_write(&path, error))?;
        }
        let Some(dir) = self.svg else { return Ok(()) };
        let name = report.scenario.name.to_lowercase();
        let plots = [
            (format!("{name}-completion.svg"), plot::completion(report)),
            (format!("{name}-sources.svg"), plot::sources(report)),
        ];
        for (name, plot) in plots {
            let path = dir.join(name);
            if let Some(plot) = plot {
                std::fs::write(&path, plot).map_err(|error| cannot_write(&path, error))?;
            }
        }
        Ok(())
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("write {}", path.display()), error)
}

fn failed(error: &Error, code: u8) -> ExitCode {
    eprintln!("kraken bench: {error}");
    ExitCode::from(code)
}

/// A closed pipe, as of `| head`, is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn named_dir(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !dir.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(dir)))
        }
        _ => Err("it has to be NAME=DIR".to_owned()),
    }
}

const EXIT_FAILED: u8 = 1;

/// 128 and the number of SIGINT, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// How long calls of the system under way may take at the end.
const BLOCKING_MAX: Duration = Duration::from_millis(500);

/// Within this time a signal that has killed another process has come here too.
const SIGNAL_MAX: Duration = Duration::from_millis(100);
