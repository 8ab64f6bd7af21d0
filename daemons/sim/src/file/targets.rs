//! A scenario's targets.

use kraken_common::upstream::quote;

use super::keys::Keys;
use super::values;
use crate::targets::{Limit, Measure, Target, Targets};

/// The targets; hosts are in these groups.
pub(super) fn read(keys: &mut Keys<'_>, groups: &[&str]) -> Targets {
    let mut targets = Targets::default();
    let Some(mut keys) = keys.map("targets") else { return targets };
    let group = |text: &str| match groups.iter().find(|group| **group == text) {
        Some(group) => Ok((*group).to_owned()),
        None => Err(format!("no hosts are called {}", quote(text))),
    };
    targets.of = keys.value("of", group);
    targets.bound = keys.value("bound", values::factor);
    let figures: [(&'static str, Measure); 6] = [
        ("p50", Measure::P50),
        ("p99", Measure::P99),
        ("p99.9", Measure::P999),
        ("max", Measure::Max),
        ("copies_crossing", Measure::CopiesCrossing),
        ("fair_share", Measure::FairShare),
    ];
    for (key, measure) in figures {
        if let Some(limit) = keys.value(key, limit) {
            targets.list.push(Target { measure, limit });
        }
    }
    let mut push = |measure, limit| targets.list.push(Target { measure, limit });
    if let Some(time) = keys.value("first_piece_p50", values::some_time) {
        push(Measure::FirstPieceP50, Limit::AtMost(time.as_secs_f64()));
    }
    if let Some(share) = keys.value("later_than_honest", values::share) {
        push(Measure::LaterThanHonest, Limit::AtMost(share));
    }
    if keys.value("liars_banned", values::flag) == Some(true) {
        push(Measure::LiarsBanned, Limit::AtLeast(1.0));
    }
    if let Some(group) = keys.value("no_worse_alone", group) {
        push(Measure::NoWorseAlone(group), Limit::AtMost(1.0));
    }
    keys.end();
    targets
}

/// A figure that is not to be exceeded, or `within 15% of 1.18`.
fn limit(text: &str) -> Result<Limit, String> {
    let Some(within) = text.strip_prefix("within ") else {
        return values::factor(text).map(Limit::AtMost);
    };
    let (share, of) = within
        .split_once(" of ")
        .ok_or_else(|| format!("{} is no range such as \"within 15% of 1.18\"", quote(text)))?;
    Ok(Limit::Within { of: values::factor(of)?, share: values::share(share)? })
}
