//! What a command line comes to: the scenario, the systems, and what they take of the machine.

use std::path::{Path, PathBuf};

use kraken_core::{Error, Result};

use crate::args::Args;
use crate::net::HostSpec;
use crate::preflight::Needs;
use crate::scenario::{Event, Rate, Scenario};
use crate::scenarios::{self, Changes};
use crate::system::{Programs, System};

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) systems: Vec<System>,
    /// Of each system.
    pub(crate) runs: u32,
    /// Where data goes.
    pub(crate) dir: PathBuf,
    /// Whether each host gets a network namespace.
    pub(crate) namespaces: bool,
    /// Whether other work on the machine does not matter.
    pub(crate) force: bool,
    /// This program.
    pub(crate) kraken: PathBuf,
    /// What to tell before the first run.
    pub(crate) notices: Vec<String>,
}

impl Plan {
    /// The plan of a command line; an error is the command line's fault.
    pub(crate) fn new(args: &Args, kraken: PathBuf) -> Result<Self> {
        if args.seconds.is_some() || args.connections.is_some() {
            let why = "--seconds and --connections are for S7 and S8";
            return Err(Error::invalid(format!("{}: {why}", args.scenario)));
        }
        let changes = Changes {
            agents: args.agents,
            origins: args.origins,
            blob_len: args.size,
            piece_len: args.piece,
            agent_link: args.agent_rate.map(|cap| cap.0),
            origin_link: args.origin_rate.map(|cap| cap.0),
        };
        let plan = Self {
            scenario: changes.apply(scenarios::named(&args.scenario)?)?,
            systems: systems(args, &kraken)?,
            runs: args.runs,
            dir: args.data_dir(),
            namespaces: true,
            force: args.force,
            kraken,
            notices: Vec::new(),
        };
        if args.loopback { plan.on_loopback("--loopback is given") } else { Ok(plan) }
    }

    /// The same without links; an error if it shows nothing without them.
    pub(crate) fn on_loopback(mut self, why: &str) -> Result<Self> {
        let scenario = &mut self.scenario;
        if !scenario.events.is_empty() {
            let name = &scenario.name;
            return Err(Error::invalid(format!(
                "{name} needs links with caps, and {why}: hosts on loopback have none"
            )));
        }
        let mut notice = format!("{why}: all hosts share the loopback device");
        if scenarios::needs_links(scenario) {
            notice.push_str(", nothing is capped");
        }
        self.notices.push(notice);
        (scenario.agent_link, scenario.origin_link) = (None, None);
        self.namespaces = false;
        Ok(self)
    }

    /// The hosts, each with its link.
    pub(crate) fn hosts(&self) -> Vec<HostSpec> {
        let scenario = &self.scenario;
        let agent_link = |at: usize| {
            let factor = scenario.events.iter().find_map(|event| match event {
                Event::Slow { agent, factor } if *agent == at => Some(*factor),
                _ => None,
            });
            scenario.agent_link.map(|Rate(rate)| Rate(rate / factor.unwrap_or(1)))
        };
        let hub = HostSpec { name: "hub".to_owned(), link: None };
        let origins = (0..scenario.origins)
            .map(|at| HostSpec { name: format!("origin{at}"), link: scenario.origin_link });
        let agents = (0..scenario.agents)
            .map(|at| HostSpec { name: format!("agent{at}"), link: agent_link(at) });
        std::iter::once(hub).chain(origins).chain(agents).collect()
    }

    /// What a run takes of the machine.
    ///
    /// Without caps the pages that are written have to fit into the memory, or the disk is what
    /// would be measured.
    pub(crate) fn needs(&self) -> Needs {
        let scenario = &self.scenario;
        let hosts = (scenario.agents + scenario.origins + 1) as u64;
        // Each host keeps the blob once; the hub does as the storage backend.
        let data = hosts.saturating_mul(scenario.blob_len);
        let written = if scenarios::is_capped(scenario) { 0 } else { data };
        Needs {
            memory: hosts.saturating_mul(PROCESS_MEMORY).saturating_add(written),
            disk: data.saturating_add(data / 50).saturating_add(DISK_SPARE),
        }
    }
}

/// The systems of a command line, in its order.
pub(crate) fn systems(args: &Args, kraken: &Path) -> Result<Vec<System>> {
    let own = (!args.no_own).then(|| (OWN.to_owned(), Programs::This(kraken.to_owned())));
    let others = args.binaries.iter().map(|(name, dir)| {
        // Programs are started in directories of their own.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        (name.clone(), Programs::Dir(dir))
    });
    let mut systems: Vec<System> = Vec::new();
    for (name, programs) in own.into_iter().chain(others) {
        if systems.iter().any(|system| system.name == name) {
            let why = "two systems of one name cannot be told apart";
            return Err(Error::invalid(format!("--binaries {name}=...: {why}")));
        }
        let tuned = args.tuned.contains(&name);
        let system = System { name, programs, tuned, mixed: None };
        system.check().map_err(|error| error.context("--binaries"))?;
        systems.push(system);
    }
    for name in &args.mixed {
        let named = systems.iter().find(|one| one.name == *name && one.name != OWN);
        let Some(System { programs, tuned, .. }) = named else {
            return Err(Error::invalid(format!("--mixed {name}: --binaries names no such system")));
        };
        systems.push(System {
            name: format!("{OWN}+{name}"),
            programs: Programs::This(kraken.to_owned()),
            tuned: *tuned,
            mixed: Some(programs.clone()),
        });
    }
    if systems.is_empty() {
        return Err(Error::invalid("--no-own leaves nothing to run: name others with --binaries"));
    }
    let unknown = args.tuned.iter().find(|name| systems.iter().all(|one| one.name != **name));
    match unknown {
        Some(name) => Err(Error::invalid(format!("--tuned {name}: no system is called that"))),
        None => Ok(systems),
    }
}

/// What our own programs are called.
const OWN: &str = "kraken";

/// Anonymous memory of a host's processes, where it has been seen at its worst but for outliers.
const PROCESS_MEMORY: u64 = 128 << 20;

/// Logs, databases, configuration files.
const DISK_SPARE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn plan(words: &str) -> Result<Plan> {
        let line = Line::try_parse_from(std::iter::once("bench").chain(words.split(' ')));
        let args = line.map_err(|error| Error::invalid(error.to_string()))?.args;
        Plan::new(&args, std::env::current_exe().unwrap())
    }

    #[test]
    fn flags_change_the_scenario() {
        let plan = plan("s2 --agents 3 --size 64MiB --piece 1MiB --origin-rate none --runs 2");
        let Plan { scenario, runs, namespaces, .. } = plan.unwrap();
        assert_eq!((scenario.name.as_str(), scenario.agents, runs), ("S2", 3, 2));
        assert_eq!((scenario.blob_len, scenario.piece_len), (64 << 20, 1 << 20));
        assert_eq!((scenario.agent_link, scenario.origin_link), (Some(Rate(40 << 20)), None));
        assert!(namespaces);
    }

    #[test]
    fn systems_come_in_the_order_of_the_command_line() {
        let dir = tempfile::tempdir().unwrap();
        for role in crate::system::ROLES {
            std::fs::write(dir.path().join(format!("kraken-{role}")), "").unwrap();
        }
        let dir = dir.path().display();
        let words = format!("S1 --binaries b={dir} --binaries a={dir} --tuned a");
        let systems = plan(&words).unwrap().systems;
        let found: Vec<_> = systems.iter().map(|one| (one.name.as_str(), one.tuned)).collect();
        assert_eq!(found, [("kraken", false), ("b", false), ("a", true)]);
        assert_eq!(plan(&format!("{words} --no-own")).unwrap().systems.len(), 2);
        let twice = plan(&format!("S1 --binaries kraken={dir}")).unwrap_err().to_string();
        assert!(twice.contains("told apart"), "{twice}");
    }

    #[test]
    fn a_command_line_that_makes_no_sense_is_refused_in_a_sentence() {
        for (words, word) in [
            ("S9", "bench list"),
            ("S1 --no-own", "--binaries"),
            ("S1 --tuned other", "--tuned other"),
            ("S1 --mixed other", "--mixed other"),
            ("S1 --mixed kraken", "--mixed kraken"),
            ("S1 --binaries other=/nowhere", "/nowhere/kraken-agent"),
            ("S1 --binaries other", "NAME=DIR"),
            ("S1 --binaries =/tmp", "NAME=DIR"),
            ("S1 --size many", "512MiB"),
            ("S1 --runs 0", "0"),
            ("S1 --seconds 5", "S8"),
            ("S6-stop --loopback", "loopback have none"),
        ] {
            let error = plan(words).unwrap_err().to_string();
            assert!(error.contains(word), "{words}: {error}");
        }
    }

    #[test]
    fn on_loopback_nothing_is_capped_and_that_is_said() {
        let plan = plan("S2 --loopback").unwrap();
        assert!(!plan.namespaces);
        assert_eq!((plan.scenario.agent_link, plan.scenario.origin_link), (None, None));
        assert!(plan.notices[0].contains("nothing is capped"), "{:?}", plan.notices);
        assert!(plan.needs().memory > 5 << 30);
    }

    #[test]
    fn hosts_get_the_links_of_the_scenario_and_slow_ones_a_part_of_it() {
        let hosts = plan("S6-slow").unwrap().hosts();
        let link = |name: &str| hosts.iter().find(|host| host.name == name).unwrap().link;
        assert_eq!(hosts.len(), 10);
        assert_eq!(link("hub"), None);
        assert_eq!(link("origin0"), Some(Rate(40 << 20)));
        assert_eq!(link("agent5"), Some(Rate(40 << 20)));
        assert_eq!(link("agent7"), Some(Rate(4 << 20)));
        assert!(hosts.iter().all(|host| host.name.len() <= 8));
    }

    #[test]
    fn an_uncapped_run_needs_its_data_in_memory_too() {
        let (capped, uncapped) = (plan("S2").unwrap().needs(), plan("S3").unwrap().needs());
        assert!(capped.memory < 2 << 30 && capped.disk > 10 * (512 << 20));
        assert!(uncapped.memory > 10 << 30 && uncapped.disk > 10 << 30);
    }
}
