//! The scenarios that have a name, and what they may be changed to.

use std::time::Duration;

use kraken_core::{Error, Result};

use crate::scenario::{Event, Ranges, Rate, Scenario, Start, Storage};
use crate::units;

/// What the command line changes in a scenario.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    pub(crate) agents: Option<usize>,
    pub(crate) origins: Option<usize>,
    pub(crate) blob_len: Option<u64>,
    pub(crate) piece_len: Option<u64>,
    pub(crate) agent_link: Option<Option<Rate>>,
    pub(crate) origin_link: Option<Option<Rate>>,
}

impl Changes {
    /// The scenario with these changes, if it is still one.
    pub(crate) fn apply(self, mut scenario: Scenario) -> Result<Scenario> {
        scenario.agents = self.agents.unwrap_or(scenario.agents);
        scenario.origins = self.origins.unwrap_or(scenario.origins);
        scenario.blob_len = self.blob_len.unwrap_or(scenario.blob_len);
        scenario.piece_len = self.piece_len.unwrap_or(scenario.piece_len);
        scenario.agent_link = self.agent_link.unwrap_or(scenario.agent_link);
        scenario.origin_link = self.origin_link.unwrap_or(scenario.origin_link);
        check(&scenario)?;
        Ok(scenario)
    }
}

/// All scenarios that have a name.
pub(crate) fn all() -> Vec<Scenario> {
    [single_pull(), fan_out(), uncapped(), joins(), failures(), cold()].concat()
}

/// The scenario that the command line calls `name`, in any case.
pub(crate) fn named(name: &str) -> Result<Scenario> {
    let name = if name.eq_ignore_ascii_case("S6") { "S6-stop" } else { name };
    all().into_iter().find(|one| one.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        Error::invalid(format!("no scenario {name:?}: `kraken bench list` has their names"))
    })
}

/// What `kraken bench list` prints of scenarios.
pub(crate) fn list() -> String {
    let entry = |one: &Scenario| {
        let (name, set_up, about) = (&one.name, set_up(one), &one.about);
        format!("{name:<18} {set_up}\n{:18} {about}\n", "")
    };
    all().iter().map(entry).collect()
}

/// Hosts, links and blob in one line.
pub(crate) fn set_up(scenario: &Scenario) -> String {
    let plural = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let agents = plural(scenario.agents, "agent");
    let origins = plural(scenario.origins, "origin");
    let links = if scenario.agent_link == scenario.origin_link {
        format!("{agents} and {origins} {}", units::cap(scenario.agent_link))
    } else {
        let (agent, origin) = (units::cap(scenario.agent_link), units::cap(scenario.origin_link));
        format!("{agents} {agent}, {origins} {origin}")
    };
    let (blob, piece) = (units::bytes(scenario.blob_len), units::bytes(scenario.piece_len));
    let storage = match scenario.cold {
        Some(Storage { rate, latency }) if latency.is_zero() => {
            format!(", in storage {} alone", units::cap(rate))
        }
        Some(Storage { rate, latency }) => {
            format!(", in storage {latency:?} away {} alone", units::cap(rate))
        }
        None => String::new(),
    };
    format!("{links}; {blob} in pieces of {piece}{storage}")
}

/// Whether every link has a cap.
pub(crate) fn is_capped(scenario: &Scenario) -> bool {
    scenario.agent_link.is_some() && scenario.origin_link.is_some()
}

/// Whether some link has a cap.
pub(crate) fn needs_links(scenario: &Scenario) -> bool {
    scenario.agent_link.is_some() || scenario.origin_link.is_some()
}

fn check(scenario: &Scenario) -> Result<()> {
    let wrong = |why: String| Err(Error::invalid(format!("{}: {why}", scenario.name)));
    if !(1..=AGENTS_MAX).contains(&scenario.agents) {
        return wrong(format!("{} agents: from 1 to {AGENTS_MAX} can be run", scenario.agents));
    }
    if !(1..=ORIGINS_MAX).contains(&scenario.origins) {
        return wrong(format!("{} origins: from 1 to {ORIGINS_MAX} can be run", scenario.origins));
    }
    if scenario.blob_len == 0 {
        return wrong("a blob of 0 bytes shows nothing".to_owned());
    }
    if !(PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&scenario.piece_len) {
        let (least, most) = (units::bytes(PIECE_LEN_MIN), units::bytes(PIECE_LEN_MAX));
        let piece = units::bytes(scenario.piece_len);
        return wrong(format!("pieces of {piece}: they have from {least} to {most}"));
    }
    if scenario.blob_len.div_ceil(scenario.piece_len) > PIECES_MAX {
        return wrong(format!("more than {PIECES_MAX} pieces: take larger ones with --piece"));
    }
    for Rate(rate) in [scenario.agent_link, scenario.origin_link].into_iter().flatten() {
        if rate < RATE_MIN {
            return wrong(format!("a link of less than {}/s stalls", units::bytes(RATE_MIN)));
        }
    }
    if scenario.reads.is_some_and(|reads| reads.len > scenario.blob_len) {
        return wrong("the blob is shorter than the ranges that are read".to_owned());
    }
    if scenario.start == Start::LastIsLate && scenario.agents < 2 {
        return wrong("one of at least 2 agents is late".to_owned());
    }
    scenario.events.iter().try_for_each(|event| check_event(scenario, event))
}

fn check_event(scenario: &Scenario, event: &Event) -> Result<()> {
    let wrong = |why: &str| Err(Error::invalid(format!("{}: {why}", scenario.name)));
    if scenario.agent_link.is_none() {
        return wrong("what happens to a host is timed by the agents' links, which need caps");
    }
    match *event {
        // One has to be left that counts.
        Event::Slow { agent, .. } | Event::Stop { agent, .. }
            if agent >= scenario.agents || scenario.events.len() >= scenario.agents =>
        {
            wrong("more agents are needed than are slowed or stopped")
        }
        Event::KillOrigin { origin, .. } if origin >= scenario.origins || scenario.origins < 2 => {
            wrong("more origins are needed than are killed")
        }
        _ => Ok(()),
    }
}

/// Eight agents and one origin at 40 MiB/s: what the others are variations of.
fn base(name: &str, about: &str) -> Scenario {
    Scenario {
        name: name.to_owned(),
        about: about.to_owned(),
        agents: 8,
        origins: 1,
        blob_len: 512 * MIB,
        piece_len: 4 * MIB,
        agent_link: Some(Rate(40 * MIB)),
        origin_link: Some(Rate(40 * MIB)),
        cold: None,
        start: Start::Together,
        reads: None,
        events: Vec::new(),
    }
}

fn single_pull() -> Vec<Scenario> {
    let capped = Scenario {
        agents: 1,
        blob_len: 1_000_000_000,
        agent_link: Some(Rate(125_000_000)),
        origin_link: Some(Rate(125_000_000)),
        ..base("S1", "one cold pull through a link of 1 Gbit/s")
    };
    let uncapped = Scenario {
        name: "S1-uncapped".to_owned(),
        about: "one cold pull as fast as the machine goes".to_owned(),
        agent_link: None,
        origin_link: None,
        ..capped.clone()
    };
    vec![capped, uncapped]
}

fn fan_out() -> Vec<Scenario> {
    let of = |agents, blob_len, agent: u64, origin: u64, scenario| Scenario {
        agents,
        blob_len,
        agent_link: Some(Rate(agent * MIB)),
        origin_link: Some(Rate(origin * MIB)),
        ..scenario
    };
    let small = |scenario| Scenario { piece_len: MIB, ..scenario };
    let eight = "whether agents ask the origin for different pieces, and pass them on";
    let fast = "an origin with four times an agent's link";
    let sixteen = "sixteen agents at a slow link";
    let many = "many agents; on few cores it is the CPU that is measured";
    vec![
        base("S2", eight),
        small(base("S2-1m", eight)),
        of(8, 512 * MIB, 40, 160, base("S2-fast-origin", fast)),
        of(16, 256 * MIB, 10, 10, base("S2-16", sixteen)),
        small(of(16, 256 * MIB, 10, 10, base("S2-16-1m", sixteen))),
        of(2, 512 * MIB, 80, 80, base("S2-2", "the smallest swarm")),
        of(32, 256 * MIB, 10, 40, base("S2-32", many)),
        of(64, 128 * MIB, 5, 20, base("S2-64", many)),
    ]
}

fn uncapped() -> Vec<Scenario> {
    vec![Scenario {
        blob_len: 1024 * MIB,
        agent_link: None,
        origin_link: None,
        ..base("S3", "what a delivered byte costs: no link waits, the CPU does")
    }]
}

fn joins() -> Vec<Scenario> {
    let many = |scenario| Scenario {
        agents: 32,
        blob_len: 256 * MIB,
        agent_link: Some(Rate(10 * MIB)),
        origin_link: Some(Rate(40 * MIB)),
        ..scenario
    };
    let spread = Start::Over(Duration::from_secs(10));
    vec![
        many(base("S5", "32 agents that begin at once")),
        Scenario {
            start: spread,
            ..many(base("S5-spread", "32 agents that begin one after another over 10 s"))
        },
        Scenario {
            start: Start::LastIsLate,
            ..base("S5-late", "the last agent begins when all others are complete")
        },
    ]
}

fn failures() -> Vec<Scenario> {
    let stop = Event::Stop { agent: 3, at: 0.3 };
    let slow = [6, 7].map(|agent| Event::Slow { agent, factor: 10 });
    let kill = Event::KillOrigin { origin: 0, at: 0.3 };
    vec![
        Scenario {
            events: vec![stop],
            ..base(
                "S6-stop",
                "one agent gets SIGSTOP at 30 %: the others' times; S6 is this one too",
            )
        },
        Scenario {
            events: slow.to_vec(),
            ..base("S6-slow", "two agents have a tenth of the link: the others' times")
        },
        Scenario {
            origins: 3,
            events: vec![kill],
            ..base("S6-origin", "one of three origins is killed at 30 %")
        },
    ]
}

fn cold() -> Vec<Scenario> {
    let link = Some(Rate(100_000_000));
    let slow = Storage { rate: Some(Rate(25_000_000)), latency: Duration::ZERO };
    let near = Storage { rate: None, latency: Duration::from_millis(5) };
    let first_byte = Scenario {
        agents: 1,
        piece_len: MIB,
        agent_link: None,
        origin_link: None,
        ..base(
            "first-byte",
            "the first byte of a blob that its origin has, a peer too, and of one that is here",
        )
    };
    vec![
        Scenario {
            origins: 3,
            blob_len: 512_000_000,
            agent_link: link,
            origin_link: link,
            cold: Some(slow),
            ..base(
                "cold",
                "a blob that only slow storage has: how long after it the last agent ends",
            )
        },
        Scenario {
            name: "first-byte-cold".to_owned(),
            about: "the first byte of a blob that only storage has".to_owned(),
            cold: Some(near),
            ..first_byte.clone()
        },
        Scenario {
            agents: 3,
            blob_len: 4_000_000_000,
            start: Start::LastIsLate,
            reads: Some(Ranges { count: 500, len: 64 << 10 }),
            ..Scenario {
                name: "ranges".to_owned(),
                about: "64 KiB at random places of a blob that two peers have, and this host not"
                    .to_owned(),
                ..first_byte.clone()
            }
        },
        Scenario {
            name: "20g".to_owned(),
            about: "the memory of an agent while 20 GB pass through it; 62 GB of disk".to_owned(),
            blob_len: 20_000_000_000,
            piece_len: 16 * MIB,
            agent_link: Some(Rate(200_000_000)),
            origin_link: Some(Rate(200_000_000)),
            ..first_byte.clone()
        },
        Scenario { agents: 2, start: Start::LastIsLate, ..first_byte },
    ]
}

const MIB: u64 = 1 << 20;

/// Names of hosts and addresses are enough for that many.
const AGENTS_MAX: usize = 128;

/// As many as anyone would run; every one of them keeps the blob.
const ORIGINS_MAX: usize = 16;

/// uber/kraken's own tests go no lower than some KiB; below that the messages are what is measured.
const PIECE_LEN_MIN: u64 = 16 << 10;

/// A message of a piece is held whole in memory by uber/kraken, at every connection.
const PIECE_LEN_MAX: u64 = 64 << 20;

/// What a bitfield has room for, with what a message may be.
const PIECES_MAX: u64 = 100_000;

/// A bucket of 256 KiB is to be a fraction of a second.
const RATE_MIN: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_sound_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for scenario in all() {
            check(&scenario).unwrap();
            assert!(!scenario.about.is_empty());
            assert!(!names.contains(&scenario.name), "{}", scenario.name);
            assert_eq!(named(&scenario.name.to_lowercase()).unwrap(), scenario);
            names.push(scenario.name);
        }
        for name in ["S1", "S2", "S3", "S5", "S6-stop", "S6-slow", "S6-origin"] {
            assert!(names.iter().any(|one| one == name), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_where_the_names_are() {
        assert_eq!(named("s6").unwrap().name, "S6-stop");
        let error = named("S99").unwrap_err().to_string();
        assert!(error.contains("\"S99\"") && error.contains("bench list"), "{error}");
    }

    #[test]
    fn changes_that_make_no_sense_are_refused_in_a_sentence() {
        let none = Changes::default();
        let refused = |name: &str, changes: Changes, word: &str| {
            let error = changes.apply(named(name).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(name) && error.contains(word), "{error}");
        };
        refused("S2", Changes { agents: Some(0), ..none }, "agents");
        refused("S2", Changes { agents: Some(1000), ..none }, "128");
        refused("S2", Changes { origins: Some(0), ..none }, "origins");
        refused("S2", Changes { blob_len: Some(0), ..none }, "0 bytes");
        refused("S2", Changes { piece_len: Some(1), ..none }, "16 KiB");
        refused("S2", Changes { blob_len: Some(1 << 40), ..none }, "--piece");
        refused("S2", Changes { agent_link: Some(Some(Rate(1))), ..none }, "stalls");
        refused("S5-late", Changes { agents: Some(1), ..none }, "late");
        refused("S6-stop", Changes { agents: Some(3), ..none }, "more agents");
        refused("S6-slow", Changes { agent_link: Some(None), ..none }, "caps");
        refused("S6-origin", Changes { origins: Some(1), ..none }, "more origins");
        let small = Changes { agents: Some(2), blob_len: Some(MIB), ..none };
        assert_eq!(small.apply(named("S2").unwrap()).unwrap().agents, 2);
    }

    #[test]
    fn the_list_has_a_set_up_and_a_sentence_for_each() {
        let list = list();
        let row = list.lines().find(|line| line.starts_with("S2 ")).unwrap();
        assert!(row.ends_with("8 agents and 1 origin at 40 MiB/s; 512 MiB in pieces of 4 MiB"));
        assert!(list.contains("8 agents at 40 MiB/s, 1 origin at 160 MiB/s"));
        assert!(list.contains("without caps"));
        assert_eq!(list.lines().count(), 2 * all().len());
    }
}
