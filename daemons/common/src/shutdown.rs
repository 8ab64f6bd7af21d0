//! The signals that end a daemon.

use kraken_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, each as one event: the first asks for an orderly end, the second for an end
/// at once.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// For commands of a terminal.
    hangup: Option<Signal>,
}

impl Signals {
    /// Takes the two signals over from the system; from here on they no longer kill the process.
    pub fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: None,
        })
    }

    /// Takes SIGHUP over as well, for a command with something to clean up when its terminal is
    /// closed; not if it was started to ignore it, as by `nohup`.
    pub fn listen_in_terminal() -> Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
        Ok(Self { hangup, ..Self::listen()? })
    }

    /// The name of the next signal. Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            Some(_) = next(self.hangup.as_mut()) => "SIGHUP",
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|e| Error::io("listen for signals", e))
}

/// The next one, or nothing if there is none to wait for.
async fn next(signal: Option<&mut Signal>) -> Option<()> {
    signal?.recv().await
}

/// Whether this process was started with SIGHUP ignored; as well if the system does not say.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1.
    ignored.is_none_or(|mask| mask & 1 != 0)
}
