//! Systems to measure: programs that take uber/kraken's flags and configuration.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use kraken_core::{Error, Result};

use crate::net::Host;

/// A system under test.
#[derive(Debug, Clone)]
pub struct System {
    /// What the command line and the report call it.
    pub name: String,
    /// Its programs.
    pub programs: Programs,
    /// Whether it is re-configured with what a fair comparison changes in uber/kraken:
    /// `piece_request_policy: default`, `pipeline_limit: 1`, origins' `max_open_conn: 100`.
    pub tuned: bool,
    /// Where the programs of every second agent are, if not there too.
    pub mixed: Option<Programs>,
}

/// Where the programs of a system are.
#[derive(Debug, Clone)]
pub enum Programs {
    /// One program whose first argument is the role.
    This(PathBuf),
    /// A directory with `kraken-agent`, `kraken-origin` and `kraken-tracker` in it.
    Dir(PathBuf),
}

impl System {
    /// Whether every program that a run needs is there.
    pub fn check(&self) -> Result<()> {
        let second = self.mixed.iter().map(|programs| programs.of("agent").0);
        let all = ROLES.map(|role| self.programs.of(role).0).into_iter().chain(second);
        for (program, role) in all.zip(ROLES.into_iter().chain(["agent"])) {
            if !program.is_file() {
                let message = format!(
                    "no program {} for {role}s of {}: build it there or name another directory",
                    program.display(),
                    self.name
                );
                return Err(Error::not_found(message));
            }
        }
        Ok(())
    }

    /// The command of the `number`th of a role, on a host, without flags.
    pub(crate) fn command(&self, role: &str, number: usize, host: &Host) -> Command {
        let second = self.mixed.as_ref().filter(|_| role == "agent" && number % 2 == 1);
        let (program, words) = second.unwrap_or(&self.programs).of(role);
        let mut command = host.command(&program);
        command.args(words);
        command
    }
}

impl Programs {
    /// The program of a role, and its first argument.
    fn of(&self, role: &str) -> (PathBuf, Option<OsString>) {
        match self {
            Self::This(program) => (program.clone(), Some(role.into())),
            Self::Dir(dir) => (dir.join(format!("kraken-{role}")), None),
        }
    }
}

/// The roles that every run has.
pub(crate) const ROLES: [&str; 3] = ["agent", "origin", "tracker"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs::Dir(dir.path().to_owned());
        let system = System { name: "other".to_owned(), programs, tuned: false, mixed: None };
        let error = system.check().unwrap_err().to_string();
        assert!(error.contains("kraken-agent") && error.contains("other"), "{error}");
        for role in ROLES {
            std::fs::write(dir.path().join(format!("kraken-{role}")), "").unwrap();
        }
        system.check().unwrap();
    }

    #[test]
    fn one_program_is_told_its_role() {
        let programs = Programs::This("/bin/kraken".into());
        assert_eq!(programs.of("origin"), ("/bin/kraken".into(), Some("origin".into())));
    }
}
