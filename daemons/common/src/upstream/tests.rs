//! The configuration as a whole: files in a directory, as uber/kraken's are laid out.

mod broken;
mod reading;
mod schema;

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// Files in a directory of their own.
struct Files(TempDir);

impl Files {
    fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, name: &str) -> Load {
        Load::new(self.path(name))
    }

    /// `text` without the directory.
    fn strip(&self, text: &impl std::fmt::Display) -> String {
        let real = self.0.path().canonicalize().unwrap();
        let text = text.to_string().replace(&format!("{}/", self.0.path().display()), "");
        text.replace(&format!("{}/", real.display()), "")
    }

    /// What is wrong with `name` as a configuration of `role`, warnings included.
    fn problems(&self, name: &str, role: RoleName) -> String {
        match self.load(name).role(role).read() {
            Ok(settings) => self.strip(settings.warnings()),
            Err(problems) => self.strip(&problems),
        }
    }
}

/// What is wrong with one file that holds `text`.
fn problems_of(role: RoleName, text: &str) -> String {
    Files::of(&[("c.yaml", text)]).problems("c.yaml", role)
}
