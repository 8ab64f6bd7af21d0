//! The flags of `kraken bench`.

use std::path::PathBuf;

use crate::units::{self, Cap};

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
    /// How long each part of a load lasts (S7, S8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: Option<u64>,
    /// How many connections bring the load (S7, S8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) connections: Option<u8>,
    /// Other programs to run beside these: kraken-agent, kraken-origin and kraken-tracker in DIR,
    /// with uber/kraken's flags and configuration; may be given several times
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    pub(crate) binaries: Vec<(String, PathBuf)>,
    /// Configure the system of this name as is best for uber/kraken; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) tuned: Vec<String>,
    /// Run also a system of which every second agent is of the system of this name, and all else
    /// ours; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) mixed: Vec<String>,
    /// Run only what --binaries names
    #[arg(long)]
    pub(crate) no_own: bool,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write plots to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
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

impl Args {
    /// Where data goes.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Whether there are flags about hosts, links or the blob.
    pub(crate) fn changes_hosts(&self) -> bool {
        let counts = self.agents.is_some() || self.origins.is_some();
        let lengths = self.size.is_some() || self.piece.is_some();
        counts || lengths || self.agent_rate.is_some() || self.origin_rate.is_some()
    }

    /// Whether plots are wanted.
    pub(crate) fn has_plots(&self) -> bool {
        self.svg.is_some()
    }
}

fn named_dir(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !dir.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(dir)))
        }
        _ => Err("it has to be NAME=DIR".to_owned()),
    }
}
