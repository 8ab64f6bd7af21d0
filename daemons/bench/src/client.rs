//! Small programs inside a run's hosts: this same executable, started once in a host's network and
//! told on its standard input what to do there.

mod blob;
mod serve;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use kraken_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;

pub(crate) use self::blob::Blob;
pub(crate) use self::serve::{STORAGE_ROOT, now, serve};
use crate::net::Host;
use crate::process::Process;

/// Such a program, seen from outside. Asks are answered in order; one whose answer was not waited
/// for leaves it unusable.
#[derive(Debug)]
pub(crate) struct Inside {
    process: Process,
    asks: pipe::Sender,
    answers: BufReader<pipe::Receiver>,
}

/// What it can do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Answers once a `GET` is answered with 200.
    Health {
        /// The server.
        addr: SocketAddr,
    },
    /// Answers once an origin calls so many origins the blob's.
    Owners {
        /// The origin.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
        /// How many.
        count: usize,
    },
    /// Uploads the blob.
    Upload {
        /// The origin.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
    },
    /// Answers once an origin has the blob.
    Holds {
        /// The origin.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
    },
    /// Answers once the storage has the blob.
    Stored {
        /// The storage.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
    },
    /// Uploads the blob to the storage.
    Store {
        /// The storage.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
    },
    /// How many bytes the storage has sent.
    Sent {
        /// The storage.
        addr: SocketAddr,
    },
    /// Pulls the blob; [`Fetched`].
    Fetch {
        /// The agent.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
    },
    /// Reads ranges of the blob, as a container runtime does; how long each took.
    Ranges {
        /// The agent's registry.
        registry: SocketAddr,
        /// The blob.
        blob: Blob,
        /// Which ranges.
        ranges: Vec<Range<u64>>,
    },
    /// Pulls the blob and hashes it; its digest, and the time to the first byte.
    Hash {
        /// The agent.
        addr: SocketAddr,
        /// The blob.
        blob: Blob,
    },
    /// Listens for one connection; the port.
    Listen,
    /// Takes that connection and discards what comes; bytes a second after the beginning.
    Receive,
    /// Connects there and sends for a while.
    Send {
        /// Where to.
        addr: SocketAddr,
        /// How long.
        lasting: Duration,
    },
}

/// What a client saw of a pull; times are of the machine's monotonic clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fetched {
    /// When it began.
    pub(crate) start: Duration,
    /// When the first byte was there.
    pub(crate) first_byte: Duration,
    /// When the last byte was there.
    pub(crate) last_byte: Duration,
    /// When how many bytes were there.
    pub(crate) curve: Vec<(Duration, u64)>,
    /// How many came.
    pub(crate) len: u64,
    /// The CRC-32 of all.
    pub(crate) crc32: u32,
}

impl Inside {
    /// Starts `kraken` on `host`. The process counts as of `role`; its log is in `dir`.
    pub(crate) fn start(
        role: &'static str,
        host: &Host,
        kraken: &Path,
        dir: &Path,
    ) -> Result<Self> {
        let mut command = host.command(kraken);
        command.arg("bench-inside");
        let name = format!("{}-inside", host.name);
        let (process, stdin, stdout) = Process::start_piped(&name, role, command, dir)?;
        let pipe = |e| Error::io(format!("use the pipes of {name}"), e);
        let asks = pipe::Sender::from_owned_fd(stdin.into()).map_err(pipe)?;
        let answers = pipe::Receiver::from_owned_fd(stdout.into()).map_err(pipe)?;
        Ok(Self { process, asks, answers: BufReader::new(answers) })
    }

    /// Asks and waits for the answer, however long it takes.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, ask: &Ask) -> Result<T> {
        let mut line = to_json(ask)?;
        line.push('\n');
        let mut answer = String::new();
        let talk = async {
            self.asks.write_all(line.as_bytes()).await?;
            self.answers.read_line(&mut answer).await
        };
        let talked = talk.await;
        if !matches!(talked, Ok(1..)) {
            let message = format!("{} gave no answer: ", self.process.name());
            return Err(Error::new(ErrorKind::Unavailable, message + &self.process.log_end()));
        }
        let answer: std::result::Result<T, String> = from_json(&answer)?;
        answer.map_err(|message| Error::new(ErrorKind::Unavailable, message))
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "write a line of json").with_source(e))
}

fn from_json<T: DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line)
        .map_err(|e| Error::new(ErrorKind::Internal, "read a line of json").with_source(e))
}
