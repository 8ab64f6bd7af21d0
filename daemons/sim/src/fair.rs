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
//! does, where hosts' uplinks are in nobody's way.

mod from_origins;

use std::collections::BTreeMap;

use kraken_p2p::sim::{Figures, Report, Scenario};

use crate::stop::Stop;

/// How a run's downloads compare with their fair shares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FairShares {
    /// The mean time of a blob's downloads ÷ the mean of their fair times: the slowest blob's.
    pub(crate) worst_blob: f64,
    /// Its name.
    pub(crate) worst_blob_name: String,
    /// What the slowest blob would come to, divided likewise, if every byte had to leave an origin
    /// first and the origins' uplinks were shared max-min fairly too; `None` where hosts' uplinks
    /// are fewer bytes a second than all that downlinks could take.
    pub(crate) worst_blob_from_origins: Option<f64>,
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

/// Of a run of a scenario; `None` if no download was finished, or once it is stopped.
pub(crate) fn shares(scenario: &Scenario, report: &Report, stop: &Stop) -> Option<FairShares> {
    let wanted = Wanted::of(scenario, report);
    let fair = wanted.fair(stop)?;
    let (worst_blob, worst) = wanted.worst_blob(&wanted.took, &fair)?;
    let downloads = wanted.took.iter().zip(&fair).map(|(secs, fair)| secs / fair).collect();
    let worst_blob_from_origins = match wanted.downlinks_decide() {
        true => {
            let from_origins = from_origins::times(&wanted, &fair, stop)?;
            wanted.worst_blob(&from_origins, &fair).map(|(worst, _)| worst)
        }
        false => None,
    };
    Some(FairShares {
        worst_blob,
        worst_blob_name: report.blobs[worst].name.clone(),
        worst_blob_from_origins,
        downloads: Figures::of(downloads),
    })
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

    /// How long each download takes with its fair share, in seconds; `None` once it is stopped.
    fn fair(&self, stop: &Stop) -> Option<Vec<f64>> {
        let (hosts, wishes) = (self.downlinks.len(), self.wishes.len());
        let (rates, seconds) = (vec![0.0; hosts], vec![0.0; wishes]);
        let mut flow = Flow { wanted: self, uplinks: f64::INFINITY, rates, seconds, stop };
        if self.downlinks_decide() {
            // No host's downloads take anything from another's.
            let mut by_host = vec![Vec::new(); hosts];
            for (at, wish) in self.wishes.iter().enumerate() {
                by_host[wish.host].push(at);
            }
            by_host.into_iter().try_for_each(|these| flow.run(these))?;
        } else {
            flow.uplinks = self.origins + self.uplinks;
            flow.run((0..wishes).collect())?;
        }
        Some(flow.seconds)
    }

    /// Whether all uplinks together are as fast as all downlinks.
    fn downlinks_decide(&self) -> bool {
        self.downlinks.iter().sum::<f64>() <= self.origins + self.uplinks
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

/// Bytes that flow like water.
struct Flow<'a> {
    wanted: &'a Wanted,
    /// Bytes a second, of all together.
    uplinks: f64,
    /// Of each download on a host's downlink at the moment.
    rates: Vec<f64>,
    /// How long each download took.
    seconds: Vec<f64>,
    stop: &'a Stop,
}

impl Flow<'_> {
    /// Lets the bytes of `these` wishes flow until all are there; `None` once it is stopped.
    fn run(&mut self, mut these: Vec<usize>) -> Option<()> {
        let Wanted { downlinks, lens, wishes, .. } = self.wanted;
        these.sort_by(|a, b| wishes[*b].from_secs.total_cmp(&wishes[*a].from_secs));
        let mut active: Vec<(usize, f64)> = Vec::new();
        // Downloads under way on each downlink.
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut now = 0.0;
        while !self.stop.is_asked() {
            let next = these.last().map(|at| wishes[*at].from_secs);
            if active.is_empty() {
                let Some(next) = next else { return Some(()) };
                now = next;
            }
            while let Some(at) = these.pop_if(|at| wishes[*at].from_secs <= now) {
                active.push((at, lens[wishes[at].blob]));
                *counts.entry(wishes[at].host).or_default() += 1;
            }
            let level = level(downlinks, self.uplinks, &counts);
            for (host, count) in &counts {
                self.rates[*host] = level.min(downlinks[*host] / *count as f64);
            }
            let rate = |at: usize| self.rates[wishes[at].host];
            let ends = active.iter().map(|(at, left)| now + left / rate(*at));
            let ends: Vec<f64> = ends.collect();
            let first_end = ends.iter().copied().fold(f64::INFINITY, f64::min);
            let next = these.last().map_or(f64::INFINITY, |at| wishes[*at].from_secs);
            let until = first_end.min(next);
            for (at, left) in &mut active {
                *left -= (until - now) * rate(*at);
            }
            now = until;
            let mut ends = ends.into_iter();
            active.retain(|(at, left)| {
                let Wish { host, blob, from_secs } = wishes[*at];
                let bytes = lens[blob];
                // So late that the clock no longer tells its end from now, what ends first still
                // ends.
                let ends_now = ends.next().is_some_and(|end| end <= now);
                let there = ends_now || *left <= 1e-6 * bytes;
                if there {
                    self.seconds[*at] = (now - from_secs).max(bytes / downlinks[host]);
                    if let Some(count) = counts.get_mut(&host) {
                        *count -= 1;
                    }
                }
                !there
            });
            counts.retain(|_, count| *count > 0);
        }
        None
    }
}

/// The group as the scenario has it: those that take the places of its dead have its links.
pub(crate) fn group_of(name: &str) -> &str {
    name.strip_suffix(REPLACEMENTS).unwrap_or(name)
}

/// What a download has at the most, by progressive filling: it rises until the uplinks are full.
/// Of each downlink in use, how many downloads share it.
fn level(downlinks: &[f64], uplinks: f64, counts: &BTreeMap<usize, usize>) -> f64 {
    // The fair part of each downlink, and how many have it.
    let parts = || counts.iter().map(|(host, count)| (downlinks[*host] / *count as f64, *count));
    let mut level = 0.0;
    loop {
        // Those whose part is below the level stay at that; the others share what is left.
        let (mut room, mut rising) = (uplinks, 0);
        for (part, count) in parts() {
            match part <= level {
                true => room -= part * count as f64,
                false => rising += count,
            }
        }
        let next = if rising == 0 { f64::INFINITY } else { room / rising as f64 };
        if next <= level || next.is_infinite() {
            return next.max(level);
        }
        level = next;
    }
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
        assert_eq!(shares(&file.scenario, &report, &Stop::default()).unwrap().downloads.hosts, 8);
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
        let (downlinks, wishes) = (downlinks.to_vec(), wishes.collect());
        let wanted = super::Wanted { downlinks, uplinks, lens, wishes, ..Default::default() };
        wanted.fair(&Stop::default()).unwrap()
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
