//! Where results go beside the terminal.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kraken_bench::report;
use kraken_core::{Error, Result};
use kraken_p2p::sim::Report;

use crate::file::ScenarioFile;
use crate::plots;

/// Files that are wanted; made before the first run, since it would be a pity after the last.
#[derive(Debug)]
pub(crate) struct Outputs {
    json: Option<Pending>,
    svg: Option<PathBuf>,
}

/// A file that is written beside its name and gets it when it is whole: what is there stays until
/// then. Devices and pipes are written at once.
#[derive(Debug)]
struct Pending {
    path: PathBuf,
    /// Until it has its name.
    part: Option<PathBuf>,
    file: File,
}

impl Outputs {
    /// `scenario` is what is run, perhaps from a file: nothing is written over that.
    pub(crate) fn new(
        json: Option<PathBuf>,
        svg: Option<PathBuf>,
        scenario: Option<&str>,
    ) -> Result<Self> {
        let json = json.map(|path| {
            if scenario.is_some_and(|scenario| is_same(Path::new(scenario), &path)) {
                let path = path.display();
                return Err(Error::invalid(format!("--json {path}: that is the scenario itself")));
            }
            Pending::new(path)
        });
        if let Some(dir) = &svg {
            std::fs::create_dir_all(dir).map_err(|error| cannot_write(dir, error))?;
        }
        Ok(Self { json: json.transpose()?, svg })
    }

    /// Writes what was measured.
    pub(crate) fn write_json(&mut self, document: &impl serde::Serialize) -> Result<()> {
        match self.json.take() {
            Some(json) => json.write(&report::pretty(document)?),
            None => Ok(()),
        }
    }

    /// Draws runs of a scenario, each with its name.
    pub(crate) fn write_plots(
        &self,
        file: &ScenarioFile,
        runs: &[(String, &Report)],
    ) -> Result<()> {
        let Some(dir) = &self.svg else { return Ok(()) };
        let name = &file.scenario.name;
        let plots = [
            (format!("{name}-completion.svg"), plots::completion(file, runs)),
            (format!("{name}-origins.svg"), plots::origins(file, runs)),
        ];
        for (name, plot) in plots {
            let path = dir.join(name);
            std::fs::write(&path, plot).map_err(|error| cannot_write(&path, error))?;
        }
        Ok(())
    }
}

impl Pending {
    fn new(path: PathBuf) -> Result<Self> {
        let failed = |error| cannot_write(&path, error);
        if path.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let is_device = path.exists() && !path.is_file();
        let part = (!is_device).then(|| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{}.part", std::process::id()));
            PathBuf::from(name)
        });
        let file = match &part {
            // Nobody else's.
            Some(part) => File::create_new(part),
            None => File::create(&path),
        };
        let file = file.map_err(failed)?;
        Ok(Self { path, part, file })
    }

    fn write(mut self, text: &[u8]) -> Result<()> {
        let failed = |error| cannot_write(&self.path, error);
        self.file.write_all(text).map_err(failed)?;
        if let Some(part) = &self.part {
            std::fs::rename(part, &self.path).map_err(failed)?;
        }
        self.part = None;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // It may be gone already; nothing of it is of use.
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Whether both are one file that is there.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("write {}", path.display()), error)
}
