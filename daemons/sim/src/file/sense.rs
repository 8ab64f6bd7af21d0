//! Whether a scenario that can be read makes sense: somebody must finish, and what is measured is
//! counted.

use std::collections::BTreeSet;
use std::time::Duration;

use kraken_p2p::sim::{Blob, Fate, Group, Scenario, Spread, Want};

use super::keys::{Keys, Step};
use crate::fair::REPLACEMENTS;
use crate::targets::{Limit, Measure, Targets};

/// What is wrong is said at its place.
pub(super) fn check(keys: &Keys<'_>, scenario: &Scenario, targets: &Targets) {
    somebody_finishes(keys, scenario);
    names_differ(keys, scenario);
    links_have_ends(keys, scenario);
    targets_are_counted(keys, &scenario.groups, targets);
    targets_can_be_missed(keys, scenario, targets);
    restarts_are_waited_for(keys, scenario);
    all_is_in_time(keys, scenario);
}

/// Reports know groups by their names.
fn names_differ(keys: &Keys<'_>, scenario: &Scenario) {
    let replaced = |group: &&Group| matches!(group.fate, Fate::Killed { replaced: true, .. });
    let replacements = scenario.groups.iter().filter(replaced);
    let mut taken: Vec<String> =
        replacements.map(|group| format!("{}{REPLACEMENTS}", group.name)).collect();
    taken.extend(scenario.origins.iter().map(|origins| origins.name.clone()));
    for (at, group) in scenario.groups.iter().enumerate() {
        if taken.contains(&group.name) {
            let steps = [Step::Key("hosts"), Step::Item(at), Step::Key("name")];
            let what = format!("name: another group is called {:?} already", group.name);
            keys.wrong_at(keys.place_of(&steps), &what);
        }
    }
}

/// A link that nobody is at either end of is a slip of the pen.
fn links_have_ends(keys: &Keys<'_>, scenario: &Scenario) {
    let hosts = scenario.groups.iter().map(|group| group.zone);
    let zones: Vec<usize> = hosts.chain(scenario.origins.iter().map(|group| group.zone)).collect();
    for (at, link) in scenario.zone_links.iter().enumerate() {
        let empty = [link.zones.0, link.zones.1].into_iter().find(|zone| !zones.contains(zone));
        if let Some(zone) = empty {
            let steps = [Step::Key("zone_links"), Step::Item(at), Step::Key("between")];
            keys.wrong_at(keys.place_of(&steps), &format!("between: nobody is in zone {zone}"));
        }
    }
}

/// What nothing is there for would be reached by whatever happens.
fn targets_can_be_missed(keys: &Keys<'_>, scenario: &Scenario, targets: &Targets) {
    let wrong = |key: &'static str, why: &str| {
        let place = keys.place_of(&[Step::Key("targets"), Step::Key(key)]);
        keys.wrong_at(place, &format!("{key}: {why}"));
    };
    let lies = scenario.groups.iter().any(|group| matches!(group.fate, Fate::Lies { .. }));
    for target in &targets.list {
        match &target.measure {
            Measure::CopiesCrossing if scenario.zone_links.is_empty() => {
                wrong("copies_crossing", "there are no zone_links");
            }
            Measure::LaterThanHonest if !lies => wrong("later_than_honest", "no hosts lie"),
            Measure::LiarsBanned if !lies => wrong("liars_banned", "no hosts lie"),
            Measure::NoWorseAlone(_) if is_of_one_kind(scenario) => {
                wrong("no_worse_alone", "all run the same policy");
            }
            _ => {}
        }
        if let (Some(bound), Limit::AtMost(most)) = (targets.bound, target.limit)
            && most < bound
        {
            let why = format!("no policy can be below {bound}, as bound says");
            match target.measure {
                Measure::P999 => wrong("p99.9", &why),
                Measure::Max => wrong("max", &why),
                _ => {}
            }
        }
    }
}

fn is_of_one_kind(scenario: &Scenario) -> bool {
    let agents = scenario.groups.iter().map(|group| group.policy.name());
    let mut names: Vec<String> =
        agents.chain(scenario.origins.iter().map(|group| group.policy.name())).collect();
    names.sort_unstable();
    names.dedup();
    names.len() == 1
}

/// Who is away longer than the run has patience would be taken for one that starves.
fn restarts_are_waited_for(keys: &Keys<'_>, scenario: &Scenario) {
    for (at, group) in scenario.groups.iter().enumerate() {
        if let Fate::Restarts { down, .. } = group.fate
            && down >= scenario.patience
        {
            let steps = [Step::Key("hosts"), Step::Item(at), Step::Key("down_for")];
            let what = format!("down_for: the run's patience is {:?}", scenario.patience);
            keys.wrong_at(keys.place_of(&steps), &what);
        }
    }
}

/// What is to happen after the end of a run never happens.
fn all_is_in_time(keys: &Keys<'_>, scenario: &Scenario) {
    let Scenario { groups, time_max, .. } = scenario;
    let too_late = |list: &'static str, item: usize, key: &'static str, at: Duration| {
        if at > *time_max {
            let place = keys.place_of(&[Step::Key(list), Step::Item(item), Step::Key(key)]);
            let what = format!("{key}: up to {at:?} after the start, and time_max is {time_max:?}");
            keys.wrong_at(place, &what);
        }
        at > *time_max
    };
    let joined = |group: &Group| last(group.joins);
    for (at, group) in groups.iter().enumerate() {
        let (key, then) = match group.fate {
            Fate::Hangs { at } => ("hangs", last(at)),
            Fate::Killed { at, .. } => ("killed", last(at)),
            Fate::Restarts { at, down } => ("restarts", last(at) + down),
            Fate::Stays | Fate::Lies { .. } => ("joins", Duration::ZERO),
        };
        if !too_late("hosts", at, "joins", joined(group)) && key != "joins" {
            too_late("hosts", at, key, joined(group) + then);
        }
    }
    if scenario.trackers.service > *time_max {
        let place = keys.place_of(&[Step::Key("trackers"), Step::Key("service")]);
        let service = scenario.trackers.service;
        let what = format!("service: an announce takes {service:?}, and time_max is {time_max:?}");
        keys.wrong_at(place, &what);
    }
    let mut told = BTreeSet::new();
    for ((at, blob), item) in scenario.blobs.iter().enumerate().zip(keys.items_of("blobs")) {
        let wants = |group: &&Group| wants_blob(group, at, blob) && joined(group) <= *time_max;
        let latest = groups.iter().filter(wants).map(joined).max();
        if let Some(joined) = latest
            && told.insert(item)
        {
            too_late("blobs", item, "wanted", joined + last(blob.wanted_after));
        }
    }
}

/// The end of a spread.
fn last(spread: Spread) -> Duration {
    spread.from + spread.over
}

/// Without that a run would be over before it begins.
fn somebody_finishes(keys: &Keys<'_>, scenario: &Scenario) {
    let Scenario { groups, blobs, .. } = scenario;
    if groups.iter().any(|group| must_finish(group) && wants(group, blobs)) {
        return;
    }
    let Some(living) = groups.iter().position(must_finish) else {
        let key = if matches!(groups[0].fate, Fate::Hangs { .. }) { "hangs" } else { "killed" };
        let place = keys.place_of(&[Step::Key("hosts"), Step::Item(0), Step::Key(key)]);
        let what = format!("{key}: nobody must finish: all hosts are to die, and none is replaced");
        keys.wrong_at(place, &what);
        return;
    };
    let steps = match groups[living].want == Want::Only(Vec::new()) {
        true => [Step::Key("hosts"), Step::Item(living), Step::Key("wants")],
        false => [Step::Key("blobs"), Step::Item(0), Step::Key("wanted_by")],
    };
    let what = "nobody must finish: no host that lives wants a blob";
    keys.wrong_at(keys.place_of(&steps), what);
}

fn must_finish(group: &Group) -> bool {
    !matches!(group.fate, Fate::Hangs { .. } | Fate::Killed { replaced: false, .. })
}

/// Whether a host of the group wants a blob: shares are rounded to hosts.
fn wants(group: &Group, blobs: &[Blob]) -> bool {
    blobs.iter().enumerate().any(|(at, blob)| wants_blob(group, at, blob))
}

fn wants_blob(group: &Group, at: usize, blob: &Blob) -> bool {
    // Numbers are in order.
    let may = !matches!(&group.want, Want::Only(only) if only.binary_search(&at).is_err());
    may && (blob.wanted_by * group.count as f64).round() >= 1.0
}

fn targets_are_counted(keys: &Keys<'_>, groups: &[Group], targets: &Targets) {
    let check = |key: &'static str, name: &str| {
        let group = groups.iter().find(|group| group.name == name);
        if let Some(why) = group.and_then(|group| never_counted(group.fate)) {
            let place = keys.place_of(&[Step::Key("targets"), Step::Key(key)]);
            keys.wrong_at(place, &format!("{key}: hosts that {why} are never counted"));
        }
    };
    if let Some(of) = &targets.of {
        check("of", of);
    }
    for target in &targets.list {
        if let Measure::NoWorseAlone(group) = &target.measure {
            check("no_worse_alone", group);
        }
    }
    let counted = |group: &Group| group.counted && counts(group.fate);
    let of_all = |measure: &Measure| {
        let more = matches!(measure, Measure::Max | Measure::LaterThanHonest);
        targets.of.is_none() && (more || measure.is_time())
    };
    let timed = targets.list.iter().any(|target| of_all(&target.measure));
    if timed && !groups.iter().any(counted) {
        let place = keys.place_of(&[Step::Key("targets")]);
        keys.wrong_at(place, "targets: they are about times, and no hosts are counted");
    }
}

/// Whether times of hosts of this fate count.
pub(super) fn counts(fate: Fate) -> bool {
    never_counted(fate).is_none()
}

/// Why hosts of this fate do not count, if they do not.
fn never_counted(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Stays | Fate::Restarts { .. } => None,
        Fate::Hangs { .. } => Some("hang"),
        Fate::Killed { .. } => Some("are killed"),
        Fate::Lies { .. } => Some("lie"),
    }
}
