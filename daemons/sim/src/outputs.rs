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
    json: Option<(PathBuf, File)>,
    svg: Option<PathBuf>,
}

impl Outputs {
    pub(crate) fn new(json: Option<PathBuf>, svg: Option<PathBuf>) -> Result<Self> {
        let json = json.map(|path| {
            let file = File::create(&path).map_err(|error| cannot_write(&path, error))?;
            Ok::<_, Error>((path, file))
        });
        if let Some(dir) = &svg {
            std::fs::create_dir_all(dir).map_err(|error| cannot_write(dir, error))?;
        }
        Ok(Self { json: json.transpose()?, svg })
    }

    /// Writes what was measured.
    pub(crate) fn write_json(&mut self, document: &impl serde::Serialize) -> Result<()> {
        let Some((path, file)) = &mut self.json else { return Ok(()) };
        let text = report::pretty(document)?;
        file.write_all(&text).map_err(|error| cannot_write(path, error))
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

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("write {}", path.display()), error)
}
