//! How often hosts may be told something, by what their links and blobs are.

use kraken_core::piece::PieceLengths;

use super::limits::{CALLS_PER_PIECE, CALLS_PER_SEC_MIN};
use super::peer::Limits;
use super::scenario::{LinkRates, Scenario};

/// What bounds the calls to a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    /// Pieces that one host can get or send in a second at most.
    pieces_per_sec: f64,
    /// Hosts that can be its neighbours.
    hosts: usize,
}

impl Bounds {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let links = scenario.groups.iter().map(|group| (group.count, &group.rates));
        let links = links.chain(scenario.origins.iter().map(|group| (group.count, &group.rates)));
        let hosts = links.clone().fold(0_usize, |sum, (count, _)| sum.saturating_add(count));
        let fastest = links.map(|(_, rates)| rate_max(rates)).fold(0.0, f64::max);
        // Of a link's bytes in a second nobody has more pieces than there are.
        let pieces_per_sec = scenario.blobs.iter().map(|blob| {
            let piece_len =
                blob.piece_len.unwrap_or_else(|| PieceLengths::default().for_blob(blob.len));
            let piece_len = piece_len.clamp(1, blob.len.max(1));
            (fastest / piece_len as f64, blob.len.div_ceil(piece_len) as f64)
        });
        let (rate, total) = pieces_per_sec
            .fold((0.0_f64, 0.0), |(rate, total), (this, pieces)| (rate.max(this), total + pieces));
        Self { pieces_per_sec: rate.min(total), hosts }
    }

    /// More calls within a second than these are a storm. Every neighbour tells of each piece it
    /// gets; each piece that comes or goes was asked for, perhaps taken back, and is told of.
    pub(super) fn calls_per_sec(&self, limits: &Limits, torrents: usize) -> u64 {
        let conns = limits.conns_per_torrent.saturating_mul(torrents).min(self.hosts);
        let pieces = self.pieces_per_sec * (conns as f64 + 2.0);
        ((pieces * CALLS_PER_PIECE) as u64).max(CALLS_PER_SEC_MIN)
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
        let mut scenario = Scenario::new("bounds", 60);
        let slow = LinkRates::symmetric(1e6);
        (scenario.groups[0].rates, scenario.origins[0].rates) = (slow, slow);
        let limits = Limits { conns_per_torrent: 32, ..Limits::default() };
        let calls = |scenario: &Scenario| Bounds::of(scenario).calls_per_sec(&limits, 1);
        assert_eq!(calls(&scenario), CALLS_PER_SEC_MIN);
        scenario.groups[0].rates = LinkRates::symmetric(12.5e9);
        scenario.blobs[0].len = 20_000_000_000;
        scenario.blobs[0].piece_len = Some(256 << 10);
        let most = 12.5e9 / f64::from(256 << 10) * 34.0 * CALLS_PER_PIECE;
        assert_eq!(calls(&scenario), most as u64);
        // A blob of one byte cannot come more than once.
        scenario.blobs[0].len = 1;
        assert_eq!(calls(&scenario), CALLS_PER_SEC_MIN);
    }
}
