//! `kraken bench` as a command.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kraken_common::launch::EXIT_CONFIG;
use kraken_common::shutdown::Signals;
use kraken_core::{Error, Result};

use crate::args::Args;
use crate::load::{self, LoadReport};
use crate::loads::{self, Loads};
use crate::plan::Plan;
use crate::result::Report;
use crate::session::{self, Progress};
use crate::{net, plot, report, scenarios};

/// Runs the command: 0 if all runs were done, 1 if not, 64 for wrong arguments, 130 after Ctrl-C,
/// SIGTERM or SIGHUP; nothing that it started or made is left.
pub fn main(args: Args) -> ExitCode {
    if args.scenario == "list" {
        print(&scenarios::list());
        loads::LIST.iter().for_each(|(name, about)| print(&format!("{name:<18} {about}\n")));
        return ExitCode::SUCCESS;
    }
    let kraken = std::env::current_exe();
    let kraken = kraken.map_err(|error| Error::io("find this program's own file", error));
    let wrong = |error: Error| failed(&error, EXIT_CONFIG);
    let ended = if load::is_load(&args.scenario) {
        match kraken.and_then(|kraken| Loads::new(&args, &kraken)) {
            Ok(loads) => Outputs::new(&args).and_then(|outputs| put(&loads, outputs)),
            Err(error) => return wrong(error),
        }
    } else {
        match kraken.and_then(|kraken| Plan::new(&args, kraken)) {
            Ok(plan) => with_hosts(plan).and_then(|plan| run(&plan, Outputs::new(&args)?)),
            Err(error) => return wrong(error),
        }
    };
    ended.unwrap_or_else(|error| failed(&error, EXIT_FAILED))
}

/// How the runs ended.
enum Ended {
    Done,
    Failed(Error),
    Interrupted,
}

impl Ended {
    /// The exit code, once what there is was written.
    fn code(self, written: Result<()>) -> Result<ExitCode> {
        match self {
            Self::Done => written.map(|()| ExitCode::SUCCESS),
            Self::Failed(error) => Ok(failed(&error, EXIT_FAILED)),
            Self::Interrupted => {
                complain("interrupted");
                Ok(ExitCode::from(EXIT_INTERRUPTED))
            }
        }
    }
}

/// All runs of a scenario.
fn run(plan: &Plan, outputs: Outputs) -> Result<ExitCode> {
    let mut report = session::empty(plan);
    for line in &plan.notices {
        complain(line);
    }
    print(&report::heading(&report));
    let progress = Progress::new(u64::from(plan.runs) * plan.systems.len() as u64);
    let measured = session::measure(plan, &mut report, &progress);
    let ended = until_interrupted(measured, BLOCKING_MAX)?;
    progress.finish();
    // What was measured before an end that came too early is worth having.
    if report.systems.iter().any(|system| !system.runs.is_empty()) {
        print(&format!("\n{}", report::table(&report)));
    }
    ended.code(outputs.write(&report))
}

/// All loads of a scenario that is one.
fn put(loads: &Loads, outputs: Outputs) -> Result<ExitCode> {
    let mut reports = Vec::new();
    let progress = Progress::new(loads.count());
    let ended = until_interrupted(loads.measure(&mut reports, &progress), loads::STOP_MAX)?;
    progress.finish();
    ended.code(outputs.write_loads(&reports))
}

/// Does the work on a runtime of its own, which is gone afterwards; `blocking_max` is for what
/// cannot be interrupted.
fn until_interrupted(
    work: impl Future<Output = Result<()>>,
    blocking_max: Duration,
) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start the runtime", error))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen_in_terminal()?;
        let ended = tokio::select! {
            biased;
            _ = signals.next() => return Ok(Ended::Interrupted),
            ended = work => ended,
        };
        let Err(error) = ended else { return Ok(Ended::Done) };
        // Ctrl-C goes to every process of the terminal: one of ours may have failed of it first.
        match tokio::time::timeout(SIGNAL_MAX, signals.next()).await {
            Ok(_) => Ok(Ended::Interrupted),
            Err(_) => Ok(Ended::Failed(error)),
        }
    });
    runtime.shutdown_timeout(blocking_max);
    ended
}

/// The plan with links if this machine can have them, or without if it needs none.
fn with_hosts(plan: Plan) -> Result<Plan> {
    if !plan.namespaces {
        return Ok(plan);
    }
    let Err(error) = net::check_namespaces() else { return Ok(plan) };
    if scenarios::needs_links(&plan.scenario) || rustix::process::geteuid().is_root() {
        return Err(error.context(&plan.scenario.name));
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
            // What an earlier command has written stays until there is something new.
            let file = File::options().write(true).create(true).truncate(false).open(&path);
            Ok::<_, Error>((path.clone(), file.map_err(|error| cannot_write(&path, error))?))
        });
        if let Some(dir) = &args.svg {
            std::fs::create_dir_all(dir).map_err(|error| cannot_write(dir, error))?;
        }
        Ok(Self { json: json.transpose()?, svg: args.svg.clone() })
    }

    fn write_loads(self, reports: &[LoadReport]) -> Result<()> {
        let Some(json) = self.json else { return Ok(()) };
        overwrite(json, !reports.is_empty(), || report::pretty(&reports))
    }

    fn write(self, report: &Report) -> Result<()> {
        if let Some(json) = self.json {
            let has_runs = report.systems.iter().any(|system| !system.runs.is_empty());
            overwrite(json, has_runs, || report::json(report))?;
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

/// Writes the file anew; one without anything in it is removed if there is nothing to write.
fn overwrite(
    (path, mut file): (PathBuf, File),
    is_worth_it: bool,
    json: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<()> {
    let is_file = file.metadata().is_ok_and(|at| at.is_file());
    let mut write = |json: Vec<u8>| {
        if is_file {
            file.set_len(0)?;
        }
        file.write_all(&json)
    };
    let written = if is_worth_it {
        write(json()?)
    } else if std::fs::metadata(&path).is_ok_and(|at| at.is_file() && at.len() == 0) {
        std::fs::remove_file(&path)
    } else {
        Ok(())
    };
    written.map_err(|error| cannot_write(&path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("write {}", path.display()), error)
}

fn failed(error: &Error, code: u8) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(code)
}

/// A closed pipe is no failure here either.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "kraken bench: {text}");
}

/// A closed pipe, as of `| head`, is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Of runs that could not be done.
const EXIT_FAILED: u8 = 1;

/// 128 and the number of SIGINT, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// How long calls of the system under way may take at the end.
const BLOCKING_MAX: Duration = Duration::from_millis(500);

/// Within this time a signal that has killed another process has come here too.
const SIGNAL_MAX: Duration = Duration::from_millis(100);
