//! Simulations as work that can be watched and interrupted.

use std::ops::ControlFlow;
use std::sync::Arc;

use kraken_common::shutdown::Signals;
use kraken_core::{Error, ErrorKind, Result};
use kraken_p2p::sim::{Progress, run_with};

use crate::exit;
use crate::file::ScenarioFile;
use crate::stop::Stop;
use crate::variants::{Run, Variant};

/// Runs a variant of a scenario with a seed; if it is stopped, what has happened until then is told
/// all the same.
pub(crate) fn simulate(
    file: &ScenarioFile,
    (variant, seed): (Variant, u64),
    stop: &Stop,
    mut show: impl FnMut(&Progress),
) -> Result<Run> {
    let report = run_with(&variant.scenario(file), seed, |progress| {
        show(progress);
        if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(Run::unless_stopped(file, report, stop))
}

/// Does work on a thread of its own, which Ctrl-C asks to stop; what comes of it, and whether it
/// was asked. A second Ctrl-C ends the process at once, and so does one after the work.
pub(crate) fn until_interrupted<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> T + Send + 'static,
) -> Result<(T, bool)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start the runtime", error))?;
    let stop = Arc::new(Stop::default());
    let theirs = Arc::clone(&stop);
    let mut signals = runtime.block_on(async { Signals::listen() })?;
    let done = runtime.block_on(async {
        let mut work = tokio::task::spawn_blocking(move || work(&theirs));
        let done = tokio::select! {
            biased;
            _ = signals.next() => {
                stop.ask();
                tokio::select! {
                    biased;
                    _ = signals.next() => exit::interrupted_again(),
                    done = &mut work => done,
                }
            }
            done = &mut work => done,
        };
        done.map_err(|error| Error::new(ErrorKind::Internal, "simulate").with_source(error))
    })?;
    // What is told and written afterwards may take for ever, as on a pipe that nobody reads.
    std::thread::spawn(move || {
        runtime.block_on(signals.next());
        exit::interrupted_late()
    });
    Ok((done, stop.is_asked()))
}
