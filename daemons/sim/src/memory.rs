//! How much memory a run takes.

use std::time::Duration;

use kraken_bench::preflight;
use kraken_core::Result;
use kraken_core::piece::PieceLengths;
use kraken_p2p::sim::{Blob, Fate, Group, Rate, Scenario, Want};

/// About how many bytes of memory a run of `scenario` takes at most.
pub(crate) fn estimate(scenario: &Scenario) -> u64 {
    let origins: usize = scenario.origins.iter().map(|group| group.count).sum();
    let mut bytes = PROCESS_BYTES + origins as f64 * HOST_BYTES;
    for blob in &scenario.blobs {
        let holders = if blob.holders == 0 { origins } else { blob.holders };
        let copy = ORIGIN_COPY_BYTES + pieces(blob) * ORIGIN_PIECE_BYTES;
        bytes += pieces(blob) * SUM_BYTES + holders as f64 * copy;
    }
    let [mut in_all, mut in_pages, mut in_lane] = [0.0; 3];
    for (at, group) in scenario.groups.iter().enumerate() {
        let replaced = matches!(group.fate, Fate::Killed { replaced: true, .. });
        let hosts = group.count as f64 * if replaced { 2.0 } else { 1.0 };
        bytes += hosts * HOST_BYTES;
        let lost = conns_lost(scenario, group);
        for blob in wanted(scenario, at) {
            let copies = hosts * blob.wanted_by;
            bytes += copies * (COPY_BYTES + pieces(blob) * PIECE_BYTES);
            bytes += copies * lost * CONN_BYTES;
        }
        in_all += hosts * events_within(scenario, at, f64::INFINITY);
        in_pages += hosts * events_within(scenario, at, PAGES_SECS);
        in_lane += hosts * events_within(scenario, at, latency_secs(scenario));
    }
    bytes += in_all.min(BUSY_EVENTS) * BUSY_EVENT_BYTES + in_pages * EVENT_BYTES;
    (bytes + in_lane * LANE_BYTES) as u64
}

/// The blobs that a group may want.
fn wanted(scenario: &Scenario, group: usize) -> impl Iterator<Item = &Blob> {
    let want = &scenario.groups[group].want;
    let blobs = scenario.blobs.iter().enumerate();
    let mine = move |at: &usize| match want {
        Want::All => true,
        // Numbers are in order.
        Want::Only(only) => only.binary_search(at).is_ok(),
    };
    blobs.filter(move |(at, _)| mine(at)).map(|(_, blob)| blob)
}

/// The most events that the pieces which come to a host of a group within so many seconds bring
/// about: those of all that it wants, or of what its link lets through.
fn events_within(scenario: &Scenario, group: usize, secs: f64) -> f64 {
    let Rate { bytes_per_sec, burst, line_bytes_per_sec } = scenario.groups[group].rates.down;
    let through = match burst {
        0 => bytes_per_sec * secs,
        burst => (line_bytes_per_sec * secs).min(burst as f64 + bytes_per_sec * secs),
    };
    let (mut of_all, mut per_byte) = (0.0, 0.0_f64);
    for blob in wanted(scenario, group).filter(|blob| blob.wanted_by > 0.0) {
        let piece_len = piece_len(blob).min(blob.len);
        let slice_len = scenario.groups[group].rates.slice_len(&scenario.network);
        let slices = piece_len.div_ceil(slice_len.max(1)) as f64;
        let crossing = if scenario.zone_links.is_empty() { 1.0 } else { 2.0 };
        let events = EVENTS_PER_PIECE + slices * crossing;
        of_all += blob.wanted_by * pieces(blob) * events;
        per_byte = per_byte.max(events / piece_len as f64);
    }
    of_all.min(through * per_byte)
}

/// How many connections of a copy break while it is fetched: their tables are kept.
fn conns_lost(scenario: &Scenario, group: &Group) -> f64 {
    let Some(life) = scenario.network.conn_life else { return 0.0 };
    let bytes: f64 = scenario.blobs.iter().map(|blob| blob.wanted_by * blob.len as f64).sum();
    let rate = group.rates.down.bytes_per_sec.min(group.rates.up.bytes_per_sec);
    let joins = group.joins.from + group.joins.over;
    let secs = (2.0 * bytes / rate + joins.as_secs_f64()).min(scenario.time_max.as_secs_f64());
    // Who breaks at once is dialled again no sooner than after a handshake and a pause.
    CONNS_PER_COPY * secs / life.as_secs_f64().max(CONN_SECS_MIN + 4.0 * latency_secs(scenario))
}

/// The longest way.
fn latency_secs(scenario: &Scenario) -> f64 {
    let links = scenario.zone_links.iter().map(|link| link.latency);
    links.fold(scenario.network.latency, Duration::max).as_secs_f64()
}

fn pieces(blob: &Blob) -> f64 {
    blob.len.div_ceil(piece_len(blob)) as f64
}

fn piece_len(blob: &Blob) -> u64 {
    blob.piece_len.unwrap_or_else(|| PieceLengths::default().for_blob(blob.len)).max(1)
}

/// How many bytes of memory are there for a run.
pub(crate) fn available() -> Result<u64> {
    preflight::memory("MemAvailable")
}

/// The most memory that this process has had, in bytes.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The program itself, and the events' calendar.
const PROCESS_BYTES: f64 = 12e6;

/// A host's tables.
const HOST_BYTES: f64 = 8e3;

/// A blob on a host: its torrent, and its connections with what waits in them.
const COPY_BYTES: f64 = 60e3;

/// A piece of a blob on a host: its part of the torrent's tables and of what is known of the
/// neighbours'. Runs on slow links, whose messages do not pile up, had 10 to 70.
const PIECE_BYTES: f64 = 80.0;

/// A blob on an origin without connections.
const ORIGIN_COPY_BYTES: f64 = 3e3;

/// A piece of it: two counters and three bits.
const ORIGIN_PIECE_BYTES: f64 = 9.0;

/// A piece's sum, which all hosts share.
const SUM_BYTES: f64 = 4.0;

/// A piece is asked for, leaves, comes, and is told to those who lack it: 8 to 14 in swarms of 20
/// to 400 hosts.
const EVENTS_PER_PIECE: f64 = 12.0;

/// What the queue's pages hold goes over so much virtual time, and their room is never given back.
const PAGES_SECS: f64 = 0.27;

/// An entry on a page, and half as much room that is not used.
const EVENT_BYTES: f64 = 60.0;

/// Each page has the room of its busiest moment in the whole run: so many entries of all pages…
const BUSY_EVENTS: f64 = 8192.0 * 100.0;

/// …have so much more.
const BUSY_EVENT_BYTES: f64 = 50.0;

/// A message under way in the lane, and as much room that is not used.
const LANE_BYTES: f64 = 140.0;

/// The two ends of a connection that is over.
const CONN_BYTES: f64 = 1e3;

/// Seconds from one connection with a peer to the next one, if each breaks at once.
const CONN_SECS_MIN: f64 = 0.1;

/// Connections of a copy, each counted at one of its ends.
const CONNS_PER_COPY: f64 = 16.0;

#[cfg(test)]
mod tests {
    use kraken_p2p::sim::{LinkRates, OriginGroup};

    use super::*;

    /// A scenario of so many hosts at 300 MB/s and one blob with pieces of this length.
    fn scenario(hosts: usize, len: u64, piece_len: u64) -> Scenario {
        let blob = Blob { piece_len: Some(piece_len), ..Blob::new("blob", len) };
        Scenario { blobs: vec![blob], ..Scenario::new("test", hosts) }
    }

    /// A run had so many MiB: the estimate is not below that, nor more than six times as much,
    /// which it is for small swarms and pieces, where it takes all messages to be late.
    #[track_caller]
    fn check(scenario: &Scenario, mib: u64) {
        let estimate = estimate(scenario) >> 20;
        assert!((mib..=mib * 6).contains(&estimate), "{estimate} MiB, and it had {mib}");
    }

    #[test]
    fn runs_that_were_measured_are_not_underestimated() {
        check(&scenario(20, 16_000_000, 1 << 10), 52);
        check(&scenario(100, 8_000_000, 1 << 10), 172);
        check(&scenario(100, 16_000_000, 4 << 10), 182);
        check(&scenario(100, 40_000_000, 4 << 10), 439);
        check(&scenario(100, 200_000_000, 4 << 10), 931);
        check(&scenario(100, 400_000_000, 64 << 10), 170);
        check(&scenario(300, 100_000_000, 64 << 10), 240);
        check(&scenario(400, 1_000_000_000, 4 << 20), 51);
        check(&scenario(2000, 100_000_000, 4 << 20), 149);
    }

    #[test]
    fn slow_links_have_the_tables_of_pieces() {
        let mut slow = scenario(20, 40_000_000, 1 << 10);
        slow.groups[0].rates = LinkRates::symmetric(3e6);
        check(&slow, 89);
        let mut slow = scenario(100, 16_000_000, 4 << 10);
        slow.groups[0].rates = LinkRates::symmetric(2e6);
        check(&slow, 80);
    }

    #[test]
    fn what_origins_hold_counts_though_nobody_wants_it() {
        let mut many = scenario(20, 20_000_000, 1 << 10);
        many.origins = vec![OriginGroup::new(10, LinkRates::symmetric(1.2e9))];
        many.groups[0].rates = LinkRates::symmetric(30e6);
        let blob = Blob { wanted_by: 0.05, holders: 0, ..many.blobs[0].clone() };
        many.blobs = vec![blob; 100];
        check(&many, 200);
        let mut nobody = many.clone();
        nobody.blobs.iter_mut().for_each(|blob| blob.wanted_by = 0.0);
        assert!(estimate(&nobody) > 150 << 20);
        // Fifty origins with a thousand blobs of 195,000 pieces.
        many.origins[0].count = 50;
        many.blobs = vec![Blob { len: 200_000_000, ..many.blobs[0].clone() }; 1000];
        assert!(estimate(&many) > 80 << 30);
    }
}
