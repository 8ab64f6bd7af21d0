//! Whether a scenario can be run.

use kraken_core::{Error, Geometry, Result};

use super::{Fate, Group, LinkRates, Network, Rate, Reading, Scenario, Want};

/// The first thing that is wrong with a scenario.
pub(super) fn scenario(scenario: &Scenario) -> Result<()> {
    let hosts = scenario.groups.iter().map(|group| group.count).sum::<usize>();
    let origins = scenario.origins.iter().map(|group| group.count).sum::<usize>();
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
        let twins = scenario.zone_links.iter().filter(|other| {
            other.zones == link.zones || other.zones == (link.zones.1, link.zones.0)
        });
        require(twins.count() == 1, || what("there are two"))?;
    }
    check_network(&scenario.network).map_err(|text| Error::invalid(format!("network: {text}")))?;
    require(scenario.trackers.count > 0, || "no trackers".to_owned())?;
    require(!scenario.patience.is_zero(), || "patience is zero".to_owned())?;
    require(!scenario.time_max.is_zero(), || "time_max is zero".to_owned())
}

fn check_group(group: &Group, blobs: usize) -> Result<(), String> {
    check_rates(&group.rates)?;
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
    if !(0.0..1.0).contains(&network.jitter) {
        return Err(format!("jitter of {} is not in 0..1", network.jitter));
    }
    if network.conn_life.is_some_and(|life| life.is_zero()) {
        return Err("connections live for no time".to_owned());
    }
    Ok(())
}

fn is_rate(bytes_per_sec: f64) -> bool {
    bytes_per_sec.is_finite() && bytes_per_sec >= 1.0
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(what())) }
}

/// Hosts have addresses in 10.0.0.0/8, one each, and their replacements too.
const HOSTS_MAX: usize = 1 << 22;
