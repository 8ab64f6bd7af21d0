//! Fair shares: what every download would take if the links were shared out max-min fairly.
//!
//! Every host's downlink is shared by its downloads that are under way, and all uplinks together,
//! origins' too, by all downloads: who wants or has a blob may pass on any byte of it that has come
//! there, so no single uplink is anyone's. Rates are filled progressively: all rise alike until a
//! downlink is full, its downloads stay at that, the others rise on, until the uplinks are full or
//! all downlinks are. They change whenever a download begins or ends, and bytes flow like water.
//! Where uplinks are as fast as downlinks it is the downlinks alone that decide.
//!
//! No such share knows that a blob must leave an origin before anybody has it: [`from_origins`]
//! does.

mod from_origins;

use std::collections::BTreeMap;

use kraken_p2p::sim::{Figures, Report, Scenario};

/// How a run's downloads compare with their fair shares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FairShares {
    /// The mean time of a blob's downloads ÷ the mean of their fair times: the slowest blob's.
    pub(crate) worst_blob: f64,
    /// Its name.
    pub(crate) worst_blob_name: String,
    /// Each download's time ÷ its fair time.
    pub(crate) downloads: Figures,
}

/// A download: a blob to bring over the downlink of a host from a time on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wish {
    host: usize,
    blob: usize,
    from_secs: f64,
}

/// What a run's hosts wanted, over which links, and how long each download took.
#[derive(Debug, Default)]
struct Wanted {
    /// Bytes a second, of each host.
    downlinks: Vec<f64>,
    /// Bytes a second, of all hosts together.
    uplinks: f64,
    /// Bytes a second, of all origins together.
    origins: f64,
    /// Bytes, of each blob.
    lens: Vec<f64>,
    wishes: Vec<Wish>,
    took: Vec<f64>,
}

/// Of a run of a scenario; `None` if no download was finished.
pub(crate) fn shares(scenario: &Scenario, report: &Report) -> Option<FairShares> {
    let wanted = Wanted::of(scenario, report);
    let fair = wanted.fair();
    let (worst_blob, worst) = wanted.worst_blob(&wanted.took, &fair)?;
    let downloads = wanted.took.iter().zip(&fair).map(|(secs, fair)| secs / fair).collect();
    let worst_blob_name = report.blobs[worst].name.clone();
    Some(FairShares { worst_blob, worst_blob_name, downloads: Figures::of(downloads) })
}

/// What the slowest blob would come to, divided likewise, if every byte had to leave an origin
/// first and the origins' uplinks were shared max-min fairly too.
pub(crate) fn worst_blob_from_origins(scenario: &Scenario, report: &Report) -> Option<f64> {
    let wanted = Wanted::of(scenario, report);
    let fair = wanted.fair();
    let (worst, _) = wanted.worst_blob(&from_origins::times(&wanted, &fair), &fair)?;
    Some(worst)
}

impl Wanted {
    fn of(scenario: &Scenario, report: &Report) -> Self {
        let links: BTreeMap<&str, (f64, f64)> = scenario
            .groups
            .iter()
            .map(|group| {
                let rates = &group.rates;
                (group.name.as_str(), (rates.up.bytes_per_sec, rates.down.bytes_per_sec))
            })
            .collect();
        let origins = scenario.origins.iter();
        let mut wanted = Self {
            origins: origins.map(|it| it.count as f64 * it.rates.up.bytes_per_sec).sum(),
            lens: report.blobs.iter().map(|blob| blob.len as f64).collect(),
            ..Self::default()
        };
        for host in &report.hosts {
            let Some((up, down)) = links.get(group_of(&host.group)) else { continue };
            for copy in &host.blobs {
                let (Some(from_secs), Some(secs)) = (copy.wanted_secs, copy.took_secs) else {
                    continue;
                };
                let host = wanted.downlinks.len();
                wanted.wishes.push(Wish { host, blob: copy.blob, from_secs });
                wanted.took.push(secs);
            }
            wanted.uplinks += up;
            wanted.downlinks.push(*down);
        }
        wanted
    }

    /// How long each download takes with its fair share, in seconds.
    fn fair(&self) -> Vec<f64> {
        times(&self.downlinks, self.origins + self.uplinks, &self.lens, &self.wishes)
    }

    /// How long the downloads of a blob take, divided by `fair`, and of which blob that is the
    /// most.
    fn worst_blob(&self, took: &[f64], fair: &[f64]) -> Option<(f64, usize)> {
        let mut sums = vec![(0.0, 0.0); self.lens.len()];
        for ((wish, secs), fair) in self.wishes.iter().zip(took).zip(fair) {
            sums[wish.blob].0 += secs;
            sums[wish.blob].1 += fair;
        }
        let ratios = sums.iter().map(|(secs, fair)| secs / fair).zip(0..);
        ratios.filter(|(ratio, _)| ratio.is_finite()).max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// The group as the scenario has it: those that take the places of its dead have its links.
pub(crate) fn group_of(name: &str) -> &str {
    name.strip_suffix(REPLACEMENTS).unwrap_or(name)
}

/// How many seconds each wish takes with its fair share; links are bytes a second.
fn times(downlinks: &[f64], uplinks: f64, lens: &[f64], wishes: &[Wish]) -> Vec<f64> {
    let mut seconds = vec![0.0; wishes.len()];
    let mut by_host = vec![Vec::new(); downlinks.len()];
    for (at, wish) in wishes.iter().enumerate() {
        by_host[wish.host].push(at);
    }
    if downlinks.iter().sum::<f64>() <= uplinks {
        // No host's downloads take anything from another's.
        for these in by_host {
            flow(downlinks, f64::INFINITY, lens, wishes, these, &mut seconds);
        }
    } else {
        flow(downlinks, uplinks, lens, wishes, (0..wishes.len()).collect(), &mut seconds);
    }
    seconds
}

/// Lets the bytes of `these` wishes flow until all are there.
fn flow(
    downlinks: &[f64],
    uplinks: f64,
    lens: &[f64],
    wishes: &[Wish],
    mut these: Vec<usize>,
    seconds: &mut [f64],
) {
    these.sort_by(|a, b| wishes[*b].from_secs.total_cmp(&wishes[*a].from_secs));
    let mut active: Vec<(usize, f64)> = Vec::new();
    let mut now = 0.0;
    loop {
        let next = these.last().map(|at| wishes[*at].from_secs);
        if active.is_empty() {
            let Some(next) = next else { return };
            now = next;
        }
        while let Some(at) = these.pop_if(|at| wishes[*at].from_secs <= now) {
            active.push((at, lens[wishes[at].blob]));
        }
        let rates = fill(downlinks, uplinks, wishes, &active);
        let ends = active.iter().zip(&rates).map(|((_, left), rate)| now + left / rate);
        let ends: Vec<f64> = ends.collect();
        let first_end = ends.iter().copied().fold(f64::INFINITY, f64::min);
        let next = these.last().map_or(f64::INFINITY, |at| wishes[*at].from_secs);
        let until = first_end.min(next);
        for ((_, left), rate) in active.iter_mut().zip(&rates) {
            *left -= (until - now) * rate;
        }
        now = until;
        let mut ends = ends.into_iter();
        active.retain(|(at, left)| {
            let Wish { host, blob, from_secs } = wishes[*at];
            let bytes = lens[blob];
            // So late that the clock no longer tells its end from now, what ends first still ends.
            let ends_now = ends.next().is_some_and(|end| end <= now);
            let there = ends_now || *left <= 1e-6 * bytes;
            if there {
                seconds[*at] = (now - from_secs).max(bytes / downlinks[host]);
            }
            !there
        });
    }
}

/// The rate of each download: progressive filling.
fn fill(downlinks: &[f64], uplinks: f64, wishes: &[Wish], active: &[(usize, f64)]) -> Vec<f64> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, _) in active {
        *counts.entry(wishes[*at].host).or_default() += 1;
    }
    // The fair part of each host's downlink, the smallest first: they are full first.
    let mut parts: Vec<(f64, usize)> =
        counts.iter().map(|(host, count)| (downlinks[*host] / *count as f64, *count)).collect();
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut level, mut room, mut rising) = (f64::INFINITY, uplinks, active.len());
    for (part, count) in parts {
        if part * rising as f64 >= room {
            level = room / rising as f64;
            break;
        }
        room -= part * count as f64;
        rising -= count;
    }
    let rate = |(at, _): &(usize, f64)| {
        let host = wishes[*at].host;
        level.min(downlinks[host] / counts[&host] as f64)
    };
    active.iter().map(rate).collect()
}

/// What follows a group's name in that of those that take the places of its dead.
pub(crate) const REPLACEMENTS: &str = ", replacements";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::file::ScenarioFile;

    #[test]
    fn those_that_take_the_places_of_the_dead_have_their_share() {
        let text = "\
blobs: [{size: 30MB, piece: 1MiB}]
hosts:
  - {name: those, count: 4, link: 30MB/s}
  - {name: dead, count: 4, link: 30MB/s, killed: at 500ms, replaced: yes}
origins: [{count: 3, link: 120MB/s}]
";
        let file = ScenarioFile::parse(Path::new("a/b.yaml"), text).unwrap();
        let report = kraken_p2p::sim::run(&file.scenario, 1).unwrap();
        assert_eq!(report.groups[3].name, format!("dead{REPLACEMENTS}"));
        assert_eq!(shares(&file.scenario, &report).unwrap().downloads.hosts, 8);
    }

    /// A host, bytes, and from when on.
    type Wanted = (usize, f64, f64);

    fn wish(host: usize, bytes: f64, from_secs: f64) -> Wanted {
        (host, bytes, from_secs)
    }

    fn times(downlinks: &[f64], uplinks: f64, wanted: &[Wanted]) -> Vec<f64> {
        let lens: Vec<f64> = wanted.iter().map(|(_, bytes, _)| *bytes).collect();
        let wishes = wanted.iter().enumerate();
        let wishes = wishes.map(|(blob, (host, _, from_secs))| Wish {
            host: *host,
            blob,
            from_secs: *from_secs,
        });
        super::times(downlinks, uplinks, &lens, &wishes.collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(downlinks: &[f64], uplinks: f64, wishes: &[Wanted], expected: &[f64]) {
        let seconds = times(downlinks, uplinks, wishes);
        let close = seconds.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(close && seconds.len() == expected.len(), "{seconds:?}, not {expected:?}");
    }

    #[test]
    fn downloads_of_a_host_share_its_downlink() {
        let wishes = [wish(0, 100.0, 0.0), wish(0, 100.0, 0.0), wish(1, 100.0, 0.0)];
        check(&[10.0, 10.0], 1000.0, &wishes, &[20.0, 20.0, 10.0]);
        // A late one shares what is left: 50 bytes alone, then half.
        let wishes = [wish(0, 100.0, 0.0), wish(0, 100.0, 5.0)];
        check(&[10.0], 1000.0, &wishes, &[15.0, 15.0]);
        // A pause in between is nobody's.
        let wishes = [wish(0, 100.0, 0.0), wish(0, 100.0, 50.0)];
        check(&[10.0], 1000.0, &wishes, &[10.0, 10.0]);
    }

    #[test]
    fn downloads_too_short_for_a_late_clock_end() {
        // After 100 hours the clock's steps are longer than a byte takes on these links.
        let late = 360_000.0;
        assert!(late + 1e-12 == late);
        let seconds = times(&[1e12], 1e12, &[wish(0, 1.0, late)]);
        assert_eq!(seconds, [1e-12]);
        let wishes = [wish(0, 1.0, late), wish(0, 1e13, late), wish(1, 1.0, late)];
        check(&[1e12, 1e12], 1e12, &wishes, &[0.0, 10.0, 0.0]);
    }

    #[test]
    fn uplinks_are_shared_by_all_but_those_whose_downlinks_are_full() {
        // 9 of 19 would be too much for the second: it takes 4, the other the 15 that are left.
        let wishes = [wish(0, 150.0, 0.0), wish(1, 40.0, 0.0)];
        check(&[100.0, 4.0], 19.0, &wishes, &[10.0, 10.0]);
        let wishes = [wish(0, 100.0, 0.0), wish(1, 100.0, 0.0)];
        check(&[100.0, 100.0], 10.0, &wishes, &[20.0, 20.0]);
    }
}
