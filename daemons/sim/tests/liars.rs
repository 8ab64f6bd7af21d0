//! Hosts that lie are banned by all they sent enough to, and the target for that says so.

use kraken_p2p::sim::{Fate, run};
use kraken_sim::{Run, Runs, Variant, named};

#[test]
fn those_that_lie_are_banned_by_whom_they_lied_to() {
    let mut file = named("liar").unwrap().scaled(100).unwrap();
    for forged in [false, true] {
        for group in &mut file.scenario.groups {
            if matches!(group.fate, Fate::Lies { .. }) {
                group.fate = Fate::Lies { forged };
            }
        }
        let report = run(&file.scenario, 1).unwrap();
        assert!(report.is_ok(), "{} {:?} {:?}", report.ending, report.starving, report.violations);
        let mut runs = Runs::default();
        runs.insert(Variant::AsWritten, Run::new(&file, report));
        let outcomes = file.targets.outcomes(&file, &runs);
        let banned = outcomes.iter().find(|outcome| outcome.what == "liars banned").unwrap();
        assert!(banned.met && banned.shown == "100.0 %", "{banned:?}");
        // One that was not banned once is one too many.
        let mut report = run(&file.scenario, 1).unwrap();
        report.bans_made -= 1;
        runs.insert(Variant::AsWritten, Run::new(&file, report));
        let outcomes = file.targets.outcomes(&file, &runs);
        assert!(outcomes.iter().all(|outcome| outcome.what != "liars banned" || !outcome.met));
    }
}
