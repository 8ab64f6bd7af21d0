//! What the owner of a swarm may choose.

use std::time::Duration;

/// The choices of a [`super::Swarm`]; the defaults are an agent's.
#[derive(Debug, Clone, PartialEq)]
pub struct SwarmConfig {
    /// Whether to announce to trackers; origins do not.
    pub announce: bool,
    /// Whether to dial peers; origins do not.
    pub dial: bool,
    /// Whether to send pieces to others.
    pub seed: bool,
    /// Dial while a torrent has fewer connections than this.
    pub dial_max: usize,
    /// Then dial one more a second while it has fewer than this, though no origin, or up to two
    /// thirds of `accept_max` if those it has leave it waiting: the last of a crowd to join are
    /// dialled by nobody.
    pub conns_enough: usize,
    /// Accept while a torrent has fewer connections than this.
    pub accept_max: usize,
    /// How many whole pieces are sent at once, over all torrents: many sockets written at once
    /// make every piece late.
    pub upload_pieces_at_once: usize,
    /// How many at most, while fewer leave the uplink idle or take less than a tenth of a second
    /// (see [`super::Swarm::handle_upload_progress`]); as many at least.
    pub upload_pieces_max: usize,
    /// Bytes on order at once, over all connections, shared out evenly among the torrents that have
    /// any on order; at least 14 pieces or 64 MiB, whichever is less, and 4 pieces of each torrent.
    pub in_flight_bytes: u64,
    /// Most requests open with a peer that is uber/kraken's agent, those included that were given
    /// up and that it may still answer: it knows no cancel.
    pub pipeline_agent: usize,
    /// Most requests open with an origin that is uber/kraken's, counted alike.
    pub pipeline_origin: usize,
    /// Most requests open with a peer of ours.
    pub pipeline_ours: usize,
    /// A peer whose queue would take longer than this, and longer than eight pieces usually take,
    /// gets no more than two requests: what is decided later is decided better.
    pub queue_wait_max: Duration,
    /// A request is given up after this long without enough bytes from the peer…
    pub request_timeout_min: Duration,
    /// …or this long per MiB of piece, whichever is longer; longer with a peer known to be slow.
    pub request_timeout_per_mib: Duration,
    /// A piece that has been on order for this long is moved to a peer that would bring it much
    /// sooner; when no piece is left to ask for, it is asked of that one too if the first neither
    /// brings it nor lets go of it, and this much time is to be won. At the end of a blob, and for
    /// pieces that a reader waits for, a peer that is no quicker than usual has three times what a
    /// piece usually takes, if that is less.
    pub duplicate_after: Duration,
    /// How long between announces when the tracker does not say.
    pub announce_interval: Duration,
    /// The first pause before announcing again while there are few connections; it doubles up to
    /// the interval.
    pub announce_retry: Duration,
    /// Below this many connections the torrent announces again after `announce_retry`.
    pub conns_few: usize,
    /// How long between announces of a complete torrent: well inside the tracker's 5 h memory.
    pub announce_complete_interval: Duration,
    /// A connection over which no piece went for so long is closed.
    pub conn_idle: Duration,
    /// An incomplete torrent that got no piece for so long is dropped.
    pub leecher_tti: Duration,
    /// A complete torrent without connections for so long is dropped.
    pub seeder_tti: Duration,
    /// The longest pause before a peer that could not be reached, or refused, is dialled again.
    pub blacklist_duration: Duration,
    /// How often a blob that failed its digest is fetched again, from origins only.
    pub discard_attempts: u32,
}

impl SwarmConfig {
    /// An origin's choices: it is dialled, and knows every agent through that.
    pub fn origin() -> Self {
        Self { announce: false, dial: false, accept_max: 100, ..Self::default() }
    }
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            announce: true,
            dial: true,
            seed: true,
            dial_max: 8,
            // With 8 the slowest of 300 took 4 % longer for a blob of 20 GB than the median, with
            // 12 it took 0.6 % longer.
            conns_enough: 12,
            accept_max: 24,
            upload_pieces_at_once: 4,
            upload_pieces_max: 16,
            in_flight_bytes: 30 << 20,
            pipeline_agent: 3,
            pipeline_origin: 5,
            pipeline_ours: 16,
            queue_wait_max: Duration::from_secs(1),
            request_timeout_min: Duration::from_secs(4),
            request_timeout_per_mib: Duration::from_secs(4),
            duplicate_after: Duration::from_millis(1000),
            announce_interval: Duration::from_secs(3),
            announce_retry: Duration::from_millis(200),
            conns_few: 4,
            announce_complete_interval: Duration::from_secs(30 * 60),
            conn_idle: Duration::from_secs(30),
            leecher_tti: Duration::from_secs(5 * 60),
            seeder_tti: Duration::from_secs(5 * 60),
            blacklist_duration: Duration::from_secs(30),
            discard_attempts: 2,
        }
    }
}
