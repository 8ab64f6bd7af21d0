//! One page of a directory tree, in the order of path components.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use kraken_core::{Error, ErrorKind, Result};

use super::{TEMPORARY, is_absent};
use crate::backend::{ListPage, Page};
use crate::limits;
use crate::pather::Pather;

/// A walk through the files under a prefix, from where the page before it ended.
///
/// Directories are read whole and sorted, so a page costs the directories on the way to it and no
/// more: a subtree that lies before the token is never entered.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    pather: Pather,
    /// The components of base path and prefix.
    top: Vec<String>,
    /// The components, below `top`, of the last path of the page before.
    after: Vec<String>,
    limit: usize,
    page: ListPage,
    /// The path of the last name on the page.
    last: Option<String>,
}

impl Walk {
    /// A walk under the components of `prefix`, below the layout's base path.
    pub(super) fn new(
        root: &Path,
        pather: &Pather,
        prefix: Vec<&str>,
        page: &Page,
    ) -> Result<Self> {
        let (token, limit) = page.checked()?;
        let base = pather.base_path();
        let top = base.split('/').filter(|part| !part.is_empty()).chain(prefix);
        let after =
            token.map_or_else(Vec::new, |token| token.split('/').map(str::to_owned).collect());
        Ok(Self {
            root: root.to_owned(),
            pather: pather.clone(),
            top: top.map(str::to_owned).collect(),
            after,
            limit,
            page: ListPage::default(),
            last: None,
        })
    }

    /// The page.
    pub(super) fn run(mut self) -> Result<ListPage> {
        let after = std::mem::take(&mut self.after);
        let mut path = Vec::new();
        self.visit(&mut path, &after)?;
        Ok(self.page)
    }

    /// Adds the files of the directory at `path` below the top, those later than `after` only.
    /// Stops once the page is full and another name is known to follow.
    fn visit(&mut self, path: &mut Vec<String>, after: &[String]) -> Result<()> {
        if path.len() >= limits::DIRECTORY_DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "list {}: more than {} levels",
                    path.join("/"),
                    limits::DIRECTORY_DEPTH_MAX
                ),
            ));
        }
        let skipped = after.first().map(String::as_str);
        for (name, is_directory) in self.entries(path, skipped)? {
            let below = match after.split_first() {
                Some((first, rest)) if *first == name => {
                    if !is_directory {
                        continue;
                    }
                    rest
                }
                _ => &[],
            };
            path.push(name);
            if is_directory {
                self.visit(path, below)?;
            } else {
                self.add(path);
            }
            path.pop();
            if self.page.next.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &[String]) {
        let whole: Vec<&str> = self.top.iter().chain(path).map(String::as_str).collect();
        let Some(name) = self.pather.name(&whole.join("/")) else {
            return;
        };
        if self.page.names.len() == self.limit {
            self.page.next = self.last.take();
        } else {
            self.page.names.push(name);
            self.last = Some(path.join("/"));
        }
    }

    /// Files and directories of a directory, not before `from`, sorted by name; whether each is a
    /// directory. Names that are no text are no object's; symbolic links are not followed.
    fn entries(&self, path: &[String], from: Option<&str>) -> Result<Vec<(String, bool)>> {
        let mut directory = self.root.clone();
        directory.extend(self.top.iter().chain(path));
        let io_error = |error| Error::io(format!("list {}", directory.display()), error);
        let reader = match std::fs::read_dir(&directory) {
            // It never was, or a delete beside us removed it.
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            result => result.map_err(io_error)?,
        };
        let at_root = self.top.is_empty() && path.is_empty();
        let mut entries = Vec::new();
        for entry in reader {
            let entry = entry.map_err(io_error)?;
            let Some(is_directory) = is_directory(&entry).map_err(io_error)? else {
                continue;
            };
            let Some(name) = text(entry.file_name()) else {
                continue;
            };
            if from.is_some_and(|from| name.as_str() < from) || (at_root && name == TEMPORARY) {
                continue;
            }
            if entries.len() == limits::DIRECTORY_ENTRIES_MAX {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!(
                        "list {}: more than {} entries",
                        directory.display(),
                        limits::DIRECTORY_ENTRIES_MAX
                    ),
                ));
            }
            entries.push((name, is_directory));
        }
        entries.sort_unstable();
        Ok(entries)
    }
}

/// Whether an entry is a directory; `None` if it is neither that nor a file, or has just vanished.
fn is_directory(entry: &std::fs::DirEntry) -> io::Result<Option<bool>> {
    match entry.file_type() {
        Ok(kind) if kind.is_dir() => Ok(Some(true)),
        Ok(kind) => Ok(kind.is_file().then_some(false)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(name: OsString) -> Option<String> {
    name.into_string().ok()
}
