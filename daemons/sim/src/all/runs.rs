//! The runs of all rows, several at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use kraken_core::Result;

use super::row::{Row, RowDone};
use crate::memory;
use crate::progress::Line;
use crate::stop::Stop;
use crate::variants::Run;
use crate::work::simulate;

/// What the threads share.
struct Shared<'a> {
    rows: &'a [Row],
    /// Rows and their runs, in the order in which they are begun.
    order: Vec<(usize, usize)>,
    state: Mutex<State>,
    /// Told when a run is done.
    done: Condvar,
    stop: &'a Stop,
    line: &'a Line,
}

struct State {
    /// The next run in the order.
    next: usize,
    /// What is under way.
    under_way: Vec<String>,
    /// Bytes of memory that no run under way is expected to need.
    memory: u64,
    done: Vec<Vec<Option<Run>>>,
    finished: Vec<Option<RowDone>>,
    printed: usize,
}

/// Does all runs, `jobs` at once as far as memory allows, and prints each row as soon as it and
/// those before it are done. Of a stopped one those rows are returned that were done.
pub(super) fn all(rows: Vec<Row>, jobs: usize, stop: &Stop, line: &Line) -> Result<Vec<RowDone>> {
    let runs = |(at, row): (usize, &Row)| (0..row.runs.len()).map(move |run| (at, run));
    let shared = Shared {
        rows: &rows,
        order: rows.iter().enumerate().flat_map(runs).collect(),
        state: Mutex::new(State {
            next: 0,
            under_way: Vec::new(),
            memory: memory::available()?,
            done: rows.iter().map(|row| vec![None; row.runs.len()]).collect(),
            finished: rows.iter().map(|_| None).collect(),
            printed: 0,
        }),
        done: Condvar::new(),
        stop,
        line,
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| shared.work())).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(state.finished.into_iter().flatten().collect())
}

impl Shared<'_> {
    /// Does one run after the other until none is left.
    fn work(&self) -> Result<()> {
        while let Some((row, run)) = self.take() {
            let Row { file, runs } = &self.rows[row];
            let (done, error) = match simulate(file, runs[run], self.stop, |_| {}) {
                Ok(done) => (Some(done), None),
                Err(error) => (None, Some(error)),
            };
            self.put(row, run, done)?;
            if let Some(error) = error {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The next run, once there is memory for it.
    fn take(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        loop {
            let (row, run) = *self.order.get(state.next)?;
            if self.stop.is_asked() {
                return None;
            }
            let needed = self.needed(row);
            if needed <= state.memory || state.under_way.is_empty() {
                state.next += 1;
                state.memory = state.memory.saturating_sub(needed);
                state.under_way.push(self.name(row, run));
                self.line.say(state.under_way.join(", "));
                return Some((row, run));
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A run is done.
    fn put(&self, row: usize, run: usize, done: Option<Run>) -> Result<()> {
        let mut state = self.lock();
        state.memory += self.needed(row);
        let name = self.name(row, run);
        if let Some(at) = state.under_way.iter().position(|under_way| *under_way == name) {
            state.under_way.remove(at);
        }
        self.done.notify_all();
        self.line.step();
        self.line.say(state.under_way.join(", "));
        let Some(done) = done.filter(|_| !self.stop.is_asked()) else { return Ok(()) };
        state.done[row][run] = Some(done);
        if state.done[row].iter().any(Option::is_none) {
            return Ok(());
        }
        let all = std::mem::take(&mut state.done[row]).into_iter().flatten().collect();
        state.finished[row] = Some(self.rows[row].done(all));
        while let Some(Some(done)) = state.finished.get(state.printed) {
            self.line.print(&done.line())?;
            state.printed += 1;
        }
        Ok(())
    }

    fn needed(&self, row: usize) -> u64 {
        memory::estimate(&self.rows[row].file.scenario)
    }

    fn name(&self, row: usize, run: usize) -> String {
        let Row { file, runs } = &self.rows[row];
        let (variant, seed) = runs[run];
        format!("{}{} with seed {seed}", file.scenario.name, variant.title())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
