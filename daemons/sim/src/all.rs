//! `kraken sim all`: every scenario that has a name, as a table.

mod row;
mod runs;

use std::process::ExitCode;
use std::time::Instant;

use kraken_core::{Error, Result};

use self::row::{Row, RowDone};
use crate::args::AllArgs;
use crate::file::ScenarioFile;
use crate::outputs::Outputs;
use crate::progress::{Line, print};
use crate::work::until_interrupted;
use crate::{builtin, exit, memory};

/// Runs the command: 1 if in a run of ours someone starves, a promise is broken, or the same seed
/// gives other figures.
pub(crate) fn main(args: AllArgs) -> ExitCode {
    let jobs = usize::from(args.jobs);
    let rows = match rows(&args) {
        Ok(rows) => rows,
        Err(error) => return exit::wrong(&error),
    };
    let most = args.hosts.map(|hosts| format!("With {hosts} hosts each at most.\n\n"));
    let code = print(&most.unwrap_or_default())
        .and_then(|()| Outputs::new(args.json, None, None))
        .and_then(|outputs| run(rows, jobs, outputs));
    code.unwrap_or_else(|error| exit::failed(&error))
}

fn rows(args: &AllArgs) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, _) in builtin::NAMED {
        if !args.names.is_empty() && !args.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let file = builtin::named(name)?;
        if file.large && !args.large && args.names.is_empty() {
            continue;
        }
        rows.push(Row::new(at_most(file, args.hosts)?, &args.seeds));
    }
    if let Some(unknown) = args.names.iter().find(|name| builtin::text(name).is_err()) {
        builtin::text(unknown)?;
    }
    Ok(rows)
}

/// The scenario with so many hosts at most.
fn at_most(file: ScenarioFile, hosts: Option<usize>) -> Result<ScenarioFile> {
    let file = match hosts {
        Some(hosts) if hosts < file.hosts() => file.scaled(hosts)?,
        _ => file,
    };
    file.check_memory(memory::available()?)?;
    Ok(file)
}

fn run(rows: Vec<Row>, jobs: usize, mut outputs: Outputs) -> Result<ExitCode> {
    let begun = Instant::now();
    let runs = rows.iter().map(Row::runs_count).sum();
    Line::announce(&format!("{} scenarios, {runs} runs; each row once it is done", rows.len()));
    print(row::HEADING)?;
    let (done, interrupted) = until_interrupted(move |stop| {
        let line = Line::of_runs(runs);
        let done = runs::all(rows, jobs, stop, &line);
        line.finish();
        done
    })?;
    let done: Vec<RowDone> = done?;
    print(&row::remarks(&done))?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let gib = memory::peak().map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 30));
    let (rows, met) = (done.len(), done.iter().filter(|row| row.is_met()).count());
    print(&format!(
        "\n{rows} scenarios, targets of {met} met; {minutes:.1} minutes with {jobs} runs at once, \
         {gib:.1} GiB of memory.\n"
    ))?;
    outputs.write_json(&done)?;
    if interrupted {
        return Ok(exit::interrupted());
    }
    let failed = done.iter().filter(|row| !row.ok).map(|row| row.name.as_str());
    let failed: Vec<&str> = failed.collect();
    match failed.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        names => Err(Error::invalid(format!("runs that failed: {}", names.join(", ")))),
    }
}
