//! What hosts may run, by name.

use std::sync::Arc;

use kraken_p2p::sim::{Policy, SwarmPolicy, UpstreamConfig, UpstreamPolicy};
use kraken_p2p::tracker::HandoutPolicy;

/// What a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum PolicyName {
    /// This project's node.
    Swarm,
    /// uber/kraken as shipped.
    UberKraken,
    /// uber/kraken with the settings that were found best for it.
    UberKrakenReconfigured,
}

impl PolicyName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Swarm, Self::UberKraken, Self::UberKrakenReconfigured];

    /// As files and the command line have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::UberKraken => "uber-kraken",
            Self::UberKrakenReconfigured => "uber-kraken-reconfigured",
        }
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Swarm => "kraken",
            Self::UberKraken => "uber/kraken",
            Self::UberKrakenReconfigured => "uber/kraken re-configured",
        }
    }

    pub(crate) fn agent(self) -> Arc<dyn Policy> {
        match self {
            Self::Swarm => Arc::new(SwarmPolicy::default()),
            Self::UberKraken => Arc::new(UpstreamPolicy::default()),
            Self::UberKrakenReconfigured => {
                Arc::new(UpstreamPolicy(UpstreamConfig::reconfigured(false)))
            }
        }
    }

    pub(crate) fn origin(self) -> Arc<dyn Policy> {
        match self {
            Self::Swarm => Arc::new(SwarmPolicy::origin()),
            Self::UberKraken => Arc::new(UpstreamPolicy::default()),
            Self::UberKrakenReconfigured => {
                Arc::new(UpstreamPolicy(UpstreamConfig::reconfigured(true)))
            }
        }
    }

    /// How the trackers of a whole swarm of it answer.
    pub(crate) fn handout(self) -> HandoutPolicy {
        match self {
            Self::Swarm => HandoutPolicy::Mixed,
            Self::UberKraken | Self::UberKrakenReconfigured => HandoutPolicy::Completeness,
        }
    }

    /// Whether its own limiter of bandwidth, which is what keeps its hosts to their rates, lets
    /// whole pieces out one after the other.
    pub(crate) fn sends_whole_pieces(self) -> bool {
        self != Self::Swarm
    }
}
