//! `kraken sim run`: one scenario, once.

use std::process::ExitCode;
use std::time::Instant;

use kraken_core::Result;
use kraken_p2p::sim::Report;

use crate::args::RunArgs;
use crate::file::ScenarioFile;
use crate::outcome::Outcome;
use crate::outputs::Outputs;
use crate::policy::PolicyName;
use crate::progress::{Line, print};
use crate::stop::Stop;
use crate::variants::{Run, Runs, Variant};
use crate::work::{simulate, until_interrupted};
use crate::{builtin, exit, memory, table};

/// What is written as JSON.
#[derive(serde::Serialize)]
struct Document<'a> {
    about: &'a str,
    policy: &'a str,
    targets: &'a [Outcome],
    report: &'a Report,
}

/// A run that was asked for.
struct Plan {
    file: ScenarioFile,
    seed: u64,
    /// On all hosts, in place of what the file says.
    policy: Option<PolicyName>,
}

/// Runs the command: 0 if everyone finished and every promise was kept.
pub(crate) fn main(args: RunArgs) -> ExitCode {
    let RunArgs { scenario, seed, hosts, policy, json, svg } = args;
    let file = match builtin::find(&scenario, hosts) {
        Ok(file) => file,
        Err(error) => return exit::wrong(&error),
    };
    let plan = Plan { file, seed, policy };
    match Outputs::new(json, svg, Some(&scenario)) {
        Ok(outputs) => plan.run(outputs).unwrap_or_else(|error| exit::failed(&error)),
        Err(error) => exit::wrong(&error),
    }
}

impl Plan {
    fn run(self, outputs: Outputs) -> Result<ExitCode> {
        print(&self.heading())?;
        let begun = Instant::now();
        let (done, interrupted) = until_interrupted(move |stop| {
            let line = Line::of_run();
            let runs = self.simulate(stop, &line);
            line.finish();
            runs.map(|runs| (self, runs))
        })?;
        let (plan, runs) = done?;
        let run = runs.run(plan.main()).expect("the run itself is done first");
        let code = plan.tell(&runs, run, outputs, interrupted)?;
        let mib = memory::peak().unwrap_or(0) >> 20;
        let seconds = begun.elapsed().as_secs_f64();
        print(&format!("{seconds:.1} s of real time, {mib} MiB of memory\n"))?;
        Ok(if interrupted { exit::interrupted() } else { code })
    }

    /// The run itself, then those that it is compared with.
    fn simulate(&self, stop: &Stop, line: &Line) -> Result<Runs> {
        let mut runs = Runs::default();
        let mut variants = vec![self.main()];
        if self.policy.is_none() {
            variants.extend(self.file.targets.needs(&self.file));
        }
        for variant in variants {
            if runs.run(self.main()).is_some() && stop.is_asked() {
                break;
            }
            let what = match variant == self.main() {
                true => String::new(),
                false => format!("{},", variant.title().trim_start()),
            };
            let show = |progress: &_| line.show(&what, progress);
            runs.insert(variant, simulate(&self.file, (variant, self.seed), stop, show)?);
        }
        Ok(runs)
    }

    fn tell(
        &self,
        runs: &Runs,
        run: &Run,
        mut outputs: Outputs,
        interrupted: bool,
    ) -> Result<ExitCode> {
        let name = format!("{}, seed {}", self.policy_title(), self.seed);
        let figures = table::figures(&self.file, run);
        let report = &run.report;
        print(&format!("\n{}", table::side_by_side(&[(name, figures)])))?;
        let as_written = self.policy.is_none() && !interrupted;
        let outcomes = match as_written {
            true => self.file.targets.outcomes(&self.file, runs),
            false => Vec::new(),
        };
        print(&table::outcomes(&self.file, &outcomes))?;
        print(&table::troubles(report))?;
        let policy = self.policy_title();
        outputs.write_json(&Document {
            about: &self.file.about,
            policy,
            targets: &outcomes,
            report,
        })?;
        outputs.write_plots(&self.file, &[(policy.to_owned(), report)])?;
        Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(exit::EXIT_FAILED) })
    }

    fn heading(&self) -> String {
        let Self { file, .. } = self;
        let mut text = format!("{}: {}\n{}\n", file.scenario.name, file.about, file.set_up());
        if let Some(notes) = &file.notes {
            text += &format!("{notes}\n");
        }
        text
    }

    fn main(&self) -> Variant {
        self.policy.map_or(Variant::AsWritten, Variant::All)
    }

    fn policy_title(&self) -> &'static str {
        self.policy.map_or("as written", PolicyName::title)
    }
}
