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
        for role in ROLES {
            let (program, _) = self.program(role);
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

    /// The command of a role on a host, without flags.
    pub(crate) fn command(&self, role: &str, host: &Host) -> Command {
        let (program, words) = self.program(role);
        let mut command = host.command(&program);
        command.args(words);
        command
    }

    fn program(&self, role: &str) -> (PathBuf, Option<OsString>) {
        match &self.programs {
            Programs::This(program) => (program.clone(), Some(role.into())),
            Programs::Dir(dir) => (dir.join(format!("kraken-{role}")), None),
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
        let system = System { name: "other".to_owned(), programs, tuned: false };
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
        let system = System { name: "own".to_owned(), programs, tuned: false };
        assert_eq!(system.program("origin"), ("/bin/kraken".into(), Some("origin".into())));
    }
}
