//! What a deployment of uber/kraken may choose, under its own names.

use std::time::Duration;

/// In which order an agent asks one peer for pieces (`scheduler.dispatch.piece_request_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PieceRequestPolicy {
    /// `default`: at random.
    Default,
    /// `rarest_first`: those first that the fewest connected peers have; of equals in the order in
    /// which a binary heap yields them, which is the same on every agent.
    #[default]
    RarestFirst,
}

/// uber/kraken's `scheduler` section, as far as it decides who gets what when. The defaults are
/// those of its code with its `agent/base.yaml` on top.
///
/// `bandwidth` is not among them: it is a property of a host's links
/// ([`crate::sim::LinkRates::whole_pieces`] is the order in which that limiter sends).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// `conn_tti`: a connection over which no piece went for longer than this is closed.
    pub conn_tti: Duration,
    /// `conn_ttl`: so is one that is older than this, whatever goes over it.
    pub conn_ttl: Duration,
    /// `preemption_interval`: how often it looks for either.
    pub preemption_interval: Duration,
    /// `leecher_tti`: an incomplete torrent that got no piece for this long is thrown away.
    pub leecher_tti: Duration,
    /// `seeder_tti`: a complete torrent is put aside, and its connections are closed, this long
    /// after it was taken up; the next one who dials takes it up again. (It is meant to be "this
    /// long after it was last read"; the reads are not noticed.)
    pub seeder_tti: Duration,
    /// `connstate.max_open_conn`: connections of a torrent, dials under way among them.
    pub max_open_conn: usize,
    /// `connstate.max_mutual_conn`: a peer that has more neighbours than this in common with us is
    /// refused.
    pub max_mutual_conn: usize,
    /// `connstate.disable_blacklist`.
    pub disable_blacklist: bool,
    /// `connstate.blacklist_duration`: for how long a peer is not dialled after a dial failed or a
    /// connection ended, whoever ended it and why.
    pub blacklist_duration: Duration,
    /// `dispatch.piece_request_policy`.
    pub piece_request_policy: PieceRequestPolicy,
    /// `dispatch.pipeline_limit`: requests open with an agent, and with whoever dialled.
    pub pipeline_limit: usize,
    /// `dispatch.origin_pipeline_limit`: requests open with an origin.
    pub origin_pipeline_limit: usize,
    /// `dispatch.endgame_threshold`: when so few pieces are missing, each is asked of every peer.
    pub endgame_threshold: u32,
    /// `dispatch.disable_endgame`.
    pub disable_endgame: bool,
    /// `dispatch.piece_request_min_timeout`: a request is taken for lost after this long…
    pub piece_request_min_timeout: Duration,
    /// `dispatch.piece_request_timeout_per_mb`: …or this long per MiB of piece, if that is longer.
    pub piece_request_timeout_per_mb: Duration,
    /// The time between announces of a host, all its torrents together, before a tracker has said
    /// another: not configurable there.
    pub announce_interval: Duration,
}

impl UpstreamConfig {
    /// The best that was found for uber/kraken without a change to its code: pieces at random, one
    /// request open with an agent, 100 connections at an origin. The same for agents and origins;
    /// `origin` says which of them it is for.
    pub fn reconfigured(origin: bool) -> Self {
        let shipped = Self::default();
        if origin {
            return Self { max_open_conn: 100, max_mutual_conn: 100, ..shipped };
        }
        Self {
            piece_request_policy: PieceRequestPolicy::Default,
            pipeline_limit: 1,
            endgame_threshold: 1,
            ..shipped
        }
    }

    /// How long a request may take, of a torrent whose longest piece has `piece_len` bytes.
    pub(super) fn request_timeout(&self, piece_len: u64) -> Duration {
        let mib = piece_len as f64 / (1 << 20) as f64;
        self.piece_request_timeout_per_mb.mul_f64(mib).max(self.piece_request_min_timeout)
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            conn_tti: Duration::from_secs(30),
            conn_ttl: Duration::from_secs(3600),
            preemption_interval: Duration::from_secs(30),
            leecher_tti: Duration::from_secs(300),
            seeder_tti: Duration::from_secs(300),
            max_open_conn: 10,
            max_mutual_conn: 10,
            disable_blacklist: false,
            blacklist_duration: Duration::from_secs(30),
            piece_request_policy: PieceRequestPolicy::RarestFirst,
            pipeline_limit: 3,
            origin_pipeline_limit: 5,
            endgame_threshold: 3,
            disable_endgame: false,
            piece_request_min_timeout: Duration::from_secs(4),
            piece_request_timeout_per_mb: Duration::from_secs(4),
            announce_interval: Duration::from_secs(5),
        }
    }
}
