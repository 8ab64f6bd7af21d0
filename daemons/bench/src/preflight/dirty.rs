//! How much the kernel buffers of what is written before it makes the writer wait for the disk.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kraken_core::{Error, ErrorKind, Result};

use crate::process;

/// Raised `vm.dirty_ratio` and `vm.dirty_background_ratio`, so that a run measures programs and
/// links rather than the disk; dropping this restores them.
///
/// The old values are in a file as well, from before anything is changed: after a kill the next
/// [`DirtyRatios::raise`] or [`DirtyRatios::restore_leftover`] takes them from there.
#[derive(Debug)]
pub struct DirtyRatios {
    /// Where and what to restore; `None` where this user may not change them.
    raised: Option<(Places, Saved)>,
}

#[derive(Debug, Clone)]
struct Places {
    /// `/proc/sys/vm`.
    settings: PathBuf,
    /// The file of the old values.
    saved: PathBuf,
}

/// The old values; of a ratio and its number of bytes one is 0 and the other is in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Saved {
    /// Who raised them.
    process: u32,
    dirty_ratio: u64,
    dirty_bytes: u64,
    dirty_background_ratio: u64,
    dirty_background_bytes: u64,
}

impl DirtyRatios {
    /// Raises them. Where this user may not it changes nothing, and [`DirtyRatios::is_raised`]
    /// says so; while another process has them raised it is an error.
    pub fn raise() -> Result<Self> {
        Self::raise_at(Places::of_the_machine())
    }

    /// Restores what a bench that died has left raised; says whether there was such a thing.
    pub fn restore_leftover() -> Result<bool> {
        Ok(Places::of_the_machine().restore_leftover()? == Leftover::Restored)
    }

    /// Whether they are raised now.
    pub fn is_raised(&self) -> bool {
        self.raised.is_some()
    }

    fn raise_at(places: Places) -> Result<Self> {
        if let Leftover::Alive(process) = places.restore_leftover()? {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "raising vm.dirty_ratio: process {process} is a bench and has raised it; \
                     wait for its end"
                ),
            ));
        }
        if !places.is_writable() {
            return Ok(Self { raised: None });
        }
        let saved = places.read_all()?;
        places.save(&saved)?;
        // From here on an error restores them: `raised` is dropped.
        let raised = Self { raised: Some((places.clone(), saved)) };
        places.write("dirty_ratio", RATIO)?;
        places.write("dirty_background_ratio", BACKGROUND_RATIO)?;
        Ok(raised)
    }
}

impl Drop for DirtyRatios {
    fn drop(&mut self) {
        if let Some((places, saved)) = self.raised.take() {
            // After a failure the file is still there for the next start.
            let _ = places.restore(&saved);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Leftover {
    None,
    Restored,
    /// Raised by a process that is still there.
    Alive(u32),
}

impl Places {
    fn of_the_machine() -> Self {
        // Under /run: a new start of the machine forgets the file together with the settings.
        Self { settings: "/proc/sys/vm".into(), saved: "/run/kraken-bench.dirty.json".into() }
    }

    fn restore_leftover(&self) -> Result<Leftover> {
        let text = match std::fs::read(&self.saved) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Leftover::None);
            }
            Err(error) => return Err(failed("reading", &self.saved, error)),
        };
        // The file is written before anything is changed: one that breaks off comes from a
        // process that died before it changed anything.
        let Ok(saved) = serde_json::from_slice::<Saved>(&text) else {
            self.remove_saved()?;
            return Ok(Leftover::None);
        };
        if process::is_alive(saved.process) {
            return Ok(Leftover::Alive(saved.process));
        }
        self.restore(&saved)?;
        Ok(Leftover::Restored)
    }

    fn restore(&self, saved: &Saved) -> Result<()> {
        for (name, ratio, bytes) in [
            ("dirty", saved.dirty_ratio, saved.dirty_bytes),
            ("dirty_background", saved.dirty_background_ratio, saved.dirty_background_bytes),
        ] {
            // Writing one sets the other to 0.
            if bytes == 0 {
                self.write(&format!("{name}_ratio"), ratio)?;
            } else {
                self.write(&format!("{name}_bytes"), bytes)?;
            }
        }
        self.remove_saved()
    }

    fn save(&self, saved: &Saved) -> Result<()> {
        let text = serde_json::to_vec(saved).expect("numbers can be written");
        // Not over another's file: it has the values from before that one raised them.
        std::fs::File::create_new(&self.saved)
            .and_then(|mut file| file.write_all(&text))
            .map_err(|error| failed("keeping the old vm.dirty_ratio in", &self.saved, error))
    }

    fn remove_saved(&self) -> Result<()> {
        match std::fs::remove_file(&self.saved) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("removing", &self.saved, error))
            }
            _ => Ok(()),
        }
    }

    fn is_writable(&self) -> bool {
        std::fs::OpenOptions::new().write(true).open(self.settings.join("dirty_ratio")).is_ok()
    }

    fn read_all(&self) -> Result<Saved> {
        Ok(Saved {
            process: std::process::id(),
            dirty_ratio: self.read("dirty_ratio")?,
            dirty_bytes: self.read("dirty_bytes")?,
            dirty_background_ratio: self.read("dirty_background_ratio")?,
            dirty_background_bytes: self.read("dirty_background_bytes")?,
        })
    }

    fn read(&self, name: &str) -> Result<u64> {
        let file = self.settings.join(name);
        let text =
            std::fs::read_to_string(&file).map_err(|error| failed("reading", &file, error))?;
        text.trim()
            .parse()
            .map_err(|_| Error::invalid(format!("reading {}: it says {text:?}", file.display())))
    }

    fn write(&self, name: &str, value: u64) -> Result<()> {
        let file = self.settings.join(name);
        std::fs::write(&file, value.to_string())
            .map_err(|error| failed(&format!("writing {value} to"), &file, error))
    }
}

fn failed(what: &str, file: &Path, error: std::io::Error) -> Error {
    Error::io(format!("{what} {}", file.display()), error)
}

const RATIO: u64 = 70;
const BACKGROUND_RATIO: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(dir: &Path) -> Places {
        let places = Places { settings: dir.join("vm"), saved: dir.join("saved.json") };
        std::fs::create_dir(&places.settings).unwrap();
        for (name, value) in [
            ("dirty_ratio", 20),
            ("dirty_bytes", 0),
            ("dirty_background_ratio", 0),
            ("dirty_background_bytes", 4096),
        ] {
            places.write(name, value).unwrap();
        }
        places
    }

    /// A ratio and the bytes that are in force.
    fn in_force(places: &Places) -> (u64, u64) {
        (places.read("dirty_ratio").unwrap(), places.read("dirty_background_bytes").unwrap())
    }

    #[test]
    fn what_is_raised_is_restored_on_drop() {
        let dir = tempfile::tempdir().unwrap();
        let places = machine(dir.path());
        let raised = DirtyRatios::raise_at(places.clone()).unwrap();
        assert!(raised.is_raised());
        assert_eq!(places.read("dirty_ratio").unwrap(), RATIO);
        assert_eq!(places.read("dirty_background_ratio").unwrap(), BACKGROUND_RATIO);
        let again = DirtyRatios::raise_at(places.clone()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict);
        places.write("dirty_background_bytes", 0).unwrap();
        drop(raised);
        assert_eq!(in_force(&places), (20, 4096));
        assert!(!places.saved.exists());
    }

    #[test]
    fn what_a_dead_process_raised_is_restored_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let places = machine(dir.path());
        let mut saved = places.read_all().unwrap();
        // No process has this id: it is beyond the kernel's largest.
        saved.process = u32::MAX;
        places.save(&saved).unwrap();
        places.write("dirty_ratio", RATIO).unwrap();
        let raised = DirtyRatios::raise_at(places.clone()).unwrap();
        drop(raised);
        assert_eq!(in_force(&places), (20, 4096));
        assert_eq!(places.restore_leftover().unwrap(), Leftover::None);
    }

    #[test]
    fn a_file_that_breaks_off_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let places = machine(dir.path());
        std::fs::write(&places.saved, "{\"process\":7").unwrap();
        assert_eq!(places.restore_leftover().unwrap(), Leftover::None);
        assert_eq!(in_force(&places), (20, 4096));
        assert!(!places.saved.exists());
    }
}
