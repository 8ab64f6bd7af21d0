//! A scenario of a simulation: YAML of any kind, read and changed as the command line may.

use std::path::Path;

use kraken_sim::{PolicyName, ScenarioFile};

/// Checks what is made of `data`.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let file = match ScenarioFile::parse(Path::new("fuzz.yaml"), text) {
        Ok(file) => file,
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems.as_slice() {
                let place = problem.place.as_ref().expect("a problem of a file has a place");
                assert!(place.line > 0 && place.column > 0);
                assert!(place.line <= text.split(['\n', '\r']).count() + 1, "{problem}");
            }
            return;
        }
    };
    file.scenario.check().expect("what is read can be run");
    let _ = (file.set_up(), file.check_memory(1 << 30), file.honest());
    for policy in PolicyName::ALL {
        file.with_policy(policy).check().expect("it can be run with any policy");
    }
    for hosts in [0, 1, 200, 100_000] {
        if let Ok(scaled) = file.clone().scaled(hosts) {
            assert_eq!(scaled.hosts(), hosts);
        }
    }
}
