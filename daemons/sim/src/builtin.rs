//! The scenarios that have a name: files kept in the program.

use std::path::Path;

use kraken_common::upstream::nearest;
use kraken_core::{Error, Result};

use crate::file::ScenarioFile;
use crate::memory;

macro_rules! scenarios {
    ($($name:literal)*) => {
        /// The scenarios that have a name: names and files, in the order of the table.
        pub const NAMED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".yaml")))),*];
    };
}

scenarios! {
    "readme-j0" "readme-j1" "readme-j5" "readme-j10" "readme-j30"
    "large-j0" "large-j1" "large-j10"
    "one-origin" "one-origin-1m"
    "hosts-64" "hosts-500"
    "uplink-200" "rtt-10ms"
    "slow-2pct" "slow-10pct" "hang-3pct" "kill-20pct"
    "small-blob" "blob-20g" "blob-100g"
    "many-blobs" "zones" "liar" "mixed" "streaming"
    "small-swarm" "small-swarm-1m"
}

/// The scenario that is called `name`.
pub fn named(name: &str) -> Result<ScenarioFile> {
    let text = text(name)?;
    Ok(ScenarioFile::parse(Path::new(&format!("{name}.yaml")), text)?)
}

/// The file of the scenario that is called `name`.
pub(crate) fn text(name: &str) -> Result<&'static str> {
    if let Some((_, text)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Ok(text);
    }
    let meant = match nearest(name, NAMED.iter().map(|(known, _)| *known)) {
        Some(known) => format!("did you mean {known}?"),
        None => "`kraken sim list` shows all".to_owned(),
    };
    Err(Error::not_found(format!("no scenario is called {name:?}: {meant}")))
}

/// The scenario or file that the command line calls `name`, with `hosts` hosts if that is given,
/// if there is memory for it.
pub(crate) fn find(name: &str, hosts: Option<usize>) -> Result<ScenarioFile> {
    let is_path = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
    let file = match is_path || (text(name).is_err() && Path::new(name).is_file()) {
        true => ScenarioFile::read(Path::new(name))?,
        false => named(name)?,
    };
    let file = match hosts {
        Some(hosts) => file.scaled(hosts)?,
        None => file,
    };
    file.check_memory(memory::available()?)?;
    Ok(file)
}
