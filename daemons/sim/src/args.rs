//! The flags of what `kraken sim` does.

use std::path::PathBuf;

use crate::policy::PolicyName;

/// The flags of `kraken sim run`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArgs {
    /// The scenario's name, or a file; `list` shows the names
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: String,
    /// What everything random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Run it with so many hosts, groups in proportion
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) hosts: Option<usize>,
    /// What all hosts, origins and trackers run, in place of what the scenario says
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) policy: Option<PolicyName>,
    /// Write everything that was counted to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write plots to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
}

/// The flags of `kraken sim compare`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CompareArgs {
    /// The scenario's name, or a file
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: String,
    /// What all hosts, origins and trackers run, one after the other
    #[arg(long, value_name = "A,B", value_enum, value_delimiter = ',', required = true)]
    pub(crate) policies: Vec<PolicyName>,
    /// What everything random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Run it with so many hosts, groups in proportion
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) hosts: Option<usize>,
    /// Write everything that was counted to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write plots to this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
}

/// The flags of `kraken sim all`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AllArgs {
    /// Only these scenarios
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The large ones too
    #[arg(long)]
    pub(crate) large: bool,
    /// Run scenarios of up to 2,600 hosts with each of these; the first one's figures are shown, a
    /// run with it again must be the same, also uber/kraken's, and with others all targets must be
    /// met too and times differ by 5 % at most: the table of all is made with
    /// `kraken sim all --seeds 1,1,2,3,4`
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1")]
    #[arg(allow_negative_numbers = true)]
    pub(crate) seeds: Vec<u64>,
    /// Runs at once
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,
    /// Run each with so many hosts at most
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) hosts: Option<usize>,
    /// Write the table to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
