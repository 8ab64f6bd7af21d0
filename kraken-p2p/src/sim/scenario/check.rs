//! Whether a scenario can be run.

use std::time::Duration;

use kraken_core::{Error, Geometry, Result};

use super::{Fate, Group, LinkRates, Network, Rate, Reading, Scenario, Spread, Want};
use crate::sim::limits::{HOSTS_MAX, INTERVAL_MAX, SLICE_MAX, TIME_MAX};

/// The first thing that is wrong with a scenario.
pub(super) fn scenario(scenario: &Scenario) -> Result<()> {
    let hosts = sum(scenario.groups.iter().map(|group| group.count));
    let origins = sum(scenario.origins.iter().map(|group| group.count));
    require(hosts > 0, || "no hosts".to_owned())?;
    require(!scenario.blobs.is_empty(), || "no blobs".to_owned())?;
    require(origins > 0, || "no origins".to_owned())?;
    require(hosts.saturating_add(origins) <= HOSTS_MAX, || {
        format!("{hosts} hosts and {origins} origins: more than {HOSTS_MAX}")
    })?;
    for blob in &scenario.blobs {
        let what = |text: &str| format!("blob {:?}: {text}", blob.name);
        require(blob.len > 0, || what("its length is zero"))?;
        require((0.0..=1.0).contains(&blob.wanted_by), || what("wanted_by is not in 0..=1"))?;
        check_spread("wanted_after", blob.wanted_after)
            .map_err(|text| Error::invalid(what(&text)))?;
        require(blob.holders <= origins, || what("more holders than there are origins"))?;
        Geometry::new(blob.len, blob.piece_len.unwrap_or(1 << 30))
            .map_err(|error| Error::invalid(what(&error.to_string())))?;
    }
    for group in &scenario.groups {
        check_group(group, scenario.blobs.len())
            .map_err(|text| Error::invalid(format!("group {:?}: {text}", group.name)))?;
    }
    for group in &scenario.origins {
        check_rates(&group.rates)
            .map_err(|text| Error::invalid(format!("origins {:?}: {text}", group.name)))?;
    }
    for link in &scenario.zone_links {
        let what = |text: &str| format!("link between zones {:?}: {text}", link.zones);
        require(link.zones.0 != link.zones.1, || what("it is one zone"))?;
        require(is_rate(link.bytes_per_sec), || what("its rate is not positive"))?;
        check_time("its latency", link.latency).map_err(|text| Error::invalid(what(&text)))?;
        let twins = scenario.zone_links.iter().filter(|other| {
            other.zones == link.zones || other.zones == (link.zones.1, link.zones.0)
        });
        require(twins.count() == 1, || what("there are two"))?;
    }
    check_network(&scenario.network).map_err(|text| Error::invalid(format!("network: {text}")))?;
    require(scenario.trackers.count > 0, || "no trackers".to_owned())?;
    require(!scenario.patience.is_zero(), || "patience is zero".to_owned())?;
    require(!scenario.time_max.is_zero(), || "time_max is zero".to_owned())?;
    let times = [
        ("the trackers' service", scenario.trackers.service),
        ("the trackers' interval", scenario.trackers.handout.interval),
        ("patience", scenario.patience),
        ("time_max", scenario.time_max),
    ];
    for (what, time) in times {
        check_time(what, time).map_err(Error::invalid)?;
    }
    // Hosts do not believe a longer one, and announce as if there were none.
    require(scenario.trackers.handout.interval <= INTERVAL_MAX, || {
        format!("the trackers' interval is longer than {INTERVAL_MAX:?}, which no host believes")
    })?;
    require(scenario.groups.iter().any(|group| must_finish(scenario, group)), || {
        "nobody is to finish: all hosts die for good or want nothing".to_owned()
    })
}

/// Whether at least one host of a group is to finish a blob.
fn must_finish(scenario: &Scenario, group: &Group) -> bool {
    let stays = !matches!(group.fate, Fate::Hangs { .. } | Fate::Killed { replaced: false, .. });
    let wanted = |blob: &super::Blob| blob.wanting(group.count) > 0;
    stays
        && match &group.want {
            Want::All => scenario.blobs.iter().any(wanted),
            Want::Only(only) => only.iter().any(|at| wanted(&scenario.blobs[*at])),
        }
}

fn check_group(group: &Group, blobs: usize) -> Result<(), String> {
    check_rates(&group.rates)?;
    check_spread("joins", group.joins)?;
    match group.fate {
        Fate::Stays | Fate::Lies { .. } => {}
        Fate::Hangs { at } | Fate::Killed { at, .. } => check_spread("its fate", at)?,
        Fate::Restarts { at, down } => {
            check_spread("its fate", at)?;
            check_time("how long it is down", down)?;
        }
    }
    if let Want::Only(only) = &group.want
        && let Some(blob) = only.iter().find(|blob| **blob >= blobs)
    {
        return Err(format!("it wants blob {blob} of {blobs}"));
    }
    if group.reading == (Reading::Window { bytes: 0 }) {
        return Err("its readers' window is zero".to_owned());
    }
    if let Fate::Restarts { down, .. } = group.fate
        && down.is_zero()
    {
        return Err("it restarts in no time".to_owned());
    }
    Ok(())
}

fn check_rates(rates: &LinkRates) -> Result<(), String> {
    for (what, rate) in [("up", rates.up), ("down", rates.down)] {
        let Rate { bytes_per_sec, burst, line_bytes_per_sec } = rate;
        if !is_rate(bytes_per_sec) {
            return Err(format!("its {what} rate of {bytes_per_sec} bytes/s is not positive"));
        }
        if burst > 0 && !(is_rate(line_bytes_per_sec) && line_bytes_per_sec >= bytes_per_sec) {
            return Err(format!("its {what} line of {line_bytes_per_sec} bytes/s is too slow"));
        }
    }
    Ok(())
}

fn check_network(network: &Network) -> Result<(), String> {
    if network.latency.is_zero() {
        // Else a message could be answered in the moment it was sent, for ever.
        return Err("latency is zero".to_owned());
    }
    if network.slice_len == 0 || network.window == 0 {
        return Err("slice_len or window is zero".to_owned());
    }
    if network.slice_len > SLICE_MAX {
        return Err(format!("slices of {} bytes are more than {SLICE_MAX}", network.slice_len));
    }
    let times = [
        ("latency", network.latency),
        ("conn_life", network.conn_life.unwrap_or_default()),
        ("piece_time", network.piece_time),
        ("commit_time", network.commit_time),
    ];
    for (what, time) in times {
        check_time(what, time)?;
    }
    if !(0.0..1.0).contains(&network.jitter) {
        return Err(format!("jitter of {} is not in 0..1", network.jitter));
    }
    if network.conn_life.is_some_and(|life| life.is_zero()) {
        return Err("connections live for no time".to_owned());
    }
    Ok(())
}

fn check_spread(what: &str, spread: Spread) -> Result<(), String> {
    check_time(what, spread.from)?;
    check_time(what, spread.over)
}

fn check_time(what: &str, time: Duration) -> Result<(), String> {
    if time > TIME_MAX { Err(format!("{what} is longer than 1000 h")) } else { Ok(()) }
}

fn sum(counts: impl Iterator<Item = usize>) -> usize {
    counts.fold(0, usize::saturating_add)
}

fn is_rate(bytes_per_sec: f64) -> bool {
    bytes_per_sec.is_finite() && bytes_per_sec >= 1.0
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(what())) }
}
