//! How often hosts may be told something, by what their links and blobs are.

use kraken_core::piece::PieceLengths;

use super::limits::{CALLS_PER_HOST, CALLS_PER_NEWS, CALLS_PER_PIECE, CALLS_PER_SEC_MIN};
use super::peer::Limits;
use super::scenario::{LinkRates, Scenario};

/// What bounds the calls to a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    /// Bytes that the quickest of those who fetch may get in a second.
    agents_max: f64,
    /// The shortest piece, and how many there are.
    piece_len: f64,
    pieces: f64,
    /// Hosts that can be its neighbours.
    hosts: usize,
}

impl Bounds {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let agents = scenario.groups.iter().map(|group| group.count);
        let origins = scenario.origins.iter().map(|group| group.count);
        let hosts = agents.chain(origins).fold(0_usize, usize::saturating_add);
        let rates = scenario.groups.iter().map(|group| rate_max(&group.rates));
        let blobs = scenario.blobs.iter().map(|blob| {
            let piece_len =
                blob.piece_len.unwrap_or_else(|| PieceLengths::default().for_blob(blob.len));
            let piece_len = piece_len.clamp(1, blob.len.max(1));
            (piece_len as f64, blob.len.div_ceil(piece_len) as f64)
        });
        let (piece_len, pieces) = blobs
            .fold((f64::MAX, 0.0), |(least, all), (len, pieces)| (least.min(len), all + pieces));
        Self { agents_max: rates.fold(0.0, f64::max), piece_len, pieces, hosts }
    }

    /// More calls within a second than these are a storm. Every neighbour tells of each piece it
    /// gets; each piece that comes or goes was asked for, perhaps taken back, and is told of.
    pub(super) fn calls_per_sec(&self, limits: &Limits, rates: &LinkRates, torrents: usize) -> u64 {
        let conns = limits.conns_per_torrent.saturating_mul(torrents).min(self.hosts);
        let told = (self.agents_max / self.piece_len).min(self.pieces) * conns as f64;
        let moved = (rate_max(rates) / self.piece_len).min(self.pieces * conns as f64);
        let come_and_go = CALLS_PER_SEC_MIN + self.hosts as u64 * CALLS_PER_HOST;
        ((told * CALLS_PER_NEWS + moved * CALLS_PER_PIECE) as u64).saturating_add(come_and_go)
    }
}

fn rate_max(rates: &LinkRates) -> f64 {
    let rate = |rate: &super::scenario::Rate| {
        if rate.burst > 0 { rate.line_bytes_per_sec } else { rate.bytes_per_sec }
    };
    rate(&rates.up).max(rate(&rates.down))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_storm_depends_on_links_pieces_and_neighbours() {
        let mut scenario = Scenario::new("bounds", 59);
        scenario.origins[0].count = 1;
        scenario.blobs[0].piece_len = Some(1_000_000);
        let limits = Limits { conns_per_torrent: 32, ..Limits::default() };
        let calls =
            |scenario: &Scenario, rates| Bounds::of(scenario).calls_per_sec(&limits, rates, 1);
        let few = CALLS_PER_SEC_MIN + 60 * CALLS_PER_HOST;
        let (agent, origin) = (LinkRates::symmetric(300e6), LinkRates::symmetric(1.2e9));
        let most = 300.0 * 32.0 * CALLS_PER_NEWS;
        assert_eq!(calls(&scenario, &agent), few + (most + 300.0 * CALLS_PER_PIECE) as u64);
        assert_eq!(calls(&scenario, &origin), few + (most + 1200.0 * CALLS_PER_PIECE) as u64);
        // A blob of one piece comes once, and goes to each neighbour once.
        scenario.blobs[0].len = 1;
        let least = 32.0 * CALLS_PER_NEWS + 32.0 * CALLS_PER_PIECE;
        assert_eq!(calls(&scenario, &origin), few + least as u64);
    }
}
