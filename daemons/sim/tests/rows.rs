//! Every scenario that has a name, with 200 hosts: all finish, every promise is kept, and times are
//! not much longer than they were; and with 30 hosts twice: the same seed makes the same run.

use kraken_core::piece::PieceLengths;
use kraken_p2p::sim::{Report, run};
use kraken_sim::{Run, Runs, ScenarioFile, Variant, named};

macro_rules! rows {
    ($($name:ident $most:literal $($change:expr)?;)*) => {
        $(
            #[test]
            fn $name() {
                #[allow(unused_mut)]
                let mut file = small(&stringify!($name).replace('_', "-"));
                $(let change: fn(&mut ScenarioFile) = $change; change(&mut file);)?
                check(&file, $most);
                check_again(file);
            }
        )*

        #[test]
        fn every_scenario_is_among_them() {
            let rows = [$(stringify!($name).replace('_', "-")),*];
            for (name, _) in kraken_sim::NAMED {
                // With 200 hosts the large ones are those of 2,600.
                let is_large = named(name).unwrap().large;
                assert!(is_large || rows.iter().any(|row| row == name), "{name}");
            }
        }
    };
}

rows! {
    readme_j0 1.03;
    readme_j1 1.03;
    readme_j5 1.03;
    readme_j10 1.03;
    readme_j30 1.03;
    one_origin 1.16;
    one_origin_1m 1.12;
    hosts_64 1.03;
    hosts_500 1.03;
    uplink_200 0.93;
    rtt_10ms 1.04;
    slow_2pct 1.05;
    slow_10pct 1.08;
    hang_3pct 1.04;
    kill_20pct 1.04;
    small_blob 1.22;
    blob_20g 1.03 |file| shorten(file, 4_000_000_000);
    blob_100g 1.05 |file| shorten(file, 16_000_000_000);
    many_blobs 1.90;
    zones 1.20;
    liar 1.04;
    mixed 1.20;
    streaming 1.04;
    small_swarm 1.16;
    small_swarm_1m 1.10;
}

/// With 200 hosts, unless it has fewer anyway.
fn small(name: &str) -> ScenarioFile {
    let file = named(name).unwrap();
    if file.hosts() <= 200 {
        return file;
    }
    let mut file = file.scaled(200).unwrap();
    if !["small-blob", "slow-2pct"].contains(&name) {
        // Coarser and quicker; those two have slices of their own for a reason.
        file.scenario.network.slice_len = file.scenario.network.slice_len.max(1 << 20);
    }
    file
}

/// Shorter blobs, in pieces as long as before.
fn shorten(file: &mut ScenarioFile, len: u64) {
    for blob in &mut file.scenario.blobs {
        blob.piece_len.get_or_insert_with(|| PieceLengths::default().for_blob(blob.len));
        blob.len = len;
    }
}

#[track_caller]
fn simulate(file: &ScenarioFile, variant: Variant) -> Report {
    let report = run(&variant.scenario(file), 1).unwrap();
    assert!(report.is_ok(), "{} {:?} {:?}", report.ending, report.starving, report.violations);
    report
}

/// The same seed makes the same report: whoever got what from whom, in the same order.
#[track_caller]
fn check_again(file: ScenarioFile) {
    let file = if file.hosts() > 30 { file.scaled(30).unwrap() } else { file };
    let report = run(&file.scenario, 7).unwrap();
    assert!(report == run(&file.scenario, 7).unwrap(), "the same seed gives another report");
    assert!(report != run(&file.scenario, 8).unwrap(), "seeds make no difference");
}

/// p99.9 is within this; or the figure of fair shares, if the scenario is about those.
#[track_caller]
fn check(file: &ScenarioFile, most: f64) {
    let mut runs = Runs::default();
    runs.insert(Variant::AsWritten, Run::new(file, simulate(file, Variant::AsWritten)));
    for variant in file.targets.needs(file) {
        runs.insert(variant, Run::new(file, simulate(file, variant)));
    }
    let times = file.targets.times(runs.report(Variant::AsWritten).unwrap());
    println!("{:.3} / {:.3} / {:.3} max {:.3}", times.p50, times.p99, times.p999, times.max);
    let outcomes = file.targets.outcomes(file, &runs);
    // Where hosts want their blobs over a long time, that is what their times are.
    let fair = outcomes.iter().find(|it| it.what == "slowest blob ÷ fair share");
    let figure = fair.map_or(Some(times.p999), |it| it.value);
    let within = figure.is_some_and(|figure| figure <= most);
    assert!(times.hosts > 0 && within, "{figure:?} {times:?}");
    for outcome in outcomes {
        println!("{} {}", outcome.what, outcome.shown);
        let known = MISSED.iter().find(|(name, ..)| *name == file.scenario.name);
        let missed = known.is_some_and(|(_, what, most)| {
            outcome.what == *what && outcome.value.is_some_and(|value| value <= *most)
        });
        assert!(outcome.met || missed, "{outcome:?}");
    }
}

/// The targets that are missed here, and what they come to at the most. That of 20 GB is for a blob
/// five times as long: beginning and end are more of a shorter one, and may take no longer than the
/// two thirds of a second that it leaves to them.
const MISSED: [(&str, &str, f64); 2] =
    [("blob-20g", "p99.9", 1.03), ("many-blobs", "slowest blob ÷ fair share", 1.90)];
