//! That no piece comes of a torrent without sums.

use kraken_core::Time;

/// What there was since the last piece.
#[derive(Debug)]
pub(super) struct NoNews {
    pub(super) since: Time,
    /// How many pieces were here then.
    pub(super) pieces: u32,
    /// Connections with origins that ended meanwhile.
    pub(super) origins_gone: u32,
    /// Why it does not come, as it was said last.
    pub(super) failure: Option<String>,
}
